"Explorable pooling: its maths in a real browser equals `pooling`'s; dragging by mouse and touch, keyboard, address"
import contextlib
import io
import random

import pytest
import torch
import torch.nn.functional as F
from explorable_pages import DESKTOP, PHONE, app, hash_is, says

from lesson8lib.convolution import conv2d
from lesson8lib.data import load_mnist
from lesson8lib.explorables import Explorable
from lesson8lib.pooling import avg_pool2d, max_pool2d
from lesson8lib.training import new_generator

pytestmark = pytest.mark.filterwarnings('ignore')

@pytest.fixture(scope='module')
def own():
    "The state that the page gives: the edges of its 7, and noise"
    top = torch.tensor([[1., 1, 1], [0, 0, 0], [-1, -1, -1]])
    edges = conv2d(load_mnist().images[478][None], top[None,None])[0].relu()
    return dict(edges=edges, index=478, normal=torch.randn(26, 26, generator=new_generator(0)), seed=0)

def nested(x): return torch.tensor(x, dtype=torch.float64)

def test_max_and_average(js):
    "400 maps of odd sizes, with padding, any stride, and refusals in Python's words"
    rand, cases = random.Random(0), []
    for i in range(400):
        h, w = (rand.randint(1, 11) for _ in range(2))
        x = torch.randn(h, w, generator=new_generator(i), dtype=torch.float64)
        cases.append((x if i%4 else (x>0).double(), rand.randint(1, 6), rand.randint(1, 5), rand.randint(0, 3)))
    theirs = js("""return arg.map(([x, ...s]) => { try { return [m.maxPool2d(x, ...s), m.avgPool2d(x, ...s)] } catch (e) { return e.message } })""", [[x.tolist(), *s] for x,*s in cases])
    refused = set()
    for (x, *settings), got in zip(cases, theirs, strict=True):
        try: want = [f(x[None], *settings)[0] for f in (max_pool2d, avg_pool2d)]
        except ValueError as e:
            assert got==str(e)
            refused.add(str(e)[:12])
            continue
        for a, b in zip(want, got, strict=True): assert a.shape==nested(b).shape and (a-nested(b)).abs().max()<=1e-9
    assert refused=={'`padding` mu', '`kernel_size'}

def test_states(js, own):
    "300 states: the map, both outputs and the relative changes are those of the library's functions"
    rand, states = random.Random(1), []
    for _ in range(300):
        n = rand.randint(2, 14)
        states.append(dict(map=rand.choice(['object', 'object', 'digit']), cells=n, height=rand.randint(1, 14), width=rand.randint(1, 14), row=rand.randint(-6, 13), col=rand.randint(-6, 13),
                           noise=rand.choice([0, 0, .5]), window=rand.choice([1, 2, 3, 5, n]), stride=rand.randint(0, 3), padding=rand.choice([0, 0, 1, 2]), orow=39, ocol=rand.randint(0, 39)))
    base = Explorable('pooling', 'x', **own).values
    theirs = js("return arg[1].map(s => { const v = m.tidy({ ...arg[0], ...s }); return [v, m.compute(v)] })", [base, states])
    counted = 0
    for state, (v, got) in zip(states, theirs, strict=True):
        def make(col, v=v):
            if v['map']=='digit': x = own['edges'].double().roll((v['row'], col), (0, 1))
            else:
                x = torch.zeros(v['cells'], v['cells'], dtype=torch.float64)
                x[v['row']:v['row']+v['height'],col:col+v['width']] = 1
            return x + v['noise']*own['normal'].double()[:len(x),:len(x)]
        x, other = make(v['col']), make(v['col']+got['step'])
        assert (nested(got['x'])-x).abs().max()<=2e-6
        if v['map']=='object': assert v['row']+v['height']<=v['cells'] and v['col']+v['width']<=v['cells'] and (v['cells'], v['window'])==(state['cells'], state['window'])
        settings = v['window'], v['stride'] or None, v['padding']
        pools = dict(max=lambda y, s=settings: max_pool2d(y[None], *s)[0], mean=lambda y, s=settings: avg_pool2d(y[None], *s)[0])
        try: pooled = {name: f(x) for name,f in pools.items()}
        except ValueError as e:
            assert got['error']==str(e)
            continue
        counted += 1
        assert (v['orow'], v['ocol'])==(len(pooled['max'])-1, min(state['ocol'], pooled['max'].shape[1]-1))
        for name, y in pooled.items(): assert (nested(got[name])-y).abs().max()<=2e-6
        for name, f in dict(none=lambda y: y, **pools).items():
            want = ((f(other)-f(x)).square().sum()/f(x).square().sum()).item()
            if f(x).any(): assert got['changes'][name]==pytest.approx(want, rel=1e-5, abs=1e-6)
    assert 150<counted<295

