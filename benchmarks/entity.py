"""Entity embeddings: what they add to other models (bikes), and what they know of the calendar (bikes) and of geography (airports)

Seed s means: split drawn with seed s, weights initialized with seed s. Bikeshare: from hour, weekday, month and weather to the logarithm of the
count; a fifth of the *days* is held out for testing, so that no neighboring hours are in training. Each model with four encodings, nothing tuned;
encoders write the training rows with `fit_transform`, as a pipeline does. `embeddings fitted to all rows` has an encoder that saw the test days.
Metric `r2`: 600 categories in 1,000 rows, which carry no information. The calendar is looked for in embeddings, and in what needs no training:
the mean of each category, and its profile. Airports: the number of factors and the weight decay are those that predict a tenth of the routes,
hidden in training, best; distance is no part of that. `python benchmarks/entity.py` takes six minutes.
"""
import warnings

import numpy as np
import torch
from common import record, save
from scipy.spatial.distance import pdist, squareform
from scipy.stats import rankdata, spearmanr
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.metrics.pairwise import haversine_distances
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder
from tqdm import tqdm

from lesson8lib.data import load_bikeshare
from lesson8lib.entity import EntityEncoder, circle_test, fit_airports, flight_counts, split_days, useless_shops
from lesson8lib.tabular import TableData, TabularModel
from lesson8lib.training import fit, new_generator

SEEDS, COLUMNS, LAYERS = range(10), ['hour', 'weekday', 'month', 'weather'], [200, 100]
FIT = {'epochs': 10, 'lr': 1e-2, 'bs': 64}
WEEK = [1, 2, 3, 4, 5, 6, 0]  # from Monday to Sunday


def encoders(seed:int)->dict:
    return {'integer codes': make_pipeline(OrdinalEncoder(handle_unknown='use_encoded_value', unknown_value=-1), StandardScaler()),
            'one-hot': OneHotEncoder(sparse_output=False, handle_unknown='ignore'),
            'target encoding': TargetEncoder(random_state=seed), 'embeddings': EntityEncoder(layers=LAYERS, **FIT, random_state=seed)}


def models(seed:int)->dict:
    return {'kNN': KNeighborsRegressor(10), 'random forest': RandomForestRegressor(100, max_features=.5, min_samples_leaf=5, random_state=seed),
            'gradient boosting': HistGradientBoostingRegressor(random_state=seed)}


def errors(pred, y)->dict[str, float]:
    return {'rmse_log': round(float(((pred-y)**2).mean()**.5), 4), 'mape': round(float(np.abs(np.exp(pred-y)-1).mean()), 4)}


def recipe(n:int)->dict:
    "Mini-batches of 64, or of 65 where a single row would be left over, of which batch normalization has no variance"
    return FIT | {'bs': next(bs for bs in (64, 65) if n%bs!=1)}


def network_on_numbers(train, test, y, seed:int):
    "A network without embeddings, on numerical columns"
    model = TabularModel([], train.shape[1], 1, LAYERS, bn_cont=False, generator=new_generator(seed))
    fit(model, [torch.tensor(a, dtype=torch.float32) for a in (np.zeros((len(y), 0)), train, y)], seed=seed, progress=False,
        **recipe(len(y)))
    with torch.no_grad(): return model.eval()(torch.zeros(len(test), 0), torch.tensor(test, dtype=torch.float32)).numpy()


def network_with_embeddings(train, test, seed:int):
    data = TableData(train, 'log_bikers', COLUMNS, [], valid=0., seed=seed)
    model = TabularModel(data.emb_szs, 0, 1, LAYERS, generator=new_generator(seed))
    fit(model, data.train, seed=seed, progress=False, **recipe(len(train)))
    return data.predict(model, test).to_numpy()


