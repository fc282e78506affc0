"Explorable conv_slide: its maths in a real browser equals `convolution`'s; mouse, touch, keyboard, address"
import contextlib
import io
import itertools
import random
import re

import pytest
import torch
import torch.nn.functional as F
from explorable_pages import PHONE, app, hash_is, says

from lesson8lib.convolution import conv2d, out_size
from lesson8lib.explorables import Explorable, pack_image, unpack_image

pytestmark = pytest.mark.filterwarnings('ignore')
GENERATOR = torch.Generator().manual_seed(0)
IMAGE = (torch.rand(28, 28, generator=GENERATOR)*255).round()/255
SMALL = (torch.rand(9, 12, generator=GENERATOR)*255).round()/255
SHOWN = (Explorable('conv_slide', 'A kernel on an image.', image=IMAGE, digits=[SMALL], row=2, col=3),
         Explorable('conv_slide', 'Another one.', image=IMAGE, stride=2, layers=2), Explorable('conv_slide', 'Without an image.', padding=1))

# ---- the maths is Python's
def cases(n):
    "Random images, kernels and settings; some do not fit"
    rand = random.Random(0)
    for i in range(n):
        c, o, h, w, kh, kw = (rand.randint(1, top) for top in (3, 3, 11, 11, 5, 5))
        x, weight = (torch.randn(*shape, generator=torch.Generator().manual_seed(2*i+j), dtype=torch.float64)
                     for j,shape in enumerate(((c, h, w), (o, c, kh, kw))))
        yield x, weight, dict(stride=rand.randint(1, 4), padding=rand.randint(0, 3), dilation=rand.randint(1, 3))

def test_conv2d(js):
    all_cases = list(cases(400))
    theirs = js("""return arg.map(([x, w, settings]) => { try { return m.conv2d(x, w, settings) } catch (e) { return e.message } })""",
                [[x.tolist(), w.tolist(), settings] for x,w,settings in all_cases])
    refused = 0
    for (x, w, settings), got in zip(all_cases, theirs, strict=True):
        try: want = conv2d(x, w, **settings)
        except ValueError as e:
            assert got==str(e)
            refused += 1
            continue
        got = torch.tensor(got, dtype=torch.float64)
        assert got.shape==want.shape and (got-want).abs().max()<=1e-9
    assert 20<refused<200

def test_out_size(js):
    settings = [(n, k, s, p, d) for n,k,s,p,d in itertools.product(range(9), range(5), range(4), range(-1, 3), range(3))]
    theirs = js("return arg.map(a => { try { return m.outSize(...a) } catch (e) { return e.message } })", settings)
    for args, got in zip(settings, theirs, strict=True):
        try: assert out_size(*args)==got
        except ValueError as e: assert isinstance(got, str) and got.split(' must')[0]==str(e).split(' must')[0], (args, got, str(e))

def test_window_and_unused_pixels(js):
    "The products of the window sum to the activation; pixels that no window reaches have no gradient"
    for x, w, settings in cases(120):
        x, w = x[:1], w[:1,:1]
        kh, kw = w.shape[2:]
        try: out = conv2d(x, w, **settings)[0]
        except ValueError: continue
        row, col = out.shape[0]-1, out.shape[1]//2
        total, rest = js("""const [x, k, row, col, s] = arg, w = m.windowAt(x, [k.length, k[0].length], row, col, s)
            return [m.total(m.multiply(w, k)), [m.unusedPixels(x.length, k.length, s.stride, s.padding, s.dilation), m.unusedPixels(x[0].length, k[0].length, s.stride, s.padding, s.dilation)]]""",
            [x[0].tolist(), w[0,0].tolist(), row, col, settings])
        assert abs(total-out[row,col])<=1e-9
        p, s = settings['padding'], settings['stride']
        padded = F.pad(x, (p,)*4).requires_grad_()
        F.conv2d(padded[None], torch.ones_like(w), stride=s, dilation=settings['dilation']).sum().backward()
        for axis, n in ((1, rest[0]), (0, rest[1])):
            reached = padded.grad[0].amax(axis).nonzero().max().item()
            assert len(padded.grad[0].amax(axis))-1-reached==n

