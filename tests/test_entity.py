"`EntityEncoder` as scikit-learn wants a transformer to be, and nothing of a test row in what it learns"
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_estimator,
    check_set_output_transform,
    check_set_output_transform_pandas,
    check_transformer_get_feature_names_out,
    check_transformer_get_feature_names_out_pandas,
)

from lesson8lib.entity import EntityEncoder

QUICK = {'layers': (8,), 'epochs': 2, 'random_state': 0}
# Checks of scikit-learn that are expected to fail, each with the reason: none
EXPECTED = {}


def table(n=60, seed=0):
    rng = np.random.default_rng(seed)
    df = pd.DataFrame({'city': rng.choice(['Rome', 'Bonn', 'Oslo'], n), 'rooms': rng.integers(1, 5, n), 'size': rng.normal(50., 9, n)})
    return df, df.rooms*100 + df.city.map({'Rome': 50., 'Bonn': 0., 'Oslo': 90.}) + df['size']


def learned(encoder): return {c: (list(t.index), t.to_numpy().tolist()) for c,t in encoder.embeddings_.items()}


def test_scikit_learn_takes_it_for_one_of_its_own(words):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        found = check_estimator(EntityEncoder(**QUICK), expected_failed_checks=EXPECTED, on_skip=None)
    status = {r['check_name']: r['status'] for r in found}
    assert {name for name,s in status.items() if s!='passed'} == {*EXPECTED, 'check_array_api_input'} and len(found)>40  # that one needs an environment variable


class Restless(EntityEncoder):
    "Numbers that depend on the place of a row in the table"
    def transform(self, X): return super().transform(X) + np.arange(len(X))[:,None]


def test_a_bad_transformer_does_not_pass(words):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        found = check_estimator(Restless(**QUICK), on_skip=None, on_fail=None)
    assert 'check_methods_sample_order_invariance' in {r['check_name'] for r in found if r['status']=='failed'}


@pytest.mark.parametrize('check', [check_transformer_get_feature_names_out, check_transformer_get_feature_names_out_pandas, check_set_output_transform,
                                   check_set_output_transform_pandas, check_dataframe_column_names_consistency])
def test_checks_that_scikit_learn_runs_on_its_own_transformers_besides(words, check):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        check('EntityEncoder', EntityEncoder(**QUICK))


def test_no_test_row_reaches_it(words):
    "Other test rows, and other targets of theirs, change nothing of what is learned; and names of theirs are not known"
    df, y = table()
    other, z = df.copy(), y.copy()
    other.loc[40:, 'city'], other.loc[40:, 'size'], z[40:] = 'Lima', 1e6, -1e6
    seen = []

    class Spy(EntityEncoder):
        def fit(self, X, y):
            seen.append((set(X.index), learned(super().fit(X, y))))
            return self

    def folds(): yield np.arange(40), np.arange(40, 60)
    for X,target in ((df, y), (other, z)):
        cross_val_score(make_pipeline(Spy(['city', 'rooms'], **QUICK), Ridge()), X, target, cv=folds())
    assert seen[0]==seen[1] and seen[0][0]==set(range(40))
    assert 'Lima' not in seen[1][1]['city'][0]


