"The programs that hold pages and code to the rules of CONTRIBUTING.md find what breaks them"
import ast
import json
import shutil
import subprocess
import sys
from pathlib import Path

import check
import pytest
from check import CELLS, ROOT, banned, code_prose, length, lessons, page, pages, private, private_uses, prose, unhidden, words
from count import Counts, count
from hide import hide
from ratio import measure, measure_all, total
from test_house import cell, write_nb

# ---- What a built page shows
QUARTO = '''<nav>Menu of many words</nav><main class="content"><header><h1 class="title">Two words</h1></header>
<p>Some <code>code</code> <span class="math inline">\\(x^2\\)</span>, <em>b</em>old — text.</p>
<div class="cell"><div class="sourceCode cell-code"><pre class="sourceCode python"><code><span id="cb1-1"><a href="#cb1-1"></a>x = 1</span>
<span id="cb1-2"><a href="#cb1-2"></a>y = &#39;four&#39;</span></code></pre></div>
<div class="cell-output cell-output-display"><pre><code>an output that is much longer</code></pre></div></div>
<div class="cell"><details class="code-fold"><summary>checked: both agree</summary>
<div class="sourceCode cell-code"><pre class="sourceCode python"><code>assert x == 1</code></pre></div></details></div>
<div class="callout callout-note"><div class="callout-header"><div class="callout-title-container">Proof: same</div></div>
<div class="callout-1-contents callout-collapse collapse"><p>Folded here.</p>
<div class="cell"><div class="sourceCode cell-code"><pre class="sourceCode python"><code>z</code></pre></div></div></div></div>
<div class="callout callout-tip"><div class="callout-2-contents callout-collapse collapse show"><p>Open</p></div></div>
<details><summary>Answer</summary><p>One<br>more</p><details><summary>checked, inside</summary></details></details>
<table><tr><td>cells of a table</td></tr></table></main><footer>Not counted</footer>'''

def test_count_of_quartos_page(tmp_path):
    (tmp_path/'a.html').write_text(QUARTO, encoding='utf-8')
    # Two words Some code bold text | checked: both agree | Proof: same | Open | Answer; folded: Folded here. One more checked, inside
    assert count(tmp_path/'a.html') == Counts(shown=6+3+2+1+1, folded=2+2+2, cells=1, checked=2, columns=13)

def test_count_of_smalldocs_page(tmp_path):
    "As above, made anew"
    from smalldocs.site import build
    def md(s): return cell(s, kind='markdown')
    write_nb(tmp_path/'a.ipynb', cell('---\ntitle: Two words\n---', kind='raw'), md('Some `code` $x^2$, *b*old — text.'),
        cell("x = 1\ny = 'four'", dict(output_type='stream', name='stdout', text=['an output that is much longer'])),
        cell('#| code-fold: true\n#| code-summary: "checked: both agree"\nassert x == 1'),
        md('::: {.callout-note collapse="true"}\n## Proof: same\n\nFolded here.\n'), cell('z'), md(':::\n\n::: {.callout-tip}\nOpen\n:::'),
        md('<details><summary>Answer</summary>\n\nOne<br>more\n\n<details><summary>checked, inside</summary>\n\n</details>\n\n</details>'),
        md('| cells | of |\n|--|--|\n| a | table |\n\n$$x = 3 y z$$'))
    (tmp_path/'_quarto.yml').write_text('project: {type: website, output-dir: _docs}\nwebsite: {title: Site, sidebar: {contents: [a.ipynb]}}\nformat: {html: {toc: true}}', encoding='utf-8')
    build(tmp_path, quiet=True)
    assert count(tmp_path/'_docs/a.html') == Counts(shown=6+3+2+1+1+1, folded=2+2+2, cells=1, checked=2, columns=13)  # and the word "Tip"

@pytest.mark.parametrize('counts, found', [
    (Counts(1800, 900, 45, 12, 88), ''), (Counts(1801, 900, 45, 12, 88), 'shown words'), (Counts(1000, 501, 45, 12, 88), 'folded words'),
    (Counts(1800, 900, 46, 12, 88), 'code cells'), (Counts(1800, 900, 45, 13, 88), 'checked'), (Counts(1800, 900, 45, 12, 89), 'columns')])
def test_limits_of_a_page(counts, found):
    assert len(counts.over()) == bool(found) and found in ''.join(counts.over())

def test_lessons(tmp_path):
    for name in ('00_checks', '04a_new', '90_errata', 'index', '_hidden'): write_nb(tmp_path/f'nbs/{name}.ipynb')
    assert [page(nb) for nb in lessons(tmp_path)] == ['checks', 'new']