def test_the_bear_of_the_page(js):
    "On 36 of 49 cells the average is .73, on one .02; 25 cells are the first square above one half; the maximum is always 1"
    def pooled(**state): return js("const r = m.compute(m.tidy(arg)); return [r.max, r.mean]", Explorable('pooling', 'x', **state).values)
    assert pooled()==[[[1]], [[pytest.approx(1/49)]]]
    assert pooled(height=6, width=6)==[[[1]], [[pytest.approx(36/49)]]]
    assert pooled(height=5, width=5)[1][0][0]>.5>pooled(height=4, width=4)[1][0][0]

@pytest.mark.parametrize('state', [dict(), dict(height=3, width=2, row=2, col=1, window=2, ocol=1, orow=2), dict(cells=14, window=3, stride=2, padding=1, noise=.25, orow=6, ocol=3),
    dict(map='digit', row=-2, col=3, window=2, orow=5, ocol=7), dict(map='digit', noise=.5, row=0, col=0, window=26)], ids=str)
def test_shown_python_gives_what_is_shown(js, own, state):
    code, shape, values = js("const v = m.tidy(arg), r = m.compute(v); return [m.pythonFor(v), [r.max.length, r.max[0].length], [r.max[v.orow][v.ocol], r.mean[v.orow][v.ocol]]]",
                             Explorable('pooling', 'x', **own | state).values)
    with contextlib.redirect_stdout(io.StringIO()) as printed: exec(code, {})
    assert max(map(len, code.splitlines()))<=88
    assert printed.getvalue().startswith(f'(2, {shape[0]}, {shape[1]}) ')
    assert eval(printed.getvalue().partition(') ')[2])==pytest.approx(values, abs=1e-5)

def test_adaptive_concat_pooling_is_both(js):
    "The library's concat pooling of the whole map: first the maximum, then the average"
    state = dict(height=2, width=3, row=1, col=2)
    got = js("const r = m.compute(m.tidy(arg)); return [r.max[0][0], r.mean[0][0]]", Explorable('pooling', 'x', **state).values)
    x = torch.zeros(1, 1, 7, 7)
    x[0,0,1:3,2:5] = 1
    assert got==pytest.approx(torch.cat([F.adaptive_max_pool2d(x, 1), F.adaptive_avg_pool2d(x, 1)], 1).flatten().tolist())

# ---- on a page
@pytest.fixture
def shown(own): return Explorable('pooling', 'x', **own),

def at(page, i, x, y):
    canvas = app(page).locator('canvas:visible').nth(i)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    return box['x']+box['width']*x, box['y']+box['height']*y
def says_now(page): return app(page).locator('.x-says').inner_text()
def facts(page): return ' '.join(app(page).locator('.x-facts').all_inner_texts())

