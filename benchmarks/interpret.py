"""What is read off the lesson's model of MovieLens-100K, over five trainings: biases, components, a neighbor

Seed s means: split drawn with seed s, weights initialized with seed s. `python benchmarks/interpret.py` takes half a minute.
"""
import torch
from common import save
from tqdm import tqdm

from lesson8lib.collab import DotProductBias, RatingsData
from lesson8lib.data import load_movielens
from lesson8lib.interpret import bias_table, nearest, pca
from lesson8lib.training import fit, new_generator

SEEDS = range(5)
LAMBS, DIAL = 'Silence of the Lambs, The (1991)', 'Dial M for Murder (1954)'


def run(ratings, seed:int)->dict:
    data = RatingsData.from_df(ratings, seed=seed)
    model = DotProductBias(len(data.users), len(data.items), generator=new_generator(seed))
    fit(model, data.train, seed=seed, progress=False)
    table = bias_table(model, data)
    titles = table.sort_values('ratings', ascending=False, kind='stable').index[:1000]
    found = pca(model.item_factors.detach()[data.items.index(titles)], 3)
    def rank(metric): return nearest(model, data, LAMBS, n=len(data.items), metric=metric).index.get_loc(DIAL)+1
    return {'lowest bias': table.nsmallest(5, 'bias').index.tolist(), 'highest bias': table.nlargest(5, 'bias').index.tolist(),
            'explained': [round(v, 4) for v in found.explained.tolist()],
            'rank of Dial M': rank('cosine'), 'rank of Dial M, euclidean': rank('euclidean')}


def main()->None:
    torch.set_num_threads(1)
    ratings = load_movielens().ratings
    runs = [run(ratings, seed) for seed in tqdm(SEEDS, desc='seeds')]
    save('interpret', {'seeds': list(SEEDS), 'runs': {key: [r[key] for r in runs] for key in runs[0]}}, packages=('torch', 'numpy', 'pandas'))


if __name__ == '__main__': main()
