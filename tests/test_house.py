"The tools that make and check the repository find what they are there to find"
import json
import shutil
import subprocess

import pytest
from changed import affected
from check import ROOT, drift, errors, movielens, places, volatile
from colab import install_cell, outdated
from readme import readme
from same import differences, is_same

URL = dict(repo='https://code.example/me/lib', docs='https://docs.example/lib/')

def cell(source, *outputs, kind='code', **rest):
    made = dict(cell_type=kind, id='c0ffee00', metadata={}, source=source.splitlines(True), **rest)
    return made if kind != 'code' else made | dict(execution_count=None, outputs=list(outputs))

def shown(text, **data): return dict(output_type='execute_result', execution_count=None, metadata={}, data={'text/plain': text.splitlines(True), **data})

def write_nb(path, *cells):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(cells=list(cells), metadata={}, nbformat=4, nbformat_minor=5)))
    return path

# ---- The README
def test_readme(tmp_path):
    nb = write_nb(tmp_path/'nbs/index.ipynb',
        cell('---\ntitle: x\n---', kind='raw'),
        cell('# lib\n\n> one line', kind='markdown'),
        cell('#| hide\nsecret = 1'),
        cell('#| default_exp core'),
        cell('::: {.callout-tip}\nSee [the map](50_map.ipynb#top), [code]({repo}/issues), [a page]({docs}collab.html), [LICENSE](LICENSE)\n:::', kind='markdown'),
        cell('## Start {#start}\n\n![a film](images/film.png) and $\\text{docs}$', kind='markdown'),
        cell('#| fig-cap: none\n1 + 1', shown('2')),
        cell('plot()', shown('<Figure>', **{'image/png': 'x'})),
        cell('print(3)', dict(output_type='stream', name='stdout', text=['3\n'])))
    assert readme(nb, URL) == '''<!-- Made from nbs/index.ipynb by tools/readme.py: edit that notebook -->

# lib

> one line

See [the map](https://docs.example/lib/map.html#top), [code](https://code.example/me/lib/issues), [a page](https://docs.example/lib/collab.html), [LICENSE](LICENSE)

## Start

![a film](https://docs.example/lib/images/film.png) and $\\text{docs}$

```python
1 + 1
```

```
2
```

```python
plot()
```

```python
print(3)
```

```
3
```
'''

def test_readme_links_names(tmp_path):
    "A name of the API in backticks leads to its page, with an absolute address"
    text = readme(write_nb(tmp_path/'index.ipynb', cell('`test_same` proves', kind='markdown')), URL)
    assert '[`test_same`](https://' in text and 'checks.html#test_same) proves' in text

# ---- The cell that installs the package in Colab
def test_every_notebook_installs_from_the_repository():
    from docs import urls
    assert not list(outdated(ROOT, urls()['repo']))

def test_install_cell(tmp_path):
    "With fastai only where it is imported; a missing and an old cell are found"
    plain, more = install_cell(['import torch', 'text of fastai'], URL['repo']), install_cell(['x = 1\nfrom fastai.collab import *'], URL['repo'])
    assert plain.endswith('%pip install -q "lesson8lib @ git+https://code.example/me/lib"') and '"lesson8lib[fastai] @ git+' in more
    assert '%cd -q /content/checkout/nbs' in install_cell(["load('../benchmarks/results/x.json')"], URL['repo'])
    for i,source in enumerate((plain, more, plain.replace('git+', 'ssh+'), 'x = 1')): write_nb(tmp_path/f'nbs/0{i}_x.ipynb', cell(source))
    assert [(nb.stem, want) for nb, want in outdated(tmp_path, URL['repo'])] == [(f'0{i}_x', plain) for i in (1, 2, 3)]

# ---- Drift, errors, what depends on what
def test_drift(tmp_path):
    for d in ('nbs', 'lesson8lib'): shutil.copytree(ROOT/d, tmp_path/d, symlinks=True)
    shutil.copy(ROOT/'pyproject.toml', tmp_path)
    module, nb, orphan = tmp_path/'lesson8lib/checks.py', tmp_path/'nbs/00_checks.ipynb', tmp_path/'lesson8lib/orphan.py'
    before = set(drift(tmp_path))
    orphan.write_text(module.read_text().replace('00_checks', '00_orphan'))
    module.write_text(module.read_text() + '\nextra = 1\n')
    dirty = json.loads(nb.read_text())
    next(c for c in dirty['cells'] if c['cell_type'] == 'code')['execution_count'] = 7
    nb.write_text(json.dumps(dirty))
    assert {f.partition(':')[0] for f in set(drift(tmp_path)) - before} == {'lesson8lib/checks.py', 'lesson8lib/orphan.py', 'nbs/00_checks.ipynb'}

