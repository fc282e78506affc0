"The explorable fit_by_hand: its steps are those of gradient_descent, the optimizers and relu_interpolant; its page by mouse, touch and keyboard"
import contextlib
import io
import math
import random

import pytest
import torch
from explorable_pages import DESKTOP, PHONE, app, hash_is, says

from lesson8lib.explorables import Explorable
from lesson8lib.gradients import gradient_descent, noisy_quadratic, quadratic
from lesson8lib.optimizers import SGD, Adam, RMSprop
from lesson8lib.relus import relu_interpolant

pytestmark = pytest.mark.filterwarnings('ignore')
ENTRIES = {'SGD': lambda p, lr, v: SGD(p, lr=lr), 'momentum': lambda p, lr, v: SGD(p, lr=lr, momentum=v['momentum']),
           'RMSprop': lambda p, lr, v: RMSprop(p, lr=lr, alpha=v['alpha']), 'Adam': lambda p, lr, v: Adam(p, lr=lr, betas=(v['momentum'], v['beta2']))}
PYTORCH = {'SGD': lambda p, lr, v: torch.optim.SGD(p, lr=lr), 'momentum': lambda p, lr, v: torch.optim.SGD(p, lr=lr, momentum=v['momentum']),
           'RMSprop': lambda p, lr, v: torch.optim.RMSprop(p, lr=lr, alpha=v['alpha']), 'Adam': lambda p, lr, v: torch.optim.Adam(p, lr=lr, betas=(float(v['momentum']), float(v['beta2'])))}

def double(x): return torch.tensor(x, dtype=torch.float64)
def close(got, want, digits=1e-9):  # relative where the numbers are large, as when a fit diverges
    got = double([math.inf if g is None else g for g in got])
    return got.shape==want.shape and bool(((got-want).abs()<=digits*want.abs().clamp(min=1)).all() or (~want.isfinite()).any())

def states(n, part, seed):
    "Random data, starts and settings; some of them do not fit"
    rand = random.Random(seed)
    def draw(low, high): return round(rand.uniform(low, high), 3)
    for _ in range(n):
        size = rand.randint(2, 15)
        x = sorted({draw(-3, 3) for _ in range(size)} | {-3.25, 3.5})
        y = [draw(-5, 9) for _ in x]
        start = {'quadratic': [[draw(-3, 3) for _ in range(3)]], 'optimizers': [[draw(-3, 3) for _ in range(2)]],
                 'relus': [[k, draw(-4, 4)] for k in sorted(draw(-3, 3) for _ in range(rand.choice((1, 2, 2, 3, 5, 21))))]}[part]
        if part=='relus' and rand.random()<.1: start[-1] = start[0]
        yield Explorable('fit_by_hand', 'x', part=part, x=x, y=y, start=start, loss=rand.choice(['MAE', 'MSE']), zero=rand.random()<.5,
                         lr=rand.choice([0, .003, .05, .4, 2.5]), steps=rand.choice([0, 1, 2, 7, 30]), rates=[[rand.choice([0, .001, .03, .7]) for _ in range(4)]],
                         momentum=rand.choice([0, .5, .9, .9, 1]), alpha=rand.choice([0, .9, .9, .99, 1]), beta2=rand.choice([0, .99, .99, .999, 1]), standardize=rand.random()<.3).values

def computed(js, values):
    return js("""return arg.map(v => { const r = m.compute(m.tidy(v)); return r.error ?? [r.runs.map(run => [run.path, run.losses, run.next]), r.p] })""", values)

def test_quadratic(js):
    "The path, the losses and the next step are those of `gradient_descent`, with and without zeroing the gradients"
    cases, refused = list(states(220, 'quadratic', 0)), 0
    for v, got in zip(cases, computed(js, cases), strict=True):
        x, y = double(v['x']), double(v['y'])
        def loss(p, x=x, y=y, v=v):
            errors = quadratic(*p, x)-y
            return (errors.abs() if v['loss']=='MAE' else errors.square()).mean()
        try: path = gradient_descent(loss, double(v['start'][0]), v['lr'], v['steps']+1, v['zero'])
        except ValueError as e:
            assert got==str(e)
            refused += 1
            continue
        (steps, losses, following), = got[0]
        assert len(steps)==v['steps']+1 and all(close(p, want) for p,want in zip(steps, path[:-1], strict=True))
        assert close(losses, torch.stack([loss(p) for p in path[:-1]])) and close(got[1], path[-2])
        if path[-1].abs().max()<1e6: assert close(following, path[-1]-path[-2])
    assert 20<refused<80

