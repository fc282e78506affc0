"The evidence bound, both implementations, threads, and what is refused, over random tables of ratings"
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from lesson8lib import bayes
from lesson8lib.bayes import fit_bayes
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
        bound -= kl_divergence(own, MultivariateNormal(*getattr(fitted, f'{side}_prior'))).sum()
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


@few
@given(st.integers(0, 9999), st.integers(0, 4), st.integers(2, 200))
def test_numba_and_pytorch_and_any_number_of_threads_give_the_same(seed, n_factors, n):
    pairs, ratings = random_ratings(seed, n=n)
    if ratings.min()==ratings.max(): return
    def run(threads, compiled):
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try: return fit_bayes(pairs, ratings, 13, 9, n_factors, 15, seed, compiled=compiled)
        finally: torch.set_num_threads(before)
    runs = {(t, c): run(t, c) for t in (1, 2) for c in (True, False)}
    for (_,compiled),other in runs.items():
        for a,b in zip(other, runs[1, compiled], strict=True): same(a, b, rtol=0, atol=0)
    for a,b in zip(runs[1, True], runs[1, False], strict=True): same(a, b, rtol=1e-8, atol=1e-8)
    for a,b in zip(bayes._moments(*pairs.T.numpy(), *other[:4], True), bayes._moments(*pairs.T.numpy(), *other[:4], False), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)


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
    same(none, getattr(fitted, f'{of}_prior'))
    unseen = {'user': 12, 'item': 8}[of]
    same(getattr(fitted, f'{of}_mean')[unseen], getattr(fitted, f'{of}_prior')[0], rtol=0, atol=0)


@pytest.mark.parametrize('error, text, change', [
    (IndexError, '`pairs[:,0] (users)` must lie in 0…12', {'pairs': torch.tensor([[13, 0]]*70)}),
    (TypeError, '`pairs` must hold integers', {'pairs': torch.zeros(70, 2)}),
    (ValueError, '`pairs` must have axes (b, 2)', {'pairs': torch.zeros(70, 3).long()}),
    (ValueError, '`ratings` must have axes (70)', {'ratings': torch.ones(69)}),
    (TypeError, '`ratings` must hold floating-point', {'ratings': torch.ones(70).long()}),
    (ValueError, '`ratings` must be finite numbers, got [inf', {'ratings': torch.full((70,), torch.inf)}),
    (ValueError, 'at least two different ratings, got 70 of 3.0', {'ratings': torch.full((70,), 3.)}),
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
    for a,b in zip(fit_bayes(pairs, ratings, 13, 9, 2), expected, strict=True): same(a, b, rtol=0, atol=0)
    with pytest.raises(ImportError, match='lesson8lib.fast'): fit_bayes(pairs, ratings, 13, 9, compiled=True)


def test_an_eager_import_of_the_module_does_not_import_numba():
    import subprocess
    subprocess.run([sys.executable, '-c', 'import sys, lesson8lib.bayes; assert "numba" not in sys.modules'], check=True)
