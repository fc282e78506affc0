"""What does a second process save? `fit_bayes_parts` on a million generated ratings, in one process and in two, each with one thread

`make_ratings` draws 1,000,000 ratings with seed s, by 6,000 users of 4,000 items (about as many as in MovieLens-1M) and by 50,000 users of
1,000 items. The ratings are dealt to the processes in turn. Seconds are those of one iteration: a fit of 12 iterations less one of 2, over 10. "cpu seconds" is
the processor time of the busiest process, "seconds" is elapsed time, which other work on the machine disturbs. "peak MB" is what a fit adds to the
memory of the process that adds most, ratings read before and numba's code not counted. "sent MB" is what a process sends in an iteration, the mean over
processes. "difference" is the largest one between vectors of two processes and of one, relative to the largest entry.
`python benchmarks/parts.py` takes about five minutes on two cores; Linux only, for the memory.
"""
import os

for name in ('OMP', 'OPENBLAS', 'MKL'): os.environ[f'{name}_NUM_THREADS'] = '1'  # before the libraries are imported
import re
import sys
from pathlib import Path
from time import perf_counter, process_time

import torch
from common import record, save
from tqdm import tqdm

from lesson8lib.bayes import fit_bayes
from lesson8lib.data import make_ratings
from lesson8lib.parts import BayesPart, fit_bayes_parts, in_processes, join_parts

SIZES, SEEDS, FACTORS = {'6,000 users': (6000, 4000), '50,000 users': (50_000, 1000)}, range(3), {'6,000 users': (10, 30), '50,000 users': (10,)}


def memory(what:str)->float:
    "MB of this process: VmRSS now, VmHWM at most since the last reset"
    return int(re.search(rf'{what}:\s+(\d+)', Path('/proc/self/status').read_text(encoding='ascii'))[1])/1024


def measured(pairs, ratings, n_users:int, n_items:int, **options)->tuple[BayesPart, dict[str, float]]:
    "A fit in this process, and what it cost"
    fit_bayes(pairs[:50]%9, ratings[:50], 9, 9, 2, 1)  # compiles, or loads what was compiled
    took = []
    for iterations in (2, 12):
        Path('/proc/self/clear_refs').write_text('5', encoding='ascii')  # resets VmHWM
        before, begun = memory('VmRSS'), (perf_counter(), process_time())
        part = fit_bayes_parts(pairs, ratings, n_users, n_items, iterations=iterations, gather=False, **options)
        took.append((perf_counter()-begun[0], process_time()-begun[1], memory('VmHWM')-before))
    (wall, cpu, peak), (wall2, cpu2, _) = took  # later, freed memory is used again
    return part, {'seconds': (wall2-wall)/10, 'cpu seconds': (cpu2-cpu)/10, 'peak MB': peak}


def dealt(n:int, pairs, ratings, sizes)->list[tuple]: return [(pairs[k::n], ratings[k::n], *sizes) for k in range(n)]


def generated(sizes:tuple[int, int], seed:int):
    table = make_ratings(1_000_000, *sizes, seed=seed)
    pairs = torch.stack([torch.tensor(table[c].to_numpy())-1 for c in ('user', 'item')], 1)
    return pairs, torch.tensor(table.rating.to_numpy()).float()


def one(name:str, sizes:tuple[int, int], pairs, ratings, seed:int, n_factors:int)->list[dict]:
    found, fits = [], {}
    for n in (1, 2):
        parts, costs = zip(*in_processes(measured, dealt(n, pairs, ratings, sizes), n_factors=n_factors, seed=seed), strict=True)
        values = {metric: max(c[metric] for c in costs) for metric in costs[0]} | {'sent MB': sum(p.sent for p in parts)/n/1e6}
        fits[n] = join_parts(list(parts))
        found += [record('fit_bayes_parts', m, round(v, 4), seed, processes=n, data=name, n_factors=n_factors) for m,v in values.items()]
    apart = max(((a-b).abs().max()/b.abs().max()).item() for a,b in zip(fits[2][:4], fits[1][:4], strict=True))
    return [*found, record('fit_bayes_parts', 'difference', apart, seed, processes=2, data=name, n_factors=n_factors)]


def main()->None:
    torch.set_num_threads(1)
    found, jobs = [], [(name, sizes, seed) for name,sizes in SIZES.items() for seed in SEEDS]
    for name,sizes,seed in tqdm(jobs[:1] if '--quick' in sys.argv else jobs):
        given = generated(sizes, seed)
        for f in FACTORS[name]: found += one(name, sizes, *given, seed, f)
    if '--quick' in sys.argv: print(*found, sep='\n')
    else: save('parts', found, ('torch', 'numpy', 'numba'), threads=1)


if __name__=='__main__': main()
