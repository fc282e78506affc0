"The explorable film_map: its maths equals `pca` and `nearest`; mouse, touch, keyboard, address; the shown Python runs"
import contextlib
import io
from ast import literal_eval as literal

import pytest
import torch
from explorable_pages import DESKTOP, PHONE, app, hash_is, on_its_page, says
from torch import nn

from lesson8lib.collab import RatingsData
from lesson8lib.data import Vocab
from lesson8lib.explorables import Explorable, pack_numbers
from lesson8lib.interpret import nearest, pca

pytestmark = pytest.mark.filterwarnings('ignore')

def run_shown(js, values, names=None, known=''):
    "What the shown code prints, the code, and what the page shows; `known` has been run already, into `names`"
    code, r = js("""const v = m.tidy(arg), r = m.compute(v)
        return [m.pythonFor(v), { ...r, points: r.points[v.film] }]""", values)
    with contextlib.redirect_stdout(io.StringIO()) as printed: exec(code.replace(known, ''), names or {})
    return printed.getvalue(), code, r

def random(seed, *shape): return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)

# ---- the maths is Python's
def test_packed_numbers(js):
    "float16 and float32, every exponent of float16 among them"
    exact = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(torch.float16)
    exact = exact[exact.isfinite()].float()
    for x in (exact, random(0, 5), random(1, 2, 3), random(2, 3, 1, 4), torch.tensor([0., -0., 65504, 6e-8])):
        for bits,dtype in ((16, torch.float16), (32, torch.float32)):
            got = torch.tensor(js("return m.runsOf({ factors: arg })", pack_numbers(x, bits)), dtype=torch.float64)
            assert torch.equal(got, x.to(dtype).double())
    assert js("return arg.map(text => m.fits({ value: '', kind: 'array' }, text))", ['f16:2:AAAAAA==', 'f16:2:AAA=', 'f64:1:AAAAAAAAAAA=', 'f16:1:AHw=', '', 'f32:x:'])==[True, *[False]*5]

def test_pca(js):
    "Points, axes with their signs, explained variance and mean; also of wide, flat and shifted tables"
    cases = [(n, d, min(n-1, d)) for n in (2, 3, 5, 9, 30) for d in (1, 2, 3, 7, 11)]
    for seed in range(8):
        xs = [random(100*seed+i, n, d)*(10.**(seed-4)) + seed*random(i, 1, d) for i,(n, d, _) in enumerate(cases)]
        theirs = js("return arg.map(([x, k]) => m.pca(x, k))", [[x.tolist(), k] for x,(_, _, k) in zip(xs, cases, strict=True)])
        for x, (_, _, k), got in zip(xs, cases, theirs, strict=True):
            for want, name in zip(pca(x, k), ('points', 'axes', 'explained', 'mean'), strict=True):
                part = torch.tensor(got[name], dtype=torch.float64)
                assert want.shape==part.shape and (want-part).abs().max()<=1e-6*max(1, want.abs().max()), (seed, x.shape, name)

@pytest.mark.parametrize('x, k', [(torch.ones(3, 2), 1), (random(0, 4, 2), 3), (random(0, 4, 2), 0), (random(0, 2, 9), 3), (torch.zeros(2, 1), 1)])
def test_what_pca_refuses(js, words, x, k):
    with pytest.raises(ValueError) as raised: pca(x, k)
    assert js("try { return m.pca(...arg) } catch (e) { return e.message }", [x.tolist(), k])==str(raised.value)

class Factors(nn.Module):
    def __init__(self, rows):
        super().__init__()
        self.item_factors = torch.cat([torch.zeros(1, rows.shape[1], dtype=rows.dtype), rows])

def as_data(n): return RatingsData(Vocab(['you'], 'user'), Vocab([f'film {i:03}' for i in range(n)], sort=False), (torch.zeros(0, 2, dtype=torch.long), torch.zeros(0)), None)