def test_command_line(site):
    "It fails where a page is over a limit, and names a page that is not there"
    run = lambda *names: subprocess.run([sys.executable, 'tools/count.py', *names], cwd=ROOT, capture_output=True, encoding='utf-8')
    assert run('nowhere').returncode and 'nowhere' in run('nowhere').stderr
    done = run()
    assert bool(done.returncode) == ('  over' in done.stdout) and {page(nb) for nb in lessons(ROOT)} <= set(done.stdout.split())

# ---- Length and width of a notebook
@pytest.mark.parametrize('source, found', [
    ('x'*88, 0), ('x'*89, 1), ('#| exports\n' + 'x'*89, 1), ('#| export\n' + 'x'*100, 0), ('#| export\n' + 'x'*101, 1), ('#| exporti\n' + 'x'*100, 0), ('#| hide\n' + 'x'*300, 0),
    ('#| fig-alt: ' + 'x'*300 + '\nplot()', 0), ('#| code-fold: true\n' + 'x'*89 + '\n' + 'y'*90, 2)])
def test_columns(tmp_path, source, found): assert len(list(length(write_nb(tmp_path/'00_x.ipynb', cell(source), cell('x'*300, kind='markdown'))))) == found

def test_cells(tmp_path):
    assert not list(length(write_nb(tmp_path/'00_x.ipynb', *[cell('x')]*CELLS)))
    assert f'has {CELLS+1} cells' in next(length(write_nb(tmp_path/'00_x.ipynb', *[cell('x')]*(CELLS+1))))

# ---- Words
@pytest.mark.parametrize('text', ['Whole numbers', 'a whole\nnumber', 'the first numbers', 'it shall', 'Nobody', 'somebody', 'its twin', 'Twins: x', 'a look-up', 'look-ups',
    'learn by heart', 'learned it by heart', 'numbers in a\nrow', 'newcomers', 'needs not', 'belongs into', 'page 30', 'pages 3 and 4'])
def test_banned_words_are_found(tmp_path, text):
    assert len(list(banned(text))) == 1
    md = text.replace('\n', ' ')
    sources = [f'# {md}', f'#| fig-cap: "{md}"\nplot()', f'#| fig-alt: "{md}"\nplot()', f'def f():\n    "{md}"', f'#| export\ndef f(\n    x, # {md}\n): pass',
               f'#| exports\ndef f(x): raise ValueError(f"`x` {md}, got {{x}}")', f'#| exporti\ndef f(): raise ValueError("{md}")', f'%time\n"{md}"']
    nb = write_nb(tmp_path/'00_x.ipynb', cell(f'# A title\n\n> {md}', kind='markdown'), cell(f'- {md}', kind='markdown'), *map(cell, sources))
    assert len(list(words(nb))) == len(sources)+2

@pytest.mark.parametrize('text', ['whole', 'marshall', 'entwined', 'a lookup', 'by heart', 'page by page', 'first number', '`twin`', '“nobody shall”', '> nobody said so',
    '[link](x.html#twin)', '```\nnobody\n```'])
def test_other_words_are_free(text): assert not list(banned(prose(text)))

def test_words_of_others_in_code():
    "What a lesson's code does is free: names, values, what it reads; not what it says to a reader"
    assert not list(banned(code_prose("nobody = 1\nline = 'thou shalt, nobody shall'\nf(twin=nobody)")))

def test_comment_of_two_lines(): assert list(banned(code_prose('x = 1  # the first\n       # numbers')))

@pytest.fixture
def small(tmp_path):
    "A checkout with a folder for notebooks"
    (tmp_path/'nbs').mkdir()
    return tmp_path

def test_texts_beside_the_notebooks(small):
    for name in ('README.md', 'CONTRIBUTING.md', 'nbs/api.qmd', 'nbs/glossary.qmd'): (small/name).write_text('Nobody.', encoding='utf-8')
    assert {f.partition(':')[0] for f in pages(small)} == {'README.md', 'CONTRIBUTING.md', 'nbs/api.qmd'}
    write_nb(small/'nbs/20_x.ipynb', *[cell('nobody', kind='markdown')]*(CELLS+1))
    assert len(list(pages(small))) == 3 + CELLS+2

# ---- Private names
@pytest.mark.parametrize('code, names', [
    ('from .data import _x, y', ['data._x']), ('from lesson8lib.data import _x as x', ['data._x']), ('from lesson8lib import data\ndata._x', ['data._x']),
    ('import lesson8lib.data as d\nd._x(1)', ['data._x']), ('import lesson8lib.data\nlesson8lib.data._x', ['data._x']), ('from . import data as d\nd._x', ['data._x']),
    ('def f():\n    from .data import _x', ['data._x']),
    ('from .data import Vocab\nVocab._names', []), ('import torch\ntorch._C', []), ('from lesson8lib import __version__', []), ('from torch import _x\nself._y', [])])
