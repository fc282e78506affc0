"Explorables: the maths in a real browser equals Python's; mouse, touch, keyboard, address, themes, widths; nothing asks for a network"
import contextlib
import io
import itertools
import json
import random
import re
import threading
from functools import partial
from http.server import ThreadingHTTPServer
from importlib.resources import files

import pytest
import torch
import torch.nn.functional as F
from conftest import ROOT, Quiet

from lesson8lib.conv_matmul import conv_matrix
from lesson8lib.convolution import conv2d, im2col, out_size
from lesson8lib.explorables import Explorable, explorable_names, pack_image, unpack_image

pytestmark = pytest.mark.filterwarnings('ignore')
STATIC = ROOT/'lesson8lib'/'static'
DESKTOP, PHONE = dict(width=1280, height=800), dict(width=390, height=844)
HELPERS = 'pack, unpack, encode, decode, fits, clean, fmt, short, readNumber, tidy, SPEC'
GENERATOR = torch.Generator().manual_seed(0)
IMAGE = (torch.rand(28, 28, generator=GENERATOR)*255).round()/255
SMALL = (torch.rand(9, 12, generator=GENERATOR)*255).round()/255
TABLE = [('pixels', 'sum'), ('1, 2', '3')]

def module(name): return '\n'.join((STATIC/f'{file}.js').read_text(encoding='utf-8') for file in ('core', name))

# ---- the module itself
@pytest.mark.parametrize('name', explorable_names())
def test_the_script_is_small_and_needs_nothing(name):
    source = module(name)
    assert len(source.encode())<60_000
    assert not re.search(r'</script|<!--|^\s*import\b|\bimport\(|https?://|fetch\(|XMLHttpRequest|eval\(|innerHTML', source, re.M)
    assert f"mount('{name}', SPEC, render)" in Explorable(name, 'x')._repr_html_()

@pytest.mark.parametrize('name', explorable_names())
def test_defaults_pass_their_own_check(name):
    shown = Explorable(name, 'x')
    shown.update(**shown.defaults)
    assert shown.values==shown.defaults

def run_js(browser, name):
    "A function that evaluates an expression beside the module `m`, with the helpers it has inside"
    page = browser.new_page()
    page.set_content('<title>x</title>')
    page.evaluate("""async source => {
      const url = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }))
      window.m = await import(url)
    }""", module(name) + f'\nexport {{ {HELPERS} }}')
    return lambda expression, arg=None: page.evaluate(f'arg => {{ {expression} }}', arg)

@pytest.fixture(scope='module')
def js(browser): return run_js(browser, 'conv_slide')

@pytest.fixture(scope='module')
def matmul(browser): return run_js(browser, 'conv_matmul')

def test_stored_figures_hold_the_current_script():
    "A change of a script asks for the outputs of the notebooks that show it: `make prepare` runs them"
    shown = {}
    for nb in sorted((ROOT/'nbs').glob('*.ipynb')):
        for out in (out for cell in json.loads(nb.read_text(encoding='utf-8'))['cells'] for out in cell.get('outputs', [])):
            text = ''.join(out.get('data', {}).get('text/html', ''))
            for name in re.findall(r'data-explorable="(\w+)"', text): shown[nb.name, name] = module(name) in text
    assert {name for _,name in shown}==set(explorable_names()) and all(shown.values()), shown

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

