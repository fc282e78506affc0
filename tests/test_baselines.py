"Simple rules beside which a recommender is judged: equal to direct sums and to least squares"
import math

import numpy as np
import pytest
import torch

from lesson8lib.baselines import Evaluation, damped_biases, rating_baselines, rating_errors


def table(seed, n=200, n_users=12, n_items=9):
    g = torch.Generator().manual_seed(seed)
    pairs = torch.stack([torch.randint(n_users, (n,), generator=g), torch.randint(n_items, (n,), generator=g)], 1)
    return pairs, torch.randint(1, 6, (n,), generator=g).float(), n_users+1, n_items+2  # the last ones have no ratings


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('damp_users, damp_items', [(15., 10.), (1., .5), (3., 100.)])
def test_biases_converge_to_ridge_regression(seed, damp_users, damp_items):
    "The fixed point minimizes squared errors + damping · squared biases, a linear system"
    pairs, r, n_users, n_items = table(seed)
    mean, b, c = damped_biases(pairs, r, n_users, n_items, damp_users, damp_items, steps=500)
    x = torch.zeros(len(r), n_users+n_items, dtype=torch.float64)
    x[torch.arange(len(r)),pairs[:,0]] = 1
    x[torch.arange(len(r)),n_users+pairs[:,1]] = 1
    penalty = torch.cat([torch.full((n_users,), damp_users), torch.full((n_items,), damp_items)]).double()
    exact = torch.linalg.solve(x.T@x + penalty.diag(), x.T@(r.double()-r.double().mean()))
    assert mean==pytest.approx(float(r.mean())) and torch.allclose(torch.cat([b, c]), exact, atol=1e-8)
    assert b.dtype==torch.float64 and b[-1]==0==c[-1]


@pytest.mark.parametrize('seed', range(5))
def test_means_are_those_of_numpy(seed):
    pairs, r, n_users, n_items = table(seed)
    rules, x = rating_baselines(pairs, r, n_users, n_items), torch.cartesian_prod(torch.arange(n_users), torch.arange(n_items))
    found = {name: rule(x).reshape(n_users, n_items) for name,rule in rules.items()}
    assert list(found)==['mean', 'user mean', 'item mean', 'user and item biases']
    for u in range(n_users):
        mine = r[pairs[:,0]==u]
        assert torch.allclose(found['user mean'][u], (mine if len(mine) else r).double().mean())
    for i in range(n_items):
        theirs = r[pairs[:,1]==i]
        assert torch.allclose(found['item mean'][:,i], (theirs if len(theirs) else r).double().mean())
    mean, b, c = damped_biases(pairs, r, n_users, n_items)
    assert torch.allclose(found['user and item biases'], mean+b[:,None]+c) and torch.allclose(found['mean'], r.double().mean())


def test_without_damping_an_empty_side_is_average():
    pairs, r, n_users, n_items = table(0)
    _, b, c = damped_biases(pairs, r, n_users, n_items, 0., 0.)
    assert b[-1]==0==c[-1] and torch.cat([b, c]).isfinite().all()


def test_errors_are_those_of_the_definition():
    assert rating_errors(torch.tensor([1., 4.]), torch.tensor([2., 2]))=={'rmse': pytest.approx(2.5**.5), 'mae': 1.5}
    found = rating_errors(torch.tensor([1e9+1], dtype=torch.float64), torch.tensor([1e9], dtype=torch.float64))
    assert found=={'rmse': 1, 'mae': 1}


@pytest.mark.parametrize('call, error, words_', [
    (lambda p, r, *n: rating_baselines(p-1, r, *n), IndexError, '`pairs[:,0] (users)`'),
    (lambda p, r, *n: rating_baselines(p, r[:-1], *n), ValueError, '`ratings` must have'),
    (lambda p, r, *n: rating_baselines(p, r, '9', 9), TypeError, '`n_users` must be an integer'),
    (lambda p, r, *n: damped_biases(p, r, 99, 2.5), TypeError, '`n_items` must be an integer'),
    (lambda p, r, *n: rating_baselines(p[:0], r[:0], *n), ValueError, '`ratings` must hold at least one rating, got none'),
    (lambda p, r, *n: damped_biases(p, r, *n, steps=0), ValueError, '`steps` must be an integer of at least 1, got 0'),
    (lambda p, r, *n: damped_biases(p, r, *n, damp_users=-1), ValueError, '`damp_users` must be'),
    (lambda p, r, *n: rating_errors(r[:,None], r), ValueError, '`predicted` must have'),
])
def test_it_is_refused_in_words(words, call, error, words_):
    with pytest.raises(error) as e: call(*table(0))
    assert words_ in str(e.value)


def test_an_evaluation_is_a_dictionary_that_shows_a_table():
    found = Evaluation({'rmse': .9, 'ndcg@10': .2, 'coverage@10': .1}, {'mean': {'rmse': 1.1}, 'popular': {'ndcg@10': .3, 'coverage@10': .9}}, 'ours')
    assert found=={'rmse': .9, 'ndcg@10': .2, 'coverage@10': .1} and found['rmse']==.9
    assert list(found.table.index)==['ours', 'mean', 'popular'] and math.isnan(found.table.loc['mean', 'ndcg@10'])
    assert found.lost=={'ndcg@10': "ndcg@10 0.200, but 0.300 for the baseline 'popular'"}
    assert '1.1' in repr(found) and 'nan' not in repr(found).lower() and '<table' in found._repr_html_()


def test_equal_and_undefined_values_are_no_loss():
    for ours, rule in ((1., 1.), (math.nan, .5), (.5, math.nan), (np.float64(.4), .5)): assert not Evaluation({'rmse': ours}, {'mean': {'rmse': rule}}).lost
