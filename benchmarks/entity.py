"""Entity embeddings: what they add to other models (bikes), and what they know of the calendar (bikes) and of geography (airports)

Seed s means: split drawn with seed s, weights initialized with seed s. Bikeshare: from hour, weekday, month and weather to the logarithm of the
count; a fifth of the *days* is kept for testing, so that no hour's neighbors are in training. Each model with four ways to write the columns,
nothing tuned; encoders write the training rows with `fit_transform`, as a pipeline does. `kNN, encoder of all rows` has an encoder that saw the
test days. `rare_names`: 600 names in 1,000 rows, which say nothing. The calendar is looked for in embeddings, and in what needs no training: the
mean of each name, and its profile. Airports: from each airport, which others are flown to; the size of the rows and the weight decay are those
that predict a tenth of the routes, hidden in training, best; distance is no part of that. `python benchmarks/entity.py` takes six minutes.
"""
import warnings

import numpy as np
import pandas as pd
import torch
from common import save
from scipy.spatial.distance import pdist, squareform
from scipy.stats import rankdata, spearmanr
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.metrics.pairwise import haversine_distances
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder
from torch import nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from lesson8lib.data import load_bikeshare, load_flights
from lesson8lib.embedding import Embedding
from lesson8lib.entity import EntityEncoder, _batch
from lesson8lib.tabular import TableData, TabularModel
from lesson8lib.training import fit, new_generator, new_linear

SEEDS, COLUMNS, LAYERS = range(10), ['hour', 'weekday', 'month', 'weather'], [200, 100]
FIT = {'epochs': 10, 'lr': 1e-2, 'bs': 64}


def encoders(seed:int)->dict:
    return {'row numbers': make_pipeline(OrdinalEncoder(handle_unknown='use_encoded_value', unknown_value=-1), StandardScaler()),
            'one-hot': OneHotEncoder(sparse_output=False, handle_unknown='ignore'),
            'target means': TargetEncoder(random_state=seed), 'embeddings': EntityEncoder(layers=LAYERS, **FIT, random_state=seed)}


def models(seed:int)->dict:
    return {'kNN': KNeighborsRegressor(10), 'random forest': RandomForestRegressor(100, max_features=.5, min_samples_leaf=5, random_state=seed),
            'boosted trees': HistGradientBoostingRegressor(random_state=seed)}


def errors(pred, y)->dict[str, float]:
    return {'rmse_log': round(float(((pred-y)**2).mean()**.5), 4), 'mape': round(float(np.abs(np.exp(pred-y)-1).mean()), 4)}


def net_on_numbers(train, test, y, seed:int):
    "A net without embeddings, on columns that are numbers already"
    model = TabularModel([], train.shape[1], 1, LAYERS, bn_cont=False, generator=new_generator(seed))
    fit(model, [torch.tensor(a, dtype=torch.float32) for a in (np.zeros((len(y), 0)), train, y)], seed=seed, progress=False,
        **FIT | {'bs': _batch(len(y), FIT['bs'])})
    with torch.no_grad(): return model.eval()(torch.zeros(len(test), 0), torch.tensor(test, dtype=torch.float32)).numpy()


def net_with_embeddings(train, test, seed:int):
    data = TableData(train, 'log_bikers', COLUMNS, [], valid=0., seed=seed)
    model = TabularModel(data.emb_szs, 0, 1, LAYERS, generator=new_generator(seed))
    fit(model, data.train, seed=seed, progress=False, **FIT | {'bs': _batch(len(train), FIT['bs'])})
    return data.predict(model, test).to_numpy()


def split(bikes, seed:int):
    is_test = bikes.day.isin(torch.randperm(365, generator=new_generator(seed)).numpy()[:73]+1)
    return bikes[~is_test], bikes[is_test]


def bike_scores(bikes, seed:int)->dict[str, dict[str, dict]]:
    train, test = split(bikes, seed)
    y_train, y_test = train.log_bikers.to_numpy(), test.log_bikers.to_numpy()
    found = {}
    for way,encoder in encoders(seed).items():
        x_train = encoder.fit_transform(train[COLUMNS], y_train)  # TargetEncoder cross-fits here, and only here
        x_test = encoder.transform(test[COLUMNS])
        for name,model in models(seed).items(): found.setdefault(name, {})[way] = errors(model.fit(x_train, y_train).predict(x_test), y_test)
        pred = net_with_embeddings(train, test, seed) if way=='embeddings' else net_on_numbers(x_train, x_test, y_train, seed)
        found.setdefault('net', {})[way] = errors(pred, y_test)
    plain = TargetEncoder(random_state=seed).fit(train[COLUMNS], y_train)  # one mean for each name, of all its training rows
    x_train, x_test = plain.transform(train[COLUMNS]), plain.transform(test[COLUMNS])
    for name,model in models(seed).items(): found[name]['plain target means'] = errors(model.fit(x_train, y_train).predict(x_test), y_test)
    native = make_pipeline(OrdinalEncoder(handle_unknown='use_encoded_value', unknown_value=np.nan),
                           HistGradientBoostingRegressor(categorical_features=range(len(COLUMNS)), random_state=seed)).fit(train[COLUMNS], y_train)
    found['boosted trees']['native categories'] = errors(native.predict(test[COLUMNS]), y_test)
    return found


