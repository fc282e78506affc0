"""Other libraries, and our own models, behind one call: a function of a `Split` and of settings that returns predictions

Each adapter fits a model to the training ratings, times the fit alone, and returns `Scores`: for explicit ratings a dot product plus biases (`Factors`),
whatever the library calls them, so that predictions of pairs and of whole lists come from the same numbers. Users and items without ratings have
factors and biases of 0. Every library that has a seed gets that of the split.
"""
import time
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch


# ---- What models get, and what they return
class Split(NamedTuple):
    "Ratings for training and for testing; index 0 of users and items is reserved for unknown ones"
    pairs:np.ndarray # user and item index of each training rating (n, 2)
    ratings:np.ndarray # training ratings (n)
    test_pairs:np.ndarray # (m, 2)
    test_ratings:np.ndarray # (m)
    n_users:int
    n_items:int
    scale:tuple[float, float] # lowest and highest rating
    relevant:float # lowest rating that counts as a hit
    seed:int
    meta:dict[str, Any] # user_meta and item_meta, as tensors with a row for each index; may be empty
    seconds:dict[str, float] # of the fit, written by `timed`


@contextmanager
def timed(split:Split):
    "Seconds of processor and of clock that a fit takes"
    cpu, wall = time.process_time(), time.perf_counter()
    yield
    split.seconds.update({'cpu seconds': time.process_time()-cpu, 'wall seconds': time.perf_counter()-wall})


class Factors(NamedTuple):
    "Prediction = mu + user bias + item bias + dot product of factors, squeezed into `y_range` if there is one"
    mu:float
    user_bias:np.ndarray # (n_users)
    item_bias:np.ndarray # (n_items)
    p:np.ndarray # (n_users, f)
    q:np.ndarray # (n_items, f)
    y_range:tuple[float, float]|None = None

    def _squeeze(self, x):
        if self.y_range is None: return x
        low, high = self.y_range
        return low + (high-low)/(1+np.exp(-x))

    def predict(self, pairs:np.ndarray)->np.ndarray:
        u, i = pairs.T
        dots = np.concatenate([np.einsum('nf,nf->n', self.p[u[k:k+8192]], self.q[i[k:k+8192]]) for k in range(0, len(u), 8192)])
        return self._squeeze(self.mu + self.user_bias[u] + self.item_bias[i] + dots)

    def scores(self, users:np.ndarray)->np.ndarray: # the same for all items (u, n_items)
        return self._squeeze(self.mu + self.user_bias[users,None] + self.item_bias + self.p[users]@self.q.T)


class Lists(NamedTuple):
    "A model that ranks items and does not predict ratings"
    scores:Any # function of user indices -> (u, n_items)