def test_mouse(tab):
    "A click moves the object, a drag keeps hold of the cell that was taken, and nothing leaves the map"
    page = tab('#pooling.height=2&pooling.width=2')
    says(page, 'The object covers 4 of 49 cells. Over the whole map, the maximum is 1.00 and the average 0.08.')
    page.mouse.click(*at(page, 0, .5, .5))
    hash_is(page, "hash.includes('pooling.row=2') && hash.includes('pooling.col=2')")
    page.mouse.move(*at(page, 0, 2.5/7, 2.5/7))
    page.mouse.down()
    page.mouse.move(*at(page, 0, 4.5/7, 3.5/7), steps=4)
    hash_is(page, "hash.includes('pooling.row=3') && hash.includes('pooling.col=4')")
    page.mouse.move(*at(page, 0, .999, .999), steps=4)
    page.mouse.up()
    hash_is(page, "hash.includes('pooling.row=5') && hash.includes('pooling.col=5')")
    assert 'The object covers 4 of 49' in says_now(page) and 'Concat pooling returns both: 2 values, shape (2, 1, 1).' in facts(page)
    app(page).get_by_label('window').first.fill('2')
    page.wait_for_function("document.querySelectorAll('.x-app td').length === 18")
    assert 'No window reaches the last row and column (hatched).' in facts(page)
    says(page, 'For row 1, column 1 of the output, the maximum is 0.00')
    app(page).locator('table').first.locator('td').last.click()
    says(page, 'For row 3, column 3 of the output, the maximum is 1.00 and the average 0.25.')
    assert app(page).locator('table').nth(1).locator('td').last.inner_text()=='0.25'
    assert not tab.wrong

def test_keyboard(tab):
    page = tab('#pooling.height=2&pooling.width=2&pooling.window=2&pooling.row=0&pooling.col=0')
    says(page, 'the maximum is 1.00 and the average 1.00.')
    assert 'Moved one cell to the right, the map changes by 1.00 (relative squared change) without pooling, by 1.00 after max pooling and by 0.50 after average pooling.' in facts(page)
    canvas = app(page).locator('canvas:visible').first
    canvas.focus()
    page.keyboard.press('ArrowRight')
    says(page, 'the average 0.50.')
    for key in ('End', 'PageDown'): page.keyboard.press(key)
    hash_is(page, "hash.includes('pooling.row=5') && hash.includes('pooling.col') === true")
    assert 'Moved one cell to the left, the map' in facts(page)
    app(page).locator('td[tabindex="0"]').first.focus()
    for key in ('End', 'PageDown'): page.keyboard.press(key)
    says(page, 'For row 3, column 3 of the output')
    app(page).get_by_label('object height').fill('7')
    says(page, 'The object covers 14 of 49 cells.')
    assert not tab.wrong

def test_refusals_are_pythons(tab):
    "Where a window is too large, what to do comes before Python's words"
    page = tab()
    app(page).get_by_label('padding').fill('4')
    says(page, '`padding` must be at most 3, half of `kernel_size`, 7, got 4')
    assert app(page).locator('td:visible').count()==0 and facts(page).strip()==''
    app(page).get_by_label('padding').fill('0')
    app(page).get_by_label('window').first.fill('9')
    says(page, 'A window of 9 does not fit into 7 cells: choose a smaller window or more padding. `kernel_size` must fit into the padded image, 7 + 2·0 = 7 pixels, got 9 with dilation 1, which spans 9')
    app(page).get_by_label('window').first.fill('10')
    app(page).get_by_label('padding').fill('1')
    says(page, 'A window of 10 does not fit into 9 cells (with padding): choose')
    app(page).get_by_label('padding').fill('0')
    app(page).get_by_label('window').first.fill('7')
    says(page, 'Over the whole map')
    assert not tab.wrong

