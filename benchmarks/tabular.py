"""Adult and Bikeshare: TabularModel, a random forest and boosted trees on the same tables and splits; and the time of one epoch beside fastai's

Seed s means: split drawn with seed s, weights initialized with seed s. The forest has the settings of the course's book, the boosted trees
scikit-learn's own, the net two layers of 200 and 100; its epochs, batch and rate, and the columns of Bikeshare, were chosen after a few runs with
seeds 0 and 1. Bikeshare has three splits: a fifth of the hours at random; October and November from the months before; and the same months
from those before *and* December, as the split of the course's bulldozers has it; and the second once more with the month in place of the
season. `python benchmarks/tabular.py` takes two minutes.
"""
import time
import warnings

import numpy as np
import torch
from common import record, save
from fastai.tabular.all import Categorify, CategoryBlock, FillMissing, Normalize, TabDataLoader, TabularPandas, tabular_learner
from fastai.torch_core import set_seed
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from lesson8lib.data import load_adult, load_bikeshare
from lesson8lib.tabular import TableData, TabularModel
from lesson8lib.training import accuracy, evaluate, fit, new_generator

SEEDS, LAYERS = range(5), [200, 100]
FOREST = {'n_estimators': 100, 'max_features': .5, 'min_samples_leaf': 5}
BIKE_CATS, BIKE_CONTS = ['hour', 'weekday', 'season', 'holiday', 'workingday', 'weather'], ['temp', 'feels', 'humidity', 'windspeed']
EPOCHS = {'adult': 3, 'bikeshare': 10}
BATCHES = {'adult': 512, 'bikeshare': 64}


def rmse(pred, y): return (pred-y).square().mean().sqrt()


def bike_tables(seed:int)->dict[str, TableData]:
    "The three splits, and the one by time with other columns"
    bikes = load_bikeshare()
    bikes['log_bikers'] = np.log(bikes['bikers'])
    before_december = bikes[bikes.month<12]
    def table(df, valid, cats=BIKE_CATS): return TableData(df, 'log_bikers', cats, BIKE_CONTS, valid=valid, seed=seed)
    def autumn(df): return np.flatnonzero(df.month.isin([10, 11]))
    return {'random': table(bikes, .2), 'time': table(before_december, autumn(before_december)), 'leak': table(bikes, autumn(bikes)),
            'time, by month': table(before_december, autumn(before_december), ['month' if c=='season' else c for c in BIKE_CATS])}


def scores(data:TableData, kind:str, seed:int)->dict[str, float]:
    "Accuracy (of classes) or RMSE (of numbers) on the validation rows"
    classes = data.labels is not None
    model = TabularModel(data.emb_szs, len(data.cont_names), data.out_sz, LAYERS, generator=new_generator(seed))
    loss, metric = (cross_entropy, accuracy) if classes else (torch.nn.functional.mse_loss, rmse)
    fit(model, data.train, data.valid, loss, epochs=EPOCHS[kind], lr=1e-2, bs=BATCHES[kind], seed=seed, progress=False)
    result = {'TabularModel': evaluate(model, data.valid, loss, [metric])[metric.__name__]}
    (x, y), (xv, yv) = ((np.concatenate([t[0], t[1]], 1), t[2].numpy()) for t in (data.train, data.valid))
    forest = (RandomForestClassifier if classes else RandomForestRegressor)(**FOREST, random_state=seed)
    boosted = (HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor)(categorical_features=range(len(data.cat_names)), random_state=seed)
    for name,trees in (('random forest', forest), ('boosted trees', boosted)):
        pred = trees.fit(x, y).predict(xv)
        result[name] = float((pred==yv).mean() if classes else ((pred-yv)**2).mean()**.5)
    return result


def seconds_ours(data:TableData, bs:int, seed:int)->float:
    model = TabularModel(data.emb_szs, len(data.cont_names), data.out_sz, LAYERS, generator=new_generator(seed))
    start = time.perf_counter()
    fit(model, data.train, data.valid, cross_entropy, epochs=1, lr=1e-3, wd=.01, bs=bs, seed=seed, progress=False)
    return time.perf_counter()-start


def seconds_fastai(adult, data:TableData, valid, bs:int, seed:int)->float:
    set_seed(seed, reproducible=True)
    valid = set(valid.tolist())
    splits = [i for i in range(len(adult)) if i not in valid], sorted(valid)
    table = TabularPandas(adult, [Categorify, FillMissing, Normalize], data.cat_names, data.cont_names, 'income', CategoryBlock(), splits=splits)
    learn = tabular_learner(table.dataloaders(bs=bs, dl_type=TabDataLoader), layers=LAYERS)  # the default would draw rows with replacement
    start = time.perf_counter()
    with learn.no_bar(), learn.no_logging(): learn.fit_one_cycle(1, 1e-3)
    return time.perf_counter()-start


def main()->None:
    warnings.filterwarnings('ignore')
    torch.set_num_threads(1)
    adult, found = load_adult(), []
    for seed in tqdm(SEEDS, desc='seeds'):  # all models in each round, so that a slow minute of the machine hits all
        data = TableData(adult, 'income', seed=seed)
        tables = {'adult': (data, 'adult')} | {f'bikeshare, {name}': (t, 'bikeshare') for name,t in bike_tables(seed).items()}
        for name,(table,kind) in tables.items():
            metric = 'rmse' if table.labels is None else 'accuracy'
            found += [record(model, metric, round(score, 4), seed, table=name) for model,score in scores(table, kind, seed).items()]
        order = torch.randperm(len(adult), generator=new_generator(seed))[:len(adult)//5]
        for bs in (64, 512):
            seconds = {'ours': seconds_ours(data, bs, seed), 'fastai': seconds_fastai(adult, data, order, bs, seed)}
            found += [record(model, 'epoch seconds', round(value, 4), seed, table='adult', bs=bs) for model,value in seconds.items()]
    save('tabular', found, ('torch', 'fastai', 'scikit-learn', 'numpy', 'pandas'), threads=1, layers=LAYERS)


if __name__ == '__main__': main()