def test_images_as_text(js):
    for x in (IMAGE, SMALL, torch.zeros(1, 1), torch.ones(3, 2)):
        text, rows = js("return [m.pack(arg), m.unpack(m.pack(arg))]", x.tolist())
        assert text==pack_image(x)
        assert torch.equal(unpack_image(text), x) and (torch.tensor(rows)-x).abs().max()<=1e-7

@pytest.mark.parametrize('k', range(1, 8))
def test_presets(js, k):
    presets = {name: torch.tensor(rows, dtype=torch.float32) for name,rows in js("return m.presets(arg)", k).items()}
    assert all(x.shape==(k, k) for x in presets.values())
    assert torch.equal(presets['bottom'], -presets['top']) and torch.equal(presets['left'], presets['top'].T) and torch.equal(presets['right'], -presets['left'])
    if k>1: assert all(abs(presets[name].sum())<1e-6 for name in ('top', 'left', 'diagonal'))
    assert abs(presets['blur'].sum()-1)<.003 and abs(presets['sharpen'].sum()-1)<.003
    if k==3: assert presets['top'].tolist()==[[1, 1, 1], [0, 0, 0], [-1, -1, -1]]

STATES = [dict(row=3, col=7), dict(relu=True, stride=3, padding=2, row=1, col=1), dict(kernel=[[.5, -1.25], [2, 0]], dilation=3, row=2, col=4),
          dict(layers=2, relu=True, row=5, col=6), dict(layers=2, stride=2, kernel=[[1, 2], [3, 4]], second=[[1]], second2=[[-1]], row=4, col=4), dict(source=1, row=2, col=2)]

@pytest.mark.parametrize('state', STATES, ids=str)
def test_shown_python_gives_what_is_shown(js, state):
    "The code of the button runs, and prints the shape and the value that the read-out has"
    values = Explorable('conv_slide', 'x', image=IMAGE, digits=[SMALL], **state).values
    code, shape, value = js("""const v = m.tidy(arg), r = m.compute(v)
        return [m.pythonFor(v), [r.out.length, r.out[0].length], r.out[v.row][v.col]]""", values)
    with contextlib.redirect_stdout(io.StringIO()) as printed: exec(code, {})
    assert max(map(len, (line for line in code.splitlines() if 'unpack_image(' not in line)))<=88
    got = printed.getvalue()
    assert got.startswith(f'(1, {shape[0]}, {shape[1]}) ') and abs(float(got.split()[-1])-value)<=1e-5

def test_state_survives_the_address(js):
    assert js("""return Object.entries(arg).filter(([key, value]) => !m.SPEC[key].fixed && JSON.stringify(m.decode(m.SPEC[key], m.encode(value))) !== JSON.stringify(value)).map(([key]) => key)""",
              Explorable('conv_slide', 'x', kernel=[[-1.5, 0], [.25, 3]], relu=True, drawn=IMAGE).values)==[]

@pytest.mark.parametrize('key, bad', [('stride', 0), ('stride', 1.5), ('stride', '2'), ('stride', None), ('kernel', [[1, 2], [3]]), ('kernel', []), ('kernel', [[1e9]]),
    ('kernel', torch.ones(8, 8).tolist()), ('relu', 1), ('drawn', 'x'), ('layers', 3), ('row', True)])
def test_what_does_not_fit_is_refused_by_python_and_ignored_by_the_page(js, key, bad):
    if (key, bad)!=('drawn', 'x'):  # of text, Python checks the type only
        with pytest.raises(ValueError, match=f'`{key}` must be'): Explorable('conv_slide', 'x', **{key: bad})
    values, default = js("return [m.clean(m.SPEC, arg), m.SPEC]", {key: bad})
    assert values[key]==default[key]['value']

