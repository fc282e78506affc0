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
from lesson8lib.choice import both_scores, choice_scores, ease, inner_split, list_quality, popularity_scores, rating_scores, top_items
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


@many
@given(seeds, sizes, sizes, st.floats(.1, 50))
def test_each_column_is_a_ridge_regression(seed, n_users, n_items, l2):
    pairs, x = random_pairs(n_users+3, n_items, seed)
    weights = ease(pairs, n_users+3, n_items, l2)
    assert weights.dtype==torch.get_default_dtype() and not weights.diag().any()
    for j in range(1, n_items):
        others = np.arange(n_items)!=j
        ridge = Ridge(alpha=l2, fit_intercept=False, tol=1e-12, solver='cholesky').fit(x.numpy()[:,others], x.numpy()[:,j])
        same(weights[torch.from_numpy(others),j].double(), torch.from_numpy(ridge.coef_), rtol=1e-4, atol=1e-5)
    users = torch.tensor([2, 0, 1, 2])
    same(choice_scores(weights, pairs)(users), x[users].float() @ weights, rtol=1e-5, atol=1e-6)


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
    same(both_scores(choice, rating, .5)(users)[:,0], math.log(1e-3) + .5*rating(users)[:,0])


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
        (IndexError, lambda: ease(pairs, 3, 5), '(users)'),
        (IndexError, lambda: choice_scores(torch.zeros(3, 3), pairs), '(items)'),
        (ValueError, lambda: top_items(scores, pairs, torch.tensor([1])), 'got NaN'),
        (ValueError, lambda: top_items(scores, pairs, torch.tensor([1]), k=0), '`k`'),
        (ValueError, lambda: inner_split(RatingsData(None, None, (pairs, pairs), None), 0.), '`valid_pct`'),
    ):
        with pytest.raises(error) as caught: call()
        assert words in str(caught.value)
