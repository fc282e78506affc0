"Explorable dropout_mask: its random numbers are PyTorch's, its arithmetic is `dropout`'s; slider, mouse, touch, keyboard, address"
import contextlib
import io
import random

import pytest
import torch
from explorable_pages import DESKTOP, PHONE, app, hash_is, says

from lesson8lib.convolution import conv2d
from lesson8lib.data import load_mnist
from lesson8lib.dropout import Dropout, dropout
from lesson8lib.explorables import Explorable
from lesson8lib.training import new_generator

pytestmark = pytest.mark.filterwarnings('ignore')

@pytest.fixture(scope='module')
def own():
    "The state that the page gives: the activations of its 7"
    digits = load_mnist()
    index = int((digits.labels==7).nonzero()[0])
    top = torch.tensor([[1., 1, 1], [0, 0, 0], [-1, -1, -1]])
    x = conv2d(digits.images[index][None], top[None,None])[0].relu()
    return dict(activations=x/x.max(), index=index, source='digit', p=.5, seed=3)

def nested(x): return torch.tensor(x, dtype=torch.float64)

# ---- the maths is PyTorch's
def test_random_numbers(js):
    "200 seeds, up to the largest, and lengths around the 624 numbers of the generator's state: bit for bit"
    cases = [(n, seed) for seed in (*range(190), 9999, 2**31-1, 2**31, 2**32-1) for n in (1, [3, 623, 624, 625, 676, 1300][seed%6])]
    for (n, seed), got in zip(cases, js("return arg.map(a => [...m.rand(...a)])", cases), strict=True): assert torch.equal(nested(got).float(), torch.rand(n, generator=new_generator(seed))), (n, seed)
    assert torch.equal(torch.rand(26, 26, generator=new_generator(3)).flatten(), torch.rand(676, generator=new_generator(3)))

def test_what_is_kept(js):
    "`noise>p` compares in single precision: also for numbers next to p"
    cases = []
    for k in range(1, 20):
        near = torch.tensor(k/20)
        below, above = (torch.nextafter(near, torch.tensor(end)) for end in (0., 1.))
        cases += [(u.item(), k/20) for u in (below, near, above)]
    want = [bool(torch.tensor([u])[0]>p) for u,p in cases]
    assert js("return arg.map(a => m.keeps(...a))", cases)==want and any(want) and not all(want)

def test_output(js):
    "300 masks that the library drew, of odd shapes and any p: the same output as of `dropout`, in training and in evaluation, and without the division"
    rand, cases, wanted = random.Random(0), [], []
    for seed in range(300):
        p, training = rand.choice([0, .05, .3, .5, .7, .95]), seed%4>0
        x = torch.randn(rand.randint(1, 9), rand.randint(1, 9), generator=new_generator(seed), dtype=torch.float64)
        wanted.append(dropout(x, p, training, generator=new_generator(seed)))
        cases.append((x.tolist(), (wanted[-1]!=0).double().tolist(), p, training))
    got = js("return arg.map(([x, mask, p, training]) => [true, false].map(rescale => m.drop(x, mask, p, { training, rescale })))", cases)
    for (_, _, p, training), want, (scaled, plain) in zip(cases, wanted, got, strict=True):
        assert (nested(scaled)-want).abs().max()<=1e-9
        assert (nested(plain)-(want*(1-p) if training else want)).abs().max()<=1e-9

def test_states(js, own):
    "250 states of the page: mask, output and the three means"
    rand = random.Random(2)
    states = [dict(source=rand.choice(['digit', 'four']), p=rand.randint(0, 19)/20, seed=rand.randint(0, 9999), rescale=rand.random()<.5, training=rand.random()<.8, row=rand.randint(0, 99), col=rand.randint(0, 99)) for _ in range(250)]
    got = js("""return arg[1].map(s => { const v = m.tidy({ ...arg[0], ...s }), r = m.compute(v); return [v.row, v.col, r.out, r.kept, r.mean, r.meanOut, r.meanOfSeeds] })""", [Explorable('dropout_mask', 'x', **own).values, states])
    for s, (row, col, out, kept, mean, mean_out, over_seeds) in zip(states, got, strict=True):
        x = own['activations'] if s['source']=='digit' else torch.tensor([[2, .5, -1, 4]])
        assert (row, col)==(min(s['row'], x.shape[0]-1), min(s['col'], x.shape[1]-1))
        def run(seed, s=s, x=x):
            mask = (torch.rand(x.shape, generator=new_generator(seed))>s['p']).double()
            return mask, x.double()*mask/(1-s['p'] if s['rescale'] else 1) if s['training'] else x.double()
        mask, want = run(s['seed'])
        assert kept==mask.sum() and (nested(out)-want).abs().max()<=2e-6
        assert (mean, mean_out)==pytest.approx((x.mean().item(), want.mean().item()), abs=1e-6)
        assert over_seeds==pytest.approx(torch.stack([run(s['seed']+k)[1].mean() for k in range(100)]).mean().item(), abs=1e-6)