def test_stored_errors(tmp_path):
    write_nb(tmp_path/'nbs/00_x.ipynb', cell('1/0', dict(output_type='error', ename='ZeroDivisionError', evalue='', traceback=[])))
    assert 'ZeroDivisionError' in next(errors(tmp_path))

@pytest.mark.parametrize('text, found', [('<Thing at 0x7fe3a0450890>', True), (' 12%|█▏   | 3/25', True), ('3.5 s/it', True), ('Wall time: 3', True),
    ('took 12 ms', True), ('1.3 seconds', True), ('a 100% share, 3 x 5, 50 items', False), ('7.3 times faster', False)])
def test_volatile_outputs(tmp_path, text, found):
    write_nb(tmp_path/'nbs/00_x.ipynb', cell('x', shown(text)))
    assert bool(list(volatile(tmp_path))) == found

def test_no_volatile_output(): assert not list(volatile(ROOT))

@pytest.mark.parametrize('a, b, same', [('loss .8221', 'loss .8222', True), ('loss .822', 'loss .824', False), ('a 3', 'b 3', False), ('1e-9', '2e-9', True),
    ('1 2', '1 2 3', False), ('shape (3, 4)', 'shape (4, 3)', False), ('-0.51', '0.51', False), ('film 7', 'film 7', True)])
def test_three_digits(a, b, same): assert is_same(a, b) == same

def test_a_second_run_is_compared(tmp_path):
    "Text, kind of output, pictures, errors, cells and whole notebooks"
    one = [cell('1', shown('loss 0.12345')), cell('2', shown('x', **{'image/png': 'AA'})), cell('3', shown('x'))]
    for i,c in enumerate(one): c['id'] = f'cell{i}'
    changed = [('loss 0.12349', None), ('loss 0.12445', 'text/plain')]
    for k,(text, kind) in enumerate(changed):
        write_nb(tmp_path/f'a{k}/00_x.ipynb', *one)
        write_nb(tmp_path/f'b{k}/00_x.ipynb', one[0] | dict(outputs=[shown(text)]), *one[1:])
        found = list(differences(tmp_path/f'a{k}', tmp_path/f'b{k}'))
        assert len(found) == bool(kind) and all(kind in f for f in found)
    write_nb(tmp_path/'c/00_x.ipynb', one[0], one[1] | dict(outputs=[shown('x', **{'image/png': 'AB'})]))
    write_nb(tmp_path/'c/01_y.ipynb')
    assert len(list(differences(tmp_path/'a0', tmp_path/'c'))) == 3

def test_changed_and_what_needs_it(tmp_path):
    nbs = [write_nb(tmp_path/f'{name}.ipynb', cell(code)) for name,code in (('00_a', 'x = 1'), ('01_b', 'from lesson8lib.a import x'),
        ('02_c', 'y = 2'), ('03_d', 'import torch\nfrom lesson8lib.b import x'), ('index', 'from lesson8lib.c import y'))]
    assert [nb.stem for nb in affected({'00_a.ipynb'}, nbs)] == ['00_a', '01_b', '03_d']
    assert [nb.stem for nb in affected({'02_c.ipynb'}, nbs)] == ['02_c', 'index']
    assert affected(set(), nbs) == []

# ---- MovieLens. These rows are invented: the numbers are no user's, and the films do not exist
def frame(users): return dict(user=users, title=['Robot Soup (2050)', 'Two Left Moons (2051)'], rating=[4, 2])
NUMBERS, NAMES = [9001, 9002], ['Ann', 'Ben']

def outputs_of(users):
    import pandas as pd
    df = pd.DataFrame(frame(users))
    cross = df.pivot(index='user', columns='title', values='rating')
    for table in (df, df.set_index(['user', 'title']), cross, cross.T): yield shown(repr(table), **{'text/html': table.to_html()}), repr(table), table.to_html()

@pytest.mark.parametrize('users, found', [(NUMBERS, True), (NAMES, False)], ids=['rows of MovieLens', 'invented names'])
def test_movielens_in_outputs(tmp_path, users, found):
    for i, (out, *_) in enumerate(outputs_of(users)): write_nb(tmp_path/f'nbs/{i:02}_x.ipynb', cell('df', out))
    assert len(list(movielens(tmp_path))) == 4*found

