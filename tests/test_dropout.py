"`dropout` and `Dropout` beside PyTorch's, over many shapes, orders in memory and probabilities; and the laws of a mask"
import copy

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from torch import nn

from lesson8lib.checks import test_same as same
from lesson8lib.dropout import Dropout, dropout, dropout_mask, dropout_mlp
from lesson8lib.training import fit, new_generator

many, some, few = (settings(max_examples=n, deadline=None, derandomize=True) for n in (600, 500, 60))
shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)
ps = st.one_of(st.sampled_from([0, 1, 0., .1, .2, .5, .7, .999, 1.]), st.floats(0, 1))
dtypes = st.sampled_from([torch.float32, torch.float64, torch.float16, torch.bfloat16])
orders = st.sampled_from(['as it is', 'transposed', 'every other', 'stretched', 'shifted'])
seeds, flags = st.integers(0, 999), st.booleans()


def arranged(shape, order, dtype, seed):
    "Numbers in some order in memory"
    x = torch.randn(shape, generator=new_generator(seed)).to(dtype)
    if not shape or order=='as it is': return x
    if order=='transposed': return x.transpose(0, -1)
    if order=='every other': return torch.cat([x, x], -1)[...,::2]
    if order=='stretched': return x[:1].expand(3, *shape[1:]) if shape[0] else x
    return torch.cat([x[:1], x])[1:]


def seeded(fn, x, seed):
    torch.manual_seed(seed)
    return fn(x), torch.get_rng_state()


def bits(x): return x.contiguous().view({2: torch.int16, 4: torch.int32, 8: torch.int64}[x.dtype.itemsize])


@many
@given(shapes, orders, dtypes, ps, flags, seeds)
def test_dropout_is_pytorchs_in_every_bit(shape, order, dtype, p, training, seed):
    found = []
    for ours in (True, False):
        x = arranged(shape, order, dtype, seed).requires_grad_()
        out, state = seeded((lambda t, p=p: dropout(t, p, training)) if ours else (lambda t, p=p: F.dropout(t, p, training)), x, seed)
        weights = torch.randn(out.shape, generator=new_generator(seed+1)).to(dtype)
        slope, = torch.autograd.grad((out*weights).sum(), x)
        found.append((bits(out.detach()), out.stride(), bits(slope), state))  # the same numbers, and as many of them drawn
        assert out.dtype==dtype and out.shape==x.shape and (out is x)==(not training or p==0 or not x.numel())
    for mine,other in zip(*found, strict=True): same(mine, other)


@some
@given(shapes, orders, dtypes, ps, flags, seeds)
def test_the_layer_is_pytorchs_in_every_bit(shape, order, dtype, p, training, seed):
    x = arranged(shape, order, dtype, seed)
    (mine, a), (other, b) = (seeded(layer.train(training), x, seed) for layer in (Dropout(p), nn.Dropout(p)))
    same(bits(mine), bits(other))
    same(a, b)


@some
@given(shapes, st.floats(.001, .999), st.sampled_from([torch.float32, torch.float64]), seeds)
def test_laws(shape, p, dtype, seed):
    x = torch.randn(shape, generator=new_generator(seed)).to(dtype)
    x = torch.where(x==0, 1., x)
    before = torch.get_rng_state()
    mask = dropout_mask(shape, p, new_generator(seed), like=x)
    assert ((mask==0) | (mask==1)).all() and mask.dtype==dtype and mask.shape==x.shape
    out = dropout(x, p, generator=new_generator(seed))
    same(out, torch.where(mask==1, x*(torch.ones((), dtype=dtype)/(1-p)), 0.), rtol=1e-6 if dtype==torch.float32 else 1e-15, atol=0.)
    same(out, dropout(x, p, generator=new_generator(seed)))
    same(out, Dropout(p, generator=new_generator(seed))(x))
    same(torch.get_rng_state(), before)  # a generator of its own leaves PyTorch's alone


@few
@given(ps, seeds)
def test_the_share_kept_is_binomial(p, seed):
    kept = int(dropout_mask((50, 60), p, new_generator(seed)).sum())
    low, high = binom.interval(1-1e-6, 3000, 1-p) if 0<p<1 else (3000*(1-p),)*2
    assert low<=kept<=high


def test_places_are_independent():
    "In rows, in columns and from one call to the next"
    generator = new_generator(0)
    a, b = dropout_mask((500, 400), .3, generator), dropout_mask((500, 400), .3, generator)
    for pair in (a*b, a[1:]*a[:-1], a[:,1:]*a[:,:-1]): assert abs(pair.mean()-.7*.7)<.006