# ---- on a page
def test_mouse(tab):
    page = tab()
    canvas = app(page).locator('canvas:visible').last
    box = canvas.bounding_box()
    page.mouse.click(box['x']+box['width']*.5, box['y']+box['height']*.25)
    says(page, 'Row 7, column 14')
    page.mouse.move(box['x']+2, box['y']+2)
    page.mouse.down()
    page.mouse.move(box['x']+box['width']*.9, box['y']+box['height']*.9, steps=5)
    page.mouse.up()
    says(page, 'Row 24, column 24')
    app(page).locator('canvas:visible').first.click(position=dict(x=10, y=10))
    says(page, 'Row 1, column 1')
    app(page).get_by_role('button', name='Step').click()
    says(page, 'Row 1, column 2')
    hash_is(page, "hash.includes('conv_slide.row=0') && hash.includes('conv_slide.col=1') && !hash.includes('conv_slide-2')")
    assert not tab.wrong

def test_touch(tab):
    page = tab(viewport=PHONE, has_touch=True, is_mobile=True)
    canvas = app(page).locator('canvas:visible').last
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    page.touchscreen.tap(box['x']+box['width']*.5, box['y']+box['height']*.5)
    says(page, 'Row 14, column 14')
    app(page).locator('select').first.select_option('-1')
    app(page).get_by_role('button', name='Clear drawing').wait_for()
    image = app(page).locator('canvas:visible').first
    box = image.bounding_box()
    page.touchscreen.tap(box['x']+box['width']*.5, box['y']+box['height']*.5)
    hash_is(page, "hash.includes('conv_slide.drawn=28x28:')")
    drawn = unpack_image(page.evaluate("new URLSearchParams(location.hash.slice(1).replaceAll('+', '%2B')).get('conv_slide.drawn')"))
    assert drawn[14,14]==1 and drawn.count_nonzero()==9
    assert not tab.wrong

def test_keyboard(tab):
    "Every control by tab, the window and the weights by arrow keys; focus is seen"
    page = tab()
    stops = []
    for _ in range(40):
        page.keyboard.press('Tab')
        stops.append(page.evaluate("""() => { const el = document.activeElement, s = getComputedStyle(el)
          return [el.closest('.x-app') === document.querySelector('.x-app'), el.tagName, el.textContent.slice(0, 14), s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2] }"""))
        if stops[-1][2]=='Show as Python': break
    assert all(inside and seen for inside,_,_,seen in stops), stops
    assert [tag for _,tag,_,_ in stops].count('CANVAS')==2 and [tag for _,tag,_,_ in stops].count('INPUT')==6 and len(stops)<20
    app(page).locator('canvas:visible').last.focus()
    for key, where in (('ArrowRight', 'Row 3, column 5'), ('ArrowDown', 'Row 4, column 5'), ('End', 'Row 4, column 26'), ('PageUp', 'Row 1, column 26'), ('Home', 'Row 1, column 1')):
        page.keyboard.press(key)
        says(page, where)
    page.keyboard.press(' ')
    assert app(page).get_by_role('button', name='Pause').count()==1
    says(page, 'Row 1, column 2')
    page.keyboard.press(' ')
    app(page).locator('td input').first.focus()
    page.keyboard.press('ArrowDown')
    page.keyboard.press('ArrowRight')
    page.keyboard.type('−2,5')
    hash_is(page, "hash.includes('conv_slide.kernel=1,1,1;0,-2.5,0;-1,-1,-1')")
    assert app(page).locator('select').nth(1).input_value()=='custom'
    assert not tab.wrong

def test_a_quick_stroke_is_one_line(tab):
    "The mouse reports few points of it; a new stroke does not begin at the end of the last one"
    page = tab('#conv_slide.source=-1&conv_slide.padding=1')
    image = app(page).locator('canvas:visible').first
    image.scroll_into_view_if_needed()
    box = image.bounding_box()
    def at(row, col): return box['x']+box['width']*(col+1.5)/30, box['y']+box['height']*(row+1.5)/30
    for start, end in (((5, 4), (5, 23)), ((20, 23), (20, 10))):
        page.mouse.move(*at(*start))
        page.mouse.down()
        page.mouse.move(*at(*end))
        page.mouse.up()
    page.wait_for_timeout(500)
    drawn = unpack_image(page.evaluate("new URLSearchParams(location.hash.slice(1).replaceAll('+', '%2B')).get('conv_slide.drawn')"))
    assert drawn[5].eq(1).nonzero().flatten().tolist()==list(range(4, 24)) and drawn[20].eq(1).nonzero().flatten().tolist()==list(range(10, 24)) and not drawn[8:18].any()
    assert not tab.wrong