@pytest.mark.parametrize('text, found', [
    ('901\t1601\t3\t881999999', True),
    ("(901, 1601, 3.0, 881999999)", True),
    (next(outputs_of(NUMBERS))[1], True),
    ('901\t1601\t3\n902\t1602\t4\n903\t1603\t5', True),
    ('   user  item  \n0  901 1601 3\n1  902 1602 4\n2  903 1603 5\n', True),
    ('[(901, 1601, 3), (902, 1602, 4), (903, 1603, 5)]', True),
    ('tensor([[901, 1601, 3],\n        [902, 1602, 4],\n        [903, 1603, 5]])', True),
    ("[{'user': 9001, 'item': 1601, 'rating': 3}]", True),
    ("{'user': [9001, 9002], 'title': ['Robot Soup', 'x'], 'rating': [3, 4]}", True),
    ('| user | title | rating |\n|--|--|--|\n| 9001 | Robot Soup | 3 |', True),
    ('user,title,rating\n9001,Robot Soup,3', True),
    ('901|24|M|technician|00000', True),
    ("{'user': 9001, 'age': 24, 'occupation': 'technician'}", True),
    ('\n'.join(f'Robot Soup {i} (1997)' for i in range(501)), True),
    ('<table>' + '<tr><th>item</th><th>n</th></tr>'*502 + '</table>', True),
    ('user,title,rating\nAnn,Robot Soup,3', False),
    ("pd.DataFrame({'user': ['Ann', 'Ben'], 'title': ['Robot Soup', 'x'], 'rating': [3, 4]})", False),
    ('[(3, 28, 28), (5, 14, 14)]\nRobot Soup (1997) 3\n1 2 3\n4 5 6', False),
    ("dict(user=user, item=item, rating=rating)", False),
], ids=range(19))
def test_movielens_as_text(tmp_path, text, found):
    "In an output, in a source, in a page and beside a result alike"
    write_nb(tmp_path/'nbs/00_x.ipynb', cell('print(line)', dict(output_type='stream', name='stdout', text=text.splitlines(True))),
        cell(text), cell(text, kind='markdown'), cell('ratings', shown(text, **{'text/html': text})))
    (tmp_path/'benchmarks').mkdir()
    for name in ('README.md', 'nbs/api.qmd', 'benchmarks/x.txt'): (tmp_path/name).write_text(text)
    assert len(list(movielens(tmp_path))) == 7*found

@pytest.mark.parametrize('result, found', [
    ([dict(user=9001, item=1, rating=4)], True),
    (dict(user=NUMBERS, title=['a', 'b'], rating=[4, 2]), True),
    (dict(rows=[[9001, 1, 4], [9001, 2, 2], [9002, 1, 5]]), True),
    (dict(titles=[f'film {i}' for i in range(1600)]), True),
    (dict(bias={f'film {i}': i/7 for i in range(1600)}), True),
    (dict(valid_mse=[.8217, .8174, .8293], seeds=[0, 1, 2, 3, 4], best=['Robot Soup', 'Two Left Moons'], confusion=[[9, 1, 0], [2, 7, 1]]), False),
    (dict(factors=[[.1, .2, .3], [.4, .5, .6]], n_users=943, per_seed=[dict(seed=0, mse=.82), dict(seed=1, mse=.81)]), False),
], ids=['records', 'columns', 'triples', 'all titles', 'a number for each title', 'aggregates', 'learned numbers'])
def test_movielens_in_results(tmp_path, result, found):
    (tmp_path/'nbs').mkdir()
    (tmp_path/'benchmarks/results').mkdir(parents=True)
    (tmp_path/'benchmarks/results/x.json').write_text(json.dumps(result))
    assert len(list(movielens(tmp_path))) == found

def test_movielens_is_nowhere(): assert not list(movielens(ROOT))

def test_ranking_is_free(tmp_path):
    import pandas as pd
    top = pd.DataFrame(dict(title=['Robot Soup (2050)', 'Two Left Moons (2051)'], ratings=[300, 200], bias=[.9, .8]))
    write_nb(tmp_path/'nbs/00_x.ipynb', cell('top', shown(repr(top), **{'text/html': top.to_html()})))
    assert not list(movielens(tmp_path))

# ---- Addresses and paths
def test_places(): assert not list(places(ROOT))

def test_places_are_seen(tmp_path):
    shutil.copy(ROOT/'pyproject.toml', tmp_path)
    url = (ROOT/'pyproject.toml').read_text().partition('Repository = "')[2].partition('"')[0]
    folder = '/'.join(['', 'home', 'ann'])
    write_nb(tmp_path/'nbs/00_x.ipynb', cell(f'# {url}'), cell('here', shown(f'{folder}/x')))
    for name, s in (('README.md', url), ('lesson8lib.md', f'see {url}.'), ('a.txt', f'{folder}/data'), ('b.txt', f'https://x.example{folder}')): (tmp_path/name).write_text(s)
    subprocess.run(['git', 'init', '-q', tmp_path], check=True)
    assert sorted(f.partition(':')[0] for f in places(tmp_path)) == ['a.txt', 'lesson8lib.md', 'nbs/00_x.ipynb', 'nbs/00_x.ipynb']

