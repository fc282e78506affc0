"""Does Bayesian matrix factorization need less data, and are its intervals right? From 2,000 to 80,000 ratings of MovieLens-100K

Seed s means: split 80/20 with seed s, the first n of the training ratings in an order drawn with seed s, weights initialized with seed s. All
models see the same n ratings, predict the same 20,000 others, and their predictions are clipped to 1 … 5. "user and item biases" are damped means
by alternating least squares, with the strengths that Surprise's `BaselineOnly` has by default (10 for items, 15 for users). `DotProductBias` has the
lesson's recipe, with five weight decays. Seconds are those of one thread. `python benchmarks/bayes.py` takes about seven minutes.
"""
from time import process_time

import torch
from common import record, save
from scipy.stats import norm
from torch import Tensor
from tqdm import tqdm

from lesson8lib.bayes import fit_bayes
from lesson8lib.collab import DotProductBias, RatingsData, fit_ratings
from lesson8lib.data import load_movielens
from lesson8lib.training import new_generator

SEEDS, SIZES, DECAYS, LEVELS = range(5), [2000, 5000, 10_000, 20_000, 80_000], [.01, .03, .1, .3, 1.], [.5, .8, .9, .95]


def biases(pairs:Tensor, ratings:Tensor, n_users:int, n_items:int)->tuple[Tensor, Tensor]:
    "Damped means of users and of items, given each other"
    users, items = pairs.unbind(1)
    left, u, i = ratings-ratings.mean(), torch.zeros(n_users), torch.zeros(n_items)
    for _ in range(10):
        for own,other,index,ids,damp in ((i, u, items, users, 10), (u, i, users, items, 15)):
            total = torch.zeros_like(own).index_add(0, index, left-other[ids])
            own.copy_(total/(torch.bincount(index, minlength=len(own))+damp))
    return u, i


def main()->None:
    torch.set_num_threads(1)
    table, found = load_movielens().ratings, []
    for seed in tqdm(SEEDS, desc='seeds'):
        data = RatingsData.from_df(table, seed=seed)
        sizes, (pairs, ratings), (x, y) = (len(data.users), len(data.items)), data.train, data.valid
        order = torch.randperm(len(ratings), generator=new_generator(seed))
        for n in SIZES:
            train = pairs[order[:n]], ratings[order[:n]]
            def add(model, prediction, metric='rmse', rows=slice(None), n=n, y=y, seed=seed, **setting):
                value = (prediction.clamp(1, 5)-y)[rows].square().mean().sqrt().item()
                found.append(record(model, metric, round(value, 4), seed, n=n, **setting))
            add('mean', train[1].mean().expand(len(y)))
            u, i = biases(*train, *sizes)
            add('user and item biases', train[1].mean() + u[x[:,0]] + i[x[:,1]])
            for wd in DECAYS:
                model, _ = fit_ratings(data._replace(train=train, valid=None), DotProductBias, seed=seed, wd=wd, progress=False)
                with torch.no_grad(): add('DotProductBias', model.eval()(x), wd=wd)
            for compiled,engine in ((False, 'PyTorch'), (True, 'numba')):
                fit_bayes(*train, *sizes, iterations=1, compiled=compiled)  # numba compiles
                begun = process_time()
                fitted = fit_bayes(*train, *sizes, seed=seed, compiled=compiled)
                found.append(record('fit_bayes', 'seconds', round(process_time()-begun, 2), seed, n=n, engine=engine))
            mean, variance = fitted.predict(x)
            add('fit_bayes', mean)
            order_of_width = variance.argsort()
            for quarter,rows in enumerate(order_of_width.chunk(4), 1): add('fit_bayes', mean, 'rmse of a quarter', rows, quarter=quarter)
            for level in LEVELS:
                inside = (mean-y).abs()<=norm.ppf(.5+level/2)*variance.sqrt()
                found.append(record('fit_bayes', 'inside', round(inside.double().mean().item(), 4), seed, n=n, level=level))
    save('bayes', found, ('torch', 'numpy', 'numba'), threads=1, factors=10)


if __name__ == '__main__': main()
