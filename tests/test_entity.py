"`EntityEncoder` as scikit-learn wants a transformer to be, and nothing of a test row in what it learns"
import datetime
import math
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_estimator,
    check_set_output_transform,
    check_set_output_transform_pandas,
    check_transformer_get_feature_names_out,
    check_transformer_get_feature_names_out_pandas,
)

from lesson8lib import entity
from lesson8lib.collab_nn import emb_sz_rule
from lesson8lib.entity import EntityEncoder
from lesson8lib.tabular import TableData, TabularModel
from lesson8lib.training import fit, new_generator

QUICK = {'layers': (8,), 'epochs': 2, 'random_state': 0}
# Checks of scikit-learn that are expected to fail, each with the reason: none
EXPECTED = {}


def table(n=60, seed=0):
    rng = np.random.default_rng(seed)
    df = pd.DataFrame({'city': rng.choice(['Rome', 'Bonn', 'Oslo'], n), 'rooms': rng.integers(1, 5, n), 'size': rng.normal(50., 9, n)})
    return df, df.rooms*100 + df.city.map({'Rome': 50., 'Bonn': 0., 'Oslo': 90.}) + df['size']


def learned(encoder): return {c: (list(t.index), t.to_numpy().tolist()) for c,t in encoder.embeddings_.items()}


@pytest.mark.parametrize('columns', [None, [0]])  # the checks' tables are of fractions: by itself it encodes none of their columns
def test_scikit_learn_takes_it_for_one_of_its_own(words, columns):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        found = check_estimator(EntityEncoder(columns, **QUICK), expected_failed_checks=EXPECTED, on_skip=None)
    status = {r['check_name']: r['status'] for r in found}
    assert {name for name,s in status.items() if s!='passed'}-{'check_array_api_input'} == set(EXPECTED)  # that one needs an environment variable, and is not in every release
    assert len(found)>40


class Restless(EntityEncoder):
    "Numbers that depend on the place of a row in the table"
    def transform(self, X): return super().transform(X) + np.arange(len(X))[:,None]


def test_a_bad_transformer_does_not_pass(words):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        found = check_estimator(Restless([0], **QUICK), on_skip=None, on_fail=None)
    assert 'check_methods_sample_order_invariance' in {r['check_name'] for r in found if r['status']=='failed'}


@pytest.mark.parametrize('check', [check_transformer_get_feature_names_out, check_transformer_get_feature_names_out_pandas, check_set_output_transform,
                                   check_set_output_transform_pandas, check_dataframe_column_names_consistency])
def test_checks_that_scikit_learn_runs_on_its_own_transformers_besides(words, check):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        check('EntityEncoder', EntityEncoder([0], **QUICK))


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
    np.testing.assert_array_equal(out[:,-1], df['size'].to_numpy())
    assert out.dtype==np.float64
    assert encoder.get_feature_names_out().tolist()==['city_0', 'city_1', 'city_2', *(f'rooms_{i}' for i in range(out.shape[1]-4)), 'size']
    assert list(encoder.set_output(transform='pandas').transform(df).columns)==encoder.get_feature_names_out().tolist()


TRAINING = {'epochs': 3, 'lr': .03, 'wd': .5, 'bs': 16}


@pytest.mark.parametrize('kind', ['quantity', 'classes', 'quantity, names missing'])
def test_they_are_the_rows_of_a_net_trained_by_hand(kind):
    "Bit for bit, with no setting at its default"
    df, y = table()
    if 'missing' in kind: df.loc[:9, 'city'] = None
    y = pd.Series(np.where(y>y.median(), 'dear', 'cheap')) if kind=='classes' else y
    encoder = EntityEncoder(['city', 'rooms'], emb_szs={'city': 2}, layers=(12, 5), random_state=5, **TRAINING).fit(df, y)

    seed = int(np.random.RandomState(5).randint(2**31))
    target = y if kind=='classes' else (y-y.mean())/y.to_numpy().std()
    data = TableData(df.assign(target=target), 'target', ['city', 'rooms'], ['size'], valid=0., seed=seed)
    model = TabularModel([(4, 2), data.emb_szs[1]], 1, data.out_sz, (12, 5), generator=new_generator(seed))
    loss = torch.nn.functional.cross_entropy if kind=='classes' else torch.nn.functional.mse_loss
    history = fit(model, data.train, loss=loss, seed=seed, progress=False, **TRAINING)
    for c in ('city', 'rooms'):
        start = 0 if 'missing' in kind and c=='city' else 1  # the row '#na#' is the model's where names were missing, else an average
        wanted = data.embedding(model, c)
        pd.testing.assert_frame_equal(encoder.embeddings_[c].iloc[start:], wanted.iloc[start:], check_exact=True)
        assert start==0 or not encoder.embeddings_[c].iloc[0].equals(wanted.iloc[0])
    pd.testing.assert_frame_equal(encoder.history_, history, check_exact=True)
    assert len(encoder.history_)==3


