"""Cold start in MovieLens-100K: users and films held out completely, predicted from metadata, or after five ratings

Seed s draws a tenth of the users (or films), and which five ratings of each may be seen; it also starts the models. All methods are judged
on the same rows, all of them clipped to 1 … 5. `python benchmarks/cold_start.py` takes some minutes.
"""
import torch
from common import record, save
from torch.nn.functional import mse_loss
from tqdm import tqdm

from lesson8lib.collab import DotProductBias, RatingsData
from lesson8lib.cold_start import fold_in
from lesson8lib.hybrid import HybridCollab, Metadata, rate_embeddings
from lesson8lib.data import load_movielens
from lesson8lib.training import evaluate, fit, new_generator

SEEDS = range(20)
T = 2.093  # 97.5 % point of Student's t with 19 degrees of freedom
KNOWN, FIVE, FILMS = 'new users, known by metadata', 'new users with five ratings', 'new films, known by metadata'
BASELINES = {KNOWN: ['global mean', 'film mean', 'film mean, linear in metadata'], FIVE: ['global mean', 'film mean', 'film mean and user mean'],
             FILMS: ['global mean', 'user mean', 'user mean, linear in metadata']}


def rmse(preds, ratings)->float: return round(mse_loss(preds.clamp(1, 5), ratings).sqrt().item(), 4)


def hold_out(data, column:int, seed:int):
    "Rows of a tenth of the users (column 0) or items (1) apart from all others; their numbers"
    x, y = data.train
    n = len((data.users, data.items)[column])
    new = torch.randperm(n-1, generator=new_generator(seed))[:n//10] + 1
    out = torch.isin(x[:,column], new)
    return data._replace(train=(x[~out], y[~out])), x[out], y[out]


def shrunk(x, residual, n:int, k:float=5.): return torch.zeros(n).index_add(0, x, residual)/(torch.bincount(x, minlength=n)+k)


def linear(meta, rows, residual, strength:float):
    "What metadata say of a residual, by ridge regression"
    x = meta[rows]
    return meta @ torch.linalg.solve(x.T@x + strength*torch.eye(x.shape[1]), x.T@residual)


def five_of_each(x, seed:int):
    "True for five random rows of each user"
    order = torch.randperm(len(x), generator=new_generator(seed))
    rank, counts = torch.empty(len(x), dtype=torch.long), {}
    for i in order.tolist(): rank[i] = counts[int(x[i,0])] = counts.get(int(x[i,0]), -1) + 1
    return rank<5


def after_five(model, data, x, y, seen, meta)->torch.Tensor:
    "Predictions for all rows of new users, whose rows are solved for from the ratings seen"
    pred, noise, items = torch.empty(len(y)), evaluate(model, data.train)['loss'], torch.cat([model.item_factors, model.item_bias[:,None]], 1)
    for u in x[:,0].unique():
        mine = x[:,0]==u
        row = torch.cat([torch.atleast_1d(part) for part in
                         fold_in(model, data, x[mine&seen,1], y[mine&seen], meta=None if meta is None else meta[u], noise=noise)])
        pred[mine] = rate_embeddings(row.expand(int(mine.sum()), -1), items[x[mine,1]], model)
    return pred


def trained(model, data, seed, **args):
    fit(model, data.train, seed=seed, progress=False, **args)
    return model.eval()


@torch.no_grad()
def users(data, meta, seed:int)->dict:
    "New users: from metadata on all their rows, and after five ratings on the other ones"
    data, x, y = hold_out(data, 0, seed)
    n_users, n_items = len(data.users), len(data.items)
    mean = data.train[1].mean()
    film = shrunk(data.train[0][:,1], data.train[1]-mean, n_items)
    with torch.enable_grad():
        hybrid = trained(HybridCollab(n_users, n_items, *meta, generator=new_generator(seed)), data, seed, bs=128, wd=.4)
        model = trained(DotProductBias(n_users, n_items, generator=new_generator(seed)), data, seed, bs=512)
    guess = hybrid.for_new_user(meta[0][x[:,0].unique()])
    who = torch.searchsorted(x[:,0].unique(), x[:,0])
    seen = five_of_each(x, seed)
    user = shrunk(x[seen,0], y[seen]-mean-film[x[seen,1]], n_users)
    rest = ~seen
    told = linear(meta[0], data.train[0][:,0], data.train[1]-mean-film[data.train[0][:,1]], 1000)
    folded = {name: rmse(after_five(m, data, x, y, seen, known)[rest], y[rest]) for name,m,known in
              (('fold_in, DotProductBias', model, None), ('fold_in, HybridCollab', hybrid, meta[0]))}
    def judge(pred): return rmse(pred[rest], y[rest])  # not the five ratings seen
    means = {'global mean': judge(mean.expand(len(y))), 'film mean': judge(mean+film[x[:,1]])}
    return {KNOWN: means | {'film mean, linear in metadata': judge(mean+film[x[:,1]]+told[x[:,0]]), 'HybridCollab': judge(guess[who,x[:,1]])},
            FIVE: means | {'film mean and user mean': judge(mean+film[x[:,1]]+user[x[:,0]])} | folded}


@torch.no_grad()
def films(data, meta, seed:int)->dict:
    "New films: from year and genres, by a model whose training hid films' own numbers or did not"
    data, x, y = hold_out(data, 1, seed)
    mean = data.train[1].mean()
    user = shrunk(data.train[0][:,0], data.train[1]-mean, len(data.users))
    what = torch.searchsorted(x[:,1].unique(), x[:,1])
    told = linear(meta[1], data.train[0][:,1], data.train[1]-mean-user[data.train[0][:,0]], 100)
    found = {'global mean': rmse(mean.expand(len(y)), y), 'user mean': rmse(mean+user[x[:,0]], y),
             'user mean, linear in metadata': rmse(mean+user[x[:,0]]+told[x[:,1]], y)}
    for name,hide in (('HybridCollab', 0.), ('HybridCollab, hide_items=.5', .5)):
        model = HybridCollab(len(data.users), len(data.items), *meta, hide_items=hide, generator=new_generator(seed))
        with torch.enable_grad(): trained(model, data, seed, bs=128, wd=.4)
        found[name] = rmse(model.for_new_item(meta[1][x[:,1].unique()])[what,x[:,0]], y)
    return {FILMS: found}


def main()->None:
    torch.set_num_threads(1)
    tables = load_movielens()
    data = RatingsData.from_df(tables.ratings, valid_pct=0.)
    meta = [Metadata(tables.users, 'user', ['age', 'sex', 'occupation']).encode(tables.users, data.users),
            Metadata(tables.items, 'title', ['year', 'genres']).encode(tables.items, data.items)]
    results = []
    for seed in tqdm(SEEDS, desc='seeds'):
        for task,found in (users(data, meta, seed) | films(data, meta, seed)).items():
            results += [record(name, 'rmse', value, seed, task=task) for name,value in found.items()]
    save('cold_start', results, ('torch', 'numpy', 'pandas'), t=T, baselines=BASELINES)


if __name__ == '__main__': main()