def race(v, entries):
    x, y, paths = double(v['x']), double(v['y']), {}
    if v['standardize']: x = (x-x.mean())/x.std(correction=0)
    for (name, make), lr in zip(entries.items(), v['rates'][0], strict=True):
        p = double(v['start'][0]).requires_grad_()
        optimizer, paths[name] = make([p], lr, v), [p.detach().clone()]
        for _ in range(v['steps']):
            optimizer.zero_grad()
            (p[0]*x+p[1]-y).square().mean().backward()
            optimizer.step()
            paths[name].append(p.detach().clone())
    return paths

@pytest.mark.parametrize('entries', [ENTRIES, PYTORCH], ids=['lesson8lib', 'torch.optim'])
def test_optimizers(js, entries):
    "Four optimizers take the library's steps, and PyTorch's; what the library refuses is refused in its words"
    cases, refused = list(states(220, 'optimizers', 1)), 0
    for v, got in zip(cases, computed(js, cases), strict=True):
        if isinstance(got, str):
            with pytest.raises(ValueError) as e: race(v, ENTRIES)
            assert got==str(e.value)
            refused += 1
            continue
        for (steps, _, _), path in zip(got[0], race(v, entries).values(), strict=True):
            assert len(steps)==len(path) and all(close(a, b) for a,b in zip(steps, path, strict=True))
    assert 20<refused<120

def test_relus(js):
    "The network of `relu_interpolant`, before and after steps of Adam on all of its parameters"
    cases, refused = list(states(220, 'relus', 2)), 0
    for v, got in zip(cases, computed(js, cases), strict=True):
        x, y, points = double(v['x']), double(v['y']), double(v['start'])
        try:
            model = relu_interpolant(points[:,0], points[:,1])
            optimizer = Adam(model.parameters(), lr=v['lr'], betas=(v['momentum'], v['beta2']))
        except ValueError as e:
            assert got==str(e)
            refused += 1
            continue
        for _ in range(v['steps']):
            optimizer.zero_grad()
            (model(x)-y).square().mean().backward()
            optimizer.step()
        want = torch.cat([p.detach().flatten() for p in (model[1].weight, model[1].bias, model[3].weight, model[3].bias)])
        assert close(got[1], want, 1e-7) and close(got[0][0][1][-1:], (model(x)-y).square().mean().detach()[None], 1e-7)
    assert 20<refused<150

def test_curvature_and_least_squares(js):
    for v in states(60, 'quadratic', 3):
        x, y = double(v['x']), double(v['y'])
        top, best, scaled = js("return [m.steepest(m.curvatures(m.FAMILIES.quadratic, arg[0])), m.leastSquares(...arg), m.standardized(arg[0])]", [v['x'], v['y']])
        features = torch.stack([x**2, x, torch.ones_like(x)], 1)
        want = torch.linalg.eigvalsh(2*features.T@features/len(x))[-1]
        assert abs(top-want)<=1e-6*want
        assert close(best, torch.linalg.lstsq(features[:,1:], y[:,None]).solution[:,0], 1e-6) and close(scaled, (x-x.mean())/x.std(correction=0))

def test_points(js):
    "Greedy points are those of the page's exercise; points at equal distances lie on the data's own curve"
    for v in states(60, 'quadratic', 4):
        x, y = double(v['x']), double(v['y'])
        for n in (1, 2, len(x)-1):
            even, greedy = js("return [m.evenly(...arg), m.greedily(...arg)]", [v['x'], v['y'], n])
            at = [0, len(x)-1]
            while len(at)<n+1:
                order = torch.tensor(sorted(at))
                gap = (relu_interpolant(x[order], y[order])(x)-y).detach().abs()
                gap[order] = -1
                at.append(gap.argmax().item())
            assert [k for k,_ in greedy]==[v['x'][i] for i in sorted(at)]
            knots, values = double(even).unbind(1)
            assert torch.allclose(knots, torch.linspace(x[0], x[-1], n+1).double(), atol=1e-4)
            assert (relu_interpolant(x, y)(knots)-values).abs().max()<1e-3

STATES = [dict(), dict(steps=13, loss='MSE', zero=False, lr=.01), dict(part='optimizers', steps=20), dict(part='optimizers', steps=7, standardize=True, rates=[[.3, .05, .1, .5]]),
          dict(part='relus', steps=0), dict(part='relus', steps=9, lr=.02, start=[[-2, 1.5], [.25, -.5], [1, 2]])]

