"Laws that hold for any input, each tried on many random ones"
from collections import Counter

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from fastai.collab import EmbeddingDotBias, EmbeddingNN
from fastai.data.transforms import CategoryMap
from fastai.layers import sigmoid_range as fastai_sigmoid_range
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lesson8lib.checks import check_axes, check_index
from lesson8lib.checks import test_same as same
from lesson8lib.checks import test_same_fn as same_fn
from lesson8lib.collab import DotProduct, DotProductBias, RatingsData, sigmoid_range
from lesson8lib.collab_nn import CollabNN
from lesson8lib.hybrid import HybridCollab
from lesson8lib.data import Vocab
from lesson8lib.embedding import Embedding, create_params, one_hot
from lesson8lib.interpret import pca
from lesson8lib.parameters import Linear, Module, Sequential
from lesson8lib.text import count_pairs
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


@many
@given(st.lists(sizes, min_size=1, max_size=3), st.floats(.001, 3), seeds)
def test_created_parameters_are_normal_numbers_of_the_asked_size(shape, std, seed):
    theirs = torch.randn(*shape, generator=torch.Generator().manual_seed(seed))*std
    torch.manual_seed(0)
    same(create_params(*shape, std=std, generator=torch.Generator().manual_seed(seed)).detach(), theirs)


@few
@given(sizes, sizes, seeds)
def test_a_generator_decides_all_first_numbers(i, o, seed):
    made = []
    for other in (0, 1):
        torch.manual_seed(other)
        made.append([p.detach() for p in Linear(i, o, generator=torch.Generator().manual_seed(seed)).parameters()])
    same(*made, rtol=0, atol=0)


@few
@given(st.integers(2, 200), st.floats(0, .999), seeds)
def test_the_share_of_validation_rows_is_fastais(n, valid_pct, seed):
    from fastai.data.transforms import RandomSplitter
    df = pd.DataFrame({'user': [i % 2 for i in range(n)], 'title': [i % 2 for i in range(n)], 'rating': range(n)})
    ours = RatingsData.from_df(df, valid_pct=valid_pct, seed=seed)
    train, valid = RandomSplitter(valid_pct, seed)(range(n))
    assert ours.train[1].tolist()==list(train) and (ours.valid[1].tolist() if ours.valid else [])==list(valid)


def test_gradients_are_those_of_finite_differences():
    "In double precision, without PyTorch's layers in between"
    torch.manual_seed(0)
    user, item = torch.randn(3, 4).double(), torch.randn(5, 4).double()
    for leaf in (user, item): leaf.requires_grad_()
    rows = torch.tensor([[0, 4], [2, 0], [2, 4]])
    def rate(u, i): return sigmoid_range((u[rows[:,0]]*i[rows[:,1]]).sum(1), 0, 5.5)
    assert torch.autograd.gradcheck(rate, (user, item))
    model = DotProductBias(3, 5, 4).double()
    names = [name for name,_ in model.named_parameters()]
    def call(*params): return torch.func.functional_call(model, dict(zip(names, params, strict=True)), (rows,))
    assert torch.autograd.gradcheck(call, tuple(p.detach().clone().requires_grad_() for p in model.parameters()))


@few
@given(st.integers(0, 4), st.integers(-6, 6), st.one_of(st.none(), st.integers(-6, 6)), st.one_of(st.none(), st.integers(-6, 6)), st.sampled_from([None, 1, 2, -1]))
def test_sequential_is_walked_as_pytorchs(n, i, start, stop, step):
    ours, theirs = Sequential(*[Linear(k+1, k+2) for k in range(n)]), nn.Sequential(*[nn.Linear(k+1, k+2) for k in range(n)])
    assert len(ours)==len(theirs) and [m.weight.shape for m in ours]==[m.weight.shape for m in theirs] and list(ours)==[ours[k] for k in range(n)]
    part, other = ours[start:stop:step], theirs[start:stop:step]
    assert type(part) is Sequential and {k: v.shape for k,v in part.state_dict().items()}=={k: v.shape for k,v in other.state_dict().items()}
    if -n<=i<n: assert ours[i].weight.shape==theirs[i].weight.shape and ours[i] is list(ours)[i]
    else:
        for net in (ours, theirs):
            with pytest.raises(IndexError): net[i]
    for wrong in (True, 1., '0'):
        with pytest.raises(TypeError): ours[wrong]


@many
@given(st.lists(st.one_of(st.integers(0, 4), st.sampled_from([2**31, 2**32+1, 4_000_000_000, 2**62, 2**63-1])), max_size=12), st.integers(1, 30),
       st.sampled_from([torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64]))
def test_pairs_of_words_are_counted_exactly(rows, window, dtype):
    "Beside two loops; numbers of rows of any size"
    if dtype!=torch.int64: rows = [r%5 for r in rows]
    counts = Counter((a, b) for i,a in enumerate(rows) for j,b in enumerate(rows) if a and b and 0<abs(i-j)<=window)
    pairs, found = count_pairs(torch.tensor(rows, dtype=dtype), window)
    assert pairs.dtype==found.dtype==torch.int64 and pairs.shape==(len(counts), 2)
    assert dict(zip(map(tuple, pairs.tolist()), found.tolist(), strict=True))==counts and pairs.tolist()==sorted(pairs.tolist())


