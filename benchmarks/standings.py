"""RMSE on the published folds u1 … u5 of MovieLens-100K: our models beside five other libraries, with the time of a training, on one thread

The test rows of fold i are rows (i-1)·20,000 … i·20,000 of u.data. Items are item numbers, as published; predictions are clipped to 1 … 5, for
all alike. What is called tuned was chosen by `--tune`: the grids below, on rows set aside inside the training parts of folds 1 and 3.
Libraries that are not installed are left out, and their stored results stay: no environment holds them all (see requirements-*.txt).
`python benchmarks/standings.py` takes a quarter of an hour, `--tune` more.
"""
import os

for name in ('OMP', 'OPENBLAS', 'MKL', 'RAYON', 'LK'): os.environ[f'{name}_NUM_THREADS'] = '1'  # before the libraries are imported
os.environ['LK_NUM_BACKEND_THREADS'] = '1'
import itertools
import json
import sys
import time
import warnings
from importlib.metadata import version
from importlib.util import find_spec
from types import SimpleNamespace

import numpy as np
import pandas as pd
import torch
from common import RESULTS, record, save
from tqdm import tqdm

from lesson8lib.collab import DotProductBias, RatingsData
from lesson8lib.hybrid import HybridCollab, Metadata
from lesson8lib.data import load_movielens
from lesson8lib.training import fit, new_generator


def table(fold): return pd.DataFrame({'user': fold.x[:,0], 'item': fold.x[:,1], 'rating': fold.y})


# ---- The models: function of a fold and of arguments -> predictions for its test rows
def ours(fold, model_class=HybridCollab, rated=True, n_models=1, **fit_args):
    "Mean prediction of `n_models` models that differ in their seed"
    def one(seed):
        known = {} if model_class is DotProductBias else {'rated': fold.x if rated else None, **fold.meta}
        model = model_class(fold.n_users, fold.n_items, **known, generator=new_generator(seed))
        fit(model, (fold.x, fold.y), seed=seed, progress=False, **fit_args)
        with torch.no_grad(): return torch.cat([model.eval()(x) for x in fold.test_x.split(8192)])
    return torch.stack([one(seed) for seed in range(n_models)]).mean(0).numpy()


def run_surprise(fold, kind, **args):
    import surprise
    train = surprise.Dataset.load_from_df(table(fold), surprise.Reader(rating_scale=(1, 5))).build_full_trainset()
    model = getattr(surprise, kind)(random_state=0, **args).fit(train)
    return np.array([model.predict(u, i).est for u,i in fold.test_x.tolist()])


def run_cmfrec(fold, meta=False, **args):
    import cmfrec
    df = table(fold).set_axis(['UserId', 'ItemId', 'Rating'], axis=1)
    side = {}
    if meta:
        for key,id_,meta_table,rows in (('U', 'UserId', fold.meta['user_meta'], fold.x[:,0]), ('I', 'ItemId', fold.meta['item_meta'], fold.x[:,1])):
            seen = rows.unique()
            side[key] = pd.DataFrame(meta_table[seen].numpy()).add_prefix('c').assign(**{id_: seen.numpy()})
    model = cmfrec.CMF(nthreads=1, verbose=False, random_state=1, **args).fit(df, **side)
    pred = model.predict(fold.test_x[:,0].numpy(), fold.test_x[:,1].numpy())
    return np.where(np.isnan(pred), fold.y.mean().item(), pred)


def run_lenskit(fold, **args):
    from lenskit.als import BiasedMFScorer
    from lenskit.data import ItemList, RecQuery, from_interactions_df
    from lenskit.training import TrainingOptions
    df = table(fold).set_axis(['user_id', 'item_id', 'rating'], axis=1)
    model = BiasedMFScorer(**args)
    model.train(from_interactions_df(df), TrainingOptions(rng=0))
    test = pd.DataFrame(fold.test_x.numpy(), columns=['user_id', 'item_id'])
    pred = np.empty(len(test))
    for user,rows in test.groupby('user_id').indices.items():
        items = ItemList(item_ids=test.item_id.to_numpy()[rows])
        query = RecQuery(user_id=user)
        scores, bias = model(query, items).scores(), model.bias.compute_for_items(items, user)[0]
        pred[rows] = np.where(np.isnan(scores), bias, scores)  # unseen items: their bias is 0
    return pred