def test_drawing_by_keyboard(tab):
    page = tab('#conv_slide.source=-1')
    app(page).locator('canvas:visible').first.focus()
    for key in (' ', 'Shift+ArrowRight', 'Shift+ArrowRight', 'ArrowDown'): page.keyboard.press(key)
    hash_is(page, "hash.includes('conv_slide.drawn=')")
    read = lambda: unpack_image(page.evaluate("new URLSearchParams(location.hash.slice(1).replaceAll('+', '%2B')).get('conv_slide.drawn')"))
    assert (drawn := read())[14,14:17].tolist()==[1, 1, 1] and drawn[15,15]==pytest.approx(.6) and drawn.count_nonzero()==15
    page.keyboard.press('Delete')
    page.wait_for_timeout(500)
    assert read()[14,15:17].sum()==0
    app(page).get_by_role('button', name='Clear drawing').click()
    hash_is(page, "!hash.includes('drawn')")
    assert not tab.wrong

def test_numbers_of_every_row_have_the_same_digits(tab):
    page = tab('#conv_slide.kernel=0.25,1,2;0.5,-0.125,0;-1.5,3,0.75')
    tables = app(page).locator('table:visible')
    cells = lambda i: tables.nth(i).locator('td').all_inner_texts()
    window = IMAGE[2:5,3:6].flatten().tolist()
    assert tables.nth(1).locator('input').evaluate_all('all => all.map(i => i.value)')==['0.25', '1', '2', '0.5', '−0.125', '0', '−1.5', '3', '0.75']
    assert cells(0)==[f'{v:.2f}' for v in window]
    assert all(re.fullmatch(r'−?\d+\.\d\d', text) for text in cells(2))
    assert [float(t.replace('−', '-')) for t in cells(2)]==pytest.approx([v*w for v,w in zip(window, (.25, 1, 2, .5, -.125, 0, -1.5, 3, .75), strict=True)], abs=.0051)

def test_settings(tab):
    "Shape, number of weights, the dropped border, and the message where no window fits, which is Python's"
    page = tab()
    facts = lambda: ' '.join(app(page).locator('.x-facts').all_inner_texts())
    assert 'Output shape: (1, 26, 26)' in facts() and 'Weights: 1 · 1 · 3 · 3 = 9' in facts()
    app(page).get_by_label('stride').fill('3')
    page.wait_for_function("document.querySelector('.x-facts').textContent.includes('(1, 9, 9)')")
    assert '⌊(28 + 2·0 − 1·(3 − 1) − 1) / 3⌋ + 1 = 9' in facts() and 'No window reaches the last row and column (hatched).' in facts()
    app(page).get_by_label('stride').fill('99')  # out of range: the state stays
    app(page).get_by_label('dilation').fill('5')
    app(page).get_by_label('size').select_option('7')
    says(page, '`kernel_size` must fit into the padded image, 28 + 2·0 = 28 pixels, got 7 with dilation 5, which spans 31')
    app(page).get_by_label('padding').fill('2')
    says(page, 'the 49 products sum to')
    app(page).get_by_label('second layer').check()
    page.wait_for_function("document.querySelector('.x-says').textContent.includes('`kernel_size` must fit')")  # the output is 1 × 1
    app(page).get_by_label('dilation').fill('1')
    says(page, 'the 18 products sum to')
    assert 'First layer: (2, 9, 9), from ⌊(28 + 2·2 − 1·(7 − 1) − 1) / 3⌋ + 1 = 9. Second layer: (1, 7, 7). Weights: 2 · 1 · 7 · 7 + 1 · 2 · 3 · 3 = 116 in two layers' in facts()
    assert not tab.wrong

