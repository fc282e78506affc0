"""Ratings of MovieLens-100K: our models beside fastai's, quality over seeds and time of one training

Seed s means: split drawn with seed s, weights initialized with seed s. All share the lesson's recipe, which is that of
`fit_ratings`, unless the name says otherwise. `python benchmarks/collab.py` takes some minutes.
"""
import time
import warnings
from functools import partial

import torch
from common import record, save
from fastai.collab import CollabDataLoaders, collab_learner
from fastai.metrics import mae
from fastai.tabular.core import TabDataLoader
from fastai.torch_core import set_seed
from torch.nn.functional import l1_loss
from tqdm import tqdm

from lesson8lib.collab import DotProduct, DotProductBias, RatingsData, fit_ratings
from lesson8lib.data import load_movielens

SEEDS = range(5)
OURS = {  # name -> model, weight decay, batch size
    'DotProduct, no range, wd .01': (DotProduct, .01, 64),  # fastai's default of wd, and so the lesson's
    'DotProduct, wd .01': (partial(DotProduct, y_range=(0, 5.5)), .01, 64),
    'DotProductBias, wd 0': (DotProductBias, 0., 64),
    'DotProductBias, wd .01': (DotProductBias, .01, 64),
    'DotProductBias': (DotProductBias, .1, 64),
    'DotProductBias, batch 256': (DotProductBias, .1, 256),
    'DotProductBias, batch 512': (DotProductBias, .1, 512),
    'DotProductBias, batch 1024': (DotProductBias, .1, 1024),
}
FASTAI = {'collab_learner, every row': {'dl_type': TabDataLoader}, 'collab_learner, as called in the lesson': {}}


def run_ours(ratings, seed:int, make_model, wd:float, bs:int)->dict[str, float]:
    data = RatingsData.from_df(ratings, seed=seed)
    start = time.perf_counter()
    _, history = fit_ratings(data, make_model, seed, wd=wd, bs=bs, metrics=[l1_loss], progress=False)
    seconds, last = time.perf_counter()-start, history.iloc[-1]
    return {'valid_mse': last.valid_loss, 'valid_mae': last.l1_loss, 'seconds': seconds}


def run_fastai(ratings, seed:int, loader_args:dict)->dict[str, float]:
    set_seed(seed, reproducible=True)  # before the loader is made, which draws the seed of its shuffling
    dls = CollabDataLoaders.from_df(ratings, user_name='user', item_name='title', rating_name='rating', seed=seed, bs=64, **loader_args)
    learn = collab_learner(dls, n_factors=50, y_range=(0, 5.5), metrics=[mae])
    start = time.perf_counter()
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(5, 5e-3, wd=.1)
    seconds = time.perf_counter()-start
    _, valid_mse, valid_mae = learn.recorder.values[-1]
    return {'valid_mse': float(valid_mse), 'valid_mae': float(valid_mae), 'seconds': seconds}


def main()->None:
    warnings.filterwarnings('ignore')
    torch.set_num_threads(1)  # for all alike: at batch 64 a second thread makes nothing faster
    ratings, records = load_movielens().ratings, []
    for seed in tqdm(SEEDS, desc='seeds'):  # all models in each round, so that a slow minute of the machine hits all
        runs = {name: (run_ours(ratings, seed, *args), *args[1:]) for name,args in OURS.items()}
        runs |= {name: (run_fastai(ratings, seed, args), .1, 64) for name,args in FASTAI.items()}
        records += [record(name, metric, round(value, 4), seed, wd=wd, bs=bs)
                    for name,(run,wd,bs) in runs.items() for metric,value in run.items()]
    order = [*OURS, *FASTAI]
    save('collab', sorted(records, key=lambda r: order.index(r['model'])), threads=1)


if __name__ == '__main__': main()