def bike_scores(bikes, seed:int)->list[dict]:
    train, test = split_days(bikes, seed)
    y_train, y_test = train.log_bikers.to_numpy(), test.log_bikers.to_numpy()
    found = []
    def add(model, encoding, pred):
        found.extend(record(model, metric, value, seed, encoding=encoding) for metric,value in errors(pred, y_test).items())
    for way,encoder in encoders(seed).items():
        x_train = encoder.fit_transform(train[COLUMNS], y_train)  # TargetEncoder cross-fits here, and only here
        x_test = encoder.transform(test[COLUMNS])
        for name,model in models(seed).items(): add(name, way, model.fit(x_train, y_train).predict(x_test))
        is_whole = way=='embeddings'
        add('network', way, network_with_embeddings(train, test, seed) if is_whole else network_on_numbers(x_train, x_test, y_train, seed))
    plain = TargetEncoder(random_state=seed).fit(train[COLUMNS], y_train)  # one mean per category, of all its training rows
    x_train, x_test = plain.transform(train[COLUMNS]), plain.transform(test[COLUMNS])
    for name,model in models(seed).items(): add(name, 'target encoding without cross-fitting', model.fit(x_train, y_train).predict(x_test))
    native = make_pipeline(OrdinalEncoder(handle_unknown='use_encoded_value', unknown_value=np.nan),
                           HistGradientBoostingRegressor(categorical_features=range(len(COLUMNS)), random_state=seed)).fit(train[COLUMNS], y_train)
    add('gradient boosting', 'native categories', native.predict(test[COLUMNS]))
    return found


def leak(bikes, encoder, seed:int)->dict:
    "Nearest neighbors on the training rows, behind an encoder that was fitted to all rows"
    train, test = split_days(bikes, seed)
    model = models(seed)['kNN'].fit(encoder.transform(train[COLUMNS]), train.log_bikers)
    rmse = errors(model.predict(encoder.transform(test[COLUMNS])), test.log_bikers.to_numpy())['rmse_log']
    return record('kNN', 'rmse_log', rmse, seed, encoding='embeddings fitted to all rows')


def few_rows(seed:int)->list[dict]:
    "R² in 1,000 new rows: an informative number and one of 600 categories without information, as embeddings, as target encoding, or left out"
    X, y = useless_shops(seed)
    ways = {'embeddings': EntityEncoder(['shop'], random_state=seed), 'left out': make_column_transformer(('passthrough', ['x'])),
            'target encoding': make_column_transformer((TargetEncoder(random_state=seed), ['shop']), remainder='passthrough')}
    found = []
    for way,encoder in ways.items():
        x_train, x_test = encoder.fit_transform(X[:1000], y[:1000]), encoder.transform(X[1000:])
        for name,model in models(seed).items():
            found.append(record(name, 'r2', round(float(model.fit(x_train, y[:1000]).score(x_test, y[1000:])), 4), seed, encoding=way))
    return found


def circle(model:str, column:str, table, seed:int)->list[dict]:
    "Are neighbors in the calendar, where December meets January, closer than other pairs? `table`: a vector per category, in order"
    ratio, p = circle_test(table, 9999, seed)
    order = squareform(pdist(table)).argsort(1)  # the first is the category itself
    return [record(model, 'neighbor ratio', round(ratio, 4), seed, column=column), record(model, 'p', p, seed, column=column),
            record(model, 'rank of the first for the last', order[-1].tolist().index(0), seed, column=column),
            *(record(model, 'nearest', int(near), seed, column=column, position=i) for i,near in enumerate(order[:,1]))]


def calendar(encoder, seed:int)->list[dict]:
    tables = {name: encoder.embeddings_[name].iloc[1:] for name in ('hour', 'weekday', 'month')}
    tables['weekday'] = tables['weekday'].loc[WEEK]
    return [r for name,table in tables.items() for r in circle('embeddings', name, table, seed)]


def untrained_calendar(bikes)->list[dict]:
    "The same for what needs no training: the mean of each category, and its profile: of an hour the means by weekday, else the means by hour"
    found = []
    for name in ('hour', 'weekday', 'month'):
        tables = {'mean': bikes.groupby(name).log_bikers.mean().to_frame(),
                  'profile': bikes.pivot_table('log_bikers', name, 'weekday' if name=='hour' else 'hour')}
        for way,table in tables.items(): found += circle(way, name, table.loc[WEEK] if name=='weekday' else table, 0)
    return found


def hidden_loss(flights, n_factors:int, wd:float, seed:int)->float:
    "How well a network predicts a tenth of the routes, both ways, that were hidden from it; among the destinations that it was not shown"
    n, known = len(flights), flights.copy()
    pairs = np.argwhere(np.triu(flights+flights.T)>0)
    for i,j in pairs[np.random.default_rng(seed).random(len(pairs))<.1]:
        if min((known[k]>0).sum() for k in (i, j))>1: known[i,j] = known[j,i] = 0
    hidden = torch.tensor((flights>0) & (known==0))
    net = fit_airports(torch.tensor(known, dtype=torch.float32), n_factors, wd, seed)
    with torch.no_grad(): scores = net(torch.arange(n))
    candidates = scores.masked_fill(torch.tensor(known>0) | torch.eye(n).bool(), -torch.inf)
    return float(-candidates.log_softmax(1)[hidden].mean())