def leak(bikes, encoder, seed:int)->float:
    "Nearest neighbors on the training rows, behind an encoder that was fitted to all rows"
    train, test = split(bikes, seed)
    model = models(seed)['kNN'].fit(encoder.transform(train[COLUMNS]), train.log_bikers)
    return errors(model.predict(encoder.transform(test[COLUMNS])), test.log_bikers.to_numpy())['rmse_log']


def rare_names(seed:int)->dict[str, dict[str, float]]:
    "R² in 1,000 new rows: a number that counts, and one of 600 names that say nothing; the names as embeddings, as target means, left out"
    rng = np.random.default_rng(seed)
    X = pd.DataFrame({'shop': rng.integers(0, 600, 2000), 'x': rng.normal(size=2000)})
    y = X.x+rng.normal(size=2000)
    ways = {'embeddings': EntityEncoder(['shop'], random_state=seed), 'left out': make_column_transformer(('passthrough', ['x'])),
            'target means': make_column_transformer((TargetEncoder(random_state=seed), ['shop']), remainder='passthrough')}
    found = {}
    for way,encoder in ways.items():
        x_train, x_test = encoder.fit_transform(X[:1000], y[:1000]), encoder.transform(X[1000:])
        for name,model in models(seed).items():
            found.setdefault(name, {})[way] = round(float(model.fit(x_train, y[:1000]).score(x_test, y[1000:])), 4)
    return found


def ring(table, n_shuffles:int, seed:int)->dict:
    "Are neighbors in the calendar, where December meets January, nearer to each other than other pairs? `table`: a row for each name, in order"
    distance, n = squareform(pdist(table)), len(table)
    rng, places = np.random.default_rng(seed), np.arange(n)
    def share(order): return distance[order, np.roll(order, 1)].mean()/distance[np.triu_indices(n, 1)].mean()
    shuffled = [share(rng.permutation(places)) for _ in range(n_shuffles)]
    order = distance.argsort(1)  # the first is the name itself
    return {'share': round(float(share(places)), 4), 'p': float((1+sum(s<=share(places) for s in shuffled))/(1+n_shuffles)),
            'last_to_first': int(order[-1].tolist().index(0)), 'nearest': order[:,1].tolist()}


def calendar(encoder, seed:int)->dict[str, dict]:
    weeks = encoder.embeddings_['weekday'].loc[[1, 2, 3, 4, 5, 6, 0]]  # from Monday to Sunday
    tables = {'hour': encoder.embeddings_['hour'].iloc[1:], 'weekday': weeks, 'month': encoder.embeddings_['month'].iloc[1:]}
    return {name: ring(table, 9999, seed) for name,table in tables.items()}


def untrained_calendar(bikes)->dict[str, dict]:
    "The same of what needs no training: the mean of each name, and its profile: of an hour the means by weekday, else the means by hour"
    found = {}
    for name in ('hour', 'weekday', 'month'):
        profile = bikes.pivot_table('log_bikers', name, 'weekday' if name=='hour' else 'hour')
        means = bikes.groupby(name).log_bikers.mean().to_frame()
        if name=='weekday': profile, means = (table.loc[[1, 2, 3, 4, 5, 6, 0]] for table in (profile, means))
        found[name] = {'mean': ring(means, 9999, 0), 'profile': ring(profile, 9999, 0)}
    return found


def airports():
    "Codes, places, and the logarithm of 1 + flights from each to each, of the airports that have two routes or more to and from each other"
    routes, places = load_flights()
    counts = routes.pivot_table('count', 'origin', 'destination', fill_value=0)
    counts = counts.reindex(index=(codes := sorted({*counts.index, *counts.columns})), columns=codes, fill_value=0)
    while (few := ((counts>0).sum(axis=0)<2) | ((counts>0).sum(axis=1)<2)).any(): counts = counts.loc[~few, ~few]
    return list(counts), places.loc[list(counts)], np.log1p(counts.to_numpy())


def airport_net(flights, size:int, wd:float, seed:int):
    "For each airport a row, and from it the shares of the destinations"
    n = len(flights)
    g, y = new_generator(seed), torch.tensor(flights, dtype=torch.float32)
    model = nn.Sequential(Embedding(n, size, generator=g), new_linear(size, n, True, g))
    fit(model, (torch.arange(n), y/y.sum(1, keepdim=True)), loss=cross_entropy, epochs=150, lr=.03, wd=wd, bs=64, seed=seed, progress=False)
    return model


