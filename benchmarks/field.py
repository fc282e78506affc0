"""The full field of recommenders: predicted ratings and lists of ten, from 2,000 ratings to a million

Settings. `n`: MovieLens-100K, split 80/20 with seeds 0 to 4, and the first n of the training ratings in an order drawn with the same seed, as in
bayes.py; items are titles. `fold`: the published folds u1 … u5; the test rows of fold i are rows (i-1)·20,000 … i·20,000 of u.data; items are item
numbers; here metadata may be used. `data`: the invented books of `make_books`, their rated rows split 80/20 with five seeds, and a million invented
ratings by 6,000 users of 4,000 items, one seed.

Measures. RMSE and MAE of predictions, clipped to the scale. Lists as `list_quality` judges them: candidates are all items that a user did not rate in
training, hits are test ratings of at least 4 (books: 8), recall divides by the number of hits, users without hits are left out. Models of ratings rank by
predicted rating, without clipping; models of lists give users without ratings the most popular items. Seconds are those of a fit alone, on one thread,
of the processor and of the clock.

What is called tuned was chosen from the grids below on a fifth of the training part, by RMSE, or by NDCG@10 for models of lists: with seed 0 of each
setting, for all its seeds; for the folds, on half of the next fifth, in folds 1 and 3; a million ratings take the choices of n=80000. Models of lists
may be given the high ratings only (`liked`: at least 4, books 8); that belongs to the grids. `tuned` in `about` holds the choices.

Libraries that are not installed are left out, and their stored results stay: no environment holds all (see requirements-*.txt).
`python benchmarks/field.py` runs all; `--only n=2000 fold` some settings, `--models myFM EASE` some models, `--tune` chooses anew.
"""
import os

for name in ('OMP', 'OPENBLAS', 'MKL', 'RAYON', 'LK'): os.environ[f'{name}_NUM_THREADS'] = '1'  # before the libraries are imported
os.environ |= {'LK_NUM_BACKEND_THREADS': '1', 'TQDM_DISABLE': '1'}
import argparse
import itertools
import json
import logging
import warnings
from collections.abc import Iterator
from functools import cache, partial
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import peers
import torch
from common import RESULTS, record, save
from peers import Split

from lesson8lib.choice import list_quality
from lesson8lib.collab import RatingsData
from lesson8lib.data import load_movielens, make_books, make_ratings
from lesson8lib.hybrid import Metadata
from lesson8lib.training import new_generator

SEEDS, SIZES, K = range(5), (2000, 5000, 10_000, 20_000, 80_000), 10


# ---- The field
class Model(NamedTuple):
    fit:Any # function of a `Split` and of settings -> predictions, from peers.py
    args:dict|None = {} # settings of the library's default; None if only the tuned model runs
    grid:dict|None = None # values to choose from, all combinations; None if there is no tuned model
    package:str = 'numpy' # what has to be installed
    measure:str = 'rmse' # by which the tuned model is chosen
    where:str = 'all' # 'all', 'folds', or 'small': all but the million


def lists(fit, package, **grid): return Model(fit, None, grid | {'liked': [False, True]}, package, f'ndcg@{K}')


@cache
def tables(): return load_movielens()


def info_tables()->dict: # metadata as a user of `Recommender` has them, with indices as IDs
    ratings, items, users = tables()
    data = RatingsData.from_df(ratings, item='item', valid_pct=0.)
    known = items.item.isin(ratings.item)
    return {'user_info': users[['user', 'age', 'sex', 'occupation']].assign(user=data.users.index(users.user).numpy()),
            'item_info': items[known][['item', 'year', 'genres']].assign(item=data.items.index(items.item[known]).numpy())}


