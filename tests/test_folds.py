"Sections of a notebook that the site shows folded"
import json
import re

import pytest
from folds import anchor, fold, inline


def md(*lines): return dict(cell_type='markdown', id='a', metadata={}, source=[f'{line}\n' for line in lines])

def code(source): return dict(cell_type='code', id='b', metadata={}, source=[source], outputs=[])

def folded(*cells):
    cells = list(cells)
    fold(cells)
    return [''.join(c['source']) for c in cells]

@pytest.mark.parametrize('title', ['Proof: equal to `F.conv2d`', 'Input checks', 'Details: 16-bit numbers'])
def test_a_section_becomes_a_fold_until_the_next_heading(title):
    out = folded(md('Before.', f'### {title}', 'Why.'), code('1+1'), md('### Strides', 'Next.'))
    assert f'<summary>{inline(title)}</summary>\n\nWhy.' in out[0] and f'### {title}' not in out[0]
    assert out[1]=='1+1' and out[2].startswith('</details>\n\n### Strides') and out[2].count('</details>')==1

def test_a_lower_heading_stays_inside_and_a_higher_one_ends_it():
    out = folded(md('### Proof: x', '#### Part'), md('## New'))
    assert '#### Part' in out[0] and '</details>' not in out[0] and out[1].startswith('</details>\n\n## New')

def test_the_end_of_the_page_ends_it(): assert folded(md('### Proof: x'), code('1'))[-1]=='</details>\n'

def test_two_in_a_row():
    out = folded(md('### Proof: x', 'a', '### Input checks', 'b'))
    assert re.findall('</?details', out[0])==['<details', '</details', '<details'] and out[-1]=='</details>\n'

def test_a_fold_within_one_cell():
    out = folded(md('### Input checks', 'a', '## Next', 'b'))
    assert re.findall('</?details', out[0])==['<details', '</details'] and len(out)==1

def test_other_sections_and_code_stay():
    cells = md('## Proofs in general', 'x'), md('```', '### Proof: of nothing', '```')
    assert folded(*cells)==[''.join(c['source']) for c in cells]

@pytest.mark.parametrize('title,slug', [('Proof: equal to `F.conv2d`', 'proof-equal-to-f.conv2d'), ('Input checks', 'input-checks'), ('Proof: x {#same}', 'same'),
                                        ('Details: [Adam](a.html), 2 ways', 'details-adam-2-ways')])
def test_links_still_find_it(title, slug):
    assert anchor(title)[1]==slug
    assert f'<details id="{slug}" class="fold">' in folded(md(f'### {title}'))[0] and '{#' not in folded(md(f'### {title}'))[0]

@pytest.mark.parametrize('title,shown', [
    ('Proof: equal to `F.conv2d` for `a<b`', 'Proof: equal to <code>F.conv2d</code> for <code>a&lt;b</code>'),
    ('Details: [Adam](a.ipynb#x), see [b](b.html)', 'Details: <a href="a.html#x">Adam</a>, see <a href="b.html">b</a>'),
    ('Proof: `$a$ *b*`', 'Proof: <code>$a$ *b*</code>'),
    ('Proof: *for all* $n$ & `x_y_z`, snake_case_too', 'Proof: <em>for all</em> <i>n</i> &amp; <code>x_y_z</code>, snake_case_too')])
def test_title_is_html(title, shown): assert inline(title)==shown

def test_rendered(tmp_path):
    "The title, and all cells up to the next heading, are within one fold; its code is marked as code"
    from smalldocs.site import build
    cells = [dict(cell_type='raw', id='f', metadata={}, source=['---\ntitle: A\n---']), md('## One', '### Proof: of `x`', 'Why.'), code('1+1'), md('More *words*.'), md('## Two')]
    for n, c in enumerate(cells): c['id'] = f'c{n}'
    fold(cells)
    (tmp_path/'a.ipynb').write_text(json.dumps(dict(cells=cells, metadata={}, nbformat=4, nbformat_minor=5)), encoding='utf-8')
    (tmp_path/'_quarto.yml').write_text('project: {type: website, output-dir: _docs}', encoding='utf-8')
    build(tmp_path, quiet=True)
    inside = re.search(r'<details id="proof-of-x" class="fold"><summary>Proof: of <code>x</code></summary>(.*?)</details>', (tmp_path/'_docs/a.html').read_text(encoding='utf-8'), re.S)
    assert all(s in inside[1] for s in ('<p>Why.</p>', 'class="sourceCode', '<em>words</em>')) and 'Two' not in inside[1]