def hidden_loss(flights, size:int, wd:float, seed:int)->float:
    "How well a net predicts a tenth of the routes, both ways, that were hidden from it; among the destinations that it was not shown"
    n, known = len(flights), flights.copy()
    pairs = np.argwhere(np.triu(flights+flights.T)>0)
    for i,j in pairs[np.random.default_rng(seed).random(len(pairs))<.1]:
        if min((known[k]>0).sum() for k in (i, j))>1: known[i,j] = known[j,i] = 0
    hidden = torch.tensor((flights>0) & (known==0))
    net = airport_net(known, size, wd, seed)
    with torch.no_grad(): scores = net(torch.arange(n))
    candidates = scores.masked_fill(torch.tensor(known>0) | torch.eye(n).bool(), -torch.inf)
    return float(-candidates.log_softmax(1)[hidden].mean())


def correlation(table, miles, angle:bool)->float:
    return round(float(spearmanr(pdist(table, 'cosine' if angle else 'euclidean'), squareform(miles, checks=False)).statistic), 4)


def permutation_p(table, miles, angle:bool, seed:int, n_shuffles:int=9999)->float:
    "How often are distances as well correlated after the airports have changed their names at random? (Mantel's test)"
    upper, rng = np.triu_indices(len(miles), 1), np.random.default_rng(seed)
    def ranks(d):
        r = rankdata(d)
        return (r-r.mean())/r.std()/len(r)**.5
    rows = squareform(ranks(pdist(table, 'cosine' if angle else 'euclidean')))
    wanted = ranks(miles[upper])
    shuffled = [rows[np.ix_(order, order)][upper]@wanted for order in (rng.permutation(len(miles)) for _ in range(n_shuffles))]
    return float((1+sum(s>=rows[upper]@wanted for s in shuffled))/(1+n_shuffles))


def geography()->dict:
    codes, places, flights = airports()
    km = 6371*haversine_distances(np.radians(places[['latitude', 'longitude']]))
    grid = {f'{size} {wd}': [round(hidden_loss(flights, size, wd, seed), 4) for seed in range(5)]
            for size in (5, 10, 20, 40) for wd in (.03, .1, .3, 1.)}
    best = min(grid, key=lambda k: np.mean(grid[k]))
    size, wd = int(best.split()[0]), float(best.split()[1])
    nets = {seed: airport_net(flights, size, wd, seed)[0].weight.detach().numpy() for seed in SEEDS}
    def both(table): return {'distance': correlation(table, km, False), 'angle': correlation(table, km, True)}
    def svd(x): return (lambda u, s, _: (u*s)[:,:size])(*np.linalg.svd(x, full_matrices=False))
    def of_length_1(x): return x/np.linalg.norm(x, axis=1, keepdims=True)
    centered = flights-flights.mean(0)-flights.mean(1, keepdims=True)+flights.mean()
    all_shares = flights/flights.sum()
    r, c = all_shares.sum(1, keepdims=True), all_shares.sum(0, keepdims=True)
    correspondence = svd((all_shares-r*c)/np.sqrt(r*c))/np.sqrt(r)
    return {'n_airports': len(codes), 'hidden_loss': grid, 'size': size, 'wd': wd,
            'trained': {way: [both(nets[s])[way] for s in SEEDS] for way in ('distance', 'angle')},
            'untrained': {'double-centered SVD': both(svd(centered)), 'SVD': both(svd(flights)), 'SVD, length 1': both(of_length_1(svd(flights))),
                          'roots of shares': both(np.sqrt(flights/flights.sum(1, keepdims=True))), 'correspondence analysis': both(correspondence)},
            'p': {way: permutation_p(nets[0], km, way=='angle', 0) for way in ('distance', 'angle')}}


def main()->None:
    warnings.filterwarnings('ignore')
    torch.set_num_threads(1)
    bikes = load_bikeshare()
    bikes['log_bikers'] = np.log(bikes['bikers'])
    scores, rings, leaks, rare = {}, {}, [], {}
    for seed in tqdm(SEEDS, desc='seeds'):
        for model,ways in bike_scores(bikes, seed).items():
            for way,found in ways.items():
                for metric,value in found.items(): scores.setdefault(metric, {}).setdefault(model, {}).setdefault(way, []).append(value)
        encoder = EntityEncoder(layers=LAYERS, **FIT, random_state=seed).fit(bikes[COLUMNS], bikes.log_bikers)
        leaks.append(leak(bikes, encoder, seed))
        for model,ways in rare_names(seed).items():
            for way,value in ways.items(): rare.setdefault(model, {}).setdefault(way, []).append(value)
        for name,found in calendar(encoder, seed).items():
            for what,value in found.items(): rings.setdefault(name, {}).setdefault(what, []).append(value)
    save('entity', {'seeds': list(SEEDS), 'threads': 1, 'scores': scores, 'kNN, encoder of all rows': leaks, 'rare_names': rare, 'calendar': rings,
                    'untrained_calendar': untrained_calendar(bikes), 'airports': geography()},
         ('torch', 'scikit-learn', 'scipy', 'numpy', 'pandas'))


if __name__ == '__main__': main()