def run_myfm(fold, meta=False, rated=False, rank=10, n_iter=100):
    import myfm
    from scipy import sparse
    def block(n, other, rows, index, meta_table):
        parts = [sparse.identity(n, format='csr')]
        if rated:
            s = sparse.csr_matrix((np.ones(len(fold.x)), (rows.numpy(), index.numpy())), shape=(n, other))
            s.data[:] = 1
            parts.append(sparse.diags(1/np.sqrt(np.maximum(s.sum(1).A1 if hasattr(s.sum(1), 'A1') else np.asarray(s.sum(1)).ravel(), 1)))@s)
        if meta: parts.append(sparse.csr_matrix(meta_table.numpy().astype('float64')))
        return sparse.hstack(parts, format='csr'), [p.shape[1] for p in parts]
    u, gu = block(fold.n_users, fold.n_items, fold.x[:,0], fold.x[:,1], fold.meta['user_meta'])
    i, gi = block(fold.n_items, fold.n_users, fold.x[:,1], fold.x[:,0], fold.meta['item_meta'])
    rel = lambda x: [myfm.RelationBlock(x[:,0].tolist(), u), myfm.RelationBlock(x[:,1].tolist(), i)]
    model = myfm.MyFMRegressor(rank=rank, random_seed=0)
    model.fit(sparse.csr_matrix((len(fold.x), 0)), fold.y.numpy().astype('float64'), X_rel=rel(fold.x), n_iter=n_iter, group_shapes=gu+gi)
    return model.predict(sparse.csr_matrix((len(fold.test_x), 0)), rel(fold.test_x))


def run_fastai(fold, epochs=5, lr=5e-3, wd=.1, bs=64):
    from fastai.collab import CollabDataLoaders, collab_learner
    from fastai.tabular.core import TabDataLoader
    from fastai.torch_core import set_seed
    set_seed(0, reproducible=True)
    dls = CollabDataLoaders.from_df(table(fold), valid_pct=0., seed=0, bs=bs, dl_type=TabDataLoader)
    learn = collab_learner(dls, n_factors=50, y_range=(0, 5.5))
    learn.recorder.train_metrics = False
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(epochs, lr, wd=wd)
    to_row = [{v: k for k,v in enumerate(dls.classes[c])} for c in ('user', 'item')]
    x = torch.tensor([[to_row[0].get(u, 0), to_row[1].get(i, 0)] for u,i in fold.test_x.tolist()])
    model = learn.model.eval()
    with torch.no_grad(): return model(x).numpy().ravel()


# ---- Name -> function, its arguments, its package. Default: what the library does when nothing is set
MODELS = {
    'lesson8lib DotProductBias, the lesson\'s recipe': (ours, {'model_class': DotProductBias}, 'torch'),
    'lesson8lib HybridCollab': (ours, {'rated': False, 'bs': 128, 'wd': .4}, 'torch'),
    'lesson8lib HybridCollab, implicit feedback': (ours, {'bs': 256, 'wd': 1.}, 'torch'),
    'lesson8lib HybridCollab, implicit feedback, mean of 5': (ours, {'bs': 256, 'wd': 1., 'n_models': 5}, 'torch'),
    'Surprise SVD': (run_surprise, {'kind': 'SVD'}, 'surprise'),
    'Surprise SVD, tuned': (run_surprise, {'kind': 'SVD', 'n_factors': 200, 'reg_all': .1, 'n_epochs': 40, 'lr_all': .01}, 'surprise'),
    'Surprise SVD++': (run_surprise, {'kind': 'SVDpp', 'cache_ratings': True}, 'surprise'),
    'Surprise SVD++, tuned': (run_surprise, {'kind': 'SVDpp', 'cache_ratings': True, 'reg_all': .1, 'n_epochs': 40}, 'surprise'),
    'cmfrec': (run_cmfrec, {}, 'cmfrec'),
    'cmfrec, tuned': (run_cmfrec, {'k': 20, 'lambda_': 12.}, 'cmfrec'),
    'cmfrec, metadata and implicit feedback, tuned': (
        run_cmfrec, {'k': 40, 'lambda_': 12., 'meta': True, 'w_user': 2., 'w_item': 2., 'add_implicit_features': True}, 'cmfrec'),
    'LensKit biased MF': (run_lenskit, {}, 'lenskit'),
    'LensKit biased MF, tuned': (run_lenskit, {'embedding_size': 100, 'regularization': .15}, 'lenskit'),
    'myFM': (run_myfm, {}, 'myfm'),
    'myFM, tuned': (run_myfm, {'rank': 20, 'n_iter': 200}, 'myfm'),
    'myFM, metadata and implicit feedback, tuned': (run_myfm, {'meta': True, 'rated': True, 'rank': 10, 'n_iter': 200}, 'myfm'),
    'fastai, the lesson\'s recipe': (run_fastai, {}, 'fastai'),
    'fastai, tuned': (run_fastai, {'bs': 256, 'wd': .1}, 'fastai'),
}
GRIDS = {  # searched by `--tune`; all combinations
    'lesson8lib HybridCollab': (ours, {'rated': [False], 'bs': [128, 256], 'wd': [.3, .4, .6]}, 'torch'),
    'lesson8lib HybridCollab, implicit feedback': (ours, {'bs': [256], 'wd': [.6, 1., 1.5]}, 'torch'),
    'Surprise SVD': (run_surprise, {'kind': ['SVD'], 'n_factors': [100, 200], 'reg_all': [.05, .1, .15], 'n_epochs': [40, 60], 'lr_all': [.01]}, 'surprise'),
    'Surprise SVD++': (run_surprise, {'kind': ['SVDpp'], 'cache_ratings': [True], 'reg_all': [.05, .1], 'n_epochs': [20, 40]}, 'surprise'),
    'cmfrec': (run_cmfrec, {'k': [20, 40], 'lambda_': [5., 8., 10., 12., 20.]}, 'cmfrec'),
    'cmfrec, metadata and implicit feedback': (run_cmfrec, {'k': [40], 'lambda_': [8., 12.], 'meta': [True], 'w_user': [.5, 2.], 'w_item': [.5, 2.],
                                                         'add_implicit_features': [True]}, 'cmfrec'),
    'LensKit biased MF': (run_lenskit, {'embedding_size': [25, 50, 100], 'regularization': [.03, .05, .1, .15, .2]}, 'lenskit'),
    'myFM': (run_myfm, {'rank': [10, 20], 'n_iter': [200]}, 'myfm'),
    'myFM, metadata and implicit feedback': (run_myfm, {'meta': [True], 'rated': [True], 'rank': [5, 10, 20, 32], 'n_iter': [200]}, 'myfm'),
    'fastai': (run_fastai, {'wd': [.1, .2, .3], 'bs': [256]}, 'fastai'),
}