@pytest.mark.parametrize('n', [3, 40])
def test_widths_by_the_rule(n):
    df = pd.DataFrame({'shop': [f's{i%n}' for i in range(80)]})
    assert EntityEncoder(**QUICK).fit(df, np.arange(80.)).embeddings_['shop'].shape==(n+1, emb_sz_rule(n+1))


def test_tags():
    tags = get_tags(EntityEncoder())
    assert tags.input_tags.categorical and tags.input_tags.string and tags.input_tags.allow_nan and tags.target_tags.required
    assert tags.transformer_tags.preserves_dtype==['float64']


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
    df, y = table()
    torch.manual_seed(3)
    state = torch.get_rng_state()
    a, b, c = (EntityEncoder(['city'], **QUICK | {'random_state': s}).fit(df, y) for s in (1, 1, 2))
    assert learned(a)==learned(b)!=learned(c) and torch.equal(torch.get_rng_state(), state)
    assert clone(a).get_params()==a.get_params()


def of(X, y, columns=('city',), **change): return learned(EntityEncoder(list(columns), **QUICK | change).fit(X, y))


def test_classes():
    "True and False, in all their dtypes, are two classes; categories are classes, also of numbers"
    df, y = table()
    high = y>y.median()
    wanted = of(df, high.map({True: 'yes', False: 'no'}), columns=['city', 'rooms'])
    for target in (high, high.to_numpy(), high.astype(object), high.astype('boolean')): assert of(df, target, columns=['city', 'rooms'])==wanted
    assert of(df, df.rooms.astype('category'))==of(df, df.rooms.astype(str))!=of(df, df.rooms)
    first = EntityEncoder(['city'], **QUICK | {'layers': [], 'lr': 1e-6}).fit(df[['city']], high).history_.train_loss.iloc[0]
    assert abs(first-math.log(2))<.2  # cross-entropy of two classes, nothing learned yet


def test_quantities():
    df, y = table()
    whole = y.round()
    for target in (whole.astype(int), whole.astype('uint16'), whole.astype('Int64'), whole.astype(object), whole.to_numpy()):
        assert of(df, target)==of(df, whole)
    wanted = EntityEncoder(['city'], **QUICK).fit_transform(df, y)
    for target in (y*1e4, y*1e-100, y*1e150, y/1e3+1e8): np.testing.assert_allclose(EntityEncoder(['city'], **QUICK).fit_transform(df, target), wanted, atol=2e-3)
    for c in (.1, 3, 1e9): assert of(df, np.full(60, c))==of(df, np.zeros(60))


def test_what_is_encoded_by_itself():
    "Fractions are a quantity; integers are names, also where a missing one makes floats of them"
    df, y = table()
    df['floor'] = df.rooms.where(df.rooms>1)
    assert df.floor.dtype==float and list(EntityEncoder(**QUICK).fit(df, y).embeddings_)==['city', 'rooms', 'floor']
    with pytest.warns(UserWarning, match='no column to encode: all hold fractions'):
        out = EntityEncoder(**QUICK).fit_transform(df[['size']], y)
    np.testing.assert_array_equal(out, df[['size']].to_numpy())


