"""What is read off the lesson's model of MovieLens-100K, over five trainings: biases, components, a neighbor

Seed s means: split drawn with seed s, weights initialized with seed s. `python benchmarks/interpret.py` takes half a minute.
"""
import torch
from common import record, save
from tqdm import tqdm

from lesson8lib.collab import DotProductBias, RatingsData, fit_ratings
from lesson8lib.data import load_movielens
from lesson8lib.interpret import bottom_bias, nearest, pca, top_bias

SEEDS = range(5)
LAMBS, DIAL = 'Silence of the Lambs, The (1991)', 'Dial M for Murder (1954)'


def run(ratings, seed:int)->list[dict]:
    data = RatingsData.from_df(ratings, seed=seed)
    model, _ = fit_ratings(data, DotProductBias, seed, progress=False)
    def made(metric, value, **setting): return record('DotProductBias', metric, value, seed, **setting)
    lists = {'lowest': bottom_bias(model, data), 'highest': top_bias(model, data)}
    found = [made(f'place among the {which}', place, title=title) for which,table in lists.items() for place,title in enumerate(table.index, 1)]
    most_rated = ratings.title.value_counts().index[:1000]
    explained = pca(model.item_factors.detach()[data.items.index(most_rated)], 3).explained
    found += [made('explained variance', round(v, 4), component=i) for i,v in enumerate(explained.tolist(), 1)]
    for metric in ('cosine', 'euclidean'):
        neighbors = nearest(model, data, LAMBS, n=len(data.items), metric=metric).index
        found.append(made('rank of Dial M for Murder', neighbors.get_loc(DIAL)+1, distance=metric))
    return found


def main()->None:
    torch.set_num_threads(1)
    ratings = load_movielens().ratings
    save('interpret', [r for seed in tqdm(SEEDS, desc='seeds') for r in run(ratings, seed)], ('torch', 'numpy', 'pandas'), threads=1)


if __name__ == '__main__': main()