def test_the_page_s_numbers(js, own):
    "How many activations above zero are left, as its table says"
    left = js("""return [0, .2, .4, .5, .6, .8, .9].map(p => { const r = m.compute({ ...arg, p }); return r.x.flat().filter((x, i) => x > 0 && r.mask.flat()[i]).length })""", Explorable('dropout_mask', 'x', **own).values)
    assert left==[124, 96, 70, 55, 38, 23, 11]
    layer = Dropout(.4).eval()
    assert torch.equal(layer(own['activations']), own['activations'])

@pytest.mark.parametrize('state', [dict(), dict(p=.95, seed=9999, row=9, col=13), dict(rescale=False, p=.15, row=8, col=20), dict(training=False, p=.3, row=25, col=25), dict(source='four', col=3), dict(source='four', training=False, col=2)], ids=str)
def test_shown_python_gives_what_is_shown(js, own, state):
    code, values = js("const v = m.tidy(arg), r = m.compute(v); return [m.pythonFor(v), [r.out[v.row][v.col], r.mean, r.meanOut]]", Explorable('dropout_mask', 'x', **own | state).values)
    with contextlib.redirect_stdout(io.StringIO()) as printed: exec(code, {})
    assert max(map(len, code.splitlines()))<=88
    assert list(map(float, printed.getvalue().split()))==pytest.approx(values, abs=2e-6)

@pytest.mark.parametrize('key, bad', [('p', 1), ('p', -.1), ('p', '.5'), ('seed', 1.5), ('seed', -1), ('training', 1), ('source', 'x')])
def test_what_does_not_fit(js, key, bad):
    with pytest.raises(ValueError, match=f'`{key}` must be'): Explorable('dropout_mask', 'x', **{key: bad})
    values, default = js("return [m.clean(m.SPEC, arg), m.SPEC]", {key: bad})
    assert values[key]==default[key]['value']

# ---- on a page
@pytest.fixture
def shown(own): return Explorable('dropout_mask', 'x', **own),

def at(page, i, x, y):
    canvas = app(page).locator('canvas:visible').nth(i)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    return box['x']+box['width']*x, box['y']+box['height']*y
def facts(page): return app(page).locator('.x-facts').inner_text()

def test_mouse_slider_and_draws(tab):
    page = tab()
    says(page, 'of 676 activations are kept, including 55 of the 124 positive ones. Row 1, column 1')
    before = app(page).locator('.x-says').inner_text()
    slider = app(page).locator('input[type=range]')
    box = slider.bounding_box()
    page.mouse.click(box['x']+2, box['y']+box['height']/2)
    says(page, '676 of 676 activations are kept, including 124 of the 124 positive ones.')
    hash_is(page, "hash.includes('dropout_mask.p=0')")
    page.mouse.click(box['x']+box['width']-2, box['y']+box['height']/2)
    hash_is(page, "hash.includes('dropout_mask.p=0.95')")
    slider.fill('0.5')
    says(page, before)
    app(page).get_by_role('button', name='New mask').click()
    hash_is(page, "hash.includes('dropout_mask.seed=4')")
    assert app(page).locator('.x-says').inner_text()!=before
    app(page).get_by_label('seed').fill('3')
    says(page, before)
    page.mouse.click(*at(page, 3, 13.5/26, 9.5/26))
    says(page, 'Row 10, column 14: ')
    assert not tab.wrong

