"The activation functions beside PyTorch's, over many shapes, types and options: values, slopes, refusals"
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from lesson8lib import activations as act
from lesson8lib.checks import test_same as same
from lesson8lib.checks import test_same_fn as same_fn
from lesson8lib.training import new_generator

many, some = (settings(max_examples=n, deadline=None, derandomize=True) for n in (520, 120))
shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)
wide, narrow = st.sampled_from([torch.float32, torch.float64]), st.sampled_from([torch.float16, torch.bfloat16])
seeds, scales = st.integers(0, 9999), st.sampled_from([1e-3, 1., 5., 30.])
extremes = torch.tensor([0., -0., 1000, -1000, 20, 20.001, -88, 89, 1e-6, -1e-6])

PAIRS = {'relu': (act.relu, F.relu), 'sigmoid': (act.sigmoid, torch.sigmoid), 'tanh': (act.tanh, torch.tanh), 'gelu': (act.gelu, F.gelu),
         'gelu_tanh': (lambda x: act.gelu(x, 'tanh'), lambda x: F.gelu(x, approximate='tanh')), 'silu': (act.silu, F.silu),
         'mish': (act.mish, F.mish), 'leaky_relu': (act.leaky_relu, F.leaky_relu), 'softplus': (act.softplus, F.softplus)}
names = st.sampled_from(sorted(PAIRS))


def numbers(shape, seed, dtype, scale=5., strange=True):
    "Random numbers of a scale, a fifth of them replaced by the extremes, every other time in transposed order"
    generator = new_generator(seed)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)*scale
    if strange: x = torch.where(torch.rand(shape, generator=generator)<.2, extremes.double()[torch.randint(len(extremes), shape, generator=generator)], x)
    x = x.to(dtype)
    return x.transpose(0, -1) if shape and seed%2 else x


def slope(fn, x):
    leaf = x.detach().clone().requires_grad_()
    return torch.autograd.grad(fn(leaf).sum(), leaf)[0]


@many
@given(names, shapes, wide, scales, seeds)
def test_activations_are_pytorchs(name, shape, dtype, scale, seed):
    mine, other = PAIRS[name]
    x = numbers(shape, seed, dtype, scale)
    same_fn(mine, other, x)
    assert not slope(mine, x).isnan().any()


@some
@given(names, shapes, narrow, seeds)
def test_activations_of_16_bits(name, shape, dtype, seed):
    mine, other = PAIRS[name]
    x, step = numbers(shape, seed, dtype), torch.finfo(dtype).eps
    same(mine(x), other(x), rtol=step, atol=1e-5)
    same_fn(mine, other, x, rtol=step, atol=2*step)
    assert not slope(mine, x).isnan().any()


@some
@given(shapes, wide, seeds, st.floats(-3, 3), st.floats(.01, 20), st.floats(-10, 40))
def test_activations_off_their_defaults(shape, dtype, seed, negative_slope, beta, threshold):
    x = numbers(shape, seed, dtype)
    same_fn(lambda t: act.leaky_relu(t, negative_slope), lambda t: F.leaky_relu(t, negative_slope), x)
    loose = {'rtol': 1e-4, 'atol': 1e-5} if dtype==torch.float32 else {}  # a product near the threshold may be rounded to its other side
    same_fn(lambda t: act.softplus(t, beta, threshold), lambda t: F.softplus(t, beta, threshold), x, **loose)


@pytest.mark.parametrize('name', sorted(PAIRS))
def test_at_the_ends(name):
    mine, other = PAIRS[name]
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        assert mine(torch.tensor([torch.nan, 1.], dtype=dtype)).isnan().tolist()==[True, False]
    ends = torch.tensor([-torch.inf, torch.inf])
    if name in ('relu', 'sigmoid', 'tanh', 'leaky_relu', 'softplus'):
        same_fn(mine, other, ends)
        assert slope(mine, ends).isfinite().all()
    else: assert mine(ends).isnan().tolist()==[True, False] and mine(ends)[1]==torch.inf
    nan = torch.tensor([torch.nan])
    torch.testing.assert_close(slope(mine, nan), slope(other, nan), equal_nan=True)
    x = torch.randn(20, dtype=torch.float64, generator=new_generator(1)).requires_grad_()
    assert torch.autograd.gradcheck(mine, x)
    far = torch.tensor([1e-30, -40., -80], dtype=torch.float64)  # where a formula that subtracts would have no digit left
    if name=='softplus':
        seam = torch.tensor([12., 19.9, 20.1], dtype=torch.float64)  # beyond the threshold a rest of 2e-9 is dropped, before it is not
        same(mine(seam), other(seam), rtol=0, atol=1e-13)
    if name in ('sigmoid', 'tanh', 'softplus', 'silu'): same(mine(far), other(far), rtol=1e-12, atol=0.)


def test_refused_words(words):
    x, whole = torch.zeros(2, 3), torch.arange(3)
    for mine,_ in PAIRS.values():
        with pytest.raises(TypeError, match='`x` must hold floating-point numbers, got torch.int64'): mine(whole)
        with pytest.raises(TypeError, match='`x` must be a tensor of floating-point numbers, got list'): mine([1.])
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match='`negative_slope` must be a finite number'): act.leaky_relu(x, value)
        with pytest.raises(ValueError, match='`threshold` must be a finite number'): act.softplus(x, threshold=value)
    for beta in (0, -1, math.inf):
        with pytest.raises(ValueError, match='`beta` must be a finite number greater than 0'): act.softplus(x, beta)
    with pytest.raises(ValueError, match="`approximate` must be 'none' or 'tanh', got 'no'"): act.gelu(x, 'no')
