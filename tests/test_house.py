"The tools that make and check the repository find what they are there to find"
import ast
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from changed import affected
from check import ROOT, drift, errors, movielens, places, volatile
from colab import install_cell, outdated
from outputs import tidy
from readme import readme
from same import differences, is_same

URL = dict(repo='https://code.example/me/lib', docs='https://docs.example/lib/')

def cell(source, *outputs, kind='code', **rest):
    made = dict(cell_type=kind, id='c0ffee00', metadata={}, source=source.splitlines(True), **rest)
    return made if kind != 'code' else made | dict(execution_count=None, outputs=list(outputs))

def shown(text, **data): return dict(output_type='execute_result', execution_count=None, metadata={}, data={'text/plain': text.splitlines(True), **data})

def write_nb(path, *cells):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(dict(cells=list(cells), metadata={}, nbformat=4, nbformat_minor=5)), encoding='utf-8')
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
    "With the extras that the notebook needs; a missing and an old cell are found"
    plain, more = install_cell(['import torch', 'text of fastai'], URL['repo']), install_cell(['x = 1\nfrom fastai.collab import *'], URL['repo'])
    assert plain.endswith('%pip install -q "lesson8lib @ git+https://code.example/me/lib"') and '"lesson8lib[fastai] @ git+' in more
    for source, extras in (('import matplotlib.pyplot as plt', '[plot]'), ('show_history(history)', '[plot]'), ('# matplotlib', ''),
                           ('from lesson8lib.entity import EntityEncoder\nadult = load_adult()', '[sklearn,tables]')):
        assert f'"lesson8lib{extras} @ git+' in install_cell([source], URL['repo'])
    assert '%cd -q /content/checkout/nbs' in install_cell(["load('../benchmarks/results/x.json')"], URL['repo'])
    for i,source in enumerate((plain, more, plain.replace('git+', 'ssh+'), 'x = 1')): write_nb(tmp_path/f'nbs/0{i}_x.ipynb', cell(source))
    assert [(nb.stem, want) for nb, want in outdated(tmp_path, URL['repo'])] == [(f'0{i}_x', plain) for i in (1, 2, 3)]

# ---- Drift, errors, what depends on what
def test_drift(tmp_path):
    for d in ('nbs', 'lesson8lib'): shutil.copytree(ROOT/d, tmp_path/d, symlinks=True)
    shutil.copy(ROOT/'pyproject.toml', tmp_path)
    module, nb, orphan = tmp_path/'lesson8lib/checks.py', tmp_path/'nbs/00_checks.ipynb', tmp_path/'lesson8lib/orphan.py'
    before = set(drift(tmp_path))
    orphan.write_text(module.read_text(encoding='utf-8').replace('00_checks', '00_orphan'), encoding='utf-8')
    module.write_text(module.read_text(encoding='utf-8') + '\nextra = 1\n', encoding='utf-8')
    dirty = json.loads(nb.read_text(encoding='utf-8'))
    next(c for c in dirty['cells'] if c['cell_type'] == 'code')['execution_count'] = 7
    nb.write_text(json.dumps(dirty), encoding='utf-8')
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
    for name in ('README.md', 'nbs/api.qmd', 'benchmarks/x.txt'): (tmp_path/name).write_text(text, encoding='utf-8')
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
    (tmp_path/'benchmarks/results/x.json').write_text(json.dumps(result), encoding='utf-8')
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
    url = (ROOT/'pyproject.toml').read_text(encoding='utf-8').partition('Repository = "')[2].partition('"')[0]
    folder = '/'.join(['', 'home', 'ann'])
    write_nb(tmp_path/'nbs/00_x.ipynb', cell(f'# {url}'), cell('here', shown(f'{folder}/x')))
    for name, s in (('README.md', url), ('lesson8lib.md', f'see {url}.'), ('a.txt', f'{folder}/data'), ('b.txt', f'https://x.example{folder}')): (tmp_path/name).write_text(s, encoding='utf-8')
    subprocess.run(['git', 'init', '-q', tmp_path], check=True)
    assert sorted(f.partition(':')[0] for f in places(tmp_path)) == ['a.txt', 'lesson8lib.md', 'nbs/00_x.ipynb', 'nbs/00_x.ipynb']

# ---- One home for each fact
def test_version_stands_once():
    import lesson8lib
    for name in ('CITATION.cff', 'pyproject.toml', 'settings.ini', 'setup.py'): assert lesson8lib.__version__ not in (ROOT/name).read_text(encoding='utf-8')
    assert lesson8lib.__version__ in (ROOT/'CHANGELOG.md').read_text(encoding='utf-8')

# ---- Outputs
def stderr(text): return dict(output_type='stream', name='stderr', text=text.splitlines(True))