def test_nearest(js):
    "Both metrics, one run and several, few and many neighbors, films without factors"
    args = []
    for i in range(240):
        films, width, runs = 2+i%13, 1+i%5, 1+i%4
        factors = random(i, runs, films, width)
        if not i%7: factors[:,0] = 0.
        args.append((factors, i%films, 1+i%9, ('cosine', 'euclidean')[i//2%2]))
    theirs = js("return arg.map(a => m.nearest(...a))", [[f.tolist(), *rest] for f,*rest in args])
    for (factors, film, n, metric), got in zip(args, theirs, strict=True):
        data = as_data(factors.shape[1])
        want = nearest([Factors(rows) for rows in factors], data, f'film {film:03}', n, metric)
        assert [row['value'] for row in got]==pytest.approx(want[metric].tolist(), abs=1e-6)
        if metric=='cosine' and (factors.shape[2]==1 or factors[:,film].eq(0).any()): continue  # some are equally near
        assert [f'film {row["film"]:03}' for row in got]==want.index.tolist()
        if 'agree' in want: assert [row['agree']/len(factors) for row in got]==pytest.approx(want.agree.tolist())

def test_correlation(js):
    for i in range(60):
        x, y = random(i, 3+i%20), random(i+1, 3+i%20)
        assert abs(js("return m.correlation(...arg)", [x.tolist(), y.tolist()])-torch.corrcoef(torch.stack([x, y]))[0,1])<=1e-9

def values_of(**state):
    "The page's factors with another state"
    return on_its_page('film_map').values | state

def test_an_axis_points_as_in_the_first_run(js):
    "Each run's coordinates are those of `pca` up to the sign, and correlate positively with the first run's"
    runs = torch.tensor(js("return m.runsOf(arg)", values_of()), dtype=torch.float64)
    maps = [pca(factors, 5).points for factors in runs]
    for run in range(len(runs)):
        for x,y in ((1, 2), (5, 3)):
            got = js("const r = m.compute(m.tidy(arg)); return [r.points, r.shown, r.again]", values_of(run=run, x=x, y=y))
            points, want = torch.tensor(got[0], dtype=torch.float64), maps[run][:,[x-1, y-1]]
            signs = (points*want).sum(0).sign()
            assert (points-want*signs).abs().max()<=1e-6
            for i,axis in enumerate((x-1, y-1)):
                each = torch.stack([torch.corrcoef(torch.stack([points[:,i], other[:,axis]]))[0,1] for other in maps])
                assert each[0]>0 and got[2][i]==pytest.approx(float((each.abs().sum()-each[run].abs())/(len(runs)-1)), abs=1e-6)
            assert got[1]==pytest.approx(pca(runs[run], 5).explained[[x-1, y-1]].tolist(), abs=1e-6)

@pytest.mark.parametrize('state', [dict(), dict(film=4, x=3, y=2, run=1, metric='euclidean', n=3), dict(film=5, n=15, x=9, y=9, run=9)], ids=str)
def test_shown_python(js, state):
    printed, code, r = run_shown(js, Explorable('film_map', 'x', **state).values)
    assert max(map(len, code.splitlines()))<=88
    points, explained, *table = printed.splitlines()
    assert literal(points)==pytest.approx(r['points'], abs=1e-6) and literal(explained)==pytest.approx(r['shown'], abs=1e-6)
    assert [float(line.split()[-3]) for line in table[2:]]==pytest.approx([row['value'] for row in r['near']], abs=1e-6)
    assert [float(line.split()[-1])*r['runs'] for line in table[2:]]==[row['agree'] for row in r['near']]

@pytest.fixture(scope='module')
def trained():
    "The names that the first lines of the page's code define"
    exec(values_of()['setup'], names := {})
    return names

@pytest.mark.parametrize('color', ['mean rating', 'year', 'Drama', 'number of ratings'])
def test_shown_python_of_the_page(js, trained, color):
    "With the models trained anew, the numbers of the page, which are stored in float16"
    values = values_of(color=color, run=2, x=1, y=3, n=5)
    printed, code, r = run_shown(js, values, dict(trained), values['setup'])
    assert max(map(len, code.splitlines()))<=88
    points, explained, correlations, *table = printed.splitlines()
    assert literal(points)==pytest.approx(r['points'], abs=2e-3) and literal(explained)==pytest.approx(r['shown'], abs=1e-4)
    assert literal(correlations)==pytest.approx(r['correlations'], abs=2e-3)
    rows = [line for line in table if line.strip()[-1:].isdigit()]
    assert [float(line.split()[-3]) for line in rows]==pytest.approx([row['value'] for row in r['near']], abs=2e-3)
    assert all(line.startswith(values['titles'][row['film']][:20]) for line,row in zip(rows, r['near'], strict=True))

# ---- on a page
def place_of(page, title):
    "Where the dot of a film is on the screen"
    i = on_its_page('film_map').values['titles'].index(title)
    box = app(page).locator('circle').nth(i).bounding_box()
    return box['x']+box['width']/2, box['y']+box['height']/2

@pytest.mark.parametrize('viewport', [DESKTOP, PHONE], ids=['1280', '390'])
def test_mouse(tab, viewport):
    "A click picks the nearest dot, a drag goes on picking, a neighbor in the list is picked; all numbers are on the screen"
    page = tab(viewport=viewport)
    says(page, 'Star Wars (1977) is at ')
    app(page).locator('svg').scroll_into_view_if_needed()
    x, y = place_of(page, 'Fargo (1996)')
    page.mouse.move(x+1, y)
    assert app(page).locator('svg text').last.text_content()=='Fargo (1996)'
    page.mouse.click(x+1, y)
    says(page, 'Fargo (1996) is at ')
    page.mouse.down()
    page.mouse.move(*place_of(page, 'Titanic (1997)'), steps=4)
    page.mouse.up()
    says(page, 'Titanic (1997) is at ')
    button = app(page).locator('td button').first
    name = button.inner_text()
    button.click()
    says(page, f'{name} is at ')
    assert page.evaluate("document.activeElement.closest('td') !== null"), 'the list keeps the focus'
    values = on_its_page('film_map').values
    hash_is(page, f"hash === '#film_map.film={values['titles'].index(name)}'")
    rows = app(page).locator('tbody tr')
    assert rows.count()==8 and all(cell.endswith(' of 5') for cell in rows.locator('td:nth-child(3)').all_inner_texts())
    assert page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')<=1
    assert not tab.wrong

def test_touch(tab):
    page = tab(viewport=PHONE, has_touch=True, is_mobile=True)
    app(page).locator('svg').scroll_into_view_if_needed()
    page.touchscreen.tap(*place_of(page, 'Air Force One (1997)'))
    says(page, 'Air Force One (1997) is at ')
    assert not tab.wrong

def test_keyboard(tab, js):
    "Arrow keys go to a film in their direction; Enter takes the first that contains what was typed"
    page = tab()
    app(page).locator('svg').focus()
    values = on_its_page('film_map').values
    points, now = js("return m.compute(m.tidy(arg)).points", values), values['film']
    for key, axis, sign in (('ArrowUp', 1, 1), ('ArrowRight', 0, 1), ('ArrowDown', 1, -1), ('ArrowLeft', 0, -1)):
        before = app(page).locator('.x-says').inner_text()
        page.keyboard.press(key)
        page.wait_for_function("before => document.querySelector('.x-says').textContent !== before", arg=before)
        then = values['titles'].index(app(page).locator('.x-says').inner_text().split(' is at ')[0])
        assert sign*(points[then][axis]-points[now][axis])>0
        now = then
    app(page).get_by_label('find a film').fill('pulp')
    page.keyboard.press('Enter')
    says(page, 'Pulp Fiction (1994) is at ')
    app(page).get_by_label('find a film').fill('no such film')
    page.keyboard.press('Enter')
    page.keyboard.press('Tab')
    assert app(page).get_by_label('find a film').input_value()=='Pulp Fiction (1994)'
    assert not tab.wrong

def test_controls_and_address(tab):
    "Components, run, color, metric and number of neighbors; a link leads to all of them"
    page = tab()
    app(page).get_by_label('training run').select_option('3')
    app(page).get_by_label('horizontal axis').select_option('3')
    app(page).get_by_label('vertical axis').select_option('1')
    app(page).get_by_label('color by').select_option('Drama')
    app(page).get_by_label('similarity').select_option('euclidean')
    app(page).get_by_label('number of neighbors').fill('3')
    says(page, ' distance ')
    hash_is(page, "['x=3', 'y=1', 'run=3', 'metric=euclidean', 'n=3', 'color=Drama'].every(part => hash.includes('film_map.' + part))")
    assert 'Large dots: the ' in app(page).locator('.x-facts').inner_text() and app(page).locator('circle.x-hit').count()>50
    again = tab(page.evaluate('location.hash'))
    says(again, 'Of its 3 neighbors')
    for read in (lambda p: app(p).locator('.x-says').inner_text(), lambda p: app(p).locator('.x-facts').inner_text(), lambda p: app(p).locator('tbody').inner_text()): assert read(again)==read(page)
    app(again).get_by_label('color by').select_option('mean rating')
    again.wait_for_function("document.querySelector('.x-facts').textContent.includes('Colors: mean rating, from ')")
    assert app(again).locator('circle.x-dot[fill]').count()==304
    assert not tab.wrong

def test_dragging_is_smooth(tab):
    page = tab(reduced_motion='no-preference')
    took = page.evaluate("""async () => {
      const board = document.querySelector('.x-app svg'), box = board.getBoundingClientRect(), times = [], real = requestAnimationFrame
      window.requestAnimationFrame = draw => real(t => { const start = performance.now(); draw(t); times.push(performance.now() - start) })
      board.setPointerCapture = () => {}
      for (let i = 0; i < 40; i++) {
        board.dispatchEvent(new PointerEvent(i ? 'pointermove' : 'pointerdown', { pointerId: 1, buttons: 1, clientX: box.x + box.width*i/40, clientY: box.y + box.height*i/40, bubbles: true }))
        await new Promise(done => real(() => real(done)))
      }
      return times.sort((a, b) => a - b)
    }""")
    print(took)
    assert len(took)>=8 and took[len(took)//2]<=16
