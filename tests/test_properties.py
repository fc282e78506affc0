"Laws that hold for any input, each tried on many random ones"
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from fastai.collab import EmbeddingDotBias
from fastai.data.transforms import CategoryMap
from fastai.layers import sigmoid_range as fastai_sigmoid_range
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lesson8lib.checks import check_axes, check_index
from lesson8lib.checks import test_same as same
from lesson8lib.checks import test_same_fn as same_fn
from lesson8lib.collab import DotProduct, DotProductBias, RatingsData, sigmoid_range
from lesson8lib.data import Vocab
from lesson8lib.embedding import Embedding, one_hot
from lesson8lib.parameters import Linear
from lesson8lib.training import batches, evaluate, one_cycle

many = settings(max_examples=200, deadline=None, derandomize=True)
few = settings(max_examples=50, deadline=None, derandomize=True)
sizes, seeds = st.integers(1, 12), st.integers(0, 2**31)
shapes = st.lists(st.integers(0, 4), max_size=3).map(tuple)
dtypes = st.sampled_from([torch.float32, torch.float64])


def rand_index(shape, n, seed): return torch.randint(0, n, shape, generator=torch.Generator().manual_seed(seed))


@many
@given(shapes, sizes, sizes, seeds, dtypes)
def test_embedding_is_pytorchs(shape, n, f, seed, dtype):
    theirs, index = nn.Embedding(n, f, dtype=dtype), rand_index(shape, n, seed)
    ours = Embedding(n, f)
    ours.weight = theirs.weight
    same_fn(ours, theirs, index)
    w = torch.randn(*shape, f, dtype=dtype)
    same(*(torch.autograd.grad((m(index)*w).sum(), m.weight)[0] for m in (ours, theirs)))


@many
@given(shapes, sizes, seeds, dtypes)
def test_one_hot_is_pytorchs_and_its_product_is_a_lookup(shape, n, seed, dtype):
    index = rand_index(shape, n, seed)
    same_fn(lambda i: one_hot(i, n), lambda i: F.one_hot(i, n), index)
    same_fn(lambda m: one_hot(index, n).to(dtype) @ m, lambda m: m[index], torch.randn(n, 3, dtype=dtype))


@many
@given(st.integers(0, 9), sizes, sizes, sizes, st.sampled_from([None, (0, 5.5), (-1, 1)]), seeds)
def test_dot_product_bias_is_fastais(b, n_users, n_items, f, y_range, seed):
    ours, theirs = DotProductBias(n_users, n_items, f, y_range), EmbeddingDotBias(f, n_users, n_items, y_range)
    pairs = {'user_factors': theirs.u_weight, 'item_factors': theirs.i_weight, 'user_bias': theirs.u_bias, 'item_bias': theirs.i_bias}
    for name,emb in pairs.items(): getattr(ours, name).data = emb.weight.data.view(getattr(ours, name).shape)
    x = torch.stack([rand_index((b,), n_users, seed), rand_index((b,), n_items, seed+1)], 1)
    same(ours(x), theirs(x))
    w = torch.randn(b)
    for m in (ours, theirs): (m(x)*w).sum().backward()
    for name,emb in pairs.items(): same(getattr(ours, name).grad, emb.weight.grad.view(getattr(ours, name).shape))


@many
@given(st.integers(0, 9), sizes, sizes, sizes, st.sampled_from([None, (0, 5.5), (-1, 1)]), seeds)
def test_dot_product_is_a_matrix_product(b, n_users, n_items, f, y_range, seed):
    model = DotProduct(n_users, n_items, f, y_range, torch.Generator().manual_seed(seed))
    users, items = rand_index((b,), n_users, seed), rand_index((b,), n_items, seed+1)
    dot = (model.user_factors @ model.item_factors.T)[users, items]
    same(model(torch.stack([users, items], 1)), dot if y_range is None else fastai_sigmoid_range(dot, *y_range))


@many
@given(shapes, st.floats(-9, 9), st.floats(.1, 9), dtypes)
def test_sigmoid_range_is_fastais_and_stays_in_range(shape, low, width, dtype):
    x = torch.randn(shape, dtype=dtype)*20
    same_fn(lambda x: sigmoid_range(x, low, low+width), lambda x: fastai_sigmoid_range(x, low, low+width), x)
    y = sigmoid_range(x, low, low+width)
    assert ((y>=low-1e-5) & (y<=low+width+1e-5)).all()


