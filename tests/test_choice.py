"`ease` beside a ridge regression per column, lists beside a naive sort, their quality beside scikit-learn's"
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.metrics import ndcg_score

from lesson8lib.checks import test_same as same
from lesson8lib.choice import (
    blend_scores,
    both_scores,
    choice_scores,
    ease,
    factor_scores,
    fold_in_choice,
    implicit_als,
    inner_split,
    list_quality,
    popularity_scores,
    rating_scores,
    star_values,
    top_items,
)
from lesson8lib.collab import DotProductBias, RatingsData
from lesson8lib.training import new_generator

many = settings(max_examples=150, deadline=None, derandomize=True)
seeds, sizes = st.integers(0, 999), st.integers(2, 9)


def random_pairs(n_users, n_items, seed, p=.4):
    "Pairs in random order, some of them repeated; index 0 does not occur"
    generator = new_generator(seed)
    x = torch.rand(n_users, n_items, generator=generator)<p
    x[0] = x[:,0] = False
    pairs = x.nonzero()
    pairs = torch.cat([pairs, pairs[::3]])
    return pairs[torch.randperm(len(pairs), generator=generator)], x.double()


def random_values(pairs, x, seed):
    "Values of pairs in random order, of which the last of repeats counts; the same as a table"
    values, table = torch.randn(len(pairs), generator=new_generator(seed), dtype=torch.float64), torch.zeros_like(x)
    for (user,item),value in zip(pairs.tolist(), values.tolist(), strict=True): table[user,item] = value
    return values, table


@many
@given(seeds, sizes, st.integers(3, 9), st.floats(.1, 50), st.booleans())
def test_each_column_is_a_weighted_ridge_regression(seed, n_users, n_items, l2, compiled):
    "With an intercept, and a weight of each user that falls with the root of the number of ratings"
    n_users += 3
    pairs, x = random_pairs(n_users, n_items, seed)
    if not len(pairs): return
    values, table = random_values(pairs, x, seed)
    weights = ease(pairs, n_users, n_items, l2, values, compiled)
    assert weights.dtype==torch.get_default_dtype() and not weights.diag().any()
    counts = x.sum(1)
    of_users = (counts[counts>0].mean()/counts[counts>0]).sqrt().numpy()
    v = table[counts>0].numpy()
    for j in range(1, n_items):
        others = np.array([i for i in range(1, n_items) if i!=j])
        ridge = Ridge(alpha=l2, tol=1e-12, solver='cholesky').fit(v[:,others], v[:,j], of_users)
        same(weights[torch.from_numpy(others),j].double(), torch.from_numpy(ridge.coef_), rtol=1e-3, atol=1e-5)
        assert abs(weights[0,j].item()-ridge.intercept_)<1e-4
    users = torch.tensor([2, 0, 1, 2])
    same(choice_scores(weights, pairs, values)(users), table[users].float()@weights + weights[0], rtol=1e-4, atol=1e-5)


def test_the_unknown_item_and_users_without_ratings():
    pairs, _ = random_pairs(8, 6, 1)
    unknown = torch.tensor([[2, 0], [3, 0]])
    same(ease(torch.cat([unknown, pairs]), 8, 6, 2.), ease(pairs, 8, 6, 2.))
    same(ease(pairs, 20, 6, 2.), ease(pairs, 8, 6, 2.))
    weights = ease(pairs, 8, 6, 2.)
    same(choice_scores(weights, pairs)(torch.tensor([7, 0]))[1], weights[0])
    same(ease(pairs[:0], 8, 6), torch.zeros(6, 6))


def naive_als(table, rated, k, l2, alpha, iterations, seed):
    "Dense normal equations, row by row"
    q = .1*torch.randn(table.shape[1], k, generator=new_generator(seed), dtype=torch.float64)/math.sqrt(k)
    def solve(table, rated, y):
        rows = []
        for v,there in zip(table, rated, strict=True):
            strength = l2*math.sqrt(int(there.sum()) + alpha*len(y))
            matrix = y.T@torch.diag(there+alpha)@y + strength*torch.eye(k, dtype=torch.float64)
            rows.append(torch.linalg.solve(matrix, y.T@v))
        return torch.stack(rows)
    p = solve(table, rated, q)
    for _ in range(iterations):
        q = solve(table.T, rated.T, p)
        p = solve(table, rated, q)
    p[rated.sum(1)==0] = p[rated.sum(1)>0].mean(0)
    return p, q


@settings(max_examples=60, deadline=None, derandomize=True)
@given(seeds, st.integers(1, 12), st.integers(2, 14), st.floats(.05, 3), st.floats(.01, 2), st.booleans())
def test_implicit_als_solves_dense_normal_equations(seed, k, n_items, l2, alpha, compiled):
    pairs, x = random_pairs(9, n_items, seed)
    if not len(pairs): return
    values, table = random_values(pairs, x, seed)
    found = implicit_als(pairs, 9, n_items, k, l2, alpha, 3, seed, values, compiled)
    for ours,theirs in zip(found, naive_als(table, x, k, l2, alpha, 3, seed), strict=True): same(ours, theirs, rtol=1e-6, atol=1e-9)
    user = int(pairs[0,0])
    theirs = pairs[:,0]==user
    same(fold_in_choice(found[1], pairs[theirs,1], values[theirs], l2, alpha), found[0][user], rtol=1e-6, atol=1e-9)
    users = torch.tensor([3, 1])
    same(factor_scores(*found)(users), (found[0][users]@found[1].T).float())


