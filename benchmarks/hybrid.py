"""Ratings of MovieLens-100K: neural nets, products, both, with and without metadata, over five splits

Seed s means: split drawn with seed s, weights initialized with seed s. Batch and weight decay of the hybrids were chosen on a tenth of the
training rows of the splits with seeds 100 and 101. `python benchmarks/hybrid.py` takes some minutes.
"""
import time

import torch
from common import record, save
from torch import nn
from tqdm import tqdm

from lesson8lib.collab import DotProductBias, RatingsData
from lesson8lib.collab_nn import CollabNN, emb_sz_rule
from lesson8lib.hybrid import HybridCollab, Metadata
from lesson8lib.data import load_movielens
from lesson8lib.training import fit, new_generator

SEEDS = range(5)


class AtTheEntrance(nn.Module):
    "Dot product and biases, plus a net that is given both rows and the metadata side by side"
    def __init__(self, n_users, n_items, user_meta, item_meta, generator):
        super().__init__()
        self.product = DotProductBias(n_users, n_items, y_range=None, generator=generator)
        self.register_buffer('user_meta', user_meta)
        self.register_buffer('item_meta', item_meta)
        self.net = CollabNN((1, 50+user_meta.shape[1]), (1, 50+item_meta.shape[1]), (64,), p=.25, generator=generator).layers

    def forward(self, x):
        users, items = x.unbind(1)
        both = [self.product.user_factors[users], self.user_meta[users], self.product.item_factors[items], self.item_meta[items]]
        return torch.sigmoid(self.product(x) + self.net(torch.cat(both, 1)).squeeze(1))*5.5


def models(data, meta, generator)->dict:
    "Name -> model, arguments of `fit`"
    sizes = len(data.users), len(data.items)
    emb_szs = [(n, emb_sz_rule(n)) for n in sizes]
    known = dict(zip(('user_meta', 'item_meta'), meta, strict=True))
    return {
        'CollabNN': lambda: (CollabNN(*emb_szs, generator=generator), {'wd': .01}),
        'CollabNN, layers 100 and 50, batch norm': lambda: (CollabNN(*emb_szs, (100, 50), True, generator=generator), {}),
        'dot product and net, no metadata': lambda: (HybridCollab(*sizes, generator=generator), {'bs': 128, 'wd': .4}),
        'DotProductBias': lambda: (DotProductBias(*sizes, generator=generator), {}),
        'DotProductBias, as the hybrid is trained': lambda: (DotProductBias(*sizes, generator=generator), {'bs': 128, 'wd': .4}),
        'metadata as inputs of the network': lambda: (AtTheEntrance(*sizes, *meta, generator), {'wd': .2}),
        'HybridCollab, no network': lambda: (HybridCollab(*sizes, **known, n_hidden=0, generator=generator), {'bs': 128, 'wd': .3}),
        'HybridCollab': lambda: (HybridCollab(*sizes, **known, generator=generator), {'bs': 128, 'wd': .4}),
        'HybridCollab, implicit feedback': lambda: (HybridCollab(*sizes, **known, rated=data.train[0], generator=generator), {'bs': 256, 'wd': 1.}),
    }


def main()->None:
    torch.set_num_threads(1)
    tables, results = load_movielens(), []
    about = Metadata(tables.users, 'user', ['age', 'sex', 'occupation']), Metadata(tables.items, 'title', ['year', 'genres'])
    for seed in tqdm(SEEDS, desc='seeds'):  # all models in each round, so that a slow minute of the machine hits all
        data = RatingsData.from_df(tables.ratings, seed=seed)
        meta = [a.encode(table, vocab) for a,table,vocab in zip(about, tables[:0:-1], (data.users, data.items), strict=True)]
        for name in models(data, meta, None):
            model, args = models(data, meta, new_generator(seed))[name]()
            start = time.perf_counter()
            history = fit(model, data.train, data.valid, seed=seed, progress=False, **args)
            setting = {'bs': 64, 'wd': .1} | args
            measured = {'valid_mse': history.valid_loss.iloc[-1], 'seconds': time.perf_counter()-start}
            results += [record(name, metric, round(float(value), 4), seed, **setting) for metric,value in measured.items()]
    save('hybrid', results, ('torch', 'numpy', 'pandas'), threads=1)


if __name__ == '__main__': main()
