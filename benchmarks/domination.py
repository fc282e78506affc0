"""A few fans of one niche among the users of MovieLens-100K: who ends on top of the lists, and what remedies cost

Fans and their films are invented: 40 films that fans rate 5 or 4, that ordinary people hardly see and do not care for; fans rate 30 ordinary
films each, as others do. Seed s draws the split, the fans and the first weights. `python benchmarks/domination.py` takes two minutes.
"""
import numpy as np
import pandas as pd
import torch
from common import save
from tqdm import tqdm

from lesson8lib.collab import DotProductBias, RatingsData
from lesson8lib.data import load_movielens
from lesson8lib.training import fit, new_generator

SEEDS, FANS, TOP = range(5), (0, 10, 30, 50, 100, 300), 40
NICHE = [f'Niche {i:02}' for i in range(40)]


class Weighted(torch.nn.Module):
    "Predictions times the square root of a weight, so that squared errors count by the weight"
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x, root): return self.model(x)*root


def fans_ratings(ratings, n_fans:int, seed:int):
    "A table of invented ratings"
    rng = np.random.default_rng(seed)
    films = ratings.groupby('title').rating.agg(['size', 'mean'])
    rows = [(f'fan {f}', title, rng.choice([4, 5], p=[.2, .8])) for f in range(n_fans) for title in NICHE]
    for f in range(n_fans):
        for title in rng.choice(films.index, 30, replace=False, p=films['size']/films['size'].sum()):
            rows.append((f'fan {f}', title, int(np.clip(round(films['mean'][title]+rng.normal(0, .9)), 1, 5))))
    people = ratings.user.unique()
    rows += [(user, title, rng.choice([1, 2, 3, 4], p=[.2, .3, .3, .2])) for title in NICHE for user in rng.choice(people, 3, replace=False)]
    return pd.DataFrame(rows, columns=['user', 'title', 'rating'])


def run(ratings, n_fans:int, seed:int)->dict:
    order = torch.randperm(len(ratings), generator=new_generator(seed)).numpy()
    test, train = ratings.iloc[order[:20_000]], ratings.iloc[order[20_000:]]
    data = RatingsData.from_df(pd.concat([train, fans_ratings(train, n_fans, seed)], ignore_index=True), valid_pct=0.)
    (x, y), n_users, n_items = data.train, len(data.users), len(data.items)
    niche = torch.zeros(n_items, dtype=torch.bool).index_fill(0, data.items.index(NICHE), True)
    count, per_user = torch.bincount(x[:,1], minlength=n_items), torch.bincount(x[:,0], minlength=n_users)
    test = test[test.user.isin(train.user) & test.title.isin(train.title)]
    x_test, y_test = torch.stack([data.users.index(test.user), data.items.index(test.title)], 1), torch.tensor(test.rating.to_numpy(dtype='float32'))

    def share(score): return niche[score.masked_fill(count<10, -9).topk(TOP).indices].float().mean().item()
    def rmse(pred): return (pred.clamp(1, 5)-y_test).square().mean().sqrt().item()
    def means(values, k=0.): return torch.zeros(n_items).index_add(0, x[:,1], values)/(count+k).clamp(min=1)
    vote = 1/per_user[x[:,0]]  # each user has one vote to divide
    def weighted_means(values): return torch.zeros(n_items).index_add(0, x[:,1], values*vote)/torch.zeros(n_items).index_add(0, x[:,1], vote).clamp(min=1e-9)

    overall = y.mean()
    user_mean = torch.zeros(n_users).index_add(0, x[:,0], y)/per_user.clamp(min=1)
    beyond = "mean of what exceeds the rater's own mean"
    lists = {'mean rating': overall+means(y-overall), 'mean, shrunk by 100 ratings': overall+means(y-overall, 100),
             'mean, each user weighs the same': overall+weighted_means(y-overall), beyond: means(y-user_mean[x[:,0]])}
    found = {f'share: {name}': share(score) for name,score in lists.items()}
    found |= {f'rmse: {name}': rmse(score[x_test[:,1]] + (user_mean[x_test[:,0]] if name==beyond else 0)) for name,score in lists.items()}
    for name,weight in (('DotProductBias', torch.ones(len(y))), ('DotProductBias, each user weighs the same', 1/per_user[x[:,0]])):
        root = (weight/weight.mean()).sqrt()
        model = DotProductBias(n_users, n_items, generator=new_generator(seed))
        fit(Weighted(model), (x, root, y*root), bs=512, seed=seed, progress=False)
        with torch.no_grad(): found |= {f'share: bias of {name}': share(model.item_bias), f'rmse: {name}': rmse(model(x_test))}
    return found


def main()->None:
    torch.set_num_threads(1)
    ratings = load_movielens().ratings[['user', 'title', 'rating']].astype({'user': str})
    results = {n: [run(ratings, n, seed) for seed in SEEDS] for n in tqdm(FANS, desc='fans')}
    stored = {str(n): {key: [round(r[key], 4) for r in runs] for key in runs[0]} for n,runs in results.items()}
    save('domination', {'seeds': list(SEEDS), 'top': TOP, 'niche': len(NICHE), 'fans': stored}, packages=('torch', 'numpy', 'pandas'))


if __name__ == '__main__': main()