@pytest.mark.parametrize('compiled', [True, False])
def test_any_number_of_threads_gives_the_same(compiled):
    pairs, x = random_pairs(120, 90, 5, .2)
    values, _ = random_values(pairs, x, 5)
    threads, found = torch.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            found.append((ease(pairs, 120, 90, 3., values, compiled), *implicit_als(pairs, 120, 90, 6, values=values, compiled=compiled)))
    finally: torch.set_num_threads(threads)
    for other in found[1:]:
        same(other[0], found[0][0], rtol=1e-5, atol=1e-7)
        same(other[1:], found[0][1:], rtol=1e-9, atol=1e-12)
    if compiled: assert all(torch.equal(a, b) for other in found[1:] for a,b in zip(other[1:], found[0][1:], strict=True))


@pytest.mark.parametrize('compiled', [True, False])
def test_rows_of_very_different_length(compiled):
    "One user rated everything, most rated one item: without numba, they are solved in several groups"
    n = 3000
    pairs = torch.cat([torch.stack([torch.ones(n-1), torch.arange(1, n)], 1), torch.stack([torch.arange(2, n), torch.arange(2, n)], 1)]).long()
    p, q = implicit_als(pairs, n, n, 40, iterations=1, compiled=compiled)
    for user in (1, 2, n-1): same(fold_in_choice(q, pairs[pairs[:,0]==user,1]), p[user], rtol=1e-7, atol=1e-12)


@many
@given(seeds, st.floats(.01, 100), st.floats(-500, 500))
def test_lists_do_not_depend_on_the_scale(seed, unit, shift):
    pairs, x = random_pairs(9, 9, seed)
    if len(pairs)<3: return
    ratings = torch.randint(1, 11, (len(pairs),), generator=new_generator(seed)).double()
    predicted = torch.randn(9, 9, generator=new_generator(seed), dtype=torch.float64)
    def scores(ratings, predicted):
        values = star_values(ratings)
        spread = float(ratings.std(correction=0))
        blend = blend_scores(choice_scores(ease(pairs, 9, 9, 3., values), pairs, values), factor_scores(*implicit_als(pairs, 9, 9, 4, values=values)))
        found = both_scores(blend, lambda users: predicted[users], spread, .3)(torch.arange(9)) if spread else None
        return values, None if found is None else found - found[:,:1]
    (v, a), (w, b) = scores(ratings, predicted), scores(shift+unit*ratings, shift+unit*predicted)
    same(v, w, rtol=1e-6, atol=1e-6)
    if a is not None: same(a, b, rtol=1e-3, atol=1e-3)


def test_values_of_stars():
    same(star_values(torch.tensor([1., 3])), torch.tensor([.5, 1.5], dtype=torch.float64))
    same(star_values(torch.tensor([7., 7])), torch.ones(2, dtype=torch.float64))
    same(star_values(torch.tensor([9.]), mean=5., unit=2.), torch.tensor([2.], dtype=torch.float64))
    assert not len(star_values(torch.zeros(0)))


def test_without_numba(monkeypatch):
    pairs, _ = random_pairs(9, 9, 0)
    expected = ease(pairs, 9, 9, compiled=False), implicit_als(pairs, 9, 9, 3, compiled=False)
    monkeypatch.setattr('lesson8lib.bayes.find_spec', lambda name: None)
    same((ease(pairs, 9, 9), implicit_als(pairs, 9, 9, 3)), expected)
    for fit in (ease, implicit_als):
        with pytest.raises(ImportError, match='lesson8lib.fast'): fit(pairs, 9, 9, compiled=True)


@many
@given(seeds, sizes, st.integers(1, 12))
def test_lists_and_their_quality(seed, n_items, k):
    n_users = 7
    train, seen = random_pairs(n_users, n_items, seed)
    table = torch.randn(n_users, n_items, generator=new_generator(seed))
    def scores(users): return table[users]
    lists = top_items(scores, train, torch.arange(1, n_users), k)
    assert lists.shape==(n_users-1, k)
    for user,found in zip(range(1, n_users), lists.tolist(), strict=True):
        left = sorted((i for i in range(1, n_items) if not seen[user,i]), key=lambda i: -float(table[user,i]))[:k]
        assert found==left + [0]*(k-len(left))
    test, new = random_pairs(n_users, n_items, seed+1)
    stars = torch.randint(1, 6, new.shape, generator=new_generator(seed+2))
    ratings = stars[test[:,0],test[:,1]]
    ndcgs, recalls = [], []
    for user in range(1, n_users):
        left = [i for i in range(1, n_items) if not seen[user,i]]
        hits = np.array([bool(new[user,i]) and stars[user,i]>=4 for i in left], dtype=float)
        if not hits.any(): continue
        # scikit-learn asks for two items at least: one that can never be listed
        hits, values = np.append(hits, 0), np.append(table[user][left].numpy(), -99)
        ndcgs.append(ndcg_score([hits], [values], k=k))
        recalls.append(hits[np.argsort(-values)[:k]].sum()/hits.sum())
    if not ndcgs:
        with pytest.raises(ValueError, match='`test` must hold a rating'): list_quality(scores, train, (test, ratings), k)
        return
    found = list_quality(scores, train, (test, ratings), k)
    lists = top_items(scores, train, test[:,0].unique(), k)
    coverage = len(lists[lists>0].unique())/(n_items-1)
    expected = {f'ndcg@{k}': float(np.mean(ndcgs)), f'recall@{k}': float(np.mean(recalls)), f'coverage@{k}': coverage}
    same(found, expected, rtol=1e-6, atol=1e-7)