def test_mean_with_and_without_rescaling(tab, own):
    page = tab()
    says(page, 'of 676')
    mean = f'{own["activations"].mean():.3f}'
    over = float(facts(page).rpartition(': ')[2].rstrip('.'))
    assert facts(page).startswith(f'Mean of the activations: {mean}. Mean of the output: ') and over==pytest.approx(float(mean), abs=.004)
    app(page).get_by_label('divide by').uncheck()
    page.wait_for_function("document.querySelector('.x-facts').textContent.includes('averaged over seeds 3 to 102')")
    page.wait_for_timeout(200)
    assert float(facts(page).rpartition(': ')[2].rstrip('.'))==pytest.approx(over/2, abs=.001)
    app(page).get_by_label('training').uncheck()
    says(page, 'In evaluation mode, nothing is dropped or rescaled.')
    assert facts(page)==f'Mean of the activations: {mean}. Mean of the output: {mean}.' and app(page).locator('canvas:visible').count()==2
    assert app(page).get_by_label('divide by').is_disabled()
    assert not tab.wrong

def test_keyboard_and_numbers(tab, own):
    "Four activations: the table by arrow keys, each number on the screen"
    page = tab('#dropout_mask.source=four&dropout_mask.p=0.4')
    u = torch.rand(4, generator=new_generator(3)).tolist()
    says(page, f'Activation 1: the random number {u[0]:.2f} ')
    cells = [app(page).locator('table').nth(i).locator('td').all_inner_texts() for i in range(4)]
    assert cells[0]==['2.00', '0.50', '−1.00', '4.00'] and cells[1]==[f'{x:.2f}' for x in u] and cells[2]==[str(int(x>.4)) for x in u]
    assert cells[3]==[f'{a/.6*(x>.4):.2f}'.replace('-0.00', '0.00').replace('-', '−') for a,x in zip((2, .5, -1, 4), u, strict=True)]
    app(page).locator('td[tabindex="0"]').first.focus()
    for key, n in (('ArrowRight', 2), ('End', 4), ('ArrowLeft', 3)):
        page.keyboard.press(key)
        says(page, f'Activation {n}: ')
    app(page).locator('input[type=range]').focus()
    page.keyboard.press('ArrowRight')
    hash_is(page, "hash.includes('dropout_mask.p=0.45') && hash.includes('dropout_mask.col=2')")
    app(page).locator('select').first.select_option('digit')
    says(page, 'of 676 activations are kept')
    row, col = divmod(int(own['activations'].argmax()), 26)
    says(page, f'Row {row+1}, column {col+1}: the random number')
    app(page).locator('canvas').first.focus()
    page.keyboard.press('PageDown')
    says(page, f'Row 26, column {col+1}: ')
    app(page).locator('select').first.select_option('four')
    says(page, '2 of 4 activations are kept. Activation 1: the random number 0.98 is greater than p, so 2.000 is kept; divided by 0.60, it becomes 3.333.')
    assert not tab.wrong

@pytest.mark.parametrize('viewport', [DESKTOP, PHONE], ids=['1280', '390'])
def test_touch_and_address(tab, viewport):
    page = tab('#dropout_mask.seed=12&dropout_mask.p=0.35&dropout_mask.rescale=0', viewport, has_touch=True)
    page.touchscreen.tap(*at(page, 0, 5.5/26, 20.5/26))
    says(page, 'Row 21, column 6: ')
    hash_is(page, "hash.includes('dropout_mask.row=20') && hash.includes('dropout_mask.seed=12')")
    again = tab(page.evaluate('location.hash'), viewport)
    says(again, app(page).locator('.x-says').inner_text())
    assert facts(again)==facts(page)
    assert page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')<=1
    for junk in ('#dropout_mask.p=1', '#dropout_mask.p=', '#dropout_mask.row=99', '#dropout_mask.activations=1', '#dropout_mask.seed=-1'): says(tab(junk, viewport), 'activations are kept')
    assert not tab.wrong

def test_the_slider_is_smooth(tab):
    page = tab(reduced_motion='no-preference')
    took = page.evaluate("""async () => {
      const slider = document.querySelector('.x-app input[type=range]'), times = [], real = requestAnimationFrame
      window.requestAnimationFrame = draw => real(t => { const start = performance.now(); draw(t); times.push(performance.now() - start) })
      for (let i = 0; i < 40; i++) {
        slider.value = i%20/20
        slider.dispatchEvent(new Event('input'))
        await new Promise(done => real(() => real(done)))
      }
      return times.sort((a, b) => a - b)
    }""")
    assert len(took)>=8 and took[len(took)//2]<=16
