"Cross-validation and validation curves: equal to fitting and evaluating by hand"
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch

from lesson8lib.compare import cross_validate, show_validation_curve, validation_curve
from lesson8lib.recommender import Recommender
from lesson8lib.training import new_generator


def table(n=500, seed=0):
    rng = np.random.default_rng(seed)
    pairs = rng.permutation(40*25)[:n]
    user, item = pairs//25, pairs % 25
    quality, mood = rng.normal(0, .8, 25), rng.normal(0, .5, 40)
    return pd.DataFrame({'user': user, 'item': item, 'rating': np.clip(np.round(3+quality[item]+mood[user]+rng.normal(0, .6, n)), 1, 5)})


@pytest.mark.parametrize('cv', [2, 3])
@pytest.mark.parametrize('made', [Recommender(2), Recommender(2, method='lesson', epochs=2)], ids=['bayes', 'lesson'])
def test_each_part_is_judged_by_a_fit_to_the_others(made, cv):
    df = table()
    found = cross_validate(made, df, cv=cv, k=5, relevant=4, seed=3)
    part = torch.randperm(len(df), generator=new_generator(3)).numpy() % cv
    for i in range(cv):
        by_hand = type(made)(**made.get_params()).fit(df[part!=i], progress=False).evaluate(df[part==i], k=5, relevant=4)
        mine = found.xs(i, level='part')
        assert mine.loc['Recommender'].to_dict()==pytest.approx(dict(by_hand)) and list(mine.index)==list(by_hand.table.index)
        pd.testing.assert_frame_equal(mine.rename_axis(None), by_hand.table.astype('float64'), check_names=False)
    assert made.model is None and sorted(np.bincount(part))[0]>=len(df)//cv


def test_all_rows_are_tested_once_and_the_seed_decides():
    df = table()
    a, b, c = (cross_validate(Recommender(1), df, cv=2, seed=s) for s in (0, 0, 1))
    pd.testing.assert_frame_equal(a, b)
    assert not a.equals(c)


def test_metadata_are_handed_on():
    df = table()
    info = pd.DataFrame({'item': range(25), 'kind': ['a', 'b', 'c', 'd', 'e']*5})
    with_info, without = (cross_validate(Recommender(1), df, cv=2, **given).loc['Recommender'] for given in ({'item_info': info}, {}))
    assert not with_info.equals(without)


def test_it_warns_where_a_simple_rule_wins():
    noise = table().assign(rating=np.random.default_rng(0).integers(1, 6, 500))
    with pytest.warns(UserWarning, match='a simple rule does better: rmse'):
        cross_validate(Recommender(5, method='lesson', epochs=20, lr=.05, wd=0.), noise, cv=2)


def test_a_curve_is_cross_validation_for_each_value():
    df, values = table(), [1, 3]
    curve = validation_curve(Recommender(repeats='mean'), df, 'n_factors', values, cv=2)
    assert curve.index.names==['n_factors', 'part'] and curve.shape[0]==4
    for n in values: pd.testing.assert_frame_equal(curve.loc[n], cross_validate(Recommender(n, repeats='mean'), df, cv=2).loc['Recommender'])
    ax = show_validation_curve(curve, 'mae')
    assert ax.get_xlabel()=='n_factors' and ax.get_ylabel()=='mae' and [t.get_text() for t in ax.get_xticklabels()]==['1', '3']
    mean = ax.lines[-1].get_ydata()
    assert np.allclose(mean, curve.mae.groupby('n_factors').mean())
    assert show_validation_curve(curve, ax=ax) is ax
    plt.close('all')


def test_repeats_of_a_pair_are_never_in_training_and_test():
    "Who rated an item twice would give the answer away"
    df = table(200)
    twice = pd.concat([df, df]).reset_index(drop=True)
    once, both = (cross_validate(Recommender(2, repeats='raise' if t is df else 'last'), t, cv=2, seed=1) for t in (df, twice))
    assert abs(once-both).max(axis=None)<1e-9


def test_a_curve_over_pairs_and_none(words):
    for name, values in (('n_factors', [None, 2]), ('scale', [(1, 5), [0, 6], None])):
        curve = validation_curve(Recommender(), table(), name, values, cv=2)
        assert list(curve.index.unique(0))==[v if isinstance(v, int) else str(v) for v in values] and len(curve)==2*len(values)
        show_validation_curve(curve)
        plt.close('all')


@pytest.mark.parametrize('call, error, words_', [
    (lambda: cross_validate('model', table()), TypeError, '`recommender` must be a Recommender, got str'),
    (lambda: cross_validate(Recommender(), table(4), cv=5), ValueError, '`cv` must be at most 4, the number of ratings, got 5'),
    (lambda: validation_curve(Recommender(), table(), 'method', 'bayes'), TypeError, "`values` must be a list, got 'bayes'"),
    (lambda: cross_validate(Recommender(), table(), cv=1), ValueError, '`cv` must be an integer of at least 2, got 1'),
    (lambda: cross_validate(Recommender(), [1, 2]), TypeError, '`df` must be a DataFrame'),
    (lambda: cross_validate(Recommender(item='film'), table()), KeyError, "missing: ['film']"),
    (lambda: validation_curve(Recommender(), table(), 'dropout', [1]), ValueError, 'got dropout'),
    (lambda: validation_curve(Recommender(), table(), 'n_factors', []), ValueError, '`values` must hold at least one value, got none'),
    (lambda: show_validation_curve(pd.DataFrame({'rmse': [1.]}), 'auc'), ValueError, "`metric` must be one of ['rmse'], got 'auc'"),
])
def test_it_is_refused_in_words(words, call, error, words_):
    with pytest.raises(error) as e: call()
    assert words_ in str(e.value)