def correlation(table, km, angle:bool)->float:
    return round(float(spearmanr(pdist(table, 'cosine' if angle else 'euclidean'), squareform(km, checks=False)).statistic), 4)


def mantel_p(table, km, angle:bool, seed:int, n_shuffles:int=9999)->float:
    "How often are distances as well correlated after the names of the airports have been shuffled? (Mantel's test)"
    upper, rng = np.triu_indices(len(km), 1), np.random.default_rng(seed)
    def ranks(d):
        r = rankdata(d)
        return (r-r.mean())/r.std()/len(r)**.5
    rows = squareform(ranks(pdist(table, 'cosine' if angle else 'euclidean')))
    wanted = ranks(km[upper])
    shuffled = [rows[np.ix_(order, order)][upper]@wanted for order in (rng.permutation(len(km)) for _ in range(n_shuffles))]
    return float((1+sum(s>=rows[upper]@wanted for s in shuffled))/(1+n_shuffles))


def untrained_airports(flights, n_factors:int)->dict[str, np.ndarray]: # a vector per airport
    def svd(x): return (lambda u, s, _: (u*s)[:,:n_factors])(*np.linalg.svd(x, full_matrices=False))
    centered = flights-flights.mean(0)-flights.mean(1, keepdims=True)+flights.mean()
    plain, proportions = svd(flights), flights/flights.sum()
    r, c = proportions.sum(1, keepdims=True), proportions.sum(0, keepdims=True)
    return {'double-centered SVD': svd(centered), 'SVD': plain, 'SVD, normalized': plain/np.linalg.norm(plain, axis=1, keepdims=True),
            'square roots of proportions': np.sqrt(flights/flights.sum(1, keepdims=True)),
            'correspondence analysis': svd((proportions-r*c)/np.sqrt(r*c))/np.sqrt(r)}


def geography()->tuple[list[dict], dict]: # records; the settings that predict hidden routes best
    counts, places = flight_counts()
    flights, km = np.log1p(counts.to_numpy()), 6371*haversine_distances(np.radians(places[['latitude', 'longitude']]))
    grid = {(n, wd): [round(hidden_loss(flights, n, wd, seed), 4) for seed in range(5)] for n in (5, 10, 20, 40) for wd in (.03, .1, .3, 1.)}
    n_factors, wd = best = min(grid, key=lambda k: np.mean(grid[k]))
    found = [record('network', 'hidden loss', v, seed, n_factors=n, wd=w) for (n, w),values in grid.items() for seed,v in enumerate(values)]
    y = torch.tensor(flights, dtype=torch.float32)
    trained = {seed: fit_airports(y, *best, seed)[0].weight.detach().numpy() for seed in SEEDS}
    untrained = untrained_airports(flights, n_factors)
    for by in ('distance', 'angle'):
        found += [record('network', 'spearman', correlation(table, km, by=='angle'), seed, by=by) for seed,table in trained.items()]
        found += [record(name, 'spearman', correlation(table, km, by=='angle'), by=by) for name,table in untrained.items()]
        found.append(record('network', 'mantel p', mantel_p(trained[0], km, by=='angle', 0), by=by))
    return found, {'n_airports': len(counts), 'n_factors': n_factors, 'wd': wd}


def main()->None:
    warnings.filterwarnings('ignore')
    torch.set_num_threads(1)
    bikes = load_bikeshare()
    bikes['log_bikers'] = np.log(bikes['bikers'])
    found = []
    for seed in tqdm(SEEDS, desc='seeds'):
        encoder = EntityEncoder(layers=LAYERS, **FIT, random_state=seed).fit(bikes[COLUMNS], bikes.log_bikers)
        found += [*bike_scores(bikes, seed), leak(bikes, encoder, seed), *few_rows(seed), *calendar(encoder, seed)]
    airports, best = geography()
    save('entity', [*found, *untrained_calendar(bikes), *airports], ('torch', 'scikit-learn', 'scipy', 'numpy', 'pandas'), threads=1, **best)


if __name__ == '__main__': main()
