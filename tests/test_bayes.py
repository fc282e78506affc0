"The evidence bound, both implementations, threads, and what is refused, over random tables of ratings"
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from lesson8lib import bayes
from lesson8lib.bayes import fit_bayes, ridge_prior, sample_bayes
from lesson8lib.checks import test_same as same
from lesson8lib.training import new_generator

few = settings(max_examples=20, deadline=None, derandomize=True)


def random_ratings(seed, n_users=13, n_items=9, n=70, low=0., high=10.):
    "A table of ratings, with repeated pairs and with users and items that have none"
    g = new_generator(seed)
    pairs = torch.stack([torch.randint(k-2, (n,), generator=g) for k in (n_users, n_items)], 1)
    return pairs, (low + (high-low)*torch.rand(n, generator=g)).round(decimals=1)


def elbo(fitted, pairs, ratings):
    "The evidence lower bound, from its definition"
    mean, variance = fitted.predict(pairs)
    bound = Normal(mean, fitted.noise**.5).log_prob(ratings.double()).sum() - (variance-fitted.noise).sum()/(2*fitted.noise)
    for side,column in (('user', 0), ('item', 1)):
        there = pairs[:,column].unique()
        own = MultivariateNormal(*(getattr(fitted, f'{side}_{part}')[there] for part in ('mean', 'cov')))
        bound -= kl_divergence(own, MultivariateNormal(*getattr(fitted, f'{side}_prior')[:2])).sum()
    return bound


@few
@given(st.integers(0, 9999), st.integers(0, 4), st.integers(1, 60), st.integers(2, 200), st.sampled_from([(0, 10), (1, 5), (-1e4, 1e4), (1.6e9, 1.7e9)]))
def test_the_bound_never_falls_and_is_what_it_says(seed, n_factors, iterations, n, scale):
    pairs, ratings = random_ratings(seed, n=n, low=scale[0], high=scale[1])
    ratings = ratings.double()
    if ratings.min()==ratings.max(): return
    fitted = fit_bayes(pairs, ratings, 13, 9, n_factors, iterations, seed)
    assert fitted.bounds.shape==(iterations,) and fitted.noise>0
    assert (fitted.bounds.diff()>=-1e-7*(1+fitted.bounds.abs().max())).all()
    same(elbo(fitted, pairs, ratings), fitted.bounds[-1], rtol=1e-6, atol=1e-5)


def random_meta(seed, n_users=13, n_items=9):
    "Metadata with a column of numbers, three of zeros and ones, and a row without any"
    g = new_generator(seed)
    tables = [torch.cat([torch.randn(n, 1, generator=g), torch.randint(2, (n, 3), generator=g)], 1) for n in (n_users, n_items)]
    for table in tables: table[0] = 0
    return dict(zip(('user_meta', 'item_meta'), tables, strict=True))


def planted(seed, n=150):
    "Ratings that follow from the metadata, but for noise"
    (pairs, _), meta, g = random_ratings(seed, n=n), random_meta(seed), new_generator(seed)
    users, items = (table@torch.randn(4, 3, generator=g) for table in meta.values())
    return pairs, (users[pairs[:,0]]*items[pairs[:,1]]).sum(1) + torch.randn(n, generator=g)/2, meta


def same_fits(a, b, **tolerance):
    for name in a._fields: same(*(tuple(v) if isinstance(v, tuple) else v for v in (getattr(a, name), getattr(b, name))), **tolerance)


def with_threads(n, function):
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try: return function()
    finally: torch.set_num_threads(before)


@settings(few, max_examples=8)
@given(st.integers(0, 9999), st.integers(0, 4), st.integers(2, 200), st.booleans())
def test_numba_and_pytorch_and_any_number_of_threads_give_the_same(seed, n_factors, n, features):
    pairs, ratings = random_ratings(seed, n=n)
    if ratings.min()==ratings.max(): return
    meta = random_meta(seed) if features else {}
    def fit(compiled, **more): return fit_bayes(pairs, ratings, 13, 9, n_factors, 15, seed, compiled=compiled, **meta, **more)
    runs = {(t, c): with_threads(t, lambda c=c: fit(c)) for t in (1, 2) for c in (True, False)}
    for (_,compiled),other in runs.items(): same_fits(other, runs[1, compiled], rtol=0, atol=0)
    same_fits(runs[1, True], runs[1, False], rtol=1e-8, atol=1e-8)
    for compiled in (True, False):
        one, two = (with_threads(t, lambda c=compiled: fit(c, implicit=True)) for t in (1, 2))
        same_fits(one, two, rtol=0, atol=0)