@many
@given(sizes, sizes, st.integers(0, 5), st.booleans(), seeds)
def test_linear_is_pytorchs(i, o, b, bias, seed):
    ours, theirs = Linear(i, o, bias, torch.Generator().manual_seed(seed)), nn.Linear(i, o, bias)
    theirs.load_state_dict(ours.state_dict())
    same_fn(ours, theirs, torch.randn(b, i))


@many
@given(st.integers(1, 50), st.integers(1, 60), st.booleans(), seeds)
def test_an_epoch_visits_every_row_once(n, bs, shuffle, seed):
    x = torch.arange(n)
    cut = list(batches((x, x*2), bs, shuffle, torch.Generator().manual_seed(seed)))
    assert all(len(a)==bs for a,_ in cut[:-1])
    a, b = (torch.cat(c) for c in zip(*cut, strict=True))
    same(a.sort().values, x)
    same(b, a*2)
    if not shuffle: same(a, x)


names = st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=20) | st.lists(st.integers(-99, 99), min_size=1, max_size=20)

@many
@given(names)
def test_a_vocabulary_is_fastais_and_goes_both_ways(items):
    items = [i for i in items if i!='#na#'] or ['a']
    vocab = Vocab(items)
    assert [vocab[i] for i in range(len(vocab))] == list(CategoryMap(pd.Series(items), add_na=True, sort=True))
    assert [vocab[int(i)] for i in vocab.index(items)] == items
    with pytest.raises(KeyError): vocab.index(['no such name'])
    assert vocab.index(['no such name'], unknown='na').tolist()==[0]


@few
@given(st.integers(5, 60), st.floats(0, .9), seeds)
def test_a_split_loses_and_repeats_nothing(n, valid_pct, seed):
    df = pd.DataFrame({'user': [i%3 for i in range(n)], 'title': [str(i%4) for i in range(n)], 'rating': range(n)})
    data = RatingsData.from_df(df, valid_pct=valid_pct, seed=seed)
    parts = [data.train] + ([data.valid] if data.valid else [])
    ratings = torch.cat([y for _,y in parts])
    same(ratings.sort().values, torch.arange(n).float())
    for x,y in parts:
        assert [data.users[i] for i in x[:,0].tolist()]==[int(v)%3 for v in y]
        assert [data.items[i] for i in x[:,1].tolist()]==[str(int(v)%4) for v in y]


@few
@given(st.integers(1, 40), st.integers(1, 50), seeds)
def test_evaluation_does_not_depend_on_the_size_of_batches(n, bs, seed):
    torch.manual_seed(seed)
    model, data = nn.Linear(3, 2), (torch.randn(n, 3), torch.randn(n, 2))
    same(evaluate(model, data, bs=bs)['loss'], F.mse_loss(model(data[0]), data[1]).item(), rtol=1e-5, atol=1e-6)


@few
@given(st.floats(0, 1), st.floats(1e-6, 10))
def test_one_cycle_stays_between_its_ends(done, lr):
    rate, momentum = one_cycle(done, lr)
    assert lr/1e5*.999 <= rate <= lr*1.001 and .85-1e-9 <= momentum <= .95+1e-9


@many
@given(shapes)
def test_axes_are_accepted_just_when_they_fit(shape):
    x = torch.zeros(shape)
    assert check_axes(x, ' '.join('abc'[:len(shape)]), 'x')==shape
    for axes in (' '.join('abcd'[:len(shape)+1]), ' '.join(['9', *'abc'][:max(len(shape), 1)])):
        with pytest.raises(ValueError): check_axes(x, axes, 'x')


@many
@given(st.lists(st.integers(-3, 9), max_size=6), st.integers(1, 8))
def test_row_numbers_are_accepted_just_when_they_exist(rows, n):
    index = torch.tensor(rows, dtype=torch.long)
    if all(0<=r<n for r in rows): check_index(index, n, 'index')
    else:
        with pytest.raises(IndexError): check_index(index, n, 'index')
