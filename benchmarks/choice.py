"""Lists of ten films, judged by what people went on to rate highly: popularity, predicted ratings, EASE, both, and two models of implicit

MovieLens-100K, split 80/20 at random with seeds 0 to 4. Candidates are all items that the user did not rate in training; hits are test ratings of at
least 4, with gain 1 and discount 1/log2(1+position); the ideal list is cut at min(10, hits); recall divides by the number of hits; users without hits
are left out. All settings are chosen for each seed inside the training part, on a fifth of it; `tuned` in `about` holds the choices. EASE is fitted to
all ratings and to those of at least 4; for the models of implicit the choice between the two belongs to the grid. Where implicit is not installed
(see requirements-peers.txt), its stored results stay. `python benchmarks/choice.py` takes ten minutes, half of it without implicit.
"""
import itertools
import json
from importlib.metadata import version
from importlib.util import find_spec

import torch
from common import RESULTS, record, save
from tqdm import tqdm

from lesson8lib.choice import both_scores, choice_scores, ease, inner_split, list_quality, popularity_scores, rating_scores
from lesson8lib.collab import DotProductBias, RatingsData, fit_ratings
from lesson8lib.data import load_movielens

SEEDS, K, BS = range(5), 10, 512
L2, WEIGHTS = [5, 10, 30, 50, 100, 200, 300, 500, 700, 1000, 1500], [.05, .1, .2, .3, .5, .8, 1.2]
ALS = dict(factors=[32, 64], regularization=[10, 30, 50, 100], alpha=[1, 5, 10, 20], iterations=[15], liked=[False, True])
BPR = dict(factors=[16, 64], learning_rate=[.01, .05], regularization=[.01, .1], iterations=[100], liked=[False, True])


def pairs_of(data, liked:bool): return data.train[0][data.train[1]>=4] if liked else data.train[0]


def sizes(data): return len(data.users), len(data.items)


def popularity(data, liked): return popularity_scores(pairs_of(data, liked), len(data.items))


def by_ease(data, l2, liked=False):
    pairs = pairs_of(data, liked)
    return choice_scores(ease(pairs, *sizes(data), l2), pairs)


def gram(data):
    n_users, n_items = sizes(data)
    rated = torch.zeros(n_users, n_items)
    rated[data.train[0][:,0],data.train[0][:,1]] = 1
    return rated.T @ rated


def one_by_one(data, l2):
    "Each weight from two items alone: how many rated both / (how many rated the first + l2)"
    both = gram(data)
    weights = both/(both.diag()[:,None]+l2)
    return choice_scores(weights.fill_diagonal_(0), data.train[0])


def free_diagonal(data, l2):
    "The same regression without the constraint"
    both = gram(data).double()
    weights = torch.linalg.solve(both + l2*torch.eye(len(both)).double(), both)
    return choice_scores(weights.float(), data.train[0])


def rating_model(data, seed): return rating_scores(fit_ratings(data, DotProductBias, seed=seed, bs=BS, progress=False)[0])


def implicit_scores(model, data, liked):
    import scipy.sparse as sp
    pairs = pairs_of(data, liked).unique(dim=0).numpy()
    rated = sp.csr_matrix((torch.ones(len(pairs)).numpy(), (pairs[:,0], pairs[:,1])), shape=sizes(data))
    model.fit(rated, show_progress=False)
    p, q = torch.tensor(model.user_factors), torch.tensor(model.item_factors)
    return lambda users: p[users]@q.T


def als(data, seed, liked, **args):
    from implicit.als import AlternatingLeastSquares
    return implicit_scores(AlternatingLeastSquares(**args, use_gpu=False, num_threads=1, random_state=seed), data, liked)


def bpr(data, seed, liked, **args):
    from implicit.bpr import BayesianPersonalizedRanking
    return implicit_scores(BayesianPersonalizedRanking(**args, use_gpu=False, num_threads=1, random_state=seed), data, liked)


def judge(scores, data): return list_quality(scores, data.train[0], data.valid, K)


def best(make, grid:dict, inner)->dict:
    "The settings with the highest NDCG on the held-out part of the training ratings"
    settings = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    return max(settings, key=lambda s: judge(make(inner, **s), inner)[f'ndcg@{K}'])


def models(data, inner, seed):
    "Name, tuned settings and scores of each model"
    for liked,what in ((False, 'all ratings'), (True, 'ratings of at least 4')): yield f'popularity, {what}', {}, popularity(data, liked)
    rating, inner_rating = rating_model(data, seed), rating_model(inner, seed)
    yield 'predicted rating', {}, rating
    for name,make in (('pairs one by one', one_by_one), ('free diagonal', free_diagonal), ('EASE', by_ease),
                      ('EASE, ratings of at least 4', lambda data, l2: by_ease(data, l2, True))):
        chosen = best(make, {'l2': L2}, inner)
        yield name, chosen, make(data, **chosen)
        if name!='EASE': continue
        inner_choice, choice = by_ease(inner, **chosen), by_ease(data, **chosen)
        weight = best(lambda _, weight, c=inner_choice: both_scores(c, inner_rating, weight), {'weight': WEIGHTS}, inner)
        yield 'both', chosen | weight, both_scores(choice, rating, **weight)
    if not find_spec('implicit'): return
    for name,make,grid in (('implicit ALS', als, ALS), ('implicit BPR', bpr, BPR)):
        chosen = best(lambda data, make=make, **s: make(data, seed, **s), grid, inner)
        yield name, chosen, make(data, seed, **chosen)


def kept()->tuple[list[dict], dict, dict]:
    "Results, settings and versions of peers: stored ones where they cannot run here"
    if find_spec('implicit'): return [], {}, {'implicit': version('implicit')}
    if not (RESULTS/'choice.json').exists(): return [], {}, {}
    stored = json.loads((RESULTS/'choice.json').read_text(encoding='utf-8'))
    ours = {k: v for k,v in stored['about']['tuned'].items() if k.startswith('implicit')}
    return [r for r in stored['results'] if r['model'].startswith('implicit')], ours, stored['about']['peers']


def main()->None:
    torch.set_num_threads(1)
    ratings, (found, tuned, peers) = load_movielens().ratings, kept()
    for seed in tqdm(SEEDS, desc='seeds'):
        data = RatingsData.from_df(ratings, seed=seed)
        inner = inner_split(data, seed=seed)
        for name,chosen,scores in models(data, inner, seed):
            found += [record(name, metric, round(value, 4), seed) for metric,value in judge(scores, data).items()]
            if chosen: tuned.setdefault(name, []).append(chosen)
    save('choice', found, ('torch', 'numpy', 'pandas'), threads=1, batch_size=BS, tuned=tuned, peers=peers)


if __name__ == '__main__': main()