@few
@given(st.integers(0, 9999), st.integers(0, 3), st.integers(5, 200), st.booleans())
def test_the_bound_never_falls_with_features(seed, n_factors, n, implicit):
    pairs, ratings = random_ratings(seed, n=n)
    fitted = fit_bayes(pairs, ratings, 13, 9, n_factors, 40, seed, **random_meta(seed), implicit=implicit)
    assert (fitted.bounds.diff()>=-1e-7*(1+fitted.bounds.abs().max())).all()
    more = fit_bayes(pairs, ratings, 13, 9, n_factors, 20, seed, **random_meta(seed), implicit=implicit, start=fitted)
    assert (more.bounds.diff()>=-1e-7*(1+fitted.bounds.abs().max())).all()


def test_the_prior_of_a_side_is_ridge_regression_and_its_bound_the_evidence():
    "With vectors that are known (covariances of 0), the bound is the evidence of the regression minus a constant"
    g, n, d, m = new_generator(0), 30, 2, 4
    rows = bayes._by_row(np.arange(n), np.zeros(n, int), np.ones(n), n)
    side = bayes._Side(rows, torch.randn(n, m, generator=g).double().numpy(), np.zeros((n, 0)), np.zeros((1, 0)), d)
    side.mean = side.known@np.ones((m, d)) + torch.randn(n, d, generator=g).double().numpy()
    bound = bayes._estimate_prior(side, 500)
    x, (_, cov, weights), strength = side.known, (torch.from_numpy(p) for p in side.prior), side.strength[0]
    y = side.mean-side.mean.mean(0)
    ridge = np.linalg.solve(x.T@x + strength*np.eye(m), x.T@y)
    np.testing.assert_allclose(weights, ridge, rtol=1e-9)
    def evidence(strength): return MultivariateNormal(torch.zeros(n*d), torch.kron(torch.eye(n)+torch.from_numpy(x@x.T)/strength, cov)).log_prob(torch.from_numpy(y.flatten()))
    same(evidence(strength) + n*d*(1+np.log(2*np.pi))/2, torch.tensor(bound), rtol=1e-8, atol=1e-8)
    assert evidence(strength)>max(evidence(strength*1.5), evidence(strength/1.5))


@few
@given(st.integers(0, 9999), st.floats(.01, 100), st.floats(-100, 100), st.integers(0, 3))
def test_scale_and_shift_of_the_ratings_scale_and_shift_the_predictions(seed, scale, shift, n_factors):
    pairs, ratings = random_ratings(seed)
    ratings = ratings.double()
    fitted, other = (fit_bayes(pairs, r, 13, 9, n_factors) for r in (ratings, scale*ratings+shift))
    x = torch.cartesian_prod(torch.arange(13), torch.arange(9))
    (mean, variance), (mean2, variance2) = fitted.predict(x), other.predict(x)
    same(mean*scale+shift, mean2, rtol=1e-6, atol=1e-6*scale)
    same(variance*scale**2, variance2, rtol=1e-6, atol=0.)


def test_variance_is_that_of_draws():
    pairs, ratings = random_ratings(0)
    fitted = fit_bayes(pairs, ratings, 13, 9, 2, 10)
    mean, variance = fitted.predict(torch.tensor([[3, 4]]))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        x = MultivariateNormal(fitted.user_mean[3], fitted.user_cov[3]).sample((400_000,))
        y = MultivariateNormal(fitted.item_mean[4], fitted.item_cov[4]).sample((400_000,))
    draws = fitted.mu + (x[:,:-1]*y[:,:-1]).sum(1) + x[:,-1] + y[:,-1]
    assert abs(draws.mean()-mean)<5*(variance-fitted.noise).sqrt()/400_000**.5
    same(draws.var(), (variance-fitted.noise)[0], rtol=.02, atol=0.)