def test_the_mean_is_kept():
    x = torch.randn(40, generator=new_generator(0), dtype=torch.float64)
    for p in (.1, .5, .8):
        out = dropout(x.expand(20_000, 40), p, generator=new_generator(1))
        assert ((out.mean(0)-x).abs()<5*x.abs()*(p/(1-p)/20_000)**.5).all()


@few
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.floats(.01, .99), seeds)
def test_a_mask_of_whole_channels_is_dropout2d(b, c, h, w, p, seed):
    x = torch.randn(b, c, h, w, generator=new_generator(seed))
    torch.manual_seed(seed)
    mine = x*(dropout_mask((b, c, 1, 1), p, like=x)/(1-p))
    torch.manual_seed(seed)
    same(mine, F.dropout2d(x, p))


def test_two_trainings_are_one():
    x, y = torch.randn(50, 6, generator=new_generator(0)), torch.randn(50, 1, generator=new_generator(1))
    weights = []
    for layer in (Dropout, nn.Dropout):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), layer(.3), nn.Linear(8, 1))
        fit(model, (x, y), epochs=3, bs=16, seed=0)
        weights.append(dict(model.state_dict()))
    same(*weights)


def test_a_copy_of_a_layer_goes_on_from_the_same_place():
    layer, x = Dropout(.5, generator=new_generator(3)), torch.ones(40)
    layer(x)
    same(copy.deepcopy(layer)(x), layer(x))
    assert repr(layer)=='Dropout(p=0.5)' and not layer.state_dict() and Dropout().p==nn.Dropout().p


def test_a_mask_takes_dtype_and_order_of_its_model():
    assert dropout_mask((2, 3)).dtype==torch.float32 and dropout_mask([2, 3]).shape==(2, 3) and dropout_mask(()).shape==()
    like = torch.ones(3, 2, dtype=torch.float64).T.requires_grad_()
    mask = dropout_mask((2, 3), like=like)
    assert mask.stride()==like.stride() and mask.dtype==torch.float64 and not mask.requires_grad
    assert dropout_mask((4, 1), like=like).dtype==torch.float64
    assert (dropout_mask((9,), 0)==1).all() and (dropout_mask((9,), 1)==0).all()


@pytest.mark.parametrize('p', [-.1, 1.0001, float('nan'), float('inf')])
def test_the_same_p_is_refused(words, p):
    x = torch.ones(3)
    for training in (True, False):
        with pytest.raises((ValueError, RuntimeError)): F.dropout(x, p, training)
        with pytest.raises(ValueError, match=r'`p` must be a finite number in \[0, 1\], got'): dropout(x, p, training)
    for call in (lambda: Dropout(p), lambda: dropout_mask((3,), p)):
        with pytest.raises(ValueError, match='`p` must be'): call()
    layer = Dropout(.5)
    layer.p = p
    with pytest.raises(ValueError, match='`p` must be'): layer(x)


@pytest.mark.parametrize('call,error,text', [
    (lambda: dropout([1., 2.]), TypeError, '`x` must be a tensor of floating-point numbers, got list'),
    (lambda: dropout(torch.arange(3)), TypeError, '`x` must hold floating-point numbers, got torch.int64'),
    (lambda: Dropout()(torch.ones(2, dtype=torch.complex64)), TypeError, '`x` must hold floating-point numbers, got torch.complex64'),
    (lambda: dropout(torch.ones(3), 'half'), TypeError, "`p` must be a finite number in [0, 1], got 'half'"),
    (lambda: dropout_mask((2, -1)), ValueError, '`shape` must be an integer of at least 0, got -1'),
    (lambda: dropout_mask((2, 1.5)), TypeError, '`shape` must be an integer of at least 0, got 1.5'),
    (lambda: dropout_mask((2,), like=torch.arange(2)), TypeError, '`like` must hold floating-point numbers, got torch.int64'),
    (lambda: dropout_mask((5,), like=torch.arange(2)), TypeError, '`like` must hold floating-point numbers, got torch.int64'),
])
def test_it_is_refused_in_words(words, call, error, text):
    with pytest.raises(error) as e: call()
    assert text in str(e.value)


def test_the_experiments_model_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    dropout_mlp(.5, 0)
    assert torch.equal(torch.get_rng_state(), before)
