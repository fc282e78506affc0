"The explorable bias_ranking: its maths equals pandas', its lists are `top_bias`' and `bottom_bias`'; mouse, touch, keyboard, address; the shown Python runs"
import contextlib
import io
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from explorable_pages import DESKTOP, PHONE, app, hash_is, on_its_page, says

from lesson8lib.collab import RatingsData
from lesson8lib.data import Vocab
from lesson8lib.explorables import Explorable
from lesson8lib.interpret import bias_table, bottom_bias, top_bias

pytestmark = pytest.mark.filterwarnings('ignore')
COLUMNS = ['bias', 'residual', 'ratings', 'mean', 'shrunken']

def case(seed):
    "A table of biases from random ratings, and settings; some leave nothing over"
    rand, n = random.Random(seed), 2+seed%17
    films = torch.tensor([rand.randrange(n) for _ in range(5*n)]+list(range(n)))
    stars = torch.tensor([float(rand.randint(1, 5)) for _ in films])
    data = RatingsData(Vocab(['you'], 'user'), Vocab([f'film {i:02}' for i in range(n)]), (torch.stack([torch.ones_like(films), films+1], 1), stars), None)
    model = torch.nn.Module()
    model.item_bias = torch.tensor([0.]+[rand.gauss(0, 1) for _ in range(n)])
    return model, data, dict(min_ratings=rand.choice((0, 2, 5, 7, 40)), shrink=rand.choice((0, 1, 30, 500)), sort=rand.choice(COLUMNS), descending=rand.random()<.5, film=rand.randrange(n))

def state_of(model, data, settings):
    table = bias_table(model, data)
    return Explorable('bias_ranking', 'x', titles=table.index.tolist(), ratings=table.ratings.tolist(), means=table['mean'].tolist(), biases=table.bias.tolist(), mu=float(data.train[1].mean()), **settings).values

def expected(table, v):
    table = table[table.ratings>=v['min_ratings']]
    k = v['shrink']
    table = table.assign(shrunken=(table.ratings*table['mean']+k*v['mu'])/(table.ratings+k))
    slope, intercept = np.polyfit(table.shrunken, table.bias, 1) if table.shrunken.std()>1e-12 else (0., table.bias.mean())
    table = table.assign(residual=table.bias-slope*table.shrunken-intercept)
    return table, table.sort_values(v['sort'], ascending=not v['descending'], kind='stable')

def test_ranking(js):
    "300 cases: columns, order, correlation; the list by bias is the library's, and so is the message where nothing is left"
    cases = [case(seed) for seed in range(300)]
    states = [state_of(*c) for c in cases]
    theirs, refused = js("return arg.map(v => m.compute(m.tidy(v)))", states), 0
    for (model, data, settings), v, got in zip(cases, states, theirs, strict=True):
        table, least = bias_table(model, data).astype({'bias': 'float64', 'mean': 'float64'}), settings['min_ratings']
        pick = top_bias if v['descending'] else bottom_bias
        try: library = pick(model, data, n=6, min_ratings=least)
        except ValueError as e:
            assert got['error']==str(e)
            refused += 1
            continue
        if len(set(table['mean'][table.ratings>=least]))<2: continue  # no line through one mean
        table, order = expected(table, v)
        assert [f['film'] for f in got['films']]==[v['titles'].index(t) for t in table.index]
        for name in COLUMNS: assert [f[name] for f in got['films']]==pytest.approx(table[name].tolist(), abs=1e-6)
        assert [f[v['sort']] for f in got['order']]==pytest.approx(order[v['sort']].tolist(), abs=1e-6)
        assert got['fit']['correlation']==pytest.approx(table.bias.corr(table.shrunken), abs=1e-6)
        if v['sort']=='bias': assert [v['titles'][f['film']] for f in got['order'][:6]]==library.index.tolist()
    assert 20<refused<120

def test_shrunken(js):
    "The mean as if k average ratings were added, from 0 to very many"
    assert js("return [m.shrunken(5, 2, 3, 0), m.shrunken(5, 2, 3, 2), m.shrunken(1, 1, 3, 1e9)]")==pytest.approx([5, 4, 3], abs=1e-6)

def run_shown(js, values, names=None, known=''):
    code, r = js("const v = m.tidy(arg); return [m.pythonFor(v), m.compute(v)]", values)
    with contextlib.redirect_stdout(io.StringIO()) as printed: exec(code.replace(known, ''), names or {})
    return printed.getvalue().splitlines(), code, SimpleNamespace(**r)

@pytest.mark.parametrize('state', [dict(), dict(sort='shrunken', shrink=50, min_ratings=9), dict(sort='residual', descending=False, film=3), dict(sort='ratings', shrink=3)], ids=str)
def test_shown_python(js, state):
    (correlation, _, *rows), code, r = run_shown(js, Explorable('bias_ranking', 'x', **state).values)
    assert max(map(len, code.splitlines()))<=88
    assert float(correlation)==pytest.approx(r.fit['correlation'], abs=1e-6)
    for row, film in zip(rows, r.order, strict=False):
        assert [float(x) for x in row.split()[-5:]]==pytest.approx([film[name] for name in ('bias', 'ratings', 'mean', 'shrunken', 'residual')], abs=1e-4)