BASELINES = {
    **{name: Model(partial(peers.rule, name=name)) for name in ('mean', 'user mean', 'item mean', 'user and item biases')},
    'popularity': Model(partial(peers.popularity, liked=False)), 'popularity, high ratings': Model(partial(peers.popularity, liked=True)),
}
OURS = {
    'lesson8lib Recommender': Model(peers.recommender, package='numba'),
    'lesson8lib Recommender, 200 draws': Model(partial(peers.recommender, draws=200), package='numba'),
    'lesson8lib Recommender, without who rated what': Model(partial(peers.recommender, implicit=False), package='numba', where='small'),
    'lesson8lib Recommender, metadata': Model(partial(peers.recommender, info=info_tables), package='numba', where='folds'),
    'lesson8lib Recommender, metadata, 200 draws': Model(partial(peers.recommender, info=info_tables, draws=200), package='numba', where='folds'),
    'lesson8lib fit_bayes': Model(peers.bayes, package='numba'),
    'lesson8lib DotProductBias, the lesson\'s recipe': Model(peers.dot_product, package='torch', where='small'),
    'lesson8lib HybridCollab': Model(partial(peers.hybrid, rated=False), {'bs': 128, 'wd': .4}, package='torch', where='folds'),
    'lesson8lib HybridCollab, implicit feedback': Model(partial(peers.hybrid, rated=True), {'bs': 256, 'wd': 1.}, package='torch', where='folds'),
    'lesson8lib HybridCollab, implicit feedback, mean of 5': Model(
        partial(peers.hybrid, rated=True, n_models=5), {'bs': 256, 'wd': 1.}, package='torch', where='folds'),
}
PEERS = {
    'Surprise BaselineOnly': Model(partial(peers.surprise, kind='BaselineOnly'), package='surprise'),
    'Surprise SVD': Model(partial(peers.surprise, kind='SVD'), package='surprise',
                          grid={'n_factors': [50, 200], 'reg_all': [.1, .2, .3], 'n_epochs': [20, 40], 'lr_all': [.01]}),
    'Surprise SVD++': Model(partial(peers.surprise, kind='SVDpp', cache_ratings=True), package='surprise', where='small',
                            grid={'reg_all': [.1, .2], 'n_epochs': [20, 40]}),
    'cmfrec': Model(peers.cmfrec, package='cmfrec', grid={'k': [10, 20, 40], 'lambda_': [4., 8., 12., 20.]}),
    'cmfrec, metadata and implicit feedback': Model(
        partial(peers.cmfrec, meta=True, add_implicit_features=True), None, package='cmfrec', where='folds',
        grid={'k': [40], 'lambda_': [8., 12.], 'w_user': [.5, 2.], 'w_item': [.5, 2.]}),
    'LensKit biased MF': Model(peers.lenskit, package='lenskit',
                               grid={'embedding_size': [25, 100], 'regularization': [.15, .3, .6, 1.]}),
    'myFM': Model(peers.myfm, package='myfm', grid={'rank': [5, 10, 20], 'n_iter': [200]}),
    'myFM, metadata': Model(partial(peers.myfm, meta=True), None, {'rank': [10, 20], 'n_iter': [200]}, 'myfm', where='folds'),
    'myFM, metadata and implicit feedback': Model(
        partial(peers.myfm, meta=True, rated=True), None, {'rank': [5, 10, 20], 'n_iter': [200]}, 'myfm', where='folds'),
    'fastai, the lesson\'s recipe': Model(peers.fastai, package='fastai', where='small'),
    'implicit ALS': lists(partial(peers.implicit, kind='ALS'), 'cmfrec',  # beside cmfrec: RecTools brings a fork of implicit
                          factors=[32, 64], regularization=[10, 50], alpha=[2, 10], iterations=[15]),
    'implicit BPR': lists(partial(peers.implicit, kind='BPR'), 'cmfrec',
                          factors=[16, 64], learning_rate=[.01, .05], regularization=[.01, .1], iterations=[100]),
    'LightFM': lists(peers.lightfm, 'lightfm', loss=['warp'], no_components=[20, 60], learning_rate=[.01, .03], epochs=[10, 30]),
    'RecTools EASE': lists(peers.rectools_ease, 'rectools', regularization=[20, 100, 300, 700, 1500]),
}
MODELS = BASELINES | OURS | PEERS
DISTRIBUTIONS = {'surprise': 'scikit-surprise', 'lightfm': 'lightfm-next', 'cmfrec': 'cmfrec', 'lenskit': 'lenskit', 'myfm': 'myfm', 'fastai': 'fastai',
                 'rectools': 'rectools', 'numba': 'numba'}