@pytest.mark.parametrize('state', STATES, ids=str)
def test_shown_python_gives_what_is_shown(js, state):
    x, y = noisy_quadratic()
    code, p, losses, errors = js("""const v = m.tidy(arg), r = m.compute(v)
        return [m.pythonFor(v), r.runs.map(run => run.path.at(-1)), r.runs.map(run => run.losses.at(-1)), r.x.map((t, i) => Math.abs(r.family.at(r.p, t) - v.y[i]))]""",
        Explorable('fit_by_hand', 'x', x=x, y=y, **state).values)
    with contextlib.redirect_stdout(io.StringIO()) as printed: exec(code, {})
    assert max(map(len, code.splitlines()))<=88, code
    numbers = [float(t) for t in printed.getvalue().replace('[', ' ').replace(']', ' ').replace(',', ' ').split() if t[-1].isdigit()]
    want = {'quadratic': p[0]+losses, 'relus': [losses[0]**.5, max(errors)], 'optimizers': [e for q,loss in zip(p, losses, strict=True) for e in (*q, loss)]}[state.get('part', 'quadratic')]
    assert numbers==pytest.approx(want, rel=1e-6, abs=1e-9)

# ---- on a page
def quadratic_page(**state):
    x, y = noisy_quadratic()
    return Explorable('fit_by_hand', 'A parabola.', x=x, y=y, **state)

LINE = [14., 86, 28, 51, 28, 29, 72, 62, 84, 15, 42, 62, 47, 35, 9, 38, 44, 99, 13, 21, 28, 20, 8, 64, 99, 70, 27, 17, 8]
def line_page(**state): return Explorable('fit_by_hand', 'A valley.', part='optimizers', x=LINE, y=[2*x+30 for x in LINE], start=[[1, 1]], **state)
def relu_page(**state): return Explorable('fit_by_hand', 'A curve.', part='relus', x=[0., 1, 2, 3, 4], y=[0., 2, 1, 3, 0], start=[[0, 0], [2, 1], [4, 0]], **state)

def drag(page, area, start, end):
    box = area.bounding_box()
    at = lambda p: (box['x']+box['width']*p[0], box['y']+box['height']*p[1])
    page.mouse.move(*at(start))
    page.mouse.down()
    page.mouse.move(*at(end), steps=4)
    page.mouse.up()

@pytest.mark.parametrize('viewport', [DESKTOP, PHONE], ids=['1280', '390'])
def test_steps_of_the_quadratic(figures, viewport):
    "Buttons, the number of the step, a slider by keyboard, the sum of gradients, and Python's message"
    page = figures(quadratic_page(), viewport=viewport)
    it = app(page)
    says(page, 'Step 0: a = 1.10, b = 1.10, c = 1.10; the MAE is 2.42.')
    assert it.locator('.x-fit-next').first.inner_text()=='gradient −1.35 → step +0.14'
    for _ in range(2): it.get_by_role('button', name='Step', exact=True).click()
    says(page, 'Step 2: a = 1.37')
    it.get_by_label('step', exact=True).fill('10')
    says(page, 'the MAE is 1.19, 1.23 lower than at step 0.')
    it.get_by_label('learning rate').fill('0.01')
    it.get_by_label('zero the gradients after each step').uncheck()
    says(page, 'the MAE is 1.46')
    hash_is(page, "hash.includes('fit_by_hand.steps=10') && hash.includes('fit_by_hand.lr=0.01') && hash.includes('fit_by_hand.zero=0')")
    it.get_by_label('a', exact=True).focus()
    page.keyboard.press('ArrowRight')
    says(page, 'Step 0: a = 1.')
    hash_is(page, "!hash.includes('steps')")
    it.get_by_role('button', name='Back to step 0').click()
    it.get_by_label('loss').select_option('MSE')
    it.get_by_label('zero the gradients after each step').check()
    it.get_by_label('step', exact=True).fill('200')
    it.get_by_label('learning rate').fill('0.25')
    page.wait_for_function("/the MSE is \\d.\\de\\d+, \\S+ higher than at step 0/.test(document.querySelector('.x-says').textContent)")
    assert 'The largest curvature of this MSE is 9.03: gradient descent diverges at learning rates above 2/9.03 = 0.22.' in it.locator('.x-facts').inner_text()
    it.get_by_label('learning rate').fill('0')
    says(page, '`lr` must be a finite number greater than 0, got 0')
    assert page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')<=1
    assert not figures.wrong

@pytest.mark.parametrize('motion', ['reduce', 'no-preference'])
def test_run(figures, motion):
    page = figures(quadratic_page(), reduced_motion=motion)
    app(page).get_by_role('button', name='Run').click()
    says(page, 'Step 3: ')
    assert page.locator('.x-says').get_attribute('aria-live')=='off'
    app(page).get_by_role('button', name='Pause').click()
    assert not figures.wrong

