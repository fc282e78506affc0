"Where results go, and what machine and versions they came from"
import json
import platform
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent/'results'


def _cpu()->str:
    "Name of the processor, where the system tells"
    try: names = [line.split(':')[1].strip() for line in Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines() if line.startswith('model name')]
    except OSError: names = []
    return f'{len(names)} × {names[0]}' if names else platform.processor() or platform.machine()


def _git(*args:str)->str:
    "What git says; nothing where it is not installed"
    if shutil.which('git') is None: return ''
    return subprocess.run(['git', *args], capture_output=True, encoding='utf-8', cwd=RESULTS.parents[1]).stdout.strip()


def _commit()->str:
    "The commit measured, marked where files other than results differ from it"
    return _git('rev-parse', '--short', 'HEAD') + ('-dirty' if _git('status', '--porcelain', '--', '.', ':!benchmarks/results') else '')


def record(
    model:str, # what was measured
    metric:str, # in which number: rmse, accuracy, seconds, …
    value:float, # the number
    seed:int=0, # of the run
    **setting, # what else distinguishes the run: lr=.005, n=1000
)->dict:
    "One measurement, as all results are stored"
    return {'model': model, 'setting': setting, 'seed': seed, 'metric': metric, 'value': value}


def save(
    name:str, # file name without its ending
    results:list[dict], # from `record`
    packages:tuple[str, ...]=('torch', 'fastai', 'numpy', 'pandas'), # whose versions matter
    **more, # what else belongs in `about`: threads, epochs, …
)->None:
    "Write results/NAME.json: the records, and the machine, the versions and the commit they were measured at"
    about = {'machine': _cpu(), 'system': platform.system(), 'python': platform.python_version(),
             'versions': {p: version(p) for p in packages}, 'commit': _commit(), **more}
    RESULTS.mkdir(exist_ok=True)
    head = json.dumps(about, indent=1).replace('\n', '\n ')
    lines = ',\n'.join(f'  {json.dumps(r)}' for r in results)
    (RESULTS/f'{name}.json').write_text(f'{{\n "about": {head},\n "results": [\n{lines}\n ]\n}}\n', encoding='utf-8')
