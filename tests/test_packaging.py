"The sdist and the wheel install into an empty environment and import from there"
import ast
import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from configparser import ConfigParser
from email.parser import Parser
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
IMPORT_ALL = '''
import importlib, json, pkgutil, lesson8lib
mods = [importlib.import_module(f'lesson8lib.{m.name}') for m in pkgutil.iter_modules(lesson8lib.__path__)]
print(json.dumps([m.__file__ for m in (lesson8lib, *mods)]))
'''

def run(*args, cwd):
    env = {k: v for k,v in os.environ.items() if k != 'PYTHONPATH'}
    done = subprocess.run([str(a) for a in args], cwd=cwd, env=env, capture_output=True, encoding='utf-8')
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout

@pytest.fixture(scope='module')
def dist(tmp_path_factory):
    "A folder with the sdist, the wheel, and (in `from_sdist`) the wheel that pip makes of the sdist; built from the files git knows"
    tmp = tmp_path_factory.mktemp('packaging')
    for name in run('git', 'ls-files', '--cached', '--others', '--exclude-standard', cwd=ROOT).splitlines():
        if not (ROOT/name).is_file(): continue  # a link to a folder, or just deleted
        (tmp/'src'/name).parent.mkdir(parents=True, exist_ok=True)
        (tmp/'src'/name).write_bytes((ROOT/name).read_bytes())
    run(sys.executable, '-m', 'build', '--no-isolation', '--sdist', '--wheel', '--outdir', tmp/'dist', cwd=tmp/'src')
    sdist = next((tmp/'dist').glob('*.tar.gz'))
    run(sys.executable, '-m', 'pip', 'wheel', '--no-deps', '--no-index', '--no-build-isolation', '-w', tmp/'dist/from_sdist', sdist, cwd=tmp)
    return tmp/'dist'

@pytest.fixture(scope='module')
def metadata(dist):
    with zipfile.ZipFile(next(dist.glob('*.whl'))) as z: return Parser().parsestr(z.read(next(n for n in z.namelist() if n.endswith('/METADATA'))).decode())

@pytest.mark.parametrize('wheel', ['*.whl', 'from_sdist/*.whl'], ids=['wheel', 'sdist'])
def test_installs_and_imports(dist, wheel, tmp_path):
    "Requirements come from the environment that runs this test (they weigh gigabytes), the package from the new one"
    venv = tmp_path/'venv'
    run(sys.executable, '-m', 'venv', '--without-pip', venv, cwd=tmp_path)
    python = venv/('Scripts/python.exe' if os.name == 'nt' else 'bin/python')
    run(sys.executable, '-m', 'pip', '--python', python, 'install', '--no-deps', '--no-index', next(dist.glob(wheel)), cwd=tmp_path)
    site = next(venv.rglob('site-packages'))
    (site/'requirements.pth').write_text(str(Path(torch.__file__).parents[1]), encoding='utf-8')
    files = [Path(f) for f in json.loads(run(python, '-c', IMPORT_ALL, cwd=tmp_path))]
    assert {f.name for f in files} == {p.name for p in (dist.parent/'src/lesson8lib').glob('*.py')}
    assert all(f.is_relative_to(site) for f in files), files

def name(requirement): return re.match(r'[\w-]+', requirement)[0].lower()

def test_metadata(metadata):
    cfg = ConfigParser(delimiters=['='], interpolation=None)
    cfg.read(ROOT/'settings.ini', encoding='utf-8')
    required = [r.replace(' ', '') for r in metadata.get_all('Requires-Dist')]
    assert set(cfg['package']['requirements'].split()) == {r for r in required if 'extra==' not in r}
    assert set(cfg['extras']) == set(metadata.get_all('Provides-Extra'))
    for extra, wanted in cfg['extras'].items():
        assert {name(r) for r in wanted.split()} == {name(r) for r in required if re.search(rf'extra==.{extra}\b', r)}
    assert metadata['Requires-Python'] == '>=3.11'
    assert metadata['License-Expression'] == 'Apache-2.0'
    assert metadata.get_all('License-File') == ['LICENSE']
    assert metadata.get_payload().startswith((ROOT/'README.md').read_text(encoding='utf-8')[:80])

def test_torch_is_not_pinned(metadata):
    torch, = (r for r in metadata.get_all('Requires-Dist') if name(r) == 'torch')
    assert not re.search(r'==|<|~=', torch), f'`{torch}` would downgrade what the user has'

def test_contents(dist):
    with zipfile.ZipFile(next(dist.glob('*.whl'))) as z: wheel = set(z.namelist())
    with tarfile.open(next(dist.glob('*.tar.gz'))) as t: sdist = {n.partition('/')[2] for n in t.getnames()}
    static = {f'lesson8lib/static/{p.name}' for p in (dist.parent/'src/lesson8lib/static').glob('*')}
    assert {'lesson8lib/py.typed', 'lesson8lib/_modidx.py'} | static <= wheel & sdist
    assert {'settings.ini', 'setup.py', 'pyproject.toml', 'LICENSE', 'README.md', 'CHANGELOG.md'} <= sdist
    assert not [n for n in sdist if n.startswith('tests')], 'tests need the notebooks, the tools and the built site beside them'
    assert {n.partition('/')[0] for n in wheel if '.dist-info/' not in n} == {'lesson8lib'}

OPTIONAL = 'plot', 'sklearn', 'tables', 'fast', 'scale', 'widgets'  # the extras that lesson8lib itself imports

def test_what_is_imported_is_required():
    "Also what a function imports when it is first called, which no import of the package would miss"
    cfg = ConfigParser(delimiters=['='], interpolation=None)
    cfg.read(ROOT/'settings.ini', encoding='utf-8')
    required = {name(r) for r in cfg['package']['requirements'].split()}
    optional = {name(r) for extra in OPTIONAL for r in cfg['extras'][extra].split()}
    imported = set()
    for py in (ROOT/'lesson8lib').glob('*.py'):
        for node in ast.walk(ast.parse(py.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Import): imported |= {a.name.split('.')[0] for a in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level: imported.add(node.module.split('.')[0])
    packages = {'sklearn': 'scikit-learn', 'PIL': 'pillow', 'llvmlite': 'numba', 'triton': 'torch', 'traitlets': 'anywidget'}  # whose modules have another name; the last two come with theirs
    imported = {packages.get(m, m) for m in imported} - set(sys.stdlib_module_names) - {'lesson8lib'}
    assert required <= imported and imported - required == optional
