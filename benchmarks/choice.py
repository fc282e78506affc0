"""Lists of ten items, judged by what people went on to rate highly: popularity, predicted ratings, EASE, ALS, sums of them, and two models of implicit

MovieLens-100K, split 80/20 at random with seeds 0 to 4. Candidates are all items that the user did not rate in training; hits are test ratings of at
least 4, with gain 1 and discount 1/log2(1+position); the ideal list is cut at min(10, hits); recall divides by the number of hits; users without hits
are left out. `tuned` in `about` holds the settings chosen for each seed inside the training part, on a fifth of it. For the models of implicit, that
includes the choice between all ratings and those of at least 4 (with confidences that grow with the stars in the grid, too, ALS reaches .376). What
carries no such settings runs at its defaults. Records with a setting `train` come from fewer training ratings, or from `planted` ratings of 1 to 10
(3,000 items, hits from 8). Where implicit is not installed (see requirements-peers.txt), its stored results stay. `python benchmarks/choice.py` takes
20 minutes, half of it without implicit.
"""
import itertools
import json
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np
import torch
from common import RESULTS, record, save
from tqdm import tqdm

from lesson8lib.bayes import fit_bayes
from lesson8lib.choice import (
    blend_scores,
    both_scores,
    choice_scores,
    ease,
    factor_scores,
    implicit_als,
    inner_split,
    list_quality,
    popularity_scores,
    rating_scores,
    star_values,
)
from lesson8lib.collab import DotProductBias, RatingsData, fit_ratings
from lesson8lib.data import load_movielens

SEEDS, K, BS = range(5), 10, 512
L2 = [5, 10, 30, 50, 100, 200, 300, 500, 700, 1000, 1500]
ALS = dict(factors=[32, 64], regularization=[10, 30, 50, 100], alpha=[1, 5, 10, 20], iterations=[15], liked=[False, True])
BPR = dict(factors=[16, 64], learning_rate=[.01, .05], regularization=[.01, .1], iterations=[100], liked=[False, True])
OURS = dict(l2=[.35, .5, .7], alpha=[.1, .2, .4])


def pairs_of(data, liked:bool): return data.train[0][data.train[1]>=4] if liked else data.train[0]


def sizes(data): return len(data.users), len(data.items)


def popularity(data, liked): return popularity_scores(pairs_of(data, liked), len(data.items))


def table(data, values=1.):
    "Users × items, 0 where there is no rating"
    rated = torch.zeros(sizes(data), dtype=torch.float64)
    rated[data.train[0][:,0],data.train[0][:,1]] = torch.as_tensor(values, dtype=torch.float64)
    return rated


def steck(data, l2, values=1.):
    "EASE as published: no intercepts, each user counts the same"
    rated = table(data, values)
    inverse = torch.linalg.inv(rated.T@rated + l2*torch.eye(rated.shape[1], dtype=torch.float64))
    scores = (rated@(-inverse/inverse.diag()).fill_diagonal_(0)).float()
    return lambda users: scores[users]


def steck_liked(data, l2): return steck(data, l2, (data.train[1]>=4).double())


def steck_stars(data, l2): return steck(data, l2, star_values(data.train[1]))


def ours(data, l2=400.):
    values = star_values(data.train[1])
    return choice_scores(ease(data.train[0], *sizes(data), l2, values), data.train[0], values)


def our_als(data, **args): return factor_scores(*implicit_als(data.train[0], *sizes(data), values=star_values(data.train[1]), **args))


def bayes_ratings(data):
    factors = fit_bayes(data.train[0], data.train[1].double(), *sizes(data))
    x, y = factors.user_mean, factors.item_mean
    return lambda users: (factors.mu + x[users,:-1]@y[:,:-1].T + x[users,-1:] + y[:,-1]).float()


def gram(data): return table(data).float().T @ table(data).float()


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


def planted(seed:int, n_users:int=2000, n_items:int=3000, n:int=16_250, k:int=6)->RatingsData:
    "Invented ratings of 1 to 10: people choose what is popular and what fits their taste, and rate it by taste and quality. 13,000 for training"
    g = np.random.default_rng(seed)
    taste, topic = g.dirichlet(np.full(k, .3), n_users), g.dirichlet(np.full(k, .3), n_items)
    quality, kind, fit = g.normal(0, .7, n_items), g.normal(0, .6, n_users), taste@topic.T
    log_p = g.lognormal(0, 1.3, n_items)*np.exp(4*fit + .4*quality)
    log_p = np.log(log_p/log_p.sum(1, keepdims=True)*g.lognormal(0, 1, n_users)[:,None])
    rows = np.argpartition(-(log_p+g.gumbel(size=log_p.shape)).ravel(), n)[:n]  # n different pairs, drawn with these probabilities
    g.shuffle(rows)
    users, items = rows//n_items, rows%n_items
    stars = 6.8 + 1.7*(kind[users] + quality[items] + 2*(fit[users,items]-.3) + g.normal(0, .9, n))
    pairs, stars = torch.from_numpy(np.stack([users+1, items+1], 1)), torch.from_numpy(stars.round().clip(1, 10)).float()
    first = n*4//5
    return RatingsData(range(n_users+1), range(n_items+1), (pairs[:first], stars[:first]), (pairs[first:], stars[first:]))


