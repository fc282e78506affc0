"Explorable conv_matmul: its maths in a real browser equals `conv_matmul`'s; mouse and keyboard"
import contextlib
import io
import random

import pytest
import torch
import torch.nn.functional as F
from explorable_pages import DESKTOP, PHONE, app, hash_is, says

from lesson8lib.conv_matmul import conv_matrix
from lesson8lib.convolution import im2col
from lesson8lib.explorables import Explorable

pytestmark = pytest.mark.filterwarnings('ignore')
SHOWN = Explorable('conv_matmul', 'A matrix.', weight=0),

def test_conv_matrix(js):
    "Matrix, columns, outputs and gradients are those of `conv_matrix`, `im2col`, PyTorch's convolution and its gradient"
    rand, args = random.Random(1), []
    for i in range(300):
        h, w, kh, kw = (rand.randint(1, top) for top in (6, 6, 3, 3))
        g = torch.Generator().manual_seed(i)
        args.append((torch.randn(h, w, generator=g, dtype=torch.float64), torch.randn(kh, kw, generator=g, dtype=torch.float64), rand.randint(1, 3), rand.randint(0, 2), rand.random()))
    theirs = js("""return arg.map(([x, k, stride, padding, bias]) => {
        const r = m.compute({ image: x, kernel: k, stride, padding, bias })
        return r.error ?? [r.matrix, r.out, m.im2col(x, [k.length, k[0].length], stride, padding), m.gradients(r.places, r.x, k.flat().length)] })""",
        [[x.tolist(), k.tolist(), *rest] for x,k,*rest in args])
    refused = 0
    for (x, k, s, p, bias), got in zip(args, theirs, strict=True):
        try: want = conv_matrix(k[None,None], tuple(x.shape), s, p)
        except ValueError as e:
            assert got==str(e)
            refused += 1
            continue
        k.requires_grad_()
        out = F.conv2d(x[None,None], k[None,None], stride=s, padding=p).flatten() + bias
        out.sum().backward()
        for ours, theirs in zip((want, out.detach(), im2col(x[None], tuple(k.shape), s, p), k.grad.flatten()), got, strict=True):
            theirs = torch.tensor(theirs, dtype=torch.float64)
            assert ours.shape==theirs.shape and (ours-theirs).abs().max()<=1e-9
    assert 3<refused<100

@pytest.mark.parametrize('state', [dict(), dict(bias=-.5, row=3), dict(view='im2col', stride=2, padding=1, bias=2.25), dict(image=torch.arange(12.).view(3, 4), kernel=[[.5, 1, 2]], padding=1, row=5)], ids=str)
def test_shown_python_of_the_matrix(js, state):
    code, rows, value = js("const v = m.tidy(arg), r = m.compute(v); return [m.pythonFor(v), r.out.length, r.out[v.row]]", Explorable('conv_matmul', 'x', **state).values)
    with contextlib.redirect_stdout(io.StringIO()) as printed: exec(code, {})
    assert str(rows) in printed.getvalue() and abs(float(printed.getvalue().split()[-1])-value)<=1e-5

@pytest.mark.parametrize('viewport', [DESKTOP, PHONE], ids=['1280', '390'])
def test_matrix(tab, viewport):
    "Mouse and keyboard choose a row; window, output, equation and gradient follow; a typed weight is a number"
    page = tab('#conv_matmul.row=3', viewport)
    says(page, 'Output s = α·E + β·F + γ·H + δ·J + b = 1·7 + 1·0 + (−1)·0 + (−1)·0 + 0 = 7.')
    it = app(page)
    marked = lambda i: it.locator('table').nth(i).locator('.x-marked').all_inner_texts()
    assert marked(3)==list('0000αβ0γδ') and marked(2)==['s']
    it.locator('table').nth(3).locator('tr').nth(1).locator('td').nth(2).hover()
    says(page, 'Output q = ')
    it.locator('table').nth(3).locator('td[tabindex="0"]').focus()
    page.keyboard.press('ArrowDown')
    page.keyboard.press('End')
    page.wait_for_function("document.querySelectorAll('.x-app table')[3].contains(document.activeElement)")
    page.keyboard.press('PageUp')
    says(page, 'Output p = ')
    assert 'with respect to α is a sum over its 4 entries: A + B + D + E = 9 + 8 + 9 + 7 = 33.' in ' '.join(it.locator('.x-facts').all_inner_texts())
    assert it.locator('.x-ringed').all_inner_texts()==['α']*4
    it.locator('table').nth(1).locator('input').first.focus()
    assert page.evaluate('document.activeElement.value')=='1'
    page.keyboard.type('-3')
    says(page, '= (−3)·9 + 1·8 + (−1)·9 + (−1)·7 + 0 = −35.')
    page.keyboard.press('Tab')
    assert it.locator('table').nth(1).locator('input').first.input_value()=='α'
    it.get_by_label('view').select_option('im2col')
    it.get_by_label('letters').uncheck()
    page.wait_for_function("document.querySelectorAll('.x-app table')[4].rows.length === 4 && [...document.querySelectorAll('.x-app table')[4].rows[0].cells].map(c => c.textContent).join() === '9,8,9,7'")
    it.get_by_label('image').first.select_option('6')
    it.get_by_label('kernel').first.select_option('3')
    it.get_by_label('view').select_option('matrix')
    page.wait_for_function("document.querySelectorAll('.x-app table')[3].rows.length === 16")
    assert page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')<=1, 'a wide matrix scrolls in its box'
    hash_is(page, "hash.includes('conv_matmul.view=matrix') === false && hash.includes('conv_matmul.letters=0') && hash.includes('conv_matmul.kernel=-3,1,0;-1,-1,0;0,0,0')")
    assert not tab.wrong

def test_a_tall_matrix_scrolls_in_its_box(tab):
    "More than 16 rows; the row of the chosen output is seen there"
    page = tab()
    it, box = app(page), app(page).locator('.x-wide').first
    says(page, 'Output p = ')
    assert box.evaluate("el => el.style.maxHeight")==''
    it.get_by_label('image').first.select_option('6')
    page.wait_for_function("document.querySelectorAll('.x-app table')[3].rows.length === 25")
    assert box.evaluate("el => el.clientHeight <= 28*parseFloat(getComputedStyle(document.documentElement).fontSize) && el.scrollHeight > el.clientHeight && el.scrollTop === 0")
    it.locator('table').nth(2).locator('td').last.click()
    says(page, 'Output y25 = ')
    assert box.evaluate("el => { const row = el.querySelector('tr:last-child').getBoundingClientRect(), box = el.getBoundingClientRect(); return row.top >= box.top && row.bottom <= box.bottom }")
    assert not tab.wrong

def test_bias(tab):
    "A number with a comma or a point; what does not fit is said, and the state stays"
    page = tab()
    bias = app(page).get_by_label('bias')
    bias.fill('−1,5')
    says(page, ' + (−1.5) = ')
    bias.fill('100')
    page.wait_for_function("[...document.querySelectorAll('.x-wrong')].some(el => el.textContent === 'a number from −99 to 99')")
    hash_is(page, "hash.includes('conv_matmul.bias=-1.5')")
    bias.blur()
    assert bias.input_value()=='−1.5'
    assert not tab.wrong
