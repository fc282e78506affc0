"Sections of a notebook that the site shows folded"
import pytest
from folds import anchor, fold


def md(*lines): return dict(cell_type='markdown', id='a', metadata={}, source=[f'{line}\n' for line in lines])

def code(source): return dict(cell_type='code', id='b', metadata={}, source=[source], outputs=[])

def folded(*cells):
    cells = list(cells)
    fold(cells)
    return [''.join(c['source']) for c in cells]

OPEN = '::: {.callout-note collapse="true" icon="false"}'

@pytest.mark.parametrize('title', ['Proof: equal to `F.conv2d`', 'Input checks', 'Details: 16-bit numbers'])
def test_a_section_becomes_a_callout_until_the_next_heading(title):
    out = folded(md('Before.', f'### {title}', 'Why.'), code('1+1'), md('### Strides', 'Next.'))
    assert f'{OPEN}\n## {title}\n' in out[0] and out[0].index(OPEN)<out[0].index('Why.') and f'### {title}' not in out[0]
    assert out[1]=='1+1' and out[2].startswith(':::\n\n### Strides') and out[2].count(':::')==1

def test_a_lower_heading_stays_inside_and_a_higher_one_ends_it():
    out = folded(md('### Proof: x', '#### Part'), md('## New'))
    assert '#### Part' in out[0] and out[0].count(':::')==1 and out[1].startswith(':::\n\n## New')

def test_the_end_of_the_page_ends_it(): assert folded(md('### Proof: x'), code('1'))[-1]==':::\n'

def test_two_in_a_row():
    out = folded(md('### Proof: x', 'a', '### Input checks', 'b'))
    assert [line for line in out[0].splitlines() if line.startswith(':::')]==[OPEN, ':::', OPEN] and out[-1]==':::\n'

def test_a_fold_within_one_cell():
    out = folded(md('### Input checks', 'a', '## Next', 'b'))
    assert out[0].count(':::')==2 and len(out)==1

def test_other_sections_and_code_stay():
    cells = md('## Proofs in general', 'x'), md('```', '### Proof: of nothing', '```')
    assert folded(*cells)==[''.join(c['source']) for c in cells]

@pytest.mark.parametrize('title,slug', [('Proof: equal to `F.conv2d`', 'proof-equal-to-f.conv2d'), ('Input checks', 'input-checks'), ('Proof: x {#same}', 'same'),
                                        ('Details: [Adam](a.html), 2 ways', 'details-adam-2-ways')])
def test_links_still_find_it(title, slug):
    assert anchor(title)[1]==slug
    assert f'<a id="{slug}" class="fold-anchor"></a>' in folded(md(f'### {title}'))[0] and '{#' not in folded(md(f'### {title}'))[0]
