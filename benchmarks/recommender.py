"""How well does `Recommender` predict for new users and items, and how long does it take?

New users: in each of 20 splits of MovieLens-100K, a tenth of the users is kept out of training. They join with 0, 1 or 5 ratings drawn at random, with and
without metadata (age, sex, occupation), and their other ratings are predicted. New items likewise (those with at least ten ratings; year, genres).
The baselines know the same: the damped mean of the item (or user), plus the damped bias of the new user (or item) from the revealed ratings, plus, where
there are metadata, a ridge regression of what is left on the metadata, whose strength is chosen by cross-validation among the training rows. `better`
is the difference in mean squared error to the best baseline, `half` half of its 95 % interval, in which the errors of a user (or item) are one draw.

Times are those of two threads after compilation. `python benchmarks/recommender.py` takes about ten minutes; `times` or `new` alone with an argument.
"""
import json
import resource
import sys
import time
import warnings

import numpy as np
import pandas as pd
import torch
from common import RESULTS, record, save
from sklearn.linear_model import RidgeCV
from tqdm import tqdm

from lesson8lib.baselines import damped_biases
from lesson8lib.data import load_movielens, make_ratings
from lesson8lib.hybrid import Metadata
from lesson8lib.recommender import Recommender

SEEDS, KNOWN = range(20), (0, 1, 5)
COLUMNS = {'user': ['age', 'sex', 'occupation'], 'item': ['year', 'genres']}
OTHER = {'user': 'item', 'item': 'user'}


def revealed(table:pd.DataFrame, side:str, known:int, seed:int)->pd.DataFrame:
    "The first `known` ratings of each, in random order"
    return table.sample(frac=1, random_state=seed).groupby(side).head(known)


def baselines(train, shown, rest, side, encoded)->dict[str, np.ndarray]:
    "Predictions of simple rules for the rows in `rest`"
    other = OTHER[side]
    (own, owns), (oth, others) = (pd.factorize(train[c]) for c in (side, other))
    pairs = torch.from_numpy(np.stack([own, oth], 1))
    mean, b, c = damped_biases(pairs, torch.tensor(train.rating.to_numpy(float)), len(owns), len(others))
    bias_of = pd.Series(c.numpy(), others)
    damp = 15 if side=='user' else 10
    def left(rows): return rows.rating - mean - rows[other].map(bias_of).fillna(0)
    base = mean + rest[other].map(bias_of).fillna(0)
    sums = left(shown).groupby(shown[side]).agg(['sum', 'count'])
    own_bias = (sums['sum']/(sums['count']+damp)).reindex(rest[side].unique()).fillna(0)
    found = {'damped mean': base, 'and own bias': base + rest[side].map(own_bias)}
    if encoded is not None:
        ridge = RidgeCV(np.logspace(-1, 5, 13)).fit(encoded.loc[owns], b.numpy())
        linear = pd.Series(ridge.predict(encoded.loc[rest[side].unique()]), rest[side].unique())
        rows = shown.assign(left=left(shown)-shown[side].map(linear))
        sums = rows.groupby(side).left.agg(['sum', 'count'])
        more = (sums['sum']/(sums['count']+damp)).reindex(linear.index).fillna(0)
        found |= {'and metadata': base + rest[side].map(linear), 'and metadata and own bias': base + rest[side].map(linear+more)}
    return {k: v.clip(1, 5).to_numpy() for k,v in found.items()}


def predict(fitted:Recommender, side:str, given:pd.DataFrame, info:dict|None, rows:pd.DataFrame)->np.ndarray:
    "What `add_user` or `add_item` and then `predict` give, without copying the tables each time"
    other, model = OTHER[side], fitted.model
    vocab = getattr(fitted.data, f'{other}s')
    stars = torch.tensor(given.rating.to_numpy(float))
    meta = None
    if info is not None:
        encoder = fitted.info[side]
        row = {c: info.get(c, np.nan if c in encoder.scale else None) for c in encoder.used}
        meta = encoder.encode(pd.DataFrame([row | {encoder.name: 0}]))[0]
    x = model.posterior(vocab.index(given[other]), stars, of=side, meta=meta)[0]
    y = getattr(model, f'{other}_mean')[vocab.index(rows[other])]
    return (model.mu + x[-1] + y[:,-1] + y[:,:-1]@x[:-1]).clamp(*fitted.range).numpy()