class Hybrid(NamedTuple):
    "Models with a network beside the dot product: the mean of their predictions"
    models:list # of HybridCollab
    sides:list # embeddings of all users and of all items, with biases, for each model

    @torch.no_grad()
    def _mean(self, users, items):
        from lesson8lib.hybrid import rate_embeddings
        found = [rate_embeddings(u[users].expand(len(items), -1), i[items], m) for m,(u,i) in zip(self.models, self.sides, strict=True)]
        return torch.stack(found).mean(0).numpy()

    def predict(self, pairs:np.ndarray)->np.ndarray: return np.concatenate([self._mean(*part.T) for part in np.array_split(pairs, len(pairs)//8192+1)])

    def scores(self, users:np.ndarray)->np.ndarray:
        items = np.arange(len(self.sides[0][1]))
        return np.stack([self._mean([u], items) for u in users])


def plain(split:Split, mu=0., user_bias=None, item_bias=None)->Factors:
    "Biases without factors"
    user_bias, item_bias = (np.zeros(n) if b is None else b for b,n in ((user_bias, split.n_users), (item_bias, split.n_items)))
    return Factors(mu, user_bias, item_bias, np.zeros((split.n_users, 1)), np.zeros((split.n_items, 1)))


def placed(known, table:np.ndarray, n:int)->np.ndarray:
    "Rows of a library's table at our indices; zeros for those it has not seen"
    out = np.zeros((n, *table.shape[1:]))
    out[np.asarray(known, dtype=np.int64)] = table
    return out


def frame(split:Split, *names:str):
    import pandas as pd
    return pd.DataFrame(dict(zip(names, (*split.pairs.T, split.ratings), strict=True)))


def liked_pairs(split:Split, liked:bool): return split.pairs[split.ratings>=split.relevant] if liked else split.pairs


def rated_matrix(split:Split, liked:bool=False):
    import scipy.sparse as sp
    pairs = np.unique(liked_pairs(split, liked), axis=0)
    return sp.csr_matrix((np.ones(len(pairs), dtype=np.float32), pairs.T), shape=(split.n_users, split.n_items))


def or_popular(split:Split, scores, liked:bool)->Lists:
    "Users without ratings get the most popular items, since no library of lists knows anything of them"
    rated, counts = (np.bincount(liked_pairs(split, liked)[:,side], minlength=n) for side,n in ((0, split.n_users), (1, split.n_items)))
    return Lists(lambda users: np.where(rated[users,None]>0, scores(users), counts))


# ---- Baselines
class Rule(NamedTuple):
    "One of `rating_baselines`"
    of:Any # function of pairs: predictions
    n_items:int

    def predict(self, pairs:np.ndarray)->np.ndarray: return self.of(torch.from_numpy(pairs)).numpy()

    def scores(self, users:np.ndarray)->np.ndarray:
        pairs = torch.cartesian_prod(torch.from_numpy(users), torch.arange(self.n_items))
        return self.of(pairs).view(len(users), self.n_items).numpy()


def rule(split, name):
    from lesson8lib.baselines import rating_baselines
    given = torch.from_numpy(split.pairs), torch.from_numpy(split.ratings), split.n_users, split.n_items
    with timed(split): found = rating_baselines(*given)[name]
    return Rule(found, split.n_items)


def popularity(split, liked):
    with timed(split): counts = np.bincount(liked_pairs(split, liked)[:,1], minlength=split.n_items).astype(float)
    return Lists(lambda users: np.repeat(counts[None], len(users), 0))


# ---- lesson8lib
def y_range(split): return split.scale[0]-1, split.scale[1]+.5


def fitted(split, model, seed, **args):
    from lesson8lib.training import fit
    fit(model, (torch.from_numpy(split.pairs), torch.from_numpy(split.ratings).float()), seed=seed, progress=False, **args)
    return model.eval()


def dot_product(split, **args):
    from lesson8lib.collab import DotProductBias
    from lesson8lib.training import new_generator
    with timed(split):
        model = DotProductBias(split.n_users, split.n_items, y_range=y_range(split), generator=new_generator(split.seed))
        fitted(split, model, split.seed, **args)
    names = 'user_bias', 'item_bias', 'user_factors', 'item_factors'
    return Factors(0., *(getattr(model, name).detach().double().numpy() for name in names), y_range(split))


def hybrid(split, rated, n_models=1, **args):
    from lesson8lib.hybrid import HybridCollab
    from lesson8lib.training import new_generator
    models, pairs = [], torch.from_numpy(split.pairs) if rated else None
    with timed(split):
        for seed in range(split.seed, split.seed+n_models):
            model = HybridCollab(split.n_users, split.n_items, rated=pairs, **split.meta, y_range=y_range(split), generator=new_generator(seed))
            models.append(fitted(split, model, seed, **args))
    with torch.no_grad():
        sides = [[torch.cat([m.user_factors, m.user_bias[:,None]], 1), torch.cat([m.item_factors, m.item_bias[:,None]], 1)] for m in models]
    return Hybrid(models, sides)


def bayes(split, **args):
    from lesson8lib.bayes import fit_bayes
    given = torch.from_numpy(split.pairs), torch.from_numpy(split.ratings), split.n_users, split.n_items
    fit_bayes(*given, iterations=1)  # numba compiles
    with timed(split): found = fit_bayes(*given, seed=split.seed, **args)
    x, y = found.user_mean.numpy(), found.item_mean.numpy()
    return Factors(found.mu, x[:,-1], y[:,-1], x[:,:-1], y[:,:-1])


class Ours(NamedTuple):
    "A fitted `Recommender` whose IDs are the indices"
    recommender:Any
    n_items:int

    def predict(self, pairs:np.ndarray)->np.ndarray:
        import pandas as pd
        return self.recommender.predict(pd.DataFrame(pairs, columns=['user', 'item']), unknown='na').to_numpy()

    def scores(self, users:np.ndarray)->np.ndarray: # the lowest for items without training ratings
        known = self.recommender.data.users.index(users, 'na')
        scores = self.recommender.view.scores('both')(known)[:,1:].numpy()
        found = np.full((len(users), self.n_items), scores.min()-1)
        found[:,np.array(self.recommender.items)] = scores
        return found


def recommender(split, info=None, **args):
    from lesson8lib.recommender import Recommender
    df = frame(split, 'user', 'item', 'rating')
    Recommender(scale=split.scale, **args).fit(df[:1000], progress=False)  # numba compiles
    with timed(split): made = Recommender(scale=split.scale, seed=split.seed, **args).fit(df, progress=False, **(info() if info else {}))
    return Ours(made, split.n_items)


# ---- Surprise
def surprise(split, kind, **args):
    import surprise as lib
    train = lib.Dataset.load_from_df(frame(split, 'user', 'item', 'rating'), lib.Reader(rating_scale=split.scale)).build_full_trainset()
    model = getattr(lib, kind)(**({'verbose': False} if kind=='BaselineOnly' else {'random_state': split.seed}), **args)
    with timed(split): model.fit(train)
    users, items = ([raw(k) for k in range(n)] for raw,n in ((train.to_raw_uid, train.n_users), (train.to_raw_iid, train.n_items)))
    p, q = getattr(model, 'pu', np.zeros((len(users), 1))), getattr(model, 'qi', np.zeros((len(items), 1)))
    if kind=='SVDpp': p = p + np.stack([model.yj[[i for i,_ in train.ur[u]]].sum(0)/len(train.ur[u])**.5 for u in range(len(users))])
    sides = (users, model.bu, split.n_users), (items, model.bi, split.n_items), (users, p, split.n_users), (items, q, split.n_items)
    return Factors(train.global_mean, *(placed(*side) for side in sides))


# ---- cmfrec
def side_tables(split):
    import pandas as pd
    out = {}
    for key,id_,name,side in (('U', 'UserId', 'user_meta', 0), ('I', 'ItemId', 'item_meta', 1)):
        seen = np.unique(split.pairs[:,side])
        out[key] = pd.DataFrame(split.meta[name][seen].numpy()).add_prefix('c').assign(**{id_: seen})
    return out


def cmfrec(split, meta=False, **args):
    import cmfrec as lib
    model, df = lib.CMF(nthreads=1, verbose=False, random_state=split.seed+1, **args), frame(split, 'UserId', 'ItemId', 'Rating')
    with timed(split): model.fit(df, **(side_tables(split) if meta else {}))
    sides = ((model.user_mapping_, model.user_bias_, split.n_users), (model.item_mapping_, model.item_bias_, split.n_items),
             (model.user_mapping_, model.A_, split.n_users), (model.item_mapping_, model.B_, split.n_items))
    return Factors(model.glob_mean_, *(placed(*side) for side in sides))


# ---- LensKit
def lenskit(split, **args):
    from lenskit.als import BiasedMFScorer
    from lenskit.data import from_interactions_df
    from lenskit.training import TrainingOptions
    df = frame(split, 'user_id', 'item_id', 'rating').drop_duplicates(['user_id', 'item_id'], keep='last')  # as it demands
    model, data = BiasedMFScorer(**args), from_interactions_df(df)
    with timed(split): model.train(data, TrainingOptions(rng=split.seed))
    users, items, bias = model.users.ids(), model.items.ids(), model.bias
    sides = ((users, bias.user_biases, split.n_users), (items, bias.item_biases, split.n_items),
             (users, model.user_embeddings, split.n_users), (items, model.item_embeddings, split.n_items))
    return Factors(bias.global_bias, *(placed(*side) for side in sides))


# ---- myFM
def myfm_block(split, side, meta, rated):
    "Features of each user (side 0) or item (side 1) and the sizes of their groups: who it is, which others it was rated with, metadata"
    from scipy import sparse
    parts = [sparse.identity((split.n_users, split.n_items)[side], format='csr')]
    if rated:
        s = rated_matrix(split).astype('float64')
        s = s.T.tocsr() if side else s
        parts.append(sparse.diags(1/np.sqrt(np.maximum(np.asarray(s.sum(1)).ravel(), 1)))@s)
    if meta: parts.append(sparse.csr_matrix(split.meta[('user_meta', 'item_meta')[side]].numpy().astype('float64')))
    return sparse.hstack(parts, format='csr'), [p.shape[1] for p in parts]


def myfm(split, meta=False, rated=False, rank=10, n_iter=100):
    import myfm as lib
    from scipy import sparse
    (u, groups_u), (i, groups_i) = (myfm_block(split, side, meta, rated) for side in (0, 1))
    blocks = [lib.RelationBlock(split.pairs[:,0].tolist(), u), lib.RelationBlock(split.pairs[:,1].tolist(), i)]
    model = lib.MyFMRegressor(rank=rank, random_seed=split.seed)
    with timed(split):
        model.fit(sparse.csr_matrix((len(split.pairs), 0)), split.ratings, X_rel=blocks, n_iter=n_iter, group_shapes=groups_u+groups_i,
                  callback=lambda *_: (False, ''))
    return mean_of_samples(model.predictor_.samples, u, i)


def mean_of_samples(samples, u, i)->Factors:
    "The mean prediction of all samples, as one dot product: each sample adds its factors"
    def side(x, w, v):
        dots = x@v
        return x@w + .5*(dots**2-x.power(2)@v**2).sum(1), dots
    found = [(s.w0, *side(u, s.w[:u.shape[1]], s.V[:u.shape[1]]), *side(i, s.w[u.shape[1]:], s.V[u.shape[1]:])) for s in samples]
    w0, user_bias, p, item_bias, q = zip(*found, strict=True)
    return Factors(np.mean(w0), np.mean(user_bias, 0), np.mean(item_bias, 0), np.concatenate(p, 1)/len(samples), np.concatenate(q, 1))


# ---- fastai
def fastai(split, epochs=5, lr=5e-3, wd=.1, bs=64):
    from fastai.collab import CollabDataLoaders, collab_learner
    from fastai.tabular.core import TabDataLoader
    from fastai.torch_core import set_seed
    set_seed(split.seed, reproducible=True)
    dls = CollabDataLoaders.from_df(frame(split, 'user', 'item', 'rating'), valid_pct=0., seed=0, bs=bs, dl_type=TabDataLoader)
    learn = collab_learner(dls, n_factors=50, y_range=y_range(split))
    learn.recorder.train_metrics = False
    with learn.no_bar(), learn.no_logging(), timed(split): learn.fit_one_cycle(epochs, lr, wd=wd)
    def side(kind, name, n): # row 0 is for unknown names
        table, known = getattr(learn.model, f'{kind[0]}_{name}').weight.detach().double().numpy(), list(dls.classes[kind])[1:]
        return placed(known, table[1:], n)
    sizes = {'user': split.n_users, 'item': split.n_items}
    user_bias, item_bias = (side(kind, 'bias', n)[:,0] for kind,n in sizes.items())
    return Factors(0., user_bias, item_bias, *(side(kind, 'weight', n) for kind,n in sizes.items()), y_range(split))


# ---- Models of who rated what
def implicit(split, kind, liked, **args):
    from implicit.als import AlternatingLeastSquares
    from implicit.bpr import BayesianPersonalizedRanking
    model = {'ALS': AlternatingLeastSquares, 'BPR': BayesianPersonalizedRanking}[kind](**args, use_gpu=False, num_threads=1, random_state=split.seed)
    rated = rated_matrix(split, liked)
    with timed(split): model.fit(rated, show_progress=False)
    return or_popular(split, lambda users: model.user_factors[users]@model.item_factors.T, liked)


def lightfm(split, liked, epochs, **args):
    from lightfm import LightFM
    model, rated = LightFM(**args, random_state=split.seed), rated_matrix(split, liked).tocoo()
    with timed(split): model.fit(rated, epochs=epochs, num_threads=1)
    (user_bias, p), (item_bias, q) = model.get_user_representations(), model.get_item_representations()
    return or_popular(split, lambda users: p[users]@q.T + user_bias[users,None] + item_bias, liked)


def rectools_ease(split, liked, **args):
    import pandas as pd
    from rectools.dataset import Dataset
    from rectools.models import EASEModel
    pairs = np.unique(liked_pairs(split, liked), axis=0)
    table = pd.DataFrame({'user_id': pairs[:,0], 'item_id': pairs[:,1], 'weight': 1., 'datetime': pd.Timestamp(0)})
    data, model = Dataset.construct(table), EASEModel(**args)
    with timed(split): model.fit(data)
    known, rated = data.item_id_map.external_ids.astype(int), rated_matrix(split, liked)
    weights = np.zeros((split.n_items, split.n_items), dtype=np.float32)
    weights[np.ix_(known, known)] = model.weight
    return or_popular(split, lambda users: rated[users]@weights, liked)