@pytest.mark.parametrize('of', ['user', 'item'])
def test_a_new_row_has_the_posterior_of_an_old_one_with_its_ratings(of):
    pairs, ratings = random_ratings(1)
    fitted = fit_bayes(pairs, ratings, 13, 9, 2, 1000)
    own, other = (0, 1) if of=='user' else (1, 0)
    mine = pairs[:,own]==4
    mean, cov = fitted.posterior(pairs[mine,other], ratings[mine], of)
    same(mean, getattr(fitted, f'{of}_mean')[4], rtol=1e-2, atol=1e-3)
    same(cov, getattr(fitted, f'{of}_cov')[4], rtol=1e-2, atol=1e-3)
    more = fitted.add(pairs[mine,other], ratings[mine], of)
    last = len(getattr(fitted, f'{of}_mean'))
    pair = torch.tensor([[last, 2]] if of=='user' else [[2, last]])
    old = torch.tensor([[4, 2]] if of=='user' else [[2, 4]])
    for a,b in zip(more.predict(pair), fitted.predict(old), strict=True): same(a, b, rtol=1e-2, atol=1e-3)
    none = fitted.posterior(pairs[:0,0], ratings[:0], of)
    same(none, tuple(getattr(fitted, f'{of}_prior')[:2]))
    unseen = {'user': 12, 'item': 8}[of]
    same(getattr(fitted, f'{of}_mean')[unseen], getattr(fitted, f'{of}_prior')[0], rtol=0, atol=0)


@pytest.mark.parametrize('of', ['user', 'item'])
@pytest.mark.parametrize('implicit', [False, True])
def test_a_new_row_with_metadata_has_the_posterior_and_the_prior_that_a_fit_gives_it(of, implicit):
    pairs, ratings, meta = planted(1)
    fitted = fit_bayes(pairs, ratings, 13, 9, 2, 500, **meta, implicit=implicit)
    column, row, unseen = (0, 4, 12) if of=='user' else (1, 4, 8)
    mine, features = pairs[:,column]==row, meta[f'{of}_meta']
    if implicit:  # as for a row with a typical number of ratings
        typical = getattr(fitted, f'{of}_features')
        fitted = fitted._replace(**{f'{of}_features': typical._replace(count=1.)})
    mean, cov = fitted.posterior(pairs[mine,1-column], ratings[mine], of, features[row])
    same(mean, getattr(fitted, f'{of}_mean')[row], rtol=1e-2, atol=2e-3)
    same(cov, getattr(fitted, f'{of}_cov')[row], rtol=1e-2, atol=1e-3)
    wrong = fitted.posterior(pairs[mine,1-column], ratings[mine], of, -features[row])[0]
    assert (wrong-mean).abs().max()>5e-3
    none = pairs[:0,0], ratings[:0], of
    if not (implicit and of=='item'): same(fitted.posterior(*none, features[unseen])[0], getattr(fitted, f'{of}_mean')[unseen], rtol=1e-9, atol=1e-9)
    for average in (None, torch.zeros(4)): same(fitted.posterior(*none, average)[0], getattr(fitted, f'{of}_prior').mean, rtol=0, atol=0)
    more = fitted.add(*none, features[unseen]).add(torch.tensor([len(getattr(fitted, f'{of}_mean'))]), torch.ones(1), 'item' if of=='user' else 'user')
    assert len(more.user_mean)==14 and len(more.item_mean)==10
    same(more.vectors()[0][:13], fitted.vectors()[0], rtol=0, atol=0)


