"""Does Bayesian matrix factorization need less data, and are its intervals right? From 2,000 to 80,000 ratings of MovieLens-100K

Seed s means: split 80/20 with seed s, the first n of the training ratings in an order drawn with seed s, weights initialized with seed s. All
models see the same n ratings, predict the same 20,000 others, and their predictions are clipped to 1 … 5. "user and item biases" are damped means
by alternating least squares, with the strengths that Surprise's `BaselineOnly` has by default (10 for items, 15 for users). `DotProductBias` has the
lesson's recipe, with five weight decays. "who rated what" is `implicit=True`; "draws" are 200 from `sample_bayes`. The published folds and their metadata
are those of `field`. Seconds are those of one thread. `python benchmarks/bayes.py` takes about ten minutes; with `--ours`, three: the mean, the
biases and `DotProductBias` keep their stored results.
"""
import json
import sys
from time import process_time

import torch
from common import RESULTS, record, save
from scipy.stats import norm
from field import by_fold
from torch import Tensor
from tqdm import tqdm

from lesson8lib.baselines import rating_baselines
from lesson8lib.bayes import fit_bayes, sample_bayes
from lesson8lib.collab import DotProductBias, RatingsData, fit_ratings
from lesson8lib.data import load_movielens
from lesson8lib.training import new_generator

SEEDS, SIZES, DECAYS, LEVELS = range(5), [2000, 5000, 10_000, 20_000, 80_000], [.01, .03, .1, .3, 1.], [.5, .8, .9, .95]


def old(models:tuple[str, ...])->list[dict]:
    "Stored results"
    return [r for r in json.loads((RESULTS/'bayes.json').read_text(encoding='utf-8'))['results'] if r['model'] in models]


def rmse(prediction:Tensor, y:Tensor)->float: return round((prediction.clamp(1, 5)-y).square().mean().sqrt().item(), 4)


def peers(data:RatingsData, train:tuple[Tensor, Tensor], seed:int, n:int)->list[dict]:
    "The mean, damped biases, and the lesson's model with several weight decays"
    x, y = data.valid
    rules = rating_baselines(*train, len(data.users), len(data.items))
    found = [record(name, 'rmse', rmse(rules[name](x), y), seed, n=n) for name in ('mean', 'user and item biases')]
    for wd in DECAYS:
        model, _ = fit_ratings(data._replace(train=train, valid=None), DotProductBias, seed=seed, wd=wd, progress=False)
        with torch.no_grad(): found.append(record('DotProductBias', 'rmse', rmse(model.eval()(x), y), seed, n=n, wd=wd))
    return found


def timed(function, *args, **options):
    begun = process_time()
    return function(*args, **options), round(process_time()-begun, 2)


def ours(train:tuple[Tensor, Tensor], sizes:tuple[int, int], test:tuple[Tensor, Tensor], seed:int, setting:dict, meta:dict|None=None)->list[dict]:
    "With and without who rated what, approximated and by draws; with metadata, if there are any"
    found, (x, y) = [], test
    for implicit in (False, True):
        what = ', '.join(['metadata']*bool(meta) + ['who rated what']*implicit)
        fitted, seconds = timed(fit_bayes, *train, *sizes, seed=seed, implicit=implicit, **(meta or {}))
        drawn, more = timed(sample_bayes, fitted, *train, seed=seed, **(meta or {}))
        for name,model,took in (('fit_bayes', fitted, seconds), ('draws', drawn, seconds+more)):
            name, (mean, variance) = ', '.join([name]+[what]*bool(what)), model.predict(x)
            def add(metric, value, name=name, **more): found.append(record(name, metric, value, seed, **setting, **more))
            add('rmse', rmse(mean, y))
            add('seconds', round(took, 2), engine='numba')
            for quarter,rows in enumerate(variance.argsort().chunk(4), 1): add('rmse of a quarter', rmse(mean[rows], y[rows]), quarter=quarter)
            for level in LEVELS:
                inside = (mean-y).abs()<=norm.ppf(.5+level/2)*variance.sqrt()
                add('inside', round(inside.double().mean().item(), 4), level=level)
    return found


def main()->None:
    torch.set_num_threads(1)
    only, table = '--ours' in sys.argv, load_movielens().ratings
    found = old(('mean', 'user and item biases', 'DotProductBias')) if only else []
    for seed in tqdm(SEEDS, desc='seeds'):
        data = RatingsData.from_df(table, seed=seed)
        sizes, (pairs, ratings) = (len(data.users), len(data.items)), data.train
        order = torch.randperm(len(ratings), generator=new_generator(seed))
        for n in SIZES:
            train = pairs[order[:n]], ratings[order[:n]]
            if not only: found += peers(data, train, seed, n)
            for compiled in (False, True): fit_bayes(*train, *sizes, iterations=1, compiled=compiled, implicit=True)  # numba compiles
            found.append(record('fit_bayes', 'seconds', timed(fit_bayes, *train, *sizes, seed=seed, compiled=False)[1], seed, n=n, engine='PyTorch'))
            found += ours(train, sizes, data.valid, seed, {'n': n})
    for number in tqdm(range(1, 6), desc='folds'):
        fold = by_fold(0, number)
        train, test = ((torch.from_numpy(x), torch.from_numpy(y)) for x,y in ((fold.pairs, fold.ratings), (fold.test_pairs, fold.test_ratings)))
        for meta in ({}, fold.meta): found += ours(train, (fold.n_users, fold.n_items), test, 0, {'fold': number}, meta)
    save('bayes', found, ('torch', 'numpy', 'numba'), threads=1, factors=10)


if __name__ == '__main__': main()
