"""A few fans of one niche among the users of MovieLens-100K: who ends on top of the lists, and what remedies cost

Fans and their films are invented, see `invented_fans`. Seed s draws the split, the fans and the initial weights.
`python benchmarks/domination.py` takes two minutes.
"""
import pandas as pd
import torch
from common import record, save
from tqdm import tqdm

from lesson8lib.collab import DotProductBias, RatingsData
from lesson8lib.data import load_movielens
from lesson8lib.popularity import Weighted, invented_fans
from lesson8lib.training import fit, new_generator

SEEDS, FANS, TOP = range(5), (0, 10, 30, 50, 100, 300), 40
NICHE = [f'Niche {i:02}' for i in range(40)]


def run(ratings, n_fans:int, seed:int)->list[dict]:
    order = torch.randperm(len(ratings), generator=new_generator(seed)).numpy()
    test, train = ratings.iloc[order[:20_000]], ratings.iloc[order[20_000:]]
    data = RatingsData.from_df(pd.concat([train, invented_fans(train, n_fans, seed)], ignore_index=True), valid_pct=0.)
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
    def made(name, metric, value): return record(name, metric, round(value, 4), seed, fans=n_fans)
    found = [made(name, 'share of the top 40', share(score)) for name,score in lists.items()]
    for name,score in lists.items():
        offset = user_mean[x_test[:,0]] if name==beyond else 0
        found.append(made(name, 'rmse', rmse(score[x_test[:,1]]+offset)))
    for name,weight in (('DotProductBias', torch.ones(len(y))), ('DotProductBias, each user weighs the same', 1/per_user[x[:,0]])):
        root = (weight/weight.mean()).sqrt()
        model = DotProductBias(n_users, n_items, generator=new_generator(seed))
        fit(Weighted(model), (x, root, y*root), bs=512, seed=seed, progress=False)
        with torch.no_grad(): found += [made(f'bias of {name}', 'share of the top 40', share(model.item_bias)), made(name, 'rmse', rmse(model(x_test)))]
    return found


def main()->None:
    torch.set_num_threads(1)
    ratings = load_movielens().ratings[['user', 'title', 'rating']].astype({'user': str})
    plan = [(n, seed) for n in FANS for seed in SEEDS]
    results = [r for n,seed in tqdm(plan, desc='fans') for r in run(ratings, n, seed)]
    save('domination', results, ('torch', 'numpy', 'pandas'), top=TOP, niche=len(NICHE))


if __name__ == '__main__': main()