# ---- The folds
def folds(numbers, inner:bool=False):
    "Training and test rows of each fold; with `inner`, both from its training part: half of the next fifth is held out"
    tables = load_movielens()
    data = RatingsData.from_df(tables.ratings, item='item', valid_pct=0.)
    x = torch.stack([data.users.index(tables.ratings.user), data.items.index(tables.ratings.item)], 1)
    y = torch.tensor(tables.ratings.rating.to_numpy(dtype='float32'))
    meta = {'user_meta': Metadata(tables.users, 'user', ['age', 'sex', 'occupation']).encode(tables.users, data.users),
            'item_meta': Metadata(tables.items, 'item', ['year', 'genres']).encode(tables.items, data.items)}
    fifth = torch.arange(len(y))//20_000 + 1
    for k in numbers:
        train, test = fifth!=k, fifth==k
        if inner:
            test = (fifth==k%5+1) & (torch.arange(len(y))%20_000<10_000)
            train = train & ~test
        yield SimpleNamespace(number=k, x=x[train], y=y[train], test_x=x[test], test_y=y[test], meta=meta,
                              n_users=len(data.users), n_items=len(data.items))


def run(fold, function, args)->tuple[float, float]:
    "RMSE and seconds"
    start = time.perf_counter()
    pred = np.clip(function(fold, **args), 1, 5)
    return round(float(((pred-fold.test_y.numpy())**2).mean()**.5), 4), round(time.perf_counter()-start, 2)


def tune()->None:
    for name,(function, grid, package) in GRIDS.items():
        if not find_spec(package): continue
        for values in itertools.product(*grid.values()):
            args = dict(zip(grid, values, strict=True))
            print(f'{np.mean([run(fold, function, args)[0] for fold in folds((1, 3), inner=True)]):.4f}', name, args, flush=True)


def main()->None:
    "All installed models on each fold in turn, so that a slow minute of the machine hits all; only those named on the command line, if any"
    there = {name: model for name,model in MODELS.items() if find_spec(model[2]) and (not sys.argv[1:] or any(name.startswith(a) for a in sys.argv[1:]))}
    found = []
    with tqdm(total=5*len(there)) as bar:
        for fold in folds(range(1, 6)):
            for name,(function, args, _) in there.items():
                rmse, seconds = run(fold, function, args)
                found += [record(name, 'rmse', rmse, fold=fold.number), record(name, 'seconds', seconds, fold=fold.number)]
                bar.update()
    file, order = RESULTS/'standings.json', list(MODELS)
    old = json.loads(file.read_text(encoding='utf-8')) if file.exists() else {'results': [], 'about': {'versions': {}}}
    found += [r for r in old['results'] if r['model'] in MODELS and r['model'] not in there]
    found.sort(key=lambda r: (order.index(r['model']), r['metric'], r['setting']['fold']))
    peers = {'surprise': 'scikit-surprise', 'cmfrec': 'cmfrec', 'lenskit': 'lenskit', 'myfm': 'myfm', 'fastai': 'fastai'}
    packages = ('torch', 'numpy', *(p for m,p in peers.items() if find_spec(m)))
    save('standings', found, threads=1, versions=old['about']['versions'] | {p: version(p) for p in packages})  # with those of other environments


if __name__ == '__main__':
    warnings.filterwarnings('ignore')
    torch.set_num_threads(1)
    tune() if '--tune' in sys.argv else main()
