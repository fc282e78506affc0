"make setup, its .venv, the requirements, and the workflows"
import re
import shutil
import subprocess
import sys
import tomllib
from configparser import ConfigParser

import pytest
from check import ROOT

# ---- make setup
def setup(folder, /, *args, env=(), **tools):
    "Run tools/setup.sh where the PATH holds nothing but these commands"
    bin = folder/'bin'
    bin.mkdir(exist_ok=True)
    for name, script in tools.items(): command(bin/name, script)
    shutil.copy(ROOT/'pyproject.toml', folder)
    return subprocess.run(['/bin/sh', ROOT/'tools/setup.sh', *args], cwd=folder, env=dict(PATH=str(bin)) | dict(env), capture_output=True, encoding='utf-8')

def command(path, script):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'#!/bin/sh\n{script}\n', encoding='utf-8')
    path.chmod(0o755)

def python(version, missing=''):
    "A stand-in that has a version, and may lack a module"
    return f'case "$*" in *print*) echo {version};; *import*) exit {int(bool(missing))};; *) echo "$@" > made;; esac'

GIT = dict(git='exit 0')
TOO_NEW = 'constraints.txt has releases for Python 3.11 to 3.14, not for 3.15: choose another with PYTHON=python3.14, or the newest of everything with CONSTRAINTS='

@pytest.mark.parametrize('tools, line', [
    ({}, 'make setup: git is missing (Debian, Ubuntu: apt-get install git)'),
    (GIT, 'make setup: Python 3.11 or newer, with venv, is missing; found: none'),
    (GIT | dict(python3=python('3.9')), 'make setup: Python 3.11 or newer, with venv, is missing; found: only 3.9'),
    (GIT | dict(python3=python('3.12', 'venv')), 'found: 3.12 without venv (Debian, Ubuntu: apt-get install python3.12-venv)'),
    (GIT | dict(python3=python('3.15')), f'make setup: {TOO_NEW}'),
], ids=['no git', 'no python', 'old python', 'no venv', 'new python'])
def test_setup_names_what_is_missing_in_one_line(tmp_path, tools, line):
    done = setup(tmp_path, **tools)
    assert done.returncode == 1 and done.stderr.count('\n') == 1 and line in done.stderr

@pytest.mark.parametrize('first', ['3.9', '3.15'])
def test_setup_takes_the_first_python_that_will_do(tmp_path, first):
    "A newer one is preferred; one that is too old or too new for the pins is passed over"
    done = setup(tmp_path, **GIT, python3=python(first), **{'python3.12': python('3.12'), 'python3.11': python('3.11')})
    assert done.returncode == 0 and 'with Python 3.12' in done.stdout
    assert (tmp_path/'made').read_text(encoding='utf-8') == '-m venv --clear .venv\n'

def test_without_pins_any_newer_python_will_do(tmp_path):
    done = setup(tmp_path, env=dict(CONSTRAINTS=''), **GIT, python3=python('3.15'))
    assert done.returncode == 0 and 'with Python 3.15' in done.stdout

def test_the_python_that_is_asked_for_is_the_only_one_tried(tmp_path):
    "Its path may hold a space"
    command(tmp_path/'a folder/python', python('3.12'))
    done = setup(tmp_path, env=dict(PYTHON=str(tmp_path/'a folder/python')), **GIT, python3=python('3.13'))
    assert done.returncode == 0 and 'with Python 3.12' in done.stdout
    done = setup(tmp_path, env=dict(PYTHON='python3.15'), **GIT, **{'python3.15': python('3.15')})
    assert done.returncode == 1 and TOO_NEW in done.stderr

# ---- A .venv that no longer fits
@pytest.fixture
def checkout(tmp_path):
    "A checkout, in a folder with a space, that has a .venv"
    (folder := tmp_path/'a checkout').mkdir()
    subprocess.run([sys.executable, '-m', 'venv', '--without-pip', folder/'.venv'], check=True)
    (next(folder.rglob('site-packages'))/'pip.py').touch() # all that is asked of pip
    assert setup(folder, 'fits').returncode == 0
    return folder

def move(folder): return folder.rename(folder.with_name('another name'))
def lose_python(folder):
    for link in (folder/'.venv/bin').glob('python*'): link.unlink()
    (folder/'.venv/bin/python').symlink_to(folder/'gone')
    return folder
def lose_pip(folder):
    next(folder.rglob('pip.py')).unlink()
    return folder
def remove(folder):
    shutil.rmtree(folder/'.venv')
    return folder

@pytest.mark.parametrize('change', [move, lose_python, lose_pip, remove])
def test_a_venv_that_no_longer_fits_is_made_anew(checkout, change):
    folder = change(checkout)
    assert setup(folder, 'fits').returncode == 1
    done = setup(folder, **GIT, python3=python('3.12'))
    assert done.returncode == 0 and 'making .venv' in done.stdout and (folder/'made').exists()

def test_a_venv_that_fits_is_kept(checkout):
    done = setup(checkout, **GIT, python3=python('3.12'))
    assert done.returncode == 0 and done.stdout == '' and not (checkout/'made').exists()

def make(folder, *args): return subprocess.run(['make', *args], cwd=folder, capture_output=True, encoding='utf-8')

@pytest.fixture
def made(checkout):
    "A checkout in which `make setup` has been run"
    shutil.copy(ROOT/'Makefile', checkout)
    for name in ('settings.ini', 'setup.py', 'pyproject.toml', 'constraints.txt', 'tools/setup.sh'):
        (checkout/name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT/name, checkout/name)
    (checkout/'.cache').mkdir()
    (checkout/'.venv/.ready').touch()
    return checkout