# ---- One home for each fact
def test_version_stands_once():
    import lesson8lib
    for name in ('CITATION.cff', 'pyproject.toml', 'settings.ini', 'setup.py'): assert lesson8lib.__version__ not in (ROOT/name).read_text()
    assert lesson8lib.__version__ in (ROOT/'CHANGELOG.md').read_text()

def test_constraints_pin_what_is_required():
    "Every requirement for development has its pin, without a local build such as `+cpu`"
    from configparser import ConfigParser
    cfg = ConfigParser(delimiters=['='], interpolation=None)
    cfg.read(ROOT/'settings.ini', encoding='utf-8')
    canon = lambda s: s.split('[')[0].split('>=')[0].lower().replace('_', '-')
    wanted = [cfg['package']['requirements'], *(cfg['extras'][e] for e in ('fastai', 'docs', 'dev'))]
    pins = [line for line in (ROOT/'constraints.txt').read_text().splitlines() if not line.startswith('#')]
    assert all(line.count('==') == 1 and '+' not in line for line in pins)
    assert {canon(r) for s in wanted for r in s.split()} - {'lesson8lib'} <= {canon(p.split('==')[0]) for p in pins}

# ---- Pictures
def test_pictures_are_stored_with_few_colors(tmp_path):
    "Smaller, the same to the eye, and the same when shrunk again"
    import base64
    import io
    import numpy as np
    from PIL import Image
    from pictures import shrink
    noise = np.random.default_rng(0).integers(0, 40, (60, 80, 4), dtype=np.uint8) + np.linspace(0, 200, 80, dtype=np.uint8)[:, None]
    noise[..., 3] = 255
    Image.fromarray(noise).save(png := io.BytesIO(), 'PNG')
    nb = write_nb(tmp_path/'00_x.ipynb', cell('plot()', shown('<Figure>', **{'image/png': base64.b64encode(png.getvalue()).decode()})), cell('1', shown('1')))
    sizes = []
    for _ in range(2):
        shrink(nb)
        stored = base64.b64decode(json.loads(nb.read_text())['cells'][0]['outputs'][0]['data']['image/png'])
        sizes.append(len(stored))
        assert np.abs(np.asarray(Image.open(io.BytesIO(stored)).convert('RGBA')).astype(int) - noise).mean() < 8
    assert sizes[0] == sizes[1] < len(png.getvalue())/2

# ---- make setup
def setup(folder, **tools):
    "Run tools/setup.sh where the PATH holds nothing but these commands"
    bin = folder/'bin'
    bin.mkdir()
    for name, script in tools.items():
        (bin/name).write_text(f'#!/bin/sh\n{script}\n')
        (bin/name).chmod(0o755)
    return subprocess.run(['/bin/sh', ROOT/'tools/setup.sh'], cwd=folder, env=dict(PATH=str(bin)), capture_output=True, text=True)

def python(version, missing=''):
    "A stand-in that has a version, and may lack a module"
    old = tuple(map(int, version.split('.'))) < (3, 11)
    return f'case "$*" in *print*) echo {version};; *sys.exit*) exit {int(old)};; *import*) exit {int(bool(missing))};; *) echo "$@" > made;; esac'

@pytest.mark.parametrize('tools, line', [
    ({}, 'make setup: git is missing (Debian, Ubuntu: apt-get install git)'),
    (dict(git='exit 0'), 'make setup: Python 3.11 or newer, with venv, is missing; found: none'),
    (dict(git='exit 0', python3=python('3.9')), 'make setup: Python 3.11 or newer, with venv, is missing; found: only 3.9'),
    (dict(git='exit 0', python3=python('3.12', 'venv')), 'found: 3.12 without venv (Debian, Ubuntu: apt-get install python3.12-venv)'),
], ids=['no git', 'no python', 'old python', 'no venv'])
def test_setup_names_what_is_missing_in_one_line(tmp_path, tools, line):
    done = setup(tmp_path, **tools)
    assert done.returncode == 1 and done.stderr.count('\n') == 1 and line in done.stderr

def test_setup_takes_the_first_python_that_will_do(tmp_path):
    done = setup(tmp_path, git='exit 0', python3=python('3.9'), **{'python3.12': python('3.12'), 'python3.11': python('3.11')})
    assert done.returncode == 0 and 'with Python 3.12' in done.stdout
    assert (tmp_path/'made').read_text() == '-m venv --clear .venv\n'