NAMES = [name for base,m in MODELS.items() for name in ([base] if m.args is not None else []) + ([f'{base}, tuned'] if m.grid else [])]


# ---- The data
def split_of(data:RatingsData, seed:int, scale, relevant, rows=slice(None))->Split:
    (pairs, ratings), (test, values) = data.train, data.valid
    arrays = pairs[rows].numpy(), ratings[rows].double().numpy(), test.numpy(), values.double().numpy()
    return Split(*arrays, len(data.users), len(data.items), scale, relevant, seed, {}, {})


def by_size(seed, n):
    data = RatingsData.from_df(tables().ratings, seed=seed)
    order = torch.randperm(len(data.train[1]), generator=new_generator(seed))
    return split_of(data, seed, (1, 5), 4, order[:n])


@cache
def all_rows():
    ratings, items, users = tables()
    data = RatingsData.from_df(ratings, item='item', valid_pct=0.)
    pairs = torch.stack([data.users.index(ratings.user), data.items.index(ratings.item)], 1).numpy()
    meta = {'user_meta': Metadata(users, 'user', ['age', 'sex', 'occupation']).encode(users, data.users),
            'item_meta': Metadata(items, 'item', ['year', 'genres']).encode(items, data.items)}
    return pairs, ratings.rating.to_numpy(dtype='float64'), (len(data.users), len(data.items)), meta