def test_conv_matrix(matmul):
    "Matrix, columns, outputs and gradients are those of `conv_matrix`, `im2col`, PyTorch's convolution and its gradient"
    rand, args = random.Random(1), []
    for i in range(300):
        h, w, kh, kw = (rand.randint(1, top) for top in (6, 6, 3, 3))
        g = torch.Generator().manual_seed(i)
        args.append((torch.randn(h, w, generator=g, dtype=torch.float64), torch.randn(kh, kw, generator=g, dtype=torch.float64), rand.randint(1, 3), rand.randint(0, 2), rand.random()))
    theirs = matmul("""return arg.map(([x, k, stride, padding, bias]) => {
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
def test_shown_python_of_the_matrix(matmul, state):
    code, rows, value = matmul("const v = m.tidy(arg), r = m.compute(v); return [m.pythonFor(v), r.out.length, r.out[v.row]]", Explorable('conv_matmul', 'x', **state).values)
    with contextlib.redirect_stdout(io.StringIO()) as printed: exec(code, {})
    assert str(rows) in printed.getvalue() and abs(float(printed.getvalue().split()[-1])-value)<=1e-5

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
def page_of(*shown, scheme='default'):
    css = (ROOT/'nbs'/'styles.css').read_text(encoding='utf-8')
    body = '\n'.join(f'<h2>{i}</h2>{e._repr_html_()}' for i,e in enumerate(shown))
    return (f'<!doctype html><html lang="en" data-scheme="{scheme}"><head><meta charset="utf-8"><title>Explorables</title><meta name="viewport" content="width=device-width">'
            f'<style>{css}</style></head><body><main class="content" style="max-width:740px;padding:0 12px"><h1>Explorables</h1><p id="t060">An anchor</p>{body}</main></body></html>')

@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    "A page with three of them, on the disk"
    folder = tmp_path_factory.mktemp('explorables')
    pictures = {'image': SMALL, 'output': SMALL-.5}
    shown = Explorable('conv_slide', 'A kernel on an image.', pictures=pictures, table=TABLE, image=IMAGE, digits=[SMALL], row=2, col=3), \
        Explorable('conv_slide', 'Another one.', image=IMAGE, stride=2, layers=2), Explorable('conv_slide', 'Without an image.', padding=1), Explorable('conv_matmul', 'A matrix.', weight=0)
    for name, scheme in (('light', 'default'), ('dark', 'alternate')): (folder/f'{name}.html').write_text(page_of(*shown, scheme=scheme), encoding='utf-8')
    return folder

@pytest.fixture(scope='module')
def served(folder):
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()

@pytest.fixture
def tab(browser, served, folder):
    "A function that opens the page; what goes wrong on it gathers in `tab.wrong`"
    contexts = []
    def open_page(hash='', viewport=DESKTOP, scheme='light', disk=False, **options):
        contexts.append(browser.new_context(viewport=viewport, color_scheme=scheme, **dict(reduced_motion='reduce') | options))
        page = contexts[-1].new_page()
        page.set_default_timeout(10_000)
        page.on('console', lambda m: open_page.wrong.append(m.text) if m.type in ('error', 'warning') and 'favicon' not in m.location.get('url', '') else None)
        page.on('pageerror', lambda e: open_page.wrong.append(str(e)))
        base = folder.as_uri() if disk else served
        page.on('request', lambda r: None if r.url.startswith((base, 'data:', 'blob:')) else open_page.wrong.append(f'another host: {r.url}'))
        page.goto(f'{base}/{scheme}.html{hash}', wait_until='load')
        return page
    open_page.wrong = []
    yield open_page
    for context in contexts: context.close()

def app(page, i=0): return page.locator('.x-app').nth(i)
def says(page, text, i=0): page.wait_for_function('([i, text]) => document.querySelectorAll(".x-says")[i].textContent.includes(text)', arg=[i, text])
def hash_is(page, test): page.wait_for_function(f'() => {{ const hash = decodeURIComponent(location.hash); return {test} }}')

@pytest.mark.parametrize('disk', [False, True], ids=['served', 'file'])
@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('viewport', [DESKTOP, PHONE], ids=['1280', '390'])
def test_looks(tab, viewport, scheme, disk):
    "All four are there, none clashes, nothing sticks out, the colors are those of the mode and follow its change"
    page = tab(viewport=viewport, scheme=scheme, disk=disk)
    page.wait_for_function("document.querySelectorAll('.x-app[data-theme]').length === 4")
    assert page.locator('.x-still').count()==0
    assert page.locator('.x-app').evaluate_all('all => all.map(el => el.dataset.theme)')==[scheme]*4
    assert page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')<=1
    assert app(page).locator('canvas:visible').count()==2 and app(page, 1).locator('canvas:visible').count()==4
    assert app(page).locator('canvas').first.evaluate('el => new Set(el.getContext("2d").getImageData(0, 0, el.width, el.height).data).size')>50, 'nothing is drawn'
    other = dict(light='dark', dark='light')[scheme]
    page.evaluate(f"document.documentElement.setAttribute('data-scheme', '{'alternate' if other=='dark' else 'default'}')")
    page.wait_for_function(f"[...document.querySelectorAll('.x-app')].every(el => el.dataset.theme === '{other}')")
    assert not tab.wrong

def test_interactive_within_a_second(tab):
    page = tab()
    says(page, 'Row 3, column 4')
    assert page.evaluate('performance.now()')<3000  # a busy machine
    assert page.evaluate("performance.getEntriesByType('resource').length")==0

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
    assert '⌊(28 + 2·0 − 1·(3 − 1) − 1) / 3⌋ + 1 = 9' in facts() and 'drops 1 row and 1 column' in facts()
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
    assert 'Second layer: (1, 7, 7). Weights: 2 · 1 · 7 · 7 + 1 · 2 · 3 · 3 = 116 in two layers' in facts()
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

@pytest.mark.parametrize('viewport', [DESKTOP, PHONE], ids=['1280', '390'])
def test_matrix(tab, viewport):
    "Mouse and keyboard choose a row; window, output, equation and gradient follow; a typed weight is a number"
    page = tab('#conv_matmul.row=3', viewport)
    says(page, 'Output s = α·E + β·F + γ·H + δ·J + b = 1·7 + 1·0 + (−1)·0 + (−1)·0 + 0 = 7.', 3)
    it = app(page, 3)
    marked = lambda i: it.locator('table').nth(i).locator('.x-marked').all_inner_texts()
    assert marked(3)==list('0000αβ0γδ') and marked(2)==['s']
    it.locator('table').nth(3).locator('tr').nth(1).locator('td').nth(2).hover()
    says(page, 'Output q = ', 3)
    it.locator('table').nth(3).locator('td[tabindex="0"]').focus()
    page.keyboard.press('ArrowDown')
    page.keyboard.press('End')
    page.wait_for_function("[...document.querySelectorAll('.x-app')].at(-1).querySelectorAll('table')[3].contains(document.activeElement)")
    page.keyboard.press('PageUp')
    says(page, 'Output p = ', 3)
    assert 'with respect to α is a sum over its 4 cells: A + B + D + E = 9 + 8 + 9 + 7 = 33.' in ' '.join(it.locator('.x-facts').all_inner_texts())
    assert it.locator('.x-ringed').all_inner_texts()==['α']*4
    it.locator('table').nth(1).locator('input').first.focus()
    assert page.evaluate('document.activeElement.value')=='1'
    page.keyboard.type('-3')
    says(page, '= (−3)·9 + 1·8 + (−1)·9 + (−1)·7 + 0 = −35.', 3)
    page.keyboard.press('Tab')
    assert it.locator('table').nth(1).locator('input').first.input_value()=='α'
    it.get_by_label('view').select_option('im2col')
    it.get_by_label('letters').uncheck()
    page.wait_for_function("[...document.querySelectorAll('.x-app')].at(-1).querySelectorAll('table')[4].rows.length === 4")
    assert it.locator('table').nth(4).locator('tr').first.inner_text().split()==['9', '8', '9', '7']
    it.get_by_label('image').first.select_option('6')
    it.get_by_label('kernel').first.select_option('3')
    it.get_by_label('view').select_option('matrix')
    page.wait_for_function("[...document.querySelectorAll('.x-app')].at(-1).querySelectorAll('table')[3].rows.length === 16")
    assert page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')<=1, 'a wide matrix scrolls in its box'
    hash_is(page, "hash.includes('conv_matmul.view=matrix') === false && hash.includes('conv_matmul.letters=0') && hash.includes('conv_matmul.kernel=-3,1,0;-1,-1,0;0,0,0')")
    assert not tab.wrong

@pytest.mark.parametrize('motion', ['reduce', 'no-preference'])
def test_play(tab, motion):
    page = tab(reduced_motion=motion)
    app(page).get_by_role('button', name='Play').click()
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

def test_without_scripts(browser, served):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(f'{served}/light.html')
    assert page.locator('.x-still').first.is_visible() and page.locator('.x-still table td').all_inner_texts()==['1, 2', '3']
    images = page.locator('.x-still img')
    assert images.count()==2 and all(alt.startswith('A kernel on an image.') for alt in images.evaluate_all('all => all.map(i => i.alt)'))
    assert images.evaluate_all('all => all.every(i => i.naturalWidth >= 1.99*i.width && i.width > 50)')
    context.close()

@pytest.mark.parametrize('scheme', ['light', 'dark'])
@pytest.mark.parametrize('viewport', [DESKTOP, PHONE], ids=['1280', '390'])
def test_accessibility(tab, viewport, scheme):
    "axe-core finds no violation of WCAG 2.1 AA"
    axe = pytest.importorskip('axe_playwright_python', reason='axe-playwright-python, which carries axe-core, is not installed')
    page = tab('#conv_slide.kernel=9,-9;.5,0', viewport, scheme)
    for button in page.get_by_role('button', name='Show as Python').all(): button.click()
    page.evaluate((files(axe)/'axe.min.js').read_text(encoding='utf-8'))
    found = page.evaluate("axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] }).then(r => r.violations.map(v => [v.id, v.nodes.length, v.nodes[0].html.slice(0, 120), v.nodes[0].failureSummary]))")
    assert found==[]

# ---- in Python
def test_widget_and_page_have_one_state():
    pytest.importorskip('anywidget', reason='anywidget is not installed')
    shown = Explorable('conv_slide', 'x', image=IMAGE, stride=2)
    widget = shown.widget
    assert widget is shown.widget and widget.values==shown.values and '_esm' in widget.keys
    widget.set_state({'values': shown.values | dict(stride=3, row=4)})  # what the page sends
    assert (shown.values['stride'], shown.values['row'])==(3, 4)
    shown.update(padding=2)
    assert widget.values['padding']==2 and widget.values['stride']==3
    with pytest.raises(ValueError, match='`padding` must be an integer from 0 to 7, got 8'): shown.update(padding=8)
    assert widget.values['padding']==2

@pytest.mark.parametrize('name', explorable_names())
def test_anywidgets_contract(browser, name):
    "What anywidget does with the module: the figure follows the model, the model the figure; two of one kind; nothing goes on after the cleanup"
    page = browser.new_page()
    page.set_content('<title>x</title><main><div></div><div></div></main>')
    values = Explorable(name, 'x').values
    page.evaluate("""async ([source, values]) => {
      const { default: widget } = await import(URL.createObjectURL(new Blob([source], { type: 'text/javascript' })))
      const places = document.querySelectorAll('main > div')
      window.models = [0, 1].map(i => {
        const model = { values: structuredClone(values), heard: new Set(), saved: 0, get: () => model.values, set: (_, v) => { model.values = v },
          save_changes: () => { model.saved++; model.tell() }, tell: () => { for (const f of model.heard) f() }, on: (_, f) => model.heard.add(f), off: (_, f) => model.heard.delete(f) }
        model.stop = widget.render({ model, el: places[i] })
        return model
      })
    }""", [module(name), values])
    stride = lambda i: app(page, i).get_by_label('stride')
    page.evaluate("models[0].values = { ...models[0].values, stride: 2 }; models[0].tell()")
    page.wait_for_function("document.querySelector('input[type=number]').value === '2'")
    assert stride(1).input_value()=='1' and page.evaluate('models[0].saved')==0
    stride(1).fill('3')
    page.wait_for_function('models[1].values.stride === 3 && models[1].saved === 1')
    assert page.evaluate('models[0].values.stride')==2 and page.evaluate('location.hash')==''
    assert set(page.evaluate('Object.keys(models[1].values)'))==set(values)
    page.evaluate('models.forEach(model => model.stop())')
    assert page.evaluate('models.map(model => model.heard.size)')==[0, 0]
    page.close()

def test_live_in_a_notebook_and_stored_as_a_page(monkeypatch):
    pytest.importorskip('anywidget', reason='anywidget is not installed')
    shown = Explorable('conv_slide', 'x')
    monkeypatch.delenv('IN_TEST', raising=False)
    bundle = shown._repr_mimebundle_()
    assert 'application/vnd.jupyter.widget-view+json' in (bundle[0] if isinstance(bundle, tuple) else bundle)
    monkeypatch.setenv('IN_TEST', '1')
    stored = shown._repr_mimebundle_()
    assert set(stored)=={'text/html', 'text/plain'} and stored==Explorable('conv_slide', 'x')._repr_mimebundle_()

def test_state_cannot_break_out_of_its_element():
    html = Explorable('conv_slide', '<b>"x"</b>', names=['</script><script>alert(1)</script>'], table=[('<i>',)], pictures={'<u>': SMALL})._repr_html_()
    assert html.count('<script')==2 and '<b>' not in html and '<i>' not in html and '<u>' not in html
    stored = re.search(r'<script type="application/json">(.*?)</script>', html)[1]
    assert json.loads(stored)['names']==['</script><script>alert(1)</script>']

@pytest.mark.parametrize('text', ['', '2x2', '2x2:AAAA', '0x0:', '1x1:AA', 'axb:AA==', 3, None])
def test_text_that_is_no_image(words, text):
    with pytest.raises(ValueError, match='`text` must be an image'): unpack_image(text)

@pytest.mark.parametrize('bad, error', [(torch.tensor([[-.1]]), ValueError), (torch.tensor([[float('nan')]]), ValueError), (torch.zeros(2), ValueError), (torch.zeros(2, 2, dtype=torch.int64), TypeError), (torch.zeros(0, 3), ValueError)])
def test_what_cannot_be_packed(words, bad, error):
    with pytest.raises(error, match='`x` must'): pack_image(bad)