@pytest.mark.parametrize('state', [dict(), dict(descending=False, min_ratings=200), dict(sort='shrunken', shrink=100)], ids=str)
def test_shown_python_of_the_page(js, trained, state):
    "With the model trained anew, the numbers of the page"
    values = on_its_page('bias_ranking').values | state
    (correlation, _, *rows), code, r = run_shown(js, values, dict(trained), values['setup'])
    assert max(map(len, code.splitlines()))<=88
    assert float(correlation)==pytest.approx(r.fit['correlation'], abs=1e-4)
    rows = [row for row in rows if row.startswith(tuple(values['titles'][f['film']] for f in r.order[:10]))]
    assert len(rows)==10
    for row, film in zip(rows, r.order, strict=False):
        title = values['titles'][film['film']]
        assert row.startswith(title) and float(row[len(title):].split()[0])==pytest.approx(film['bias'], abs=1e-4)

@pytest.fixture(scope='module')
def trained():
    "The names that the first lines of the page's code define"
    exec(on_its_page('bias_ranking').values['setup'], names := {})
    return names

# ---- on a page
def place_of(page, title):
    box = app(page).locator('circle').nth(on_its_page('bias_ranking').values['titles'].index(title)).bounding_box()
    return box['x']+box['width']/2, box['y']+box['height']/2

def list_of(page): return app(page).locator('tbody button').all_inner_texts()

@pytest.mark.parametrize('viewport', [DESKTOP, PHONE], ids=['1280', '390'])
def test_mouse(tab, js, viewport):
    "A click picks a film, a heading sorts by its column and turns the order, the focus stays, and all numbers are on the screen"
    page = tab(viewport=viewport)
    values = on_its_page('bias_ranking').values
    says(page, 'Star Wars (1977): bias ')
    app(page).locator('svg').scroll_into_view_if_needed()
    page.mouse.click(*place_of(page, 'Liar Liar (1997)'))
    says(page, 'Liar Liar (1997): bias ')
    heading = app(page).get_by_role('button', name='residual: sort by the height above the line')
    for order in ('descending', 'ascending'):
        heading.click()
        page.wait_for_function("order => document.querySelectorAll('.x-app th')[2].getAttribute('aria-sort') === order", arg=order)
        films = js("return m.compute(m.tidy(arg)).order.slice(0, 10)", values | dict(sort='residual', descending=order=='descending'))
        assert list_of(page)[:10]==[f'{i+1}. {values["titles"][f["film"]]}' for i,f in enumerate(films)]
        assert app(page).locator('tbody tr').first.locator('td').nth(2).inner_text()==f'{films[0]["residual"]:.2f}'.replace('-', '−')
    assert page.evaluate("document.activeElement.closest('th') !== null")
    assert len(list_of(page))==11 and list_of(page)[10].endswith('. Liar Liar (1997)'), 'the chosen film comes last'
    app(page).locator('tbody button').first.click()
    says(page, f'{values["titles"][films[0]["film"]]}: bias ')
    assert page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')<=1
    assert not tab.wrong

def test_touch(tab):
    page = tab(viewport=PHONE, has_touch=True, is_mobile=True)
    app(page).locator('svg').scroll_into_view_if_needed()
    page.touchscreen.tap(*place_of(page, 'Titanic (1997)'))
    says(page, 'Titanic (1997): bias ')
    assert not tab.wrong

def test_keyboard_and_address(tab, js):
    "Sliders by arrow keys, a search, a sort by Enter; a link leads to all of it; the message where nothing is left is Python's"
    page = tab()
    app(page).get_by_label('shrinkage').focus()
    for _ in range(3): page.keyboard.press('ArrowRight')
    page.keyboard.press('PageUp')
    hash_is(page, "/bias_ranking.shrink=\\d\\d/.test(hash)")
    k = int(page.evaluate("/shrink=(\\d+)/.exec(location.hash)[1]"))
    app(page).get_by_label('find a film').fill('fargo')
    page.keyboard.press('Enter')
    app(page).get_by_role('button', name='shrunken: sort by the shrunken mean').focus()
    page.keyboard.press('Enter')
    r = js("const v = m.tidy(arg), r = m.compute(v); return [r.fit.correlation, r.byShrunken.findIndex(f => v.titles[f.film] === 'Fargo (1996)') + 1]", on_its_page('bias_ranking').values | dict(shrink=k))
    says(page, f', rank {r[1]} of 304.')
    assert f'the correlation between bias and shrunken mean is {r[0]:.3f}.' in app(page).locator('.x-facts').inner_text()
    hash_is(page, "hash.includes('bias_ranking.sort=shrunken')")
    again = tab(page.evaluate('location.hash'))
    says(again, 'Fargo (1996): bias ')
    assert app(again).locator('.x-facts').inner_text()==app(page).locator('.x-facts').inner_text() and list_of(again)==list_of(page)
    app(again).get_by_label('minimum number').focus()
    again.keyboard.press('End')
    says(again, 'Fargo (1996) has only')
    assert len(list_of(again))==1, 'the slider ends where one film is left'
    again.keyboard.press('Home')
    says(again, 'Fargo (1996): bias ')
    app(again).locator('svg').focus()
    again.keyboard.press('ArrowLeft')
    again.wait_for_function("!document.querySelector('.x-says').textContent.startsWith('Fargo')")
    assert not tab.wrong

def test_sliding_is_smooth(tab):
    page = tab(reduced_motion='no-preference')
    took = page.evaluate("""async () => {
      const input = document.querySelectorAll('.x-app input[type=range]')[1], times = [], real = requestAnimationFrame
      window.requestAnimationFrame = draw => real(t => { const start = performance.now(); draw(t); times.push(performance.now() - start) })
      for (let i = 1; i < 40; i++) {
        input.value = 5*i
        input.dispatchEvent(new Event('input', { bubbles: true }))
        await new Promise(done => real(() => real(done)))
      }
      return times.sort((a, b) => a - b)
    }""")
    print(took)
    assert len(took)>=30 and took[len(took)//2]<=16