def test_vectors_give_the_predicted_means():
    pairs, ratings = random_ratings(0)
    fitted = fit_bayes(pairs, ratings, 13, 9, 3, 10, **random_meta(0))
    u, i = fitted.vectors()
    assert u.dtype==i.dtype==torch.float32
    same((u[pairs[:,0]]*i[pairs[:,1]]).sum(1).double(), fitted.predict(pairs)[0], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('more', [False, True])
def test_start_goes_on_where_a_fit_ended(more):
    pairs, ratings, meta = planted(3)
    features = meta | {'implicit': True} if more else {}
    whole = fit_bayes(pairs, ratings, 13, 9, 2, 300, **features)
    on = fit_bayes(pairs, ratings, 13, 9, 2, 1, start=whole, **features)
    same(on.predict(pairs)[0], whole.predict(pairs)[0], rtol=1e-2, atol=3e-2)
    assert abs(on.bounds[0]-whole.bounds[-1])<1
    known = (pairs[:,0]<9) & (pairs[:,1]<6)
    early = fit_bayes(pairs[known], ratings[known]+100, 9, 6, 2, 40, **{k: v[:9 if 'user' in k else 6] if k!='implicit' else v for k,v in features.items()})
    late = fit_bayes(pairs, ratings+100, 13, 9, 2, 1, start=early, **features)
    cold = fit_bayes(pairs, ratings+100, 13, 9, 2, 1, **features)
    assert late.bounds[0]>cold.bounds[0]
    with pytest.raises(ValueError, match='`start` must have 3 factors and at most 13 users, got 2 and 13'): fit_bayes(pairs, ratings, 13, 9, 3, start=whole)
    with pytest.raises(ValueError, match='`start` must have 2 factors and at most 8 items, got 2 and 9'): fit_bayes(pairs.clamp(max=7), ratings, 13, 8, 2, start=whole)


def planted_draws(compiled=None, draws=100, **options):
    pairs, ratings, meta = planted(1)
    fitted = fit_bayes(pairs, ratings, 13, 9, 2, 50, **meta, implicit=True)
    return pairs, ratings, meta, fitted, sample_bayes(fitted, pairs, ratings, draws, **meta, compiled=compiled, **options)


@pytest.mark.parametrize('compiled', [False, True])
def test_draws_of_vectors_and_of_priors_have_the_moments_of_conjugate_algebra(compiled):
    rng, n, d, m = np.random.default_rng(0), 20_000, 3, 2
    rows = bayes._by_row(np.repeat(np.arange(n), 3), np.tile(np.arange(3), n), np.tile([1., -1, 2], n), n)
    other = rng.standard_normal((3, d)), None
    center, cov = np.tile(rng.standard_normal(d), (n, 1)), np.cov(rng.standard_normal((d, 9)))
    mean, width, *_ = bayes._update(rows, other, center, cov, .7, compiled)
    draws = bayes._update(rows, other, center, cov, .7, compiled, draw=rng.standard_normal((n, d)))[0]
    np.testing.assert_allclose(draws.mean(0), mean[0], atol=5*np.sqrt(width[0].max()/n))
    np.testing.assert_allclose(np.cov(draws.T), width[0], atol=.05*width[0].max())
    few = bayes._by_row(np.arange(40), np.zeros(40, int), np.ones(40), 40)
    side = bayes._Side(few, rng.standard_normal((40, m)), np.zeros((40, 0)), np.zeros((1, 0)), d)
    side.mean, side.strength = rng.standard_normal((40, d))+[1., 2, 3], np.array([5.])
    x = np.concatenate([np.ones((40, 1)), side.known], 1)
    gram = x.T@x + np.diag([1., 5, 5])
    weights = np.linalg.solve(gram, x.T@side.mean)
    scatter = np.eye(d) + side.mean.T@side.mean - weights.T@gram@weights
    found = []
    for _ in range(4000):
        bayes._draw_prior(side, rng)
        found.append(np.concatenate([side.prior[0], side.prior[1].flatten(), side.prior[2].flatten()]))
    np.testing.assert_allclose(np.mean(found, 0), np.concatenate([weights[0], scatter.flatten()/(40+d-d-1), weights[1:].flatten()]), atol=.03)
    spread = np.kron(np.linalg.inv(gram), scatter/39).diagonal()
    np.testing.assert_allclose(np.var(found, 0)[[0, 1, 2, *range(-6, 0)]], spread, rtol=.12)


def test_draws_have_the_methods_of_a_fit():
    pairs, ratings, meta, fitted, draws = planted_draws()
    assert len(draws.noise)==len(draws.user_draws)==90 and draws.user_draws.dtype==torch.float32
    mean, variance = draws.predict(pairs)
    u, i = draws.vectors()
    same((u[pairs[:,0]]*i[pairs[:,1]]).sum(1).double(), mean, rtol=1e-4, atol=1e-4)
    each = torch.stack([draws._replace(user_draws=draws.user_draws[k:k+1], item_draws=draws.item_draws[k:k+1], noise=draws.noise[k:k+1]).predict(pairs)[0] for k in range(90)])
    same(variance, each.var(0, correction=0) + draws.noise.mean(), rtol=1e-6, atol=1e-6)
    old = fitted.predict(pairs)
    assert (mean-old[0]).abs().mean()<.25*ratings.std() and .7<(variance/old[1]).mean()<1.6
    assert len(planted_draws(keep=7)[-1].noise)==7


@pytest.mark.parametrize('of', ['user', 'item'])
def test_draws_for_a_new_row_agree_with_those_of_the_chain(of):
    pairs, ratings, meta, _, draws = planted_draws(draws=1000, keep=1000)
    column, row = (0, 4) if of=='user' else (1, 4)
    mine = pairs[:,column]==row
    new = draws.posterior(pairs[mine,1-column], ratings[mine], of, meta[f'{of}_meta'][row])
    old, here = getattr(draws, f'{of}_draws')[:,row].double(), len(getattr(draws, f'{of}_draws')[0])
    assert new.shape==(900, 3) and ((new[:,-1].mean()-old[:,-1].mean()).abs()<.3*old[:,-1].std()) and .6<new[:,-1].std()/old[:,-1].std()<1.7
    more = draws.add(pairs[mine,1-column], ratings[mine], of, meta[f'{of}_meta'][row])
    known = more.predict(torch.tensor([[here, 2], [4, 2]] if of=='user' else [[2, here], [2, 4]]))
    assert (known[0][0]-known[0][1]).abs()<.5*(known[1][1]).sqrt()
    none = draws.posterior(pairs[:0,0], ratings[:0], of)
    same(none.mean(0), getattr(draws, f'{of}_prior').mean.mean(0), rtol=0, atol=.3)


def test_draws_of_several_new_rows_are_independent():
    "With the same numbers for each, the biases of a new user and of a new item would be equal but for their scale"
    pairs, ratings, *_, draws = planted_draws(draws=400, keep=400)
    none = pairs[:0,0], ratings[:0]
    more = draws.add(*none).add(*none).add(*none, of='item')
    biases = [t.double()[...,-1] for t in (more.user_draws[:,-2], more.user_draws[:,-1], more.item_draws[:,-1])]
    assert (torch.corrcoef(torch.stack(biases))-torch.eye(3)).abs().max()<.25
    assert torch.equal(draws.posterior(*none).float(), more.user_draws[:,-2])  # folding in first shows what adding gives


def test_draws_are_the_same_with_a_seed_for_any_number_of_threads():
    first = planted_draws(True)[-1]
    same_fits(with_threads(2, lambda: planted_draws(True)[-1]), first, rtol=0, atol=0)
    same_fits(planted_draws(False)[-1], first, rtol=1e-3, atol=1e-3)
    other = planted_draws(seed=1)[-1]
    assert not torch.equal(first.user_draws, other.user_draws)


@pytest.mark.usefixtures("words")
def test_draws_need_the_metadata_of_the_fit():
    pairs, ratings, meta, fitted, _ = planted_draws(draws=2)
    with pytest.raises(ValueError, match='`user_meta` must hold 4 features, as in the fit, got 0'): sample_bayes(fitted, pairs, ratings)
    with pytest.raises(ValueError, match='`draws` must be an integer of at least 1'): sample_bayes(fitted, pairs, ratings, 0, **meta)
    with pytest.raises(ValueError, match='`meta` must hold 4 features, got 3'): fitted.posterior(pairs[:0,0], ratings[:0], meta=torch.ones(3))


@pytest.mark.parametrize('error, text, change', [
    (ValueError, '`user_meta` must have axes (13, m)', {'user_meta': torch.ones(12, 2)}),
    (TypeError, '`item_meta` must hold floating-point', {'item_meta': torch.ones(9, 2).long()}),
    (ValueError, '`item_meta` must be finite numbers, got [nan', {'item_meta': torch.full((9, 2), torch.nan)}),
    (IndexError, '`pairs[:,0] (users)` must lie in 0…12', {'pairs': torch.tensor([[13, 0]]*70)}),
    (TypeError, '`pairs` must hold integers', {'pairs': torch.zeros(70, 2)}),
    (ValueError, '`pairs` must have axes (b, 2)', {'pairs': torch.zeros(70, 3).long()}),
    (ValueError, '`ratings` must have axes (70)', {'ratings': torch.ones(69)}),
    (TypeError, '`ratings` must hold floating-point', {'ratings': torch.ones(70).long()}),
    (ValueError, '`ratings` must be finite numbers, got [inf', {'ratings': torch.full((70,), torch.inf)}),
    (ValueError, 'at least two different ratings, got 70 of 3.0', {'ratings': torch.full((70,), 3.)}),
    (ValueError, 'at least two different ratings, got 70 of ', {'ratings': torch.arange(70).double()*1e-200}),
    (ValueError, 'at least two different ratings, got none', {'pairs': torch.zeros(0, 2).long(), 'ratings': torch.zeros(0)}),
    (ValueError, '`n_factors` must be an integer of at least 0', {'n_factors': -1}),
    (ValueError, '`iterations` must be an integer of at least 1', {'iterations': 0}),
    (ValueError, '`n_items` must be an integer of at least 1', {'n_items': 0})])
@pytest.mark.usefixtures("words")
def test_bad_input_is_refused(error, text, change):
    pairs, ratings = random_ratings(0)
    with pytest.raises(error) as e: fit_bayes(**{'pairs': pairs, 'ratings': ratings, 'n_users': 13, 'n_items': 9} | change)
    assert text in str(e.value)


def test_without_numba(monkeypatch):
    pairs, ratings = random_ratings(0)
    expected = fit_bayes(pairs, ratings, 13, 9, 2, compiled=False)
    monkeypatch.setattr(bayes, 'find_spec', lambda name: None)
    monkeypatch.setitem(sys.modules, 'numba', None)
    same_fits(fit_bayes(pairs, ratings, 13, 9, 2), expected, rtol=0, atol=0)
    with pytest.raises(ImportError, match='lesson8lib.fast'): fit_bayes(pairs, ratings, 13, 9, compiled=True)


def test_an_eager_import_of_the_module_does_not_import_numba():
    import subprocess
    subprocess.run([sys.executable, '-c', 'import sys, lesson8lib.bayes; assert "numba" not in sys.modules'], check=True)


@pytest.mark.parametrize('seed', range(3))
def test_the_prior_of_vectors_is_ridge_regression_with_strengths_that_raise_the_evidence(seed):
    "Given strengths: the dense solution, as one long regression; more steps: fixed points of the same equations"
    rng = np.random.default_rng(seed)
    x, group, noise = rng.normal(size=(60, 5)), np.array([0, 0, 0, 1, 2]), np.diag([.3, .1, .2])
    x -= x.mean(0)
    y, start = x@np.diag([1., 1, 1, .1, 0])@rng.normal(size=(5, 3)) + rng.normal(size=(60, 3))@np.sqrt(noise), np.array([2., 30., .5])
    (center, cov, weights), strength, rows = ridge_prior(y, 60*noise, x, start, group, steps=1)
    penalty = np.diag(start[group])
    dense = np.linalg.solve(np.kron(x.T@x+penalty, np.eye(3)), (x.T@(y-y.mean(0))).ravel()).reshape(5, 3)
    left = y-y.mean(0)-x@weights
    assert np.allclose(weights, dense) and np.allclose(center, y.mean(0)) and np.array_equal(strength, start)
    assert np.allclose(cov, (left.T@left + 60*noise + weights.T@penalty@weights)/60) and np.allclose(rows, np.linalg.inv(x.T@x+penalty))
    (_, cov, weights), strength, rows = ridge_prior(y, 60*noise, x, start, group, steps=3000, gram=x.T@x)
    square = 3*rows.diagonal() + ((weights@np.linalg.inv(cov))*weights).sum(1)
    assert np.allclose(strength, 3*np.bincount(group)/np.bincount(group, square), rtol=1e-3) and strength[0]<strength[2]