@pytest.mark.parametrize('viewport', [DESKTOP, PHONE], ids=['1280', '390'])
def test_the_edges_of_a_digit(tab, viewport):
    "Dragged like the object; outputs too large for numbers are pictures, and a click on them chooses a window"
    page = tab(viewport=viewport)
    app(page).get_by_label('feature map').first.select_option('digit')
    says(page, 'The edges are shifted by (0, 0) (down, right).')
    assert app(page).locator('canvas:visible').count()==3 and not app(page).get_by_label('object height').is_visible()
    page.mouse.move(*at(page, 0, .52, .52))
    page.mouse.down()
    page.mouse.move(*at(page, 0, .52+2/26, .52-3/26), steps=4)
    page.mouse.up()
    says(page, 'The edges are shifted by (−3, 2) (down, right).')
    page.mouse.click(*at(page, 2, .5, .5))
    says(page, 'For row 7, column 7 of the output')
    app(page).get_by_label('noise std').select_option('0.5')
    hash_is(page, "hash.includes('pooling.noise=0.5') && hash.includes('pooling.map=digit')")
    assert page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')<=1
    assert not tab.wrong

def test_touch_and_address(tab):
    page = tab('#pooling.cells=14&pooling.window=2', PHONE, has_touch=True, is_mobile=True)
    page.touchscreen.tap(*at(page, 0, 3.5/14, 9.5/14))
    hash_is(page, "hash.includes('pooling.row=9') && hash.includes('pooling.col=3')")
    again = tab(page.evaluate('location.hash'), PHONE)
    says(again, says_now(page))
    assert app(again).locator('td').all_inner_texts()==app(page).locator('td').all_inner_texts()
    for junk in ('#pooling.cells=1', '#pooling.row=-6&pooling.height=14', '#pooling.orow=39', '#pooling.map=x', '#pooling.edges=1', '#pooling.noise=9'): says(tab(junk), 'The object covers')
    assert not tab.wrong

@pytest.mark.parametrize('hash, on, beside', [('height=3&pooling.width=3&pooling.row=2&pooling.col=2&pooling.padding=1', (3.5/9, 4.5/9), (2.5/9, 2.5/9)), ('map=digit&pooling.window=2', None, (.02, .02))], ids=['object', 'digit'])
def test_a_finger_scrolls_the_page_beside_the_object(tab, own, hash, on, beside):
    page = tab(f'#pooling.{hash}', PHONE, has_touch=True, is_mobile=True)
    if not on:  # where the edge is strongest
        i, j = divmod(own['edges'].argmax().item(), 26)
        on = (j+.5)/26, (i+.5)/26
        app(page).get_by_label('feature map').first.select_option('digit')
    kept = lambda x, y: page.evaluate("""([x, y]) => { const canvas = document.elementFromPoint(x, y), touch = new Touch({ identifier: 1, target: canvas, clientX: x, clientY: y })
        return !canvas.dispatchEvent(new TouchEvent('touchstart', { touches: [touch], cancelable: true, bubbles: true })) }""", [x, y])
    says(page, 'The ')
    assert kept(*at(page, 0, *on)) and not kept(*at(page, 0, *beside))
    assert app(page).locator('canvas:visible').first.evaluate("el => getComputedStyle(el).touchAction")=='pan-y'
    assert not tab.wrong

def test_dragging_is_smooth(tab):
    page = tab('#pooling.map=digit&pooling.window=2', reduced_motion='no-preference')
    took = page.evaluate("""async () => {
      const canvas = document.querySelector('.x-app canvas'), box = canvas.getBoundingClientRect(), times = [], real = requestAnimationFrame
      window.requestAnimationFrame = draw => real(t => { const start = performance.now(); draw(t); times.push(performance.now() - start) })
      const fire = (type, t) => canvas.dispatchEvent(new PointerEvent(type, { pointerId: 1, buttons: 1, clientX: box.x + box.width*t, clientY: box.y + box.height*t, bubbles: true }))
      canvas.setPointerCapture = () => {}
      for (let i = 0; i < 40; i++) {
        fire(i ? 'pointermove' : 'pointerdown', .4 + i%12/60)
        await new Promise(done => real(() => real(done)))
      }
      return times.sort((a, b) => a - b)
    }""")
    assert len(took)>=8 and took[len(took)//2]<=16
