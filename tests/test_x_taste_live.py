"The explorable taste_live: its posterior and predictions are those of `BayesFactors`, its list is `fold_in`'s; mouse, touch, keyboard, address; the shown Python runs"
import contextlib
import io
import random
from statistics import NormalDist

import pytest
import torch
from explorable_pages import DESKTOP, PHONE, app, hash_is, on_its_page, says

from lesson8lib.bayes import BayesFactors, Features, Prior
from lesson8lib.explorables import Explorable

pytestmark = pytest.mark.filterwarnings('ignore')

# ---- the maths is Python's
def covariances(g, *shape):
    a = torch.randn(*shape, shape[-1], generator=g, dtype=torch.float64)
    return a@a.mT/shape[-1] + .1*torch.eye(shape[-1], dtype=torch.float64)

def case(seed):
    "A model with random vectors, and the state that shows it: no factors up to seven, one film up to twelve, no rating up to all"
    rand, g = random.Random(seed), torch.Generator().manual_seed(seed)
    films, d = 1+seed%12, 1+seed%8
    normal = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64).float().double()
    means, pulls, covs = normal(films, d), normal(films, d), covariances(g, films, d).float().double()
    prior, typical, count = Prior(normal(d), covariances(g, d), torch.eye(d, dtype=torch.float64)), normal(d), rand.choice((.5, 3., 40.))
    features, mu, noise = Features(typical, count, pulls), rand.uniform(1, 5), rand.uniform(.1, 2)
    model = BayesFactors(normal(1, d), covariances(g, 1, d), means, covs, prior, prior, mu, noise, torch.zeros(0), features, features)
    i, j = torch.tril_indices(d, d)
    ratings = [(film, rand.randint(1, 5)) for film in rand.sample(range(films), rand.randint(0, films))]
    state = Explorable('taste_live', 'x', titles=[f'film {k}' for k in range(films)], counts=list(range(films)), means=means, covariances=covs[:,i,j], pulls=pulls,
        prior=prior.mean.tolist(), prior_covariance=prior.cov.tolist(), typical=typical.tolist(), typical_count=count, mu=mu, noise=noise,
        ratings=[f'{f}:{s}' for f,s in ratings], level=rand.randint(1, 99), film=rand.randrange(films)).values
    return model, ratings, state

def alone(model, ratings):
    "The model with the new user as its only one"
    mean, cov = model.posterior(torch.tensor([f for f,_ in ratings], dtype=torch.long), torch.tensor([float(s) for _,s in ratings], dtype=torch.float64))
    return model._replace(user_mean=mean[None], user_cov=cov[None])

def test_posterior_and_predictions(js):
    "250 cases: mean and covariance of the user, mean and interval of each film, before the last rating, too; the terms add up"
    cases = [case(seed) for seed in range(250)]
    for (model, ratings, state), got in zip(cases, js("return arg.map(v => m.compute(m.tidy(v)))", [state for *_,state in cases]), strict=True):
        for rated, films in ((ratings, got['films']), *([(ratings[:-1], got['before'])] if ratings else [])):
            user = alone(model, rated)
            mean, variance = user.predict(torch.stack([torch.zeros(len(films), dtype=torch.long), torch.arange(len(films))], 1))
            half = NormalDist().inv_cdf(.5+state['level']/200)*variance.sqrt()
            for name, want in (('mean', mean), ('sd', variance.sqrt()), ('shown', mean.clamp(1, 5)), ('low', (mean-half).clamp(1, 5)), ('high', (mean+half).clamp(1, 5))):
                assert [f[name] for f in films]==pytest.approx(want.tolist(), abs=1e-6)
        user = alone(model, ratings)
        assert got['user']['mean']==pytest.approx(user.user_mean[0].tolist(), abs=1e-6)
        assert (torch.tensor(got['user']['covariance'], dtype=torch.float64)-user.user_cov[0]).abs().max()<=1e-6
        why = got['why']
        assert why['mu']+why['user']+why['item']+sum(why['factors'])==pytest.approx(got['own']['mean'], abs=1e-9)
        left = [f for f in got['films'] if f['film'] not in dict(ratings)]
        assert got['best']==sorted(left, key=lambda f: -f['mean'])[:state['n']]

def test_quantile(js):
    ps = [.0005, .005, .05, .2, .5, .7, .9, .975, .9995]
    assert js("return arg.map(m.quantile)", ps)==pytest.approx([NormalDist().inv_cdf(p) for p in ps], abs=1e-9)