def judge(scores, data, relevant=4.): return list_quality(scores, data.train[0], data.valid, K, relevant)


def best(make, grid:dict, inner, relevant=4.)->dict:
    "The settings with the highest NDCG on the held-out part of the training ratings"
    settings = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    return max(settings, key=lambda s: judge(make(inner, **s), inner, relevant)[f'ndcg@{K}'])


def without_settings(data):
    "Our models at their defaults; for ease and implicit_als also what tuning would choose"
    by_ease, by_als, ratings = ours(data), our_als(data), bayes_ratings(data)
    unit = float(data.train[1].std(correction=0))
    blend = blend_scores(by_ease, by_als)
    yield from (('ease', by_ease), ('implicit_als', by_als), ('ease + implicit_als', blend), ('both', both_scores(blend, ratings, unit)))


def tuned_ours(data, inner, relevant=4.):
    for name,make,grid in (('ease, tuned', ours, {'l2': [100, 200, 400, 800, 1600]}), ('implicit_als, tuned', our_als, OURS)):
        chosen = best(make, grid, inner, relevant)
        yield name, chosen, make(data, **chosen)


def models(data, inner, seed):
    "Name, tuned settings and scores of each model"
    for liked,what in ((False, 'all ratings'), (True, 'ratings of at least 4')): yield f'popularity, {what}', {}, popularity(data, liked)
    yield 'predicted rating', {}, rating_scores(fit_ratings(data, DotProductBias, seed=seed, bs=BS, progress=False)[0])
    yield 'predicted rating, Bayes', {}, bayes_ratings(data)
    for name,make in (('pairs one by one', one_by_one), ('free diagonal', free_diagonal), ('EASE', steck),
                      ('EASE, ratings of at least 4', steck_liked), ('EASE, stars', steck_stars)):
        chosen = best(make, {'l2': L2}, inner)
        yield name, chosen, make(data, **chosen)
    for name,scores in without_settings(data): yield name, {}, scores
    yield from tuned_ours(data, inner)
    if not find_spec('implicit'): return
    for name,make,grid in (('implicit ALS', als, ALS), ('implicit BPR', bpr, BPR)):
        chosen = best(lambda data, make=make, **s: make(data, seed, **s), grid, inner)
        yield name, chosen, make(data, seed, **chosen)


def fewer(data, n:int, seed:int):
    rows = torch.randperm(len(data.train[0]), generator=torch.Generator().manual_seed(seed))[:n]
    return data._replace(train=tuple(t[rows] for t in data.train))


def other_sizes(data, seed):
    "Name of the data, name of the model, quality"
    for what,part,relevant in (('5,000', fewer(data, 5000, seed), 4.), ('20,000', fewer(data, 20_000, seed), 4.), ('planted', planted(seed), 8.)):
        inner = inner_split(part, seed=seed)
        liked = part.train[0][part.train[1]>=relevant]
        yield what, 'popularity, all ratings', judge(popularity(part, False), part, relevant)
        yield what, 'popularity, ratings of at least 4', judge(popularity_scores(liked, len(part.items)), part, relevant)
        for name,scores in without_settings(part): yield what, name, judge(scores, part, relevant)
        name, _, scores = next(tuned_ours(part, inner, relevant))
        yield what, name, judge(scores, part, relevant)


def kept()->tuple[list[dict], dict, dict]:
    "Results, settings and versions of peers: stored ones where they cannot run here"
    if find_spec('implicit'): return [], {}, {'implicit': version('implicit')}
    if not (RESULTS/'choice.json').exists(): return [], {}, {}
    stored = json.loads((RESULTS/'choice.json').read_text(encoding='utf-8'))
    ours = {k: v for k,v in stored['about']['tuned'].items() if k.startswith('implicit ')}
    return [r for r in stored['results'] if r['model'].startswith('implicit ')], ours, stored['about']['peers']


def main()->None:
    torch.set_num_threads(1)
    ratings, (found, tuned, peers) = load_movielens().ratings, kept()
    for seed in tqdm(SEEDS, desc='seeds'):
        data = RatingsData.from_df(ratings, seed=seed)
        inner = inner_split(data, seed=seed)
        for name,chosen,scores in models(data, inner, seed):
            found += [record(name, metric, round(value, 4), seed) for metric,value in judge(scores, data).items()]
            if chosen: tuned.setdefault(name, []).append(chosen)
        for what,name,quality in other_sizes(data, seed):
            found += [record(name, metric, round(value, 4), seed, train=what) for metric,value in quality.items()]
    save('choice', found, ('torch', 'numpy', 'pandas'), threads=1, batch_size=BS, tuned=tuned, peers=peers)


if __name__ == '__main__': main()
