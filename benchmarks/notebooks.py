"""How long each notebook runs, from the start of its kernel to its end: seconds of processor time and of the clock

`python benchmarks/notebooks.py` takes some fifteen minutes on one core; with names (36_cnn), only these are measured, and the stored results of all
others stay. Each runs in a process of its own on one thread, as in CI. Fetch the data first: `make notebooks` does.
"""
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from common import RESULTS, record, save
from tqdm import tqdm

NBS = RESULTS.parents[1]/'nbs'
TEST = Path(sys.executable).with_name('nbdev-test')


def processor_seconds()->float:
    "Of all child processes that have ended"
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(name:str)->list[dict]:
    before, start = processor_seconds(), time.perf_counter()
    env = os.environ | {'OMP_NUM_THREADS': '1', 'TQDM_DISABLE': '1'}
    subprocess.run([TEST, NBS/f'{name}.ipynb'], env=env, capture_output=True, check=True)
    return [record(name, 'cpu seconds', round(processor_seconds()-before, 1), threads=1),
            record(name, 'seconds', round(time.perf_counter()-start, 1), threads=1)]


def main()->None:
    names = sys.argv[1:] or sorted(p.stem for p in NBS.glob('[0-9]*.ipynb'))
    found = [row for name in tqdm(names, desc='notebooks') for row in measure(name)]
    if sys.argv[1:] and (RESULTS/'notebooks.json').exists():
        old = json.loads((RESULTS/'notebooks.json').read_text(encoding='utf-8'))['results']
        found = sorted(found + [r for r in old if r['model'] not in names], key=lambda r: r['model'])
    save('notebooks', found, packages=('torch', 'fastai', 'nbdev', 'numpy'))


if __name__ == '__main__': main()