def test_tidy(js):
    "A film that is rated twice keeps its last rating, as the last one; films that are not there go"
    assert js("return m.tidy(arg).ratings", Explorable('taste_live', 'x', ratings=['1:2', '0:5', '77:3', '1:4', '3:1', '0:5']).values)==['1:4', '3:1', '0:5']
    for bad in (['1:6'], ['1:0'], ['-1:3'], ['1'], ['a:3'], ['1:2', ''], ['1:2.5'], [3]):
        assert js("return m.clean(m.SPEC, { ratings: arg }).ratings", bad)==js("return m.SPEC.ratings.value")
    assert js("return [m.decode(m.SPEC.ratings, m.encode([])), m.decode(m.SPEC.ratings, m.encode(['3:4', '1:1']))]")==[[], ['3:4', '1:1']]

def run_shown(js, values, names=None, known=''):
    code, r = js("const v = m.tidy(arg); return [m.pythonFor(v), m.compute(v)]", values)
    before = torch.get_default_dtype()
    try:
        with contextlib.redirect_stdout(io.StringIO()) as printed: exec(code.replace(known, ''), names or {})
    finally: torch.set_default_dtype(before)
    assert max(map(len, code.splitlines()))<=88
    return printed.getvalue().splitlines(), r

@pytest.mark.parametrize('state', [dict(), dict(ratings=[]), dict(ratings=['5:1', '0:5', '2:4'], level=50, n=2), dict(ratings=[f'{i}:3' for i in range(6)])], ids=str)
def test_shown_python(js, state):
    printed, r = run_shown(js, Explorable('taste_live', 'x', **state).values)
    titles = js("return m.SPEC.titles.value")
    for line, f in zip(printed, r['best'], strict=True):
        title, *numbers = line.split('\t')
        assert title==titles[f['film']] and [float(x) for x in numbers]==pytest.approx([f['shown'], f['low'], f['high']], abs=1e-6)

@pytest.fixture(scope='module')
def fitted():
    "The names that the first lines of the page's code define"
    exec(on_its_page('taste_live').values['setup'], names := {})
    return names

def test_the_page_has_the_numbers_of_fold_in(js, fitted):
    "Of a recommender that is fitted anew, for tastes from no rating to forty, by the intervals of several levels; vectors are stored in float32"
    values, recommender = on_its_page('taste_live').values, fitted['recommender']
    titles, rand = values['titles'], random.Random(0)
    for n in (0, 1, 2, 5, 12, 40):
        ratings, level = [(film, rand.randint(1, 5)) for film in rand.sample(range(len(titles)), n)], rand.choice((50, 80, 95))
        got = js("return m.compute(m.tidy(arg))", values | dict(ratings=[f'{f}:{s}' for f,s in ratings], level=level, n=15))
        want = recommender.fold_in({titles[f]: s for f,s in ratings}, n=15, by='rating', min_ratings=90, interval=level/100)
        assert [titles[f['film']] for f in got['best']]==want.index.tolist()
        for name, column in (('shown', 'prediction'), ('low', 'low'), ('high', 'high')):
            assert [f[name] for f in got['best']]==pytest.approx(want[column].tolist(), abs=1e-5)

def test_shown_python_of_the_page(js, fitted):
    from copy import deepcopy
    values = on_its_page('taste_live').values
    printed, r = run_shown(js, values, fitted | dict(recommender=deepcopy(fitted['recommender'])), values['setup'])
    for f in r['best']:
        title = values['titles'][f['film']]
        numbers = next(line for line in printed if line.startswith(title))[len(title):].split()
        assert [float(x) for x in numbers[:3]]==pytest.approx([f['shown'], f['low'], f['high']], abs=1e-4)
    terms = {line[:-12].strip(): float(line.split()[-1]) for line in printed if line.startswith(('mean of', 'bias of', 'factor', 'other'))}
    why = r['why']
    assert terms['mean of all ratings']==pytest.approx(why['mu'], abs=1e-4) and terms['bias of user 9999']==pytest.approx(why['user'], abs=1e-4)
    for name, value in terms.items():
        if name.startswith('factor'): assert value==pytest.approx(why['factors'][int(name.split()[1])], abs=1e-4)

# ---- on a page
def table(page, i): return app(page).locator('table').nth(i)
def rows(page, i): return [' '.join(row.split()) for row in table(page, i).locator('tbody tr').all_inner_texts()]