@pytest.mark.parametrize('target', ['setup', 'docs', 'check'])
def test_every_target_notices_that_the_checkout_was_moved(made, target):
    def sets_up(folder): return 'tools/setup.sh' in make(folder, '--dry-run', target).stdout
    assert not sets_up(made) and sets_up(move(made))

def test_clean_keeps_what_was_downloaded(made):
    from docs import KATEX_CACHE
    kept = [made/KATEX_CACHE.relative_to(ROOT)/'katex.whl', made/'.data/mnist/images', made/'.venv/.ready']
    built = [made/name for name in ('_docs/a', '_sheets/a', '_run/a', '.cache/npm/a', '.cache/matplotlib/a')]
    for file in kept + built:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert make(made, 'clean').returncode == 0
    assert all(file.exists() for file in kept) and not any(file.exists() for file in built)

# ---- The Pythons that are supported
def supported():
    classifiers = tomllib.loads((ROOT/'pyproject.toml').read_text(encoding='utf-8'))['project']['classifiers']
    return [found[1] for c in classifiers if (found := re.fullmatch(r'Programming Language :: Python :: (3\.\d+)', c))]

def test_the_supported_pythons_are_those_that_are_tested():
    "The classifiers are the one home; what cannot read them agrees"
    minors = [int(v.partition('.')[2]) for v in supported()]
    assert minors == list(range(minors[0], minors[-1] + 1)) and len(minors) > 1
    project = tomllib.loads((ROOT/'pyproject.toml').read_text(encoding='utf-8'))['project']
    assert project['requires-python'] == f'>={supported()[0]}'
    assert f'python: ["{supported()[0]}", "{supported()[-1]}"]' in (ROOT/'.github/workflows/test.yml').read_text(encoding='utf-8')
    for name in ('README.md', 'CONTRIBUTING.md'): assert f'Python {supported()[0]} to {supported()[-1]}' in (ROOT/name).read_text(encoding='utf-8'), name

# ---- Requirements
def canon(requirement): return re.match(r'[\w-]+', requirement)[0].lower().replace('_', '-')

def requirements():
    "Of the package and of each extra"
    cfg = ConfigParser(delimiters=['='], interpolation=None)
    cfg.read(ROOT/'settings.ini', encoding='utf-8')
    return {'': cfg['package']['requirements'].split()} | {extra: names.split() for extra, names in cfg['extras'].items()}

def pins(name): return [line for line in (ROOT/name).read_text(encoding='utf-8').splitlines() if not line.startswith('#')]

def test_constraints_pin_what_is_required():
    "Every requirement for development has its pin, without a local build such as `+cpu`"
    assert all(line.count('==') == 1 and '+' not in line for line in pins('constraints.txt'))
    assert {canon(r) for names in requirements().values() for r in names} - {'lesson8lib'} <= {canon(p) for p in pins('constraints.txt')}

def test_the_oldest_constraints_are_the_lower_bounds():
    "Of everything that the package itself may import; torchvision is no requirement of ours"
    bounds = {r for extra, names in requirements().items() if extra != 'dev' for r in names}
    assert all(re.fullmatch(r'[\w-]+>=[\d.]+', r) for r in bounds)
    assert {r.replace('>=', '==') for r in bounds} == {p for p in pins('constraints-oldest.txt') if canon(p) != 'torchvision'}

def test_dev_includes_every_extra():
    own, = (r for r in requirements()['dev'] if canon(r) == 'lesson8lib')
    assert set(re.search(r'\[(.*)\]', own)[1].split(',')) == set(requirements()) - {'', 'dev'}

@pytest.mark.parametrize('module, extra, call', [
    ('matplotlib.pyplot', 'plot', 'from lesson8lib.show import show_matrix; show_matrix(torch.eye(2))'),
    ('matplotlib.pyplot', 'plot', 'from lesson8lib.show import show_images; show_images(torch.eye(2)[None])'),
    ('matplotlib.pyplot', 'plot', 'from lesson8lib.show import show_points; show_points(torch.eye(2), ["a", "b"])'),
    ('polars', 'tables', 'from lesson8lib.data import _parquet_rows; _parquet_rows(b"")'),
])
def test_a_missing_extra_is_named_with_its_command(monkeypatch, module, extra, call):
    monkeypatch.setitem(sys.modules, module, None) # as if it were not installed
    if extra == 'tables': monkeypatch.setitem(sys.modules, 'pyarrow', None)
    with pytest.raises(ImportError, match=re.escape(f"pip install 'lesson8lib[{extra}]'")): exec(f'import torch\n{call}', {})

def test_what_no_extra_names_is_imported_without_it():
    "Every module but `entity`, in a fresh interpreter in which no optional package can be imported"
    optional = ['matplotlib', 'sklearn', 'scipy', 'polars', 'fastai', 'numba', 'pyarrow', 'anywidget', 'nbdev']
    modules = sorted(py.stem for py in (ROOT/'lesson8lib').glob('*.py') if py.stem not in ('__init__', '_modidx', 'entity'))
    code = f'import sys, importlib\nsys.modules |= dict.fromkeys({optional})\nfor m in {modules}: importlib.import_module(f"lesson8lib.{{m}}")'
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, encoding='utf-8')
    assert done.returncode == 0, done.stderr

# ---- Workflows
WORKFLOWS = sorted((ROOT/'.github/workflows').glob('*.yml'))

@pytest.mark.parametrize('path', WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned_by_commit(path):
    "A tag can be moved to other code; zizmor (`make check`) asks for the rest"
    uses = re.findall(r'^\s*(?:- )?(?:id: .*\n\s*)?(?:- )?uses: (.+)$', path.read_text(encoding='utf-8'), re.M)
    assert uses
    for action in uses: assert re.fullmatch(r'[\w/-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+|\$/\.github/workflows/\w+\.yml', action), action