def by_fold(seed, fold, inner=False):
    "With `inner`, half of the next fifth is held out of the training part"
    pairs, ratings, sizes, meta = all_rows()
    rows = np.arange(len(ratings))
    test, train = rows//20_000+1==fold, rows//20_000+1!=fold
    if inner:
        test = (rows//20_000==fold%5) & (rows%20_000<10_000)
        train &= ~test
    return Split(pairs[train], ratings[train], pairs[test], ratings[test], *sizes, (1, 5), 4, seed, meta, {})


def by_name(seed, data):
    if data=='million': return split_of(RatingsData.from_df(make_ratings(1_000_000, 6000, 4000), item='item', seed=seed), seed, (1, 5), 4)
    rows = make_books().ratings
    columns = {'user': 'User-ID', 'item': 'ISBN', 'rating': 'Book-Rating'}
    return split_of(RatingsData.from_df(rows[rows['Book-Rating']>0], **columns, seed=seed), seed, (1, 10), 8)


def inner_split(split:Split)->Split:
    "A fifth of the training part is held out"
    order = np.random.default_rng(0).permutation(len(split.ratings))
    test, train = np.split(order, [len(order)//5])
    return split._replace(pairs=split.pairs[train], ratings=split.ratings[train], test_pairs=split.pairs[test], test_ratings=split.ratings[test])


def settings()->dict[str, tuple[dict, Any, list[int]]]: # name -> what is recorded, maker of a split, seeds
    found = {f'n={n}': ({'n': n}, partial(by_size, n=n), list(SEEDS)) for n in SIZES}
    found['data=books'] = {'data': 'books'}, partial(by_name, data='books'), list(SEEDS)
    found |= {f'fold={k}': ({'fold': k}, partial(by_fold, fold=k), [0]) for k in range(1, 6)}
    return found | {'data=million': ({'data': 'million'}, partial(by_name, data='million'), [0])}


def shared(name:str)->str: # where settings are chosen once; a million ratings take those of 80,000
    return 'folds' if name.startswith('fold') else {'data=million': 'n=80000'}.get(name, name)


def runs_on(model:Model, name:str)->bool:
    if find_spec(model.package) is None: return False
    return model.where=='all' or (name.startswith('fold') if model.where=='folds' else name!='data=million')


# ---- Measures, and the choice of settings
def judge(found, split:Split)->dict[str, float]:
    out = {}
    if hasattr(found, 'predict'):
        error = found.predict(split.test_pairs).clip(*split.scale)-split.test_ratings
        out |= {'rmse': (error**2).mean()**.5, 'mae': np.abs(error).mean()}
    def scores(users): return torch.from_numpy(np.ascontiguousarray(found.scores(users.numpy()), dtype=np.float64))
    if np.ptp(found.scores(split.test_pairs[:50,0])[:,1:], axis=1).any():  # means of all or of users rank nothing
        test = torch.from_numpy(split.test_pairs), torch.from_numpy(split.test_ratings)
        out |= list_quality(scores, torch.from_numpy(split.pairs), test, K, split.relevant)
    return {metric: float(value) for metric,value in out.items()}


def error_of(model:Model, args:dict, inner:list[Split])->float:
    "What `tune` minimizes"
    def one(split):
        found = model.fit(split, **args)
        if model.measure!='rmse': return -judge(found, split)[model.measure]
        return float(((found.predict(split.test_pairs).clip(*split.scale)-split.test_ratings)**2).mean())**.5
    return float(np.mean([one(split) for split in inner]))


def tune(model:Model, name:str, make)->dict:
    inner = [by_fold(0, fold, inner=True) for fold in (1, 3)] if name.startswith('fold') else [inner_split(make(0))]
    choices = [dict(zip(model.grid, values, strict=True)) for values in itertools.product(*model.grid.values())]
    if len(choices)==1: return choices[0]
    return min(choices, key=lambda args: error_of(model, args, inner))


# ---- Running, and storing
def stored()->dict:
    file = RESULTS/'field.json'
    return json.loads(file.read_text(encoding='utf-8')) if file.exists() else {'results': [], 'about': {'versions': {}, 'tuned': {}}}


def store(found:list[dict], tuned:dict, packages:set[str])->None:
    "Replace the records of the same model, setting and seed; keep all others of models that still exist"
    old = stored()
    def key(r): return r['model'], str(r['setting']), r['seed']
    new = {key(r) for r in found}
    kept = [r for r in old['results'] if key(r) not in new and r['model'] in NAMES]
    order = [str(setting) for setting,*_ in settings().values()]
    rows = sorted(kept+found, key=lambda r: (order.index(str(r['setting'])), NAMES.index(r['model']), r['seed']))
    here = [DISTRIBUTIONS[p] for p in packages if p in DISTRIBUTIONS] + ['implicit']*('cmfrec' in packages)
    versions = {p: version(p) for p in ('torch', 'numpy')} | old['about']['versions'] | {p: version(p) for p in here}
    save('field', rows, ('torch', 'numpy'), threads=1, tuned=tuned, versions=versions)


def run(name:str, chosen:dict[str, Model], tuned:dict)->Iterator[list[dict]]:
    "The records of one setting, seed by seed; all models on each split in turn, so that a slow minute hits all"
    setting, make, seeds = settings()[name]
    choices = tuned.setdefault(shared(name), {})
    here = {base: model for base,model in chosen.items() if runs_on(model, name)}
    for seed in seeds:
        split, found = make(seed), []
        for base,model in here.items():
            if model.grid and base not in choices: choices[base] = tune(model, name, make)
            variants = ([(base, model.args)] if model.args is not None else []) + ([(f'{base}, tuned', choices[base])] if model.grid else [])
            for label,args in variants:
                values = judge(model.fit(split, **args), split) | split.seconds
                found += [record(label, metric, round(value, 3 if 'seconds' in metric else 4), seed, **setting) for metric,value in values.items()]
                print(name, seed, label, {m: round(v, 4) for m,v in values.items()}, flush=True)
        yield found


def main()->None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--only', nargs='*', default=[''], help='settings, by the start of their names')
    parser.add_argument('--models', nargs='*', default=[''], help='models, by the start of their names')
    parser.add_argument('--tune', action='store_true', help='choose settings anew')
    args = parser.parse_args()
    chosen = {name: m for name,m in MODELS.items() if any(name.startswith(start) for start in args.models)}
    packages = {m.package for m in chosen.values() if find_spec(m.package)}
    for name in settings():
        if not any(name.startswith(start) for start in args.only): continue
        tuned = stored()['about']['tuned']
        if args.tune and name not in ('fold=2', 'fold=3', 'fold=4', 'fold=5'):
            for base in chosen: tuned.get(shared(name), {}).pop(base, None)
        for found in run(name, chosen, tuned): store(found, tuned, packages)


if __name__ == '__main__':
    warnings.filterwarnings('ignore')
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    main()
