"""Ten million ratings into a Recommender: time, and the most memory that the process held

The ratings are random: 70,000 users, 10,000 items, as in MovieLens-10M. `python benchmarks/ten_million.py` takes some minutes.
"""
import resource
import sys
import time

import numpy as np
import pandas as pd
from common import record, save

from lesson8lib.recommender import Recommender

N, N_USERS, N_ITEMS = 10_000_000, 70_000, 10_000


def main()->None:
    rng = np.random.default_rng(0)
    df = pd.DataFrame({'user': rng.integers(N_USERS, size=N), 'item': (rng.pareto(1, N)*100).astype(int) % N_ITEMS, 'rating': rng.integers(1, 6, N)})
    Recommender().fit(df[:1000], progress=False)  # numba compiles
    start, cpu = time.perf_counter(), time.process_time()
    recommender = Recommender().fit(df)
    seconds, cpu = time.perf_counter()-start, time.process_time()-cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss*(1 if sys.platform=='darwin' else 1024)/1e9  # macOS counts bytes, Linux kB
    size = {'ratings': N, 'users': len(recommender.data.users)-1, 'items': len(recommender.data.items)-1}
    found = {'seconds': round(seconds, 1), 'cpu_seconds': round(cpu, 1), 'peak_gb': round(peak, 2)}
    save('ten_million', [record('Recommender', metric, value, **size) for metric,value in found.items()], packages=('torch', 'numpy', 'pandas'))


if __name__ == '__main__': main()
