"`TabularModel` and `TableData` beside fastai's, over many shapes and tables"
import numpy as np
import pandas as pd
import pytest
import torch
from fastai.tabular.core import Categorify, FillMissing, Normalize, TabularPandas
from fastai.tabular.model import TabularModel as FastaiModel
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lesson8lib.checks import test_same as same
from lesson8lib.batchnorm import batch_norm
from lesson8lib.tabular import TableData, TabularModel
from lesson8lib.training import new_generator

few = settings(max_examples=60, deadline=None, derandomize=True)
widths, flags = st.integers(1, 6), st.booleans()


def twin(ours, *args, **options):
    "fastai's model with our numbers"
    theirs = FastaiModel(*args, **options).double()
    learned = [[m for m in model.modules() if isinstance(m, nn.Linear | nn.BatchNorm1d) and getattr(m, 'num_features', 1)] for model in (ours, theirs)]
    for mine,other in zip(*learned, strict=True): other.load_state_dict(mine.state_dict())
    for mine,other in zip(ours.embeds, theirs.embeds, strict=True): other.weight.data = mine.weight.data.clone()
    return theirs


@few
@given(st.lists(st.tuples(widths, widths), max_size=3), st.integers(0, 3), st.integers(1, 3), st.lists(widths, max_size=3), st.integers(2, 7),
       st.sampled_from([None, (0., 5.5)]), flags, flags, flags, flags, st.integers(0, 999))
def test_tabular_model_is_fastais(emb_szs, n_cont, out_sz, layers, b, y_range, use_bn, bn_final, bn_cont, training, seed):
    if not emb_szs and not n_cont: return
    torch.manual_seed(seed)
    options = dict(y_range=y_range, use_bn=use_bn, bn_final=bn_final, bn_cont=bn_cont)
    ours = TabularModel(emb_szs, n_cont, out_sz, layers, **options).double()
    theirs = twin(ours, emb_szs, n_cont, out_sz, layers, **options)
    x_cat = torch.stack([torch.randint(0, n, (b,)) for n,_ in emb_szs], 1) if emb_szs else torch.zeros(b, 0).long()
    x_cont = torch.randn(b, n_cont, dtype=torch.float64)
    a, c = (m.train(training)(x_cat, x_cont) for m in (ours, theirs))
    same(a, c.squeeze(1) if out_sz==1 else c, rtol=1e-6, atol=1e-8)
    w = torch.randn(a.shape, dtype=torch.float64)
    (a*w).sum().backward()
    (c.reshape(a.shape)*w).sum().backward()
    for mine,other in zip(ours.embeds, theirs.embeds, strict=True): same(mine.weight.grad, other.weight.grad, rtol=1e-6, atol=1e-8)


@few
@given(st.integers(2, 9), widths, flags, st.floats(.01, .9), st.integers(0, 999))
def test_batch_norm_is_pytorchs(b, f, training, momentum, seed):
    x = torch.randn(b, f, generator=new_generator(seed), dtype=torch.float64)
    weight, bias = torch.randn(2, f, generator=new_generator(seed+1), dtype=torch.float64)
    kept = [[torch.full((f,), .3, dtype=torch.float64), torch.full((f,), 2., dtype=torch.float64)] for _ in range(2)]
    same(batch_norm(x, *kept[0], weight, bias, training, momentum), nn.functional.batch_norm(x, *kept[1], weight, bias, training, momentum))
    same(kept[0], kept[1])


def frame(n, seed=0):
    rng = np.random.default_rng(seed)
    df = pd.DataFrame({'size': rng.normal(50, 9, n), 'rooms': rng.normal(3, 1, n), 'city': rng.choice(['Rome', 'Bonn', 'Oslo'], n), 'rent': rng.normal(900, 99, n)})
    df.loc[rng.choice(n, n//5, replace=False), 'size'] = np.nan
    return df


@pytest.mark.parametrize('seed', range(5))
def test_a_table_becomes_fastais_tensors(seed):
    df, order = frame(60, seed), np.random.default_rng(seed).permutation(60)
    valid = sorted(order[:12].tolist())
    ours = TableData(df, 'rent', valid=valid)
    theirs = TabularPandas(df.copy(), [Categorify, FillMissing, Normalize], ['city'], ['size', 'rooms'], 'rent', splits=(sorted(order[12:].tolist()), valid))
    same(ours.train[0], torch.tensor(theirs.train.cats.to_numpy()).long())
    for mine,part in ((ours.train, theirs.train), (ours.valid, theirs.valid)): same(mine[1], torch.tensor(part.conts.to_numpy(dtype='float32')), rtol=1e-4, atol=1e-5)


def test_nothing_of_the_validation_rows_is_learned():
    df = frame(60)
    outlier = df.copy()
    outlier.loc[:11, ['size', 'rooms']] = 1e6
    outlier.loc[:11, 'city'] = 'Lima'
    a, b = (TableData(d, 'rent', valid=range(12)) for d in (df, outlier))
    for x,y in zip(a.train, b.train, strict=True): same(x, y)
    assert (b.valid[0][:,0]==0).all()


@pytest.mark.parametrize('call,error,words_', [
    (lambda: TableData(frame(9).assign(rent=np.nan), 'rent'), ValueError, "`df['rent']` must have a value in every row, got 9 missing"),
    (lambda: TableData(frame(9), 'price'), KeyError, 'price'),
    (lambda: TabularModel([(3, 2)], 1, 1, [4, 4], ps=[.1]), ValueError, '`ps` must have one probability for each of 2 layers, got 1'),
    (lambda: TabularModel([], 0, 1, [4]), ValueError, '`emb_szs` or `n_cont` must name a column, got neither'),
    (lambda: TabularModel([(3, 2)], 0, 1, [])(torch.tensor([[3], [0]])), IndexError, '`x_cat[:,0]` must lie in 0…2, got 1 outside: 3'),
    (lambda: TabularModel([(3, 2)], 1, 1, [4])(torch.tensor([[1]]), torch.zeros(1, 1)), ValueError, 'must have at least 2 rows in training'),
])
def test_it_is_refused_in_words(words, call, error, words_):
    with pytest.raises(error) as e: call()
    assert words_ in str(e.value)