def test_every_fold_learns_anew(words):
    df, y = table()
    df['row'] = [f'r{i}' for i in range(60)]  # a name of its own for each row: what is known is what was trained on
    known = []

    class Spy(EntityEncoder):
        def fit(self, X, y):
            known.append({*super().fit(X, y).embeddings_['row'].index} - {'#na#'})
            return self

    cross_val_score(make_pipeline(Spy(['row'], **QUICK), Ridge()), df.drop(columns='city'), y, cv=KFold(3))
    for i,names in enumerate(known): assert names=={f'r{j}' for j in range(60) if j//20!=i}


def test_rows_are_looked_up():
    df, y = table()
    encoder = EntityEncoder(['city', 'rooms'], emb_szs={'city': 3}, **QUICK).fit(df, y)
    out = encoder.transform(df)
    city = encoder.embeddings_['city']
    np.testing.assert_array_equal(out[:,:3], city.loc[df.city].to_numpy())
    np.testing.assert_array_equal(out[:,-1], df['size'].to_numpy('float32'))
    assert encoder.get_feature_names_out().tolist()==['city_0', 'city_1', 'city_2', *(f'rooms_{i}' for i in range(out.shape[1]-4)), 'size']
    assert list(encoder.set_output(transform='pandas').transform(df).columns)==encoder.get_feature_names_out().tolist()


def test_an_unknown_name_is_the_average_and_a_missing_one_is_learned():
    df, y = table()
    encoder = EntityEncoder(['city'], **QUICK).fit(df[['city']], y)
    rows = encoder.transform(df[['city']])
    for strange in ('Lima', None): np.testing.assert_allclose(encoder.transform(pd.DataFrame({'city': [strange]}))[0], rows.mean(0), rtol=1e-5, atol=1e-7)
    holes = df[['city']].astype(object)
    holes.iloc[:20] = None
    encoder.fit(holes, y)
    assert np.abs(encoder.embeddings_['city'].loc['#na#'] - encoder.transform(holes[20:]).mean(0)).max()>1e-3


def test_an_array_does_as_a_table_does():
    df, y = table()
    a = EntityEncoder(['city', 'rooms'], **QUICK).fit_transform(df, y)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        encoder = EntityEncoder([0, 1], **QUICK).fit(df.to_numpy(dtype=object), y.to_numpy())
    np.testing.assert_array_equal(a, encoder.transform(df.to_numpy(dtype=object)))
    assert encoder.get_feature_names_out()[0]=='x0_0'


def test_one_seed_one_result_and_no_trace_elsewhere():
    import torch
    df, y = table()
    torch.manual_seed(3)
    state = torch.get_rng_state()
    a, b, c = (EntityEncoder(['city'], **QUICK | {'random_state': s}).fit(df, y) for s in (1, 1, 2))
    assert learned(a)==learned(b)!=learned(c) and torch.equal(torch.get_rng_state(), state)
    assert clone(a).get_params()==a.get_params()


def test_classes_and_quantities():
    df, y = table()
    for target in (y.gt(y.median()).to_numpy(), np.where(y>y.median(), 'dear', 'cheap'), y.to_numpy(dtype=object), y.round().astype(int)):
        assert EntityEncoder(['city'], **QUICK).fit(df[['city']], target).transform(df[['city']]).shape[0]==60
    small, large = (EntityEncoder(['city'], **QUICK).fit(df[['city']], y*scale) for scale in (1, 1e4))
    np.testing.assert_allclose(small.transform(df[['city']]), large.transform(df[['city']]), atol=1e-3)


def test_it_works_inside_of_a_column_transformer():
    df, y = table()
    pipe = make_pipeline(ColumnTransformer([('names', EntityEncoder(**QUICK | {'epochs': 60}), ['city', 'rooms'])], remainder='passthrough'), LinearRegression())
    assert pipe.fit(df, y).score(df, y)>.5


@pytest.mark.parametrize('n', [2, 3, 5, 9, 65])
def test_a_batch_of_one_is_avoided(n):
    df, y = table(n)
    assert EntityEncoder(['city'], bs=4, **QUICK).fit(df, y).transform(df).shape[0]==n


@pytest.mark.parametrize('options,change,error,said', [
    ({'columns': ['town']}, {}, KeyError, "1 unknown column: 'town'"),
    ({'columns': [3]}, {}, ValueError, '`columns` must be a whole number in [0, 2], got 3'),
    ({'columns': 'city'}, {}, TypeError, "`columns` must be a list of names or positions, got 'city'"),
    ({'columns': []}, {}, ValueError, '`columns` must name a column to encode, got none'),
    ({'columns': ['city', 0, 'rooms']}, {}, ValueError, "got 'city' twice"),
    ({'emb_szs': {'town': 2}}, {}, KeyError, "1 unknown column: 'town'"),
    ({'emb_szs': {'city': 0}}, {}, ValueError, "`emb_szs['city']` must be a whole number of at least 1, got 0"),
    ({'columns': ['rooms']}, {}, TypeError, "`df['city']` must hold numbers"),
    ({'bs': 1}, {}, ValueError, '`bs` must be a whole number of at least 2, got 1'),
    ({'columns': ['city']}, {'rooms': np.inf}, ValueError, 'must hold finite numbers'),
    ({}, {'city': pd.Timestamp('2011-01-01')}, TypeError, 'holds dates'),
])
def test_bad_input_is_refused_in_words(words, options, change, error, said):
    df, y = table()
    with pytest.raises(error) as e: EntityEncoder(**QUICK | options).fit(df.assign(**change), y)
    assert said in str(e.value)


@pytest.mark.parametrize('change,error,said', [
    (lambda df: df.drop(columns='size'), ValueError, 'Feature names'),
    (lambda df: df[['rooms', 'city', 'size']], ValueError, 'Feature names must be in the same order'),
    (lambda df: df.assign(rooms='two'), TypeError, "`df['rooms']` must hold numbers, as in training, got 'two'"),
])
def test_another_table_is_refused(words, change, error, said):
    df, y = table()
    encoder = EntityEncoder(['city', 'rooms'], **QUICK).fit(df, y)
    with pytest.raises(error) as e: encoder.transform(change(df))
    assert said in str(e.value)
    with pytest.raises(ValueError, match='input_features is not equal to feature_names_in_: wanted'): encoder.get_feature_names_out(['a', 'b', 'c'])