def test_many_groups_of_users_give_the_same():
    "With 300,000 items, a group has 55 users"
    n_items, users = 300_000, torch.arange(1, 120)
    def scores(u): return ((torch.arange(n_items)*7919 + u[:,None]*104_729)%n_items).float()
    train = torch.stack([users, (users*31)%n_items], 1)
    sizes_seen = []
    def watched(u):
        sizes_seen.append(len(u))
        return scores(u)
    lists = top_items(watched, train, users, 3)
    assert max(sizes_seen)*n_items<=2**24 and len(sizes_seen)>2
    for user in (1, 55, 56, 119): same(lists[user-1], top_items(scores, train, torch.tensor([user]), 3)[0])


def test_scores_of_ratings_and_both():
    model = DotProductBias(5, 6, 3, generator=new_generator(0))
    users = torch.tensor([4, 1])
    rating = rating_scores(model)
    pairs = torch.cartesian_prod(users, torch.arange(6))
    same(rating(users).flatten(), model(pairs).detach())
    choice = popularity_scores(torch.tensor([[1, 2], [2, 2], [1, 5]]), 6)
    same(choice(users), torch.tensor([[0., 0, 2, 0, 0, 1]]).expand(2, -1))
    both = both_scores(choice, rating, 2., .5)(users)[:,1:]
    torch.testing.assert_close(both, choice(users)[:,1:]/torch.tensor([0., 2, 0, 0, 1]).std(correction=0) + .25*rating(users)[:,1:])
    flat = popularity_scores(torch.zeros(0, 2).long(), 6)
    same(both_scores(flat, rating, weight=1.)(users), rating(users))
    same(blend_scores(choice, flat)(users), blend_scores(flat, choice)(users))


def test_inner_split_uses_training_ratings_only():
    pairs, _ = random_pairs(9, 9, 0)
    data = RatingsData(range(9), range(9), (pairs, torch.arange(len(pairs)).float()), None)
    inner = inner_split(data, .25, seed=3)
    assert len(inner.valid[0])==int(.25*len(pairs))
    rows = torch.cat([inner.train[1], inner.valid[1]]).long()
    assert sorted(rows.tolist())==list(range(len(pairs)))
    same(torch.cat([inner.train[0], inner.valid[0]]), pairs[rows])


def test_input_checks():
    pairs, _ = random_pairs(5, 5, 0)
    def scores(users): return torch.full((len(users), 5), math.nan)
    for error,call,words in (
        (ValueError, lambda: ease(pairs, 5, 10_001), 'at most 10,000, got 10,001'),
        (ValueError, lambda: ease(pairs, 5, 5, l2=0), '`l2`'),
        (ValueError, lambda: ease(pairs, 5, 5, values=torch.full((len(pairs),), math.inf)), '`values` must be finite'),
        (ValueError, lambda: implicit_als(pairs, 5, 5, l2=0), '`l2`'),
        (ValueError, lambda: implicit_als(pairs, 5, 5, alpha=0.), '`alpha`'),
        (ValueError, lambda: implicit_als(pairs, 5, 5, 0), '`n_factors`'),
        (ValueError, lambda: implicit_als(pairs, 5, 5, iterations=0), '`iterations`'),
        (IndexError, lambda: implicit_als(pairs, 5, 3), '(items)'),
        (IndexError, lambda: fold_in_choice(torch.zeros(5, 2), torch.tensor([5])), '`index`'),
        (ValueError, lambda: both_scores(scores, scores, unit=0), '`unit`'),
        (ValueError, lambda: both_scores(scores, scores, weight=-1), '`weight`'),
        (ValueError, lambda: star_values(torch.tensor([1., math.nan])), '`ratings`'),
        (IndexError, lambda: ease(pairs, 3, 5), '(users)'),
        (IndexError, lambda: choice_scores(torch.zeros(3, 3), pairs), '(items)'),
        (ValueError, lambda: top_items(scores, pairs, torch.tensor([1])), 'got NaN'),
        (ValueError, lambda: top_items(scores, pairs, torch.tensor([1]), k=0), '`k`'),
        (ValueError, lambda: inner_split(RatingsData(None, None, (pairs, pairs), None), 0.), '`valid_pct`'),
    ):
        with pytest.raises(error) as caught: call()
        assert words in str(caught.value)