def test_private_uses(code, names): assert list(private_uses(ast.parse(code))) == names

def test_private_names_are_found_everywhere(small):
    for name in ('lesson8lib/a.py', 'lesson8lib/_modidx.py', 'benchmarks/b.py'):
        (small/name).parent.mkdir(exist_ok=True)
        (small/name).write_text('from lesson8lib.data import _x', encoding='utf-8')
    write_nb(small/'nbs/20_a.ipynb', cell('#| export\nfrom lesson8lib.data import _x'))  # the module's own line is enough
    write_nb(small/'nbs/21_b.ipynb', cell('%time\nfrom lesson8lib.data import _x'), cell('if x:\n    !pip\n    1'))
    assert len(list(private(small))) == 3

# ---- Folded cells in editors
FOLDED = '#| code-fold: true\n#| code-summary: "checked: x"\nassert x'

def test_folded_cells_are_hidden_in_editors(small):
    "Also after nbdev-clean; and shown again where the fold is gone"
    shutil.copy(ROOT/'pyproject.toml', small)
    nb = write_nb(small/'nbs/20_x.ipynb', cell(FOLDED), cell('x'), cell('#| code-fold: true', kind='markdown'))
    assert list(unhidden(small))
    subprocess.run([sys.executable, ROOT/'tools/hide.py', nb], check=True)
    subprocess.run([Path(sys.executable).with_name('nbdev-clean')], cwd=small, check=True)
    content = json.loads(nb.read_text(encoding='utf-8'))
    assert [c['metadata'] for c in content['cells']] == [{'cellView': 'form', 'jupyter': {'source_hidden': True}}, {}, {}]
    assert not list(unhidden(small)) and not hide(content)
    content['cells'][0]['source'], content['cells'][1]['metadata'] = ['assert x'], {'jupyter': {'source_hidden': True}, 'tags': ['a']}
    assert hide(content) and [c['metadata'] for c in content['cells']] == [{}, {'tags': ['a']}, {}]

def test_a_page_does_not_have_what_is_for_editors():
    from docs import fix_cell
    one = cell(FOLDED) | dict(metadata={'cellView': 'form', 'jupyter': {'source_hidden': True}, 'tags': ['a']})
    fix_cell(one, {}, dict(repo='r', docs='d'))
    assert one['metadata'] == {'tags': ['a']}

# ---- Checks beside ideas
IDEAS = '''
class Net(nn.Module):
    "A docstring"
    size:int=1 # a field
    @property
    def one(self,
        x, # a docment
    )->int: # another
        "What it does"
        y = x + 1

        # a comment
        for i in y: z = i
        if y: raise ValueError(y)
        else: z = 2
        return y
def f(x): return x
'''
CHECKS = '''
import torch
from .checks import check_range
def f(x):
    check_range(x,
        'x')
    y, z = [check_range(i, 'i') for i in x], 1
    if x:
        raise ValueError('x')
    for i in x: raise unknown_names(i)
    assert x
    return checks.as_table(x)
def _check_all(x): return x
def check_more(
    x,
):
    y = x
    return y
'''
TRY = '''
try:
    x = f()
except OSError as e:
    raise ValueError('x') from e
'''

@pytest.mark.parametrize('source, counts', [(IDEAS, (1, 7)), (CHECKS, (11, 0)), (TRY, (3, 1)), (TRY.replace("raise ValueError('x') from e", 'pass'), (0, 4)), ('', (0, 0))])
def test_ratio_of_a_module(source, counts): assert measure(source) == counts

def test_ratio_of_a_package(tmp_path):
    "The module `checks` is left out, or counts as checks"
    for name, source in (('a', TRY), ('checks', 'x = 1'), ('_modidx', 'x = 1')): (tmp_path/f'{name}.py').write_text(source, encoding='utf-8')
    table = measure_all(tmp_path)
    assert table == {'a': (3, 1), 'checks': (0, 1)} and total(table) == (3, 1) and total(table, with_home=True) == (4, 1)

@pytest.mark.parametrize('limit, rc', [('0', 1), ('9', 0)])
def test_ratio_has_a_limit(limit, rc):
    assert subprocess.run([sys.executable, 'tools/ratio.py', '--max', limit], cwd=ROOT, capture_output=True).returncode == rc

def test_every_rule_is_checked(): assert {pages, unhidden, private} <= set(check.CHECKS)