@pytest.mark.parametrize('viewport', [DESKTOP, PHONE], ids=['1280', '390'])
def test_mouse(tab, js, viewport):
    "Pick a recommended film, rate it: the list, the intervals, the reasons and the change are those of the posterior, and all are on the screen"
    page = tab(viewport=viewport)
    values = on_its_page('taste_live').values
    first = table(page, 0).locator('button').nth(2)
    title = first.inner_text()
    film = values['titles'].index(title)
    first.click()
    says(page, f'{title}: predicted ')
    app(page).get_by_role('button', name='1 ★').click()
    says(page, f'{title}: you gave 1; predicted ')
    r = js("return m.compute(m.tidy(arg))", values | dict(ratings=[*values['ratings'], f'{film}:1'], film=film))
    text = lambda x: f'{x:.2f}'.replace('-', '−')
    assert f'you gave 1; predicted {text(r["own"]["shown"])} stars, 90% prediction interval {text(r["own"]["low"])} to {text(r["own"]["high"])}.' in app(page).locator('.x-says').inner_text()
    for row, f in zip(rows(page, 0), r['best'], strict=True):
        assert row.startswith(f'{values["titles"][f["film"]]} {text(f["shown"])} {text(f["low"])} to {text(f["high"])} ')
    assert rows(page, 1)[0].endswith(text(r['why']['mu'])) and rows(page, 1)[-1]==f'sum {text(r["own"]["mean"])}' and len(rows(page, 1))==10
    assert rows(page, 2)[0]==f'{title} 1 {text(r["own"]["shown"])}' and len(rows(page, 2))==6
    hash_is(page, f"hash.includes(';{film}:1')")
    app(page).get_by_role('button', name='Remove rating').click()
    says(page, f'{title}: predicted ')
    assert app(page).get_by_role('button', name='Remove rating').is_disabled()
    app(page).get_by_role('button', name='Clear ratings').click()
    page.wait_for_function("document.querySelector('.x-app').textContent.includes('No ratings yet')")
    assert page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth')<=1
    assert not tab.wrong

def test_touch(tab):
    "Films are suggested in the order of their numbers of ratings, but those that are rated"
    page = tab(viewport=PHONE, has_touch=True, is_mobile=True)
    values = on_its_page('taste_live').values
    rated = {int(text.split(':')[0]) for text in values['ratings']}
    first, second, *_ = (i for i in sorted(range(len(values['titles'])), key=lambda i: -values['counts'][i]) if i not in rated)
    assert values['titles'][first]=='Star Wars (1977)'
    app(page).get_by_role('button', name='Suggest a film').tap()
    says(page, 'Star Wars (1977): predicted ')
    app(page).get_by_role('button', name='5 ★').tap()
    says(page, 'Star Wars (1977): you gave 5; predicted ')
    app(page).get_by_role('button', name='Suggest a film').tap()
    says(page, f'{values["titles"][second]}: predicted ')
    assert not tab.wrong

def test_keyboard_and_address(tab):
    "A search, a rating and an interval by keyboard; a link leads to all of it, also to no ratings at all"
    page = tab()
    find = app(page).get_by_label('find a film')
    find.fill('fargo')
    page.keyboard.press('Enter')
    says(page, 'Fargo (1996): predicted ')
    app(page).get_by_role('button', name='4 ★').focus()
    page.keyboard.press('Enter')
    says(page, 'Fargo (1996): you gave 4; predicted ')
    assert app(page).get_by_role('button', name='4 ★').get_attribute('aria-pressed')=='true' and page.evaluate('document.activeElement.textContent')=='4 ★'
    app(page).get_by_label('interval (%)').fill('50')
    app(page).get_by_label('films shown').fill('3')
    says(page, '50% prediction interval')
    hash_is(page, "hash.includes('taste_live.level=50') && hash.includes('taste_live.n=3')")
    again = tab(page.evaluate('location.hash'))
    says(again, 'Fargo (1996): you gave 4; predicted ')
    assert [rows(again, i) for i in range(3)]==[rows(page, i) for i in range(3)] and len(rows(again, 0))==3
    none = tab('#taste_live.ratings=')
    none.wait_for_function("document.querySelector('.x-app').textContent.includes('No ratings yet')")
    app(none).get_by_role('button', name='3 ★').click()
    says(none, 'you gave 3')
    assert not tab.wrong

def test_a_rating_is_quick(tab):
    page = tab(reduced_motion='no-preference')
    took = page.evaluate("""async () => {
      const stars = [...document.querySelectorAll('fieldset button')].slice(0, 5), times = [], real = requestAnimationFrame
      window.requestAnimationFrame = draw => real(t => { const start = performance.now(); draw(t); times.push(performance.now() - start) })
      for (let i = 0; i < 30; i++) {
        stars[i%5].click()
        await new Promise(done => real(() => real(done)))
      }
      return times.sort((a, b) => a - b)
    }""")
    print(took)
    assert len(took)>=25 and took[len(took)//2]<=16
