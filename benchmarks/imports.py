"""What importing a module costs, beyond `import torch`: each in a fresh interpreter, in turn with torch alone

`python benchmarks/imports.py` takes some two minutes; with names of modules, only these are measured, and the stored results of all others stay.
"""
import json
import pkgutil
import statistics
import subprocess
import sys

from common import RESULTS, record, save
from tqdm import tqdm

import lesson8lib

ROUNDS = 9
CODE = 'import time; start = time.perf_counter(); import {}; print(time.perf_counter()-start)'


def seconds(module:str)->float:
    "Seconds that `import module` takes in a fresh interpreter"
    return float(subprocess.run([sys.executable, '-c', CODE.format(module)], capture_output=True, encoding='utf-8', check=True).stdout)


def main()->None:
    names = sys.argv[1:] or [m.name for m in pkgutil.iter_modules(lesson8lib.__path__) if m.name!='_modidx']
    modules = ['torch', *sorted(f'lesson8lib.{name}' for name in names), *(['fastai.collab'] if len(sys.argv)==1 else [])]
    times = {m: [] for m in modules}
    for _ in tqdm(range(ROUNDS+1), desc='rounds'):
        for m in modules: times[m].append(seconds(m))
    medians = {m: statistics.median(t[1:]) for m,t in times.items()}  # the first round warms the disk's cache
    torch = medians.pop('torch')
    over = [record(m, 'seconds_over_torch', round(t-torch, 3)) for m,t in medians.items()]
    found = [record('torch', 'seconds', round(torch, 3)), *over]
    if sys.argv[1:]:  # the others, in their order
        old = json.loads((RESULTS/'imports.json').read_text(encoding='utf-8'))['results']
        found = old + [r for r in over if r['model'] not in {o['model'] for o in old}]
        found = [next((r for r in over if r['model']==o['model']), o) for o in found]
    save('imports', found, rounds=ROUNDS)


if __name__ == '__main__': main()