def test_address(tab):
    "A link leads to a state, an edited address too, each explorable has its own part, and an anchor of the page stays"
    page = tab('#conv_slide.stride=2&conv_slide.kernel=1,0;0,-1&conv_slide.relu=1&conv_slide-2.padding=3')
    assert app(page).get_by_label('stride').input_value()=='2' and app(page).get_by_label('ReLU').is_checked() and app(page).locator('td input:visible').count()==4
    assert app(page, 1).get_by_label('padding').input_value()=='3' and app(page, 2).get_by_label('stride').input_value()=='1'
    page.evaluate("location.hash = '#conv_slide.stride=4'")
    page.wait_for_function("document.querySelector('.x-app input[type=number]').value === '4'")
    assert not app(page).get_by_label('ReLU').is_checked()
    app(page, 2).get_by_label('stride').fill('5')
    hash_is(page, "hash.includes('conv_slide.stride=4') && hash.includes('conv_slide-3.stride=5')")
    address = page.evaluate('location.hash')
    again = tab(address)
    assert [app(again, i).get_by_label('stride').input_value() for i in range(3)]==['4', '2', '5']
    anchored = tab('#t060')
    anchored.wait_for_timeout(500)
    assert anchored.evaluate('location.hash')=='#t060'
    assert not tab.wrong

@pytest.mark.parametrize('junk', ['#conv_slide.stride=0', '#conv_slide.kernel=1,2;3', '#conv_slide.drawn=28x28:!!', '#conv_slide.source=9', '#conv_slide.row=999', '#conv_slide.', '#%', '#conv_slide.image=1x1:AA=='])
def test_a_spoiled_address_is_no_obstacle(tab, junk):
    page = tab(junk)
    says(page, 'Row ')
    assert app(page).get_by_label('stride').input_value()=='1' and app(page).locator('td input:visible').count()==9
    assert not tab.wrong

def test_show_as_python(tab):
    page = tab()
    button = app(page).get_by_role('button', name='Show as Python')
    button.focus()
    page.keyboard.press('Enter')
    assert button.get_attribute('aria-expanded')=='true'
    app(page).get_by_label('stride').fill('2')
    page.wait_for_function("document.querySelector('pre.x-python').textContent.includes('stride=2')")
    assert "unpack_image('28x28:" in app(page).locator('pre.x-python').inner_text()
    assert app(page).locator('pre.x-python').evaluate("el => getComputedStyle(el).overflowX")=='auto'

@pytest.mark.parametrize('motion', ['reduce', 'no-preference'])
def test_play(tab, motion):
    page = tab(reduced_motion=motion)
    app(page).get_by_role('button', name='Run').click()
    assert page.locator('.x-says').first.get_attribute('aria-live')=='off' or page.wait_for_function("document.querySelector('.x-says').getAttribute('aria-live') === 'off'")
    says(page, 'Row 3, column 6')
    app(page).get_by_role('button', name='Pause').click()
    assert app(page).evaluate("el => [...el.querySelectorAll('*')].every(e => getComputedStyle(e).animationName === 'none')")

def test_dragging_is_smooth(tab):
    page = tab(reduced_motion='no-preference')
    took = page.evaluate("""async () => {
      const canvas = [...document.querySelectorAll('.x-app')][1].querySelectorAll('canvas')[3], box = canvas.getBoundingClientRect(), times = []
      const real = requestAnimationFrame
      window.requestAnimationFrame = draw => real(t => { const start = performance.now(); draw(t); times.push(performance.now() - start) })
      const fire = (type, t) => canvas.dispatchEvent(new PointerEvent(type, { pointerId: 1, buttons: 1, clientX: box.x + box.width*t, clientY: box.y + box.height*t, bubbles: true }))
      canvas.setPointerCapture = () => {}
      for (let i = 0; i < 60; i++) {
        fire(i ? 'pointermove' : 'pointerdown', i/60)
        await new Promise(done => real(() => real(done)))
      }
      return times.sort((a, b) => a - b)
    }""")
    assert len(took)>=8 and took[len(took)//2]<=16
