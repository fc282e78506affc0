"""What importing a module costs, beyond `import torch`: each in a fresh interpreter, in turn with torch alone

`python benchmarks/imports.py` takes some two minutes.
"""
import pkgutil
import statistics
import subprocess
import sys

from common import record, save
from tqdm import tqdm

import lesson8lib

ROUNDS = 9
CODE = 'import time; start = time.perf_counter(); import {}; print(time.perf_counter()-start)'


def seconds(module:str)->float:
    "Seconds that `import module` takes in a fresh interpreter"
    return float(subprocess.run([sys.executable, '-c', CODE.format(module)], capture_output=True, encoding='utf-8', check=True).stdout)


def main()->None:
    modules = ['torch', *sorted(f'lesson8lib.{m.name}' for m in pkgutil.iter_modules(lesson8lib.__path__) if m.name!='_modidx'), 'fastai.collab']
    times = {m: [] for m in modules}
    for _ in tqdm(range(ROUNDS+1), desc='rounds'):
        for m in modules: times[m].append(seconds(m))
    medians = {m: statistics.median(t[1:]) for m,t in times.items()}  # the first round warms the disk's cache
    torch = medians.pop('torch')
    over = [record(m, 'seconds_over_torch', round(t-torch, 3)) for m,t in medians.items()]
    save('imports', [record('torch', 'seconds', round(torch, 3)), *over], rounds=ROUNDS)


if __name__ == '__main__': main()