def test_no_stderr_is_stored(tmp_path):
    "Whatever a library warns of, in any cell; what was printed and what failed stay"
    warning = stderr('/a/folder/lib.py:3: FutureWarning: soon\n  f()\n')
    printed = dict(output_type='stream', name='stdout', text=['3\n'])
    failed = dict(output_type='error', ename='ZeroDivisionError', evalue='', traceback=[])
    nb = write_nb(tmp_path/'nbs/00_x.ipynb', cell('f()', warning, shown('1')), cell('g()', printed, stderr('more'), failed), cell('text', kind='markdown'))
    assert len([line for line in errors(tmp_path) if 'stderr' in line]) == 2
    tidy(nb)
    assert [c.get('outputs') for c in json.loads(nb.read_text(encoding='utf-8'))['cells']] == [[shown('1')], [printed, failed], None]
    assert len(list(errors(tmp_path))) == 1 and 'ZeroDivisionError' in next(errors(tmp_path))

def test_no_stderr_is_staged():
    "Nor what a library wrote while nbdev processed the notebook for the site"
    from docs import fix_cell
    warned = cell('f()', stderr('FutureWarning: soon'), shown('1'))
    fix_cell(warned, {}, URL)
    assert [out['output_type'] for out in warned['outputs']] == ['execute_result']

def test_every_run_that_stores_outputs_tidies_them():
    "Each target of the Makefile that runs notebooks with --save does so for the same folder"
    recipes = re.split(r'^(?=[a-z]+:)', (ROOT/'Makefile').read_text(encoding='utf-8'), flags=re.M)
    saving = [r for r in recipes if re.search(r'^\t.*\$\(RUN_EACH\).*--save', r, re.M)]
    assert {r.partition(':')[0] for r in saving} == {'notebooks', 'same', 'prepare', 'outputs'}
    for r in saving: assert re.search(r'RUN_EACH\).*\n\t\$\(BIN\)/python tools/outputs\.py', r), r

def test_pictures_are_stored_with_few_colors(tmp_path):
    "Smaller, the same to the eye, and the same when stored again"
    import base64
    import io
    import numpy as np
    from PIL import Image
    noise = np.random.default_rng(0).integers(0, 40, (60, 80, 4), dtype=np.uint8) + np.linspace(0, 200, 80, dtype=np.uint8)[:, None]
    noise[..., 3] = 255
    Image.fromarray(noise).save(png := io.BytesIO(), 'PNG')
    nb = write_nb(tmp_path/'00_x.ipynb', cell('plot()', shown('<Figure>', **{'image/png': base64.b64encode(png.getvalue()).decode()})), cell('1', shown('1')))
    sizes = []
    for _ in range(2):
        tidy(nb)
        stored = base64.b64decode(json.loads(nb.read_text(encoding='utf-8'))['cells'][0]['outputs'][0]['data']['image/png'])
        sizes.append(len(stored))
        assert np.abs(np.asarray(Image.open(io.BytesIO(stored)).convert('RGBA')).astype(int) - noise).mean() < 8
    assert sizes[0] == sizes[1] < len(png.getvalue())/2

# ---- Encoding
UNDER_TEST = ('tools', 'tests', 'benchmarks', 'lesson8lib', 'setup.py')

def without_encoding(source):
    "Lines that read or write text in the encoding of the locale, or that decode a process's output so"
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call): continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, 'id', '')
        given = {k.arg for k in node.keywords}
        if 'encoding' in given: continue
        is_text = name in ('read_text', 'write_text') or (name == 'read' and ast.unparse(node.func) == 'cfg.read')
        if is_text or (name in ('run', 'Popen', 'check_output') and given & {'text', 'universal_newlines'}): yield node.lineno

def test_text_is_utf_8_whatever_the_locale():
    "`open` is ruff's matter (PLW1514), which does not know what else is a path"
    git = subprocess.run(['git', 'ls-files', *UNDER_TEST], cwd=ROOT, check=True, capture_output=True, encoding='utf-8')
    found = [f'{name}:{line}' for name in git.stdout.splitlines() if name.endswith('.py') and (ROOT/name).exists()
             for line in without_encoding((ROOT/name).read_text(encoding='utf-8'))]
    assert not found

def test_tools_work_in_an_ascii_locale(tmp_path):
    "They read notebooks in any language, and name what they find"
    for folder, text in (('one', 'très'), ('two', 'trop')): write_nb(tmp_path/folder/'00_x.ipynb', cell('x', shown(text)))
    done = subprocess.run([sys.executable, ROOT/'tools/same.py', tmp_path/'one', tmp_path/'two'], capture_output=True, encoding='ascii',
                          env={**os.environ, 'LC_ALL': 'C', 'PYTHONUTF8': '0'})
    assert done.returncode == 1 and r"'tr\xe8s' became 'trop'" in done.stdout and not done.stderr

def test_a_missing_encoding_is_found():
    source = "p.read_text()\np.write_text('x')\nq.read_text(encoding='utf-8')\nrun(['x'], text=True)\nrun(['x'])\ncfg.read('x')"
    assert list(without_encoding(source)) == [1, 2, 4, 6]