def of_new(side:str, seed:int)->list[dict]:
    tables = load_movielens()
    ratings, info = tables.ratings, {'user': tables.users[['user', *COLUMNS['user']]], 'item': tables.items[['item', *COLUMNS['item']]]}
    counts = ratings[side].value_counts()
    names = counts.index[counts>=10].to_numpy()
    new = np.random.default_rng(seed).permutation(np.sort(names))[:len(names)//10]
    train, others = ratings[~ratings[side].isin(new)], ratings[ratings[side].isin(new)]
    encoder = Metadata(info[side], side, COLUMNS[side])
    encoded = pd.DataFrame(encoder.encode(info[side]).numpy(), info[side][side])
    of_one = info[side].set_index(side)
    found = []
    for meta in (False, True):
        given = {f'{s}_info': table[~table[s].isin(new)] if s==side else table for s,table in info.items()} if meta else {}
        fitted = Recommender().fit(train, progress=False, **given)
        for known in KNOWN:
            shown = revealed(others, side, known, seed)
            rest = others.drop(shown.index)
            rest = rest[rest[OTHER[side]].isin(train[OTHER[side]])]
            shown = shown[shown[OTHER[side]].isin(train[OTHER[side]])]
            predicted = pd.Series(0., rest.index)
            for name,rows in rest.groupby(side):
                given, row = shown[shown[side]==name], of_one.loc[name].dropna().to_dict() if meta else None
                predicted[rows.index] = predict(fitted, side, given, row, rows)
            by_rule = baselines(train, shown, rest, side, encoded if meta else None)
            errors = {k: (p-rest.rating.to_numpy())**2 for k,p in by_rule.items()}
            errors = pd.DataFrame(errors | {'Recommender': (predicted-rest.rating)**2}, rest.index)
            setting = dict(new=side, known=known, metadata=meta)
            found += [record(k, 'rmse', round(v**.5, 5), seed, **setting) for k,v in errors.mean().items()]
            found.append(record('sums', 'sums', errors.assign(n=1).groupby(rest[side]).sum(), seed, **setting))
    return found


def paired(found:list[dict])->list[dict]:
    "The gain in MSE over the best baseline, over all seeds, with half of its 95 % interval, from sums of squared errors by user (or item)"
    sums = {}
    for r in found:
        if r['model']=='sums': sums.setdefault(tuple(r['setting'].items()), []).append(r['value'])
    kept = [r for r in found if r['model']!='sums']
    for setting,parts in sums.items():
        table = pd.concat(parts, ignore_index=True)
        best = table.drop(columns=['Recommender', 'n']).sum().idxmin()
        lost = table[best]-table['Recommender']
        gain = lost.sum()/table.n.sum()
        half = 1.96*((lost-gain*table.n)**2).sum()**.5/table.n.sum()
        kept += [record('Recommender', k, round(float(v), 5), **dict(setting), baseline=best) for k,v in (('better', gain), ('half', half))]
    return kept


def peak()->float: return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss/2**20


def times()->list[dict]:
    found = []
    def add(name, seconds, **setting): found.append(record('Recommender', name, round(seconds, 4), **setting))
    ml = load_movielens().ratings
    Recommender(item='title').fit(ml[:2000], progress=False)  # numba compiles
    for data,table,item in (('MovieLens-100K', ml, 'title'), ('one million', make_ratings(1_000_000, 20_000, 4000, seed=0), 'item')):
        begun = time.perf_counter()
        fitted = Recommender(item=item).fit(table, progress=False)
        fit = time.perf_counter()-begun
        lists = fitted.recommend()
        everyone = time.perf_counter()-begun-fit
        add('fit seconds', fit, data=data)
        add('lists seconds', everyone, data=data)
        add('milliseconds a user', 1000*everyone/lists[fitted.user].nunique(), data=data)
    n = 1_000_000
    wide = pd.DataFrame({'user': np.random.default_rng(0).integers(0, 20_000, n), 'item': np.arange(n), 'rating': np.random.default_rng(1).integers(1, 6, n)})
    fitted = Recommender(8, epochs=1).fit(wide, progress=False)  # the lesson's model: what evaluate needs does not depend on it
    before = peak()
    fitted.evaluate(wide[:1500].assign(item=(wide.item[:1500]+1) % n))
    add('gigabytes that evaluate adds', peak()-before, data='a million items')
    add('gigabytes at most', peak(), data='a million items')
    return found


def main()->None:
    torch.set_num_threads(2)
    warnings.simplefilter('ignore')
    file, parts = RESULTS/'recommender.json', sys.argv[1:] or ['new', 'times']
    old = json.loads(file.read_text(encoding='utf-8'))['results'] if file.exists() else []
    is_time = lambda r: 'data' in r['setting']
    if 'new' not in parts: found = [r for r in old if not is_time(r)]
    else: found = paired([r for seed in tqdm(SEEDS, desc='seeds') for side in ('user', 'item') for r in of_new(side, seed)])
    found += times() if 'times' in parts else [r for r in old if is_time(r)]
    save('recommender', found, ('torch', 'numpy', 'numba', 'pandas'), threads=2)


if __name__ == '__main__': main()
