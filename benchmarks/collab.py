"""Ratings of MovieLens-100K: our models beside fastai's, quality over seeds and time of one training

Seed s means: split drawn with seed s, weights initialized with seed s. All share the lesson's recipe unless the name says otherwise:
50 factors, y_range (0, 5.5), 5 epochs, lr 5e-3, wd .1, batch 64. `python benchmarks/collab.py` takes some minutes.
"""
import time
import warnings

import torch
from common import save
from fastai.collab import CollabDataLoaders, collab_learner
from fastai.tabular.core import TabDataLoader
from fastai.torch_core import set_seed
from tqdm import tqdm

from lesson8lib.collab import DotProduct, DotProductBias, RatingsData
from lesson8lib.data import load_movielens
from lesson8lib.training import fit

SEEDS = range(5)
OURS = {  # name -> model, its arguments, arguments of fit
    'DotProduct, no range, wd .01': (DotProduct, {'y_range': None}, {'wd': .01}),  # fastai's default, and so the lesson's
    'DotProduct, wd .01': (DotProduct, {'y_range': (0, 5.5)}, {'wd': .01}),
    'DotProductBias, wd 0': (DotProductBias, {}, {'wd': 0.}),
    'DotProductBias, wd .01': (DotProductBias, {}, {'wd': .01}),
    'DotProductBias': (DotProductBias, {}, {}),
    'DotProductBias, batch 256': (DotProductBias, {}, {'bs': 256}),
    'DotProductBias, batch 512': (DotProductBias, {}, {'bs': 512}),
    'DotProductBias, batch 1024': (DotProductBias, {}, {'bs': 1024}),
}
FASTAI = {'collab_learner, every row': {'dl_type': TabDataLoader}, 'collab_learner, as called in the lesson': {}}


def run_ours(ratings, seed:int, model_class, model_args:dict, fit_args:dict)->tuple[float, float]:
    data = RatingsData.from_df(ratings, seed=seed)
    model = model_class(len(data.users), len(data.items), generator=torch.Generator().manual_seed(seed), **model_args)
    start = time.perf_counter()
    history = fit(model, data.train, data.valid, seed=seed, progress=False, **fit_args)
    return history.valid_loss.iloc[-1], time.perf_counter()-start


def run_fastai(ratings, seed:int, loader_args:dict)->tuple[float, float]:
    set_seed(seed, reproducible=True)  # before the loader is made, which draws the seed of its shuffling
    dls = CollabDataLoaders.from_df(ratings, user_name='user', item_name='title', rating_name='rating', seed=seed, bs=64, **loader_args)
    learn = collab_learner(dls, n_factors=50, y_range=(0, 5.5))
    start = time.perf_counter()
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(5, 5e-3, wd=.1)
    seconds = time.perf_counter()-start
    return float(learn.recorder.values[-1][1]), seconds


def main()->None:
    warnings.filterwarnings('ignore')
    torch.set_num_threads(1)  # for all alike: at batch 64 a second thread helps nobody
    ratings = load_movielens().ratings
    results = {name: {'valid_mse': [], 'seconds': []} for name in (*OURS, *FASTAI)}
    for seed in tqdm(SEEDS, desc='seeds'):  # all models in each round, so that a slow minute of the machine hits all
        for name,args in OURS.items(): _add(results[name], run_ours(ratings, seed, *args))
        for name,args in FASTAI.items(): _add(results[name], run_fastai(ratings, seed, args))
    save('collab', {'seeds': list(SEEDS), 'threads': 1, 'models': results})


def _add(result:dict, run:tuple[float, float])->None:
    for key,value in zip(('valid_mse', 'seconds'), run, strict=True): result[key].append(round(value, 4))


if __name__ == '__main__': main()