def test_optimizers_on_a_page(figures):
    "The start by mouse, touch and keyboard; rates; one step in the standardized bowl"
    page = figures(line_page(steps=500))
    it, area = app(page), app(page).locator('figure svg[tabindex]')
    says(page, 'Step 500: the MSE is 221.')
    says(page, 'Adam’s is the lowest.')
    drag(page, area, (.4, .5), (.7, .3))
    hash_is(page, r"/fit_by_hand.start=2.\d+,2\d.\d+/.test(hash)")
    area.focus()
    before = page.evaluate('location.hash')
    page.keyboard.press('ArrowUp')
    page.wait_for_function('before => location.hash !== before', arg=before)
    it.get_by_label('standardize x').check()
    it.get_by_label('learning rate of SGD').fill('0.5')
    it.get_by_label('step', exact=True).fill('1')
    page.wait_for_function("/Step 1: the MSE is 0.00 with SGD, .*SGD’s is the lowest/.test(document.querySelector('.x-says').textContent) || /Step 1: the MSE is \\de−\\d+ with SGD/.test(document.querySelector('.x-says').textContent) || document.querySelector('.x-fit-race td:nth-child(3)').textContent.includes('e')")
    it.get_by_label('β₂ of Adam').fill('1')
    says(page, '`betas` must be a finite number in [0, 1), got 1')
    assert not figures.wrong

def test_points_of_relus(figures):
    "A point by mouse, by arrow keys and by its numbers; greedy choice; the number of ReLUs; steps move the kinks"
    page = figures(relu_page())
    it, area = app(page), app(page).locator('figure svg[tabindex]')
    says(page, 'Step 0: 2 ReLUs have an RMSE of 1.30; the largest error is 2.50, at x = 3.')
    area.focus()
    for key in ('PageDown', 'ArrowUp', 'ArrowRight'): page.keyboard.press(key)
    hash_is(page, r"hash.includes('fit_by_hand.point=1') && /start=0,0;2.0\d+,1.0\d+;4,0/.test(hash)")
    for axis in ('knot x', 'knot y'):
        it.get_by_label(axis).fill('3')
        page.keyboard.press('Enter')
    says(page, 'the largest error is 1.00')
    it.get_by_label('knot placement').select_option('greedily')
    hash_is(page, "hash.includes('start=0,0;3,3;4,0')")
    it.get_by_role('spinbutton', name='ReLUs').fill('4')
    says(page, 'Step 0: 4 ReLUs have an RMSE of 0.00')
    it.get_by_label('knot placement').select_option('evenly')
    it.get_by_role('spinbutton', name='ReLUs').fill('1')
    it.get_by_role('button', name='Step', exact=True).click()
    says(page, 'Step 1: 1 ReLU has')
    assert not figures.wrong

def test_touch(figures):
    "A finger picks a knot by a tap; where it touches a knot, the page does not scroll"
    page = figures(relu_page(), viewport=PHONE, has_touch=True, is_mobile=True)
    held = page.locator('figure svg[tabindex]').evaluate("""area => [area.querySelector('.x-fit-handle'), area].map(el => {
      const box = el.getBoundingClientRect(), at = { identifier: 1, target: area, clientX: box.x + box.width/2, clientY: box.y + box.height/2 }
      return !area.dispatchEvent(new TouchEvent('touchstart', { touches: [new Touch(at)], cancelable: true }))
    })""")
    assert held==[True, False]
    box = app(page).locator('figure svg[tabindex]').bounding_box()
    page.touchscreen.tap(box['x']+box['width']*.95, box['y']+box['height']*.7)
    hash_is(page, "hash.includes('fit_by_hand.point=2')")
    assert not figures.wrong

def test_dragging_is_smooth(figures):
    page = figures(relu_page(), reduced_motion='no-preference')
    took = page.evaluate("""async () => {
      const area = document.querySelector('figure svg[tabindex]'), box = area.getBoundingClientRect(), times = [], real = requestAnimationFrame
      window.requestAnimationFrame = draw => real(t => { const start = performance.now(); draw(t); times.push(performance.now() - start) })
      area.setPointerCapture = () => {}
      for (let i = 0; i < 40; i++) {
        area.dispatchEvent(new PointerEvent(i ? 'pointermove' : 'pointerdown', { pointerId: 1, buttons: 1, clientX: box.x + box.width*(.3 + i/100), clientY: box.y + box.height/2, bubbles: true }))
        await new Promise(done => real(() => real(done)))
      }
      return times.sort((a, b) => a - b)
    }""")
    assert len(took)>=20 and took[len(took)//2]<=16
