"The Titanic's passengers as numbers beside pandas and scikit-learn, and the course's models beside PyTorch's optimizer"
import copy

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from lesson8lib.checks import test_same as same
from lesson8lib.data import load_titanic
from lesson8lib.titanic import TitanicNet, fit_titanic, prepare_titanic, titanic_recipes
from lesson8lib.training import new_generator


@pytest.fixture(scope='module')
def df(): return load_titanic()


def course_inputs(df):
    "The course's lines"
    df = df.fillna(df.mode().iloc[0])
    df['LogFare'] = np.log(df.Fare+1)
    df = pd.get_dummies(df, columns=['Sex', 'Pclass', 'Embarked'])
    names = ['Age', 'SibSp', 'Parch', 'LogFare', *(c for c in df if c.startswith(('Sex_', 'Pclass_', 'Embarked_')))]
    x = df[names].astype('float64')
    return x/x.max()


@pytest.mark.parametrize('seed', range(20))
def test_inputs_are_those_of_the_course_on_any_rows(df, seed):
    rows = torch.randperm(len(df), generator=new_generator(seed))[:300].numpy()
    inputs, theirs = prepare_titanic(df.iloc[rows]), course_inputs(df.iloc[rows])
    ours = pd.DataFrame(inputs.x.double().numpy(), columns=inputs.names, index=theirs.index)
    pd.testing.assert_frame_equal(ours[theirs.columns], theirs, rtol=1e-6, atol=1e-7)


def test_settings_of_other_rows_are_used(df):
    train, rest = df.iloc[:600], df.iloc[600:]
    like = prepare_titanic(train)
    both, part = prepare_titanic(df, like), prepare_titanic(rest, like)
    same(both.x[600:], part.x)
    same(both.x[:600], like.x)
    assert part.modes is like.modes and part.maxima is like.maxima
    one = prepare_titanic(rest.drop(columns=['Survived', 'Name', 'Cabin']).iloc[:1], like)
    same(one.x, part.x[:1])


def test_fewer_columns_have_the_same_span(df):
    full, fewer = prepare_titanic(df), prepare_titanic(df, full=False)
    both = torch.cat([full.x, fewer.x], 1).double()
    assert [torch.linalg.matrix_rank(m.double()).item() for m in (full.x, fewer.x, both)]==[10, 10, 10]
    assert fewer.names[-1]=='Ones' and fewer.x.shape==(891, 10) and (fewer.x[:,-1]==1).all()


def test_a_table_is_not_changed_and_may_be_of_polars(df):
    before = df.copy()
    ours = prepare_titanic(df)
    pd.testing.assert_frame_equal(df, before)
    polars = pytest.importorskip('polars')
    same(prepare_titanic(polars.DataFrame(df.astype(object).where(df.notna(), None).to_dict('list'))).x, ours.x)


@pytest.mark.parametrize('change, error, words', [
    (dict(Age=np.nan), ValueError, r"`df\['Age'\]` must have a value in some row, got none"),
    (dict(Fare=-2.), ValueError, r"`df\['Fare'\]` must be a finite number of at least 0, got -2.0"),
    (dict(Fare='7,25'), TypeError, r"`df\['Fare'\]` must hold numbers"),
    (dict(Sex='mail'), KeyError, "unknown Sex level: 'mail'; nearest known: 'male'"),
    (dict(Pclass=4), KeyError, 'unknown Pclass level: 4')])
def test_bad_columns_are_rejected(df, change, error, words):
    with pytest.raises(error, match=words): prepare_titanic(df.assign(**change))


def test_missing_columns_and_unknown_kinds_are_rejected(df):
    with pytest.raises(KeyError, match='Embarked'): prepare_titanic(df.drop(columns='Embarked'))
    with pytest.raises(KeyError, match="unknown kind: 'deep'"): TitanicNet('deep', 12)
    with pytest.raises(ValueError, match='`n_in` must be'): TitanicNet('linear', 0)
    with pytest.raises(ValueError, match='`x` must have axes'): TitanicNet('linear', 4)(torch.rand(5, 3))


@pytest.mark.parametrize('kind', titanic_recipes)
def test_training_is_pytorchs_sgd(kind):
    generator = new_generator(0)
    x = torch.rand(40, 5, generator=generator).double()
    y = (x[:,0]+torch.rand(40, generator=generator)>1).double()
    net = TitanicNet(kind, 5, new_generator(3)).double()
    start = copy.deepcopy(net.state_dict())
    lr, epochs, loss = titanic_recipes[kind]
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=lr)
    for _ in range(epochs):
        optimizer.zero_grad()
        getattr(F, loss)(net(x), y).backward()
        optimizer.step()
    trained = fit_titanic(x, y, kind, new_generator(3))
    same(dict(trained.state_dict()), dict(net.state_dict()), rtol=1e-6, atol=1e-8)
    fixed = [n for n,p in net.named_parameters() if not p.requires_grad]
    assert all(torch.equal(start[n].double(), trained.state_dict()[n]) for n in fixed)
    assert trained(x).shape==(40,) and trained(x[:0]).shape==(0,)


def test_the_same_generator_gives_the_same_model():
    first, again, other = (TitanicNet('one hidden layer', 7, new_generator(s)) for s in (1, 1, 2))
    same(dict(first.state_dict()), dict(again.state_dict()))
    assert not torch.equal(first.weights[0], other.weights[0])


def test_the_four_accuracies_of_the_course(df):
    order = torch.randperm(891, generator=new_generator(42))
    valid, train = order[:178], order[178:]
    x, y = prepare_titanic(df).x, torch.tensor(df.Survived.to_numpy('float32'))
    kinds = {'linear': .7865, 'sigmoid': .8258, 'one hidden layer': .8258, 'two hidden layers': .8258}
    for kind,accuracy in kinds.items():
        says = fit_titanic(x[train], y[train], kind, new_generator(442))(x[valid])>.5
        assert abs((says==(y[valid]==1)).float().mean()-accuracy)<1e-4, kind