@pytest.mark.parametrize('dtype', ['category', 'Int64', object])
def test_whole_numbers_in_every_dtype_are_the_same_names(dtype):
    df, y = table()
    wanted, other = EntityEncoder(['rooms'], **QUICK).fit(df[['rooms']], y), df[['rooms']].astype(dtype)
    encoder = EntityEncoder(['rooms'], **QUICK).fit(other, y)
    assert learned(encoder)==learned(wanted)
    for X in (df[['rooms']], other): np.testing.assert_array_equal(encoder.transform(X), wanted.transform(df[['rooms']]))


def test_what_is_passed_on():
    "Large numbers keep their digits, True and False are 1 and 0, objects that are numbers are numbers"
    df, y = table()
    df['second'], df['old'], df['new'] = 1.7e9+np.arange(60), df.rooms>2, (df.rooms>2).astype('boolean')
    df.loc[0, 'new'] = pd.NA
    df['floor'] = df.rooms.astype('category')
    out = EntityEncoder(['city'], emb_szs={0: 1}, **QUICK).fit(df, y).transform(df.astype({'size': object}))
    np.testing.assert_array_equal(out[:,1:], df.drop(columns='city').astype('float64').to_numpy())


def test_a_column_may_have_any_name():
    df, y = table()
    encoders = [EntityEncoder([0], **QUICK).fit(df.set_axis(names, axis=1), y) for names in (['a', 'b', 'c'], ['y', 'y_', 'target'])]
    np.testing.assert_array_equal(*(list(e.embeddings_.values())[0] for e in encoders))


def test_names_of_columns_that_are_numbers():
    "An int is a position"
    df, y = table()
    df.columns = [1, 0, 2]
    encoder = EntityEncoder([0], emb_szs={0: 2}, **QUICK).fit(df, y)
    assert list(encoder.embeddings_)==['x0'] and encoder.get_feature_names_out().tolist()==['x0_0', 'x0_1', 'x1', 'x2']


def test_a_fit_that_fails_leaves_nothing_behind():
    df, y = table()
    encoder = EntityEncoder(['city'], **QUICK).fit(df, y)
    with pytest.raises(KeyError): encoder.fit(df.drop(columns='city'), y)
    for call in (lambda: encoder.transform(df), lambda: encoder.transform(df.drop(columns='city')), encoder.get_feature_names_out):
        with pytest.raises(NotFittedError): call()


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
    ({'columns': [3]}, {}, ValueError, '`columns` must be an integer in [0, 2], got 3'),
    ({'columns': 'city'}, {}, TypeError, "`columns` must be a list of names or positions, got 'city'"),
    ({'columns': []}, {}, ValueError, '`columns` must name a column to encode, got none'),
    ({'columns': ['city', 0, 'rooms']}, {}, ValueError, "got 'city' twice"),
    ({'emb_szs': {'town': 2}}, {}, KeyError, "1 unknown column: 'town'"),
    ({'emb_szs': {'city': 0}}, {}, ValueError, "`emb_szs['city']` must be an integer of at least 1, got 0"),
    ({'columns': ['rooms']}, {}, TypeError, "`X['city']` must hold numbers"),
    ({'bs': 1}, {}, ValueError, '`bs` must be an integer of at least 2, got 1'),
    ({'columns': ['city']}, {'rooms': np.inf}, ValueError, 'must hold finite numbers'),
    *[({}, {'city': day}, TypeError, "`X['city']` holds dates or times") for day in
      (pd.Timestamp('2011-01-01'), datetime.date(2011, 1, 1), pd.Period('2011'), pd.Timedelta('1D'), datetime.timedelta(1), datetime.time(1))],
    ({'columns': 0}, {}, TypeError, '`columns` must be a list of names or positions, got 0'),
    ({'columns': slice(2)}, {}, TypeError, '`columns` must be a list of names or positions, got slice(None, 2, None)'),
    ({'columns': [True]}, {}, TypeError, '`columns` must be an integer in [0, 2], got True'),
    ({'layers': 8}, {}, TypeError, '`layers` must be a list of integers, got 8'),
    ({'layers': None}, {}, TypeError, '`layers` must be a list of integers, got None'),
    ({'emb_szs': 5}, {}, TypeError, "`emb_szs` must be a dictionary of embedding dimensions, as {'city': 3}, got 5"),
    ({'emb_szs': [3]}, {}, TypeError, '`emb_szs` must be a dictionary'),
    ({'emb_szs': {'size': 2}}, {}, KeyError, "1 unknown column to encode: 'size'"),
    ({'columns': ['city']}, {'city_0': 1.}, ValueError, "`X` must have columns of other names: 'city_0' would come out twice"),
])
def test_bad_input_is_refused_in_words(words, options, change, error, said):
    df, y = table()
    with pytest.raises(error) as e: EntityEncoder(**QUICK | options).fit(df.assign(**change), y)
    assert said in str(e.value)