def test_negative_rows_are_not_counted():
    for rows in ([2, -1], [-1], [2**63-1, -1]):
        with pytest.raises(IndexError, match=r'`ids` must be at least 0, got 1 below: \[-1\]'): count_pairs(torch.tensor(rows))


def test_a_refused_state_changes_nothing():
    net = Sequential(Linear(2, 3), torch.relu, Linear(3, 1))
    before = {k: v.clone() for k,v in net.state_dict().items()}
    other = {k: v+1 for k,v in before.items()}
    for wrong in (other | {'2.bias': torch.zeros(7)}, {k: v for k,v in other.items() if k!='2.bias'}, other | {'x': torch.zeros(1)}):
        with pytest.raises((KeyError, ValueError)): net.load_state_dict(wrong)
        same(net.state_dict(), before, rtol=0, atol=0)
    net.load_state_dict(other)
    same(net.state_dict(), other)


def test_a_new_module_is_in_training_as_pytorchs_is(): assert Module().training is nn.Module().training is True


@few
@given(st.integers(2, 9), sizes, sizes, st.lists(sizes, max_size=3), st.booleans(), st.booleans(), st.sampled_from([None, (0, 5.5)]), seeds)
def test_collab_nn_is_fastais(b, u, i, layers, use_bn, training, y_range, seed):
    torch.manual_seed(seed % 1000)
    ours, theirs = CollabNN((7, u), (6, i), layers, use_bn, y_range=y_range), EmbeddingNN([(7, u), (6, i)], layers, use_bn=use_bn, y_range=y_range)
    theirs.embeds[0].weight.data, theirs.embeds[1].weight.data = ours.user_factors.data.clone(), ours.item_factors.data.clone()
    learned = [[m for m in model.layers.modules() if isinstance(m, nn.Linear | nn.BatchNorm1d)] for model in (ours, theirs)]
    for mine,other in zip(*learned, strict=True): other.load_state_dict(mine.state_dict())
    x = rand_index((b, 2), 6, seed)
    a, c = (m.train(training)(x) for m in (ours, theirs))
    same(a, c.squeeze(1), rtol=1e-4, atol=1e-5)
    w = torch.randn(b)
    for out in (a, c.squeeze(1)): (out*w).sum().backward()
    same(ours.item_factors.grad, theirs.embeds[1].weight.grad, rtol=1e-3, atol=1e-5)


@few
@given(st.integers(2, 12), sizes, seeds)
def test_pca_is_scikit_learns(n, d, seed):
    from sklearn.decomposition import PCA
    x, k = torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64), min(n-1, d)  # the n-th axis of n points is noise
    ours, theirs = pca(x, k), PCA(k, svd_solver='full').fit(x.numpy())
    for a,b in ((ours.axes, theirs.components_), (ours.explained, theirs.explained_variance_ratio_), (ours.points, theirs.transform(x.numpy()))):
        same(a, torch.tensor(b), rtol=1e-6, atol=1e-8)
    if k==d: same(ours.points@ours.axes + ours.mean, x)


@few
@given(st.integers(1, 9), sizes, sizes, sizes, st.sampled_from([None, (0, 5.5), (-1, 1)]), seeds)
def test_a_bare_hybrid_is_dot_product_bias(b, n_users, n_items, f, y_range, seed):
    plain, hybrid = DotProductBias(n_users, n_items, f, y_range), HybridCollab(n_users, n_items, n_factors=f, n_hidden=0, y_range=y_range)
    for rows,side in ((hybrid.users, 'user'), (hybrid.items, 'item')):
        rows.own.data = torch.cat([getattr(plain, f'{side}_factors').data, getattr(plain, f'{side}_bias').data[:,None]], 1)
    x = torch.stack([rand_index((b,), n_users, seed), rand_index((b,), n_items, seed+1)], 1)
    same_fn(lambda x: hybrid(x), lambda x: plain(x), x)
    for name in ('user_factors', 'user_bias', 'item_factors', 'item_bias'): same(getattr(hybrid, name), getattr(plain, name).data.clone().requires_grad_(), rtol=0, atol=0)


def test_metadata_are_standardized_and_words_counted():
    from lesson8lib.hybrid import Metadata
    df = pd.DataFrame({'item': ['a', 'b', 'c'], 'year': [1990, 2000, None], 'genres': ['x|y', 'y', '']})
    about, vocab = Metadata(df, 'item', ['year', 'genres']), Vocab(['a', 'b', 'd'])
    assert about.columns==['year', 'genres=x', 'genres=y']
    repeated = pd.concat([df, df]).reset_index(drop=True).set_index([[0]*6])  # an index that repeats
    same(about.encode(repeated), about.encode(df).repeat(2, 1))
    same(Metadata(df.astype({'genres': 'category'}), 'item', ['year', 'genres']).encode(df), about.encode(df))
    for wrong,error in ((df.drop(columns='year'), KeyError), (df.assign(genres='z'), KeyError), ([1], TypeError)):
        with pytest.raises(error, match='`df'): about.encode(wrong)
    with pytest.raises(ValueError, match='`vocab` must share names'): about.encode(df, Vocab(['q']))
    table = about.encode(df, vocab)
    assert len(table)==4 and not table[0].any() and not table[3].any()
    same(table[1:3,0], torch.tensor([-.5**.5, .5**.5]))
    same(table[1:3,-2:], torch.tensor([[1., 1], [0, 1]]))