@pytest.mark.parametrize('target,error,said', [
    (['a']*60, ValueError, "`y` must have at least two classes, got only 'a'"),
    ([True]*60, ValueError, '`y` must have at least two classes, got only True'),
    (['a', 1]*30, TypeError, '`y` must hold values of one kind, all text or all numbers, got a mixture'),
    (['a', 'b', None]*20, ValueError, '`y` must have a value in every row, got 20 missing'),
    (pd.date_range('2011', periods=60), TypeError, '`y` holds dates or times (datetime64)'),
    (np.arange(60)*1e300, ValueError, '`y` must hold numbers whose standard deviation float64 can hold, got inf: scale it first'),
])
def test_a_bad_target_is_refused_in_words(words, target, error, said):
    with pytest.raises(error) as e: EntityEncoder(['city'], **QUICK).fit(table()[0], pd.Series(target, dtype=object if 'a' in list(target) else None))
    assert said in str(e.value)


def test_column_names_that_come_twice(words):
    df, y = table()
    with pytest.raises(ValueError, match='`X` must have columns of different names'): EntityEncoder(**QUICK).fit(df.set_axis(['a', 'a', 'b'], axis=1), y)


def test_true_is_not_one(words):
    df, y = table()
    df['old'] = df.rooms>2
    encoder = EntityEncoder(['old'], **QUICK).fit(df[['old']], y)
    with pytest.raises(TypeError, match=r"`X\['old'\]` must hold True and False, as in training, got 1"): encoder.transform(pd.DataFrame({'old': [1, 0]}))
    encoder = EntityEncoder(['rooms'], **QUICK).fit(df[['rooms']], y)
    with pytest.raises(TypeError, match='must hold numbers, as in training, got True'): encoder.transform(pd.DataFrame({'rooms': [True]}))
    encoder.fit(pd.DataFrame({'rooms': [True, False, None]*20}), y)  # of dtype object, since one is missing
    assert (encoder.transform(pd.DataFrame({'rooms': [True]}))==encoder.embeddings_['rooms'].iloc[2].to_numpy()).all()


@pytest.mark.parametrize('change,error,said', [
    (lambda df: df.drop(columns='size'), ValueError, 'Feature names'),
    (lambda df: df[['rooms', 'city', 'size']], ValueError, 'Feature names must be in the same order'),
    (lambda df: df.assign(rooms='two'), TypeError, "`X['rooms']` must hold numbers, as in training, got 'two'"),
])
def test_another_table_is_refused(words, change, error, said):
    df, y = table()
    encoder = EntityEncoder(['city', 'rooms'], **QUICK).fit(df, y)
    with pytest.raises(error) as e: encoder.transform(change(df))
    assert said in str(e.value)
    with pytest.raises(ValueError, match='input_features is not equal to feature_names_in_: wanted'): encoder.get_feature_names_out(['a', 'b', 'c'])


def test_a_bar_only_if_asked_for(monkeypatch):
    df, y = table()
    asked = []
    monkeypatch.setattr(entity, 'fit_network', lambda *args, progress, **kwargs: asked.append(progress) or fit(*args, progress=False, **kwargs))
    for progress in (False, True): EntityEncoder(['city'], progress=progress, **QUICK).fit(df, y)
    assert asked==[False, True]


def test_one_row_is_too_few():
    df, y = table(1)
    with pytest.raises(ValueError, match='minimum of 2 is required'): EntityEncoder(['city'], **QUICK).fit(df, y)
