"The activation functions and losses beside PyTorch's, over many shapes, types and options: values, slopes, refusals"
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


@many
@given(st.lists(st.integers(0, 4), max_size=4).map(tuple), wide, seeds, st.integers(-5, 5), st.booleans())
def test_softmax_and_its_logarithm_are_pytorchs(shape, dtype, seed, dim, infinite):
    x = numbers(shape, seed, dtype)
    if infinite: x = torch.where(torch.rand(x.shape, generator=new_generator(seed+1))<.2, -torch.inf, x)
    if infinite and x.ndim and -x.ndim<=dim<x.ndim and x.isneginf().all(dim).any(): return  # NaN on both sides, which equals nothing
    if infinite and not x.ndim: return
    same_fn(lambda t: act.softmax(t, dim), lambda t: F.softmax(t, dim), x)  # axes that are not there are refused by both
    same_fn(lambda t: act.log_softmax(t, dim), lambda t: F.log_softmax(t, dim), x)


@some
@given(st.integers(1, 5), st.integers(1, 6), wide, seeds)
def test_laws_of_softmax(b, c, dtype, seed):
    x = numbers((b, c), 2*seed, dtype)
    p = act.softmax(x, 1)
    same(p.sum(1), torch.ones(b, dtype=dtype))
    same(act.log_softmax(x, 1).exp(), p)
    moved = numbers((b, c), 2*seed, torch.float64, strange=False)
    same(act.softmax(moved+1000, 1), act.softmax(moved, 1), rtol=1e-9, atol=1e-12)
    empty = torch.full((b, c), -torch.inf, dtype=dtype)
    assert act.softmax(empty, 1).isnan().all() and F.softmax(empty, 1).isnan().all()


@many
@given(st.integers(0, 5), st.integers(1, 6), wide, seeds, st.sampled_from(['int64', 'uint8', 'probabilities', 'other type', 'any numbers']),
       st.sampled_from([0., 0, .1, .37, 1.]))
def test_cross_entropy_is_pytorchs(b, c, dtype, seed, kind, smooth):
    pred, generator = numbers((b, c), 2*seed, dtype), new_generator(seed)
    target = torch.randint(c, (b,), generator=generator)
    if kind=='uint8': target = target.byte()
    elif kind!='int64': target = torch.randn(b, c, generator=generator, dtype=torch.float64)
    if kind in ('probabilities', 'other type'): target = target.softmax(1)
    if kind in ('probabilities', 'any numbers'): target = target.to(dtype)
    if kind=='other type': target = target.to(torch.float64 if dtype==torch.float32 else torch.float32)
    if not b:
        ours, theirs = act.cross_entropy(pred, target, smooth), F.cross_entropy(pred, target, label_smoothing=smooth)
        torch.testing.assert_close(ours, theirs, equal_nan=True)
        return
    loose = {'rtol': 1e-5, 'atol': 1e-4} if kind=='other type' or dtype==torch.float32 else {}
    same_fn(lambda p, y: act.cross_entropy(p, y, smooth), lambda p, y: F.cross_entropy(p, y, label_smoothing=smooth), pred, target, **loose)


@some
@given(st.integers(0, 5), st.integers(1, 6), st.integers(0, 5), st.integers(-2, 8), seeds)
def test_cross_entropy_refuses_what_pytorch_refuses(b, c, n, highest, seed):
    pred = numbers((b, c), 2*seed, torch.float32)
    target = torch.full((n,), highest)
    if not b or not n:
        if b==n: return
    same_fn(act.cross_entropy, F.cross_entropy, pred, target)


def test_cross_entropy_at_the_ends():
    pred = torch.tensor([[0., -torch.inf, 1], [2, 3, 4]])
    same_fn(act.cross_entropy, F.cross_entropy, pred, torch.tensor([0, 1]))
    assert act.cross_entropy(pred, torch.tensor([1, 0]))==F.cross_entropy(pred, torch.tensor([1, 0]))==torch.inf
    pred, target = torch.tensor([[1000., -1000]], requires_grad=True), torch.tensor([1])
    loss = act.cross_entropy(pred, target)
    assert loss==2000
    same(torch.autograd.grad(loss, pred)[0], torch.tensor([[1., -1]]))
    assert torch.autograd.gradcheck(lambda p: act.cross_entropy(p, torch.tensor([0, 2]), .2), torch.randn(2, 3, dtype=torch.float64, generator=new_generator(0)).requires_grad_())
    for dtype in (torch.float16, torch.bfloat16):
        pred = torch.randn(4, 3, generator=new_generator(0)).to(dtype)
        same(act.cross_entropy(pred, torch.tensor([0, 1, 2, 2])), F.cross_entropy(pred, torch.tensor([0, 1, 2, 2])), rtol=2*torch.finfo(dtype).eps, atol=0.)


@many
@given(shapes, st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
       st.sampled_from([torch.float16, torch.float32, torch.float64, torch.int64, torch.uint8]), seeds)
def test_mse_and_mae_are_pytorchs(shape, dtype, other, seed):
    pred, target = numbers(shape, 2*seed, dtype), numbers(shape, 2*seed+2, torch.float32).abs().clamp(max=200).to(other)
    if dtype==torch.float16: pred = pred.clamp(-50, 250)  # beyond, PyTorch's squares are infinite
    if seed%3==0 and other==dtype: target = pred.clone()
    for mine,theirs in ((act.mse, F.mse_loss), (act.mae, F.l1_loss)):
        a, b = mine(pred, target), theirs(pred, target)
        torch.testing.assert_close(a, b, equal_nan=True)  # of no numbers the mean is NaN, in both
        step = torch.finfo(dtype).eps
        if not a.isnan(): same_fn(mine, theirs, pred, target, **({'rtol': 2*step, 'atol': 2*step} if dtype.itemsize<4 else {}))


@some
@given(shapes, shapes, seeds)
def test_the_losses_refuse_other_shapes(shape, other, seed):
    pred, target = numbers(shape, 2*seed, torch.float32), numbers(other, 2*seed, torch.float32)
    for loss in (act.mse, act.mae):
        if shape==other: loss(pred, target)
        else:
            with pytest.raises(ValueError, match=r'`target` must have the shape of `pred`'): loss(pred, target)


def test_refused_words(words):
    x, whole = torch.zeros(2, 3), torch.arange(3)
    for mine,_ in PAIRS.values():
        with pytest.raises(TypeError, match='`x` must hold floating-point numbers, got torch.int64'): mine(whole)
        with pytest.raises(TypeError, match='`x` must be a tensor of floating-point numbers, got list'): mine([1.])
    for fn in (act.softmax, act.log_softmax):
        with pytest.raises(TypeError, match='`x` must hold floating-point numbers, got torch.int64'): fn(whole, 0)
        with pytest.raises(ValueError, match=r'`dim` must be an integer in \[-2, 1\], got -3'): fn(x, -3)
        with pytest.raises(TypeError, match='`dim` must be an integer'): fn(x, None)
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match='`negative_slope` must be a finite number'): act.leaky_relu(x, value)
        with pytest.raises(ValueError, match='`threshold` must be a finite number'): act.softplus(x, threshold=value)
    for beta in (0, -1, math.inf):
        with pytest.raises(ValueError, match='`beta` must be a finite number greater than 0'): act.softplus(x, beta)
    with pytest.raises(ValueError, match="`approximate` must be 'none' or 'tanh', got 'no'"): act.gelu(x, 'no')
    for args,error,message in (((x[0], torch.tensor(1)), ValueError, r'`pred` must have axes \(b, c\), got shape \(3,\)'),
                               ((x, whole), ValueError, r'`target` must have axes \(2\), got shape \(3,\)'),
                               ((x, torch.zeros(2, 4)), ValueError, r'`target` must have axes \(2, 3\), got shape \(2, 4\)'),
                               ((x, torch.zeros(2)), ValueError, r'`target` must have axes \(2, 3\), got shape \(2,\)'),
                               ((x, torch.zeros(2, dtype=torch.int32)), TypeError, '`target` must hold int64 or uint8 class numbers, or probabilities, got torch.int32'),
                               ((x, [0, 1]), TypeError, r'`target` must be a tensor with axes \(2\), got list'),
                               ((x.long(), whole[:2]), TypeError, '`pred` must hold floating-point numbers, got torch.int64'),
                               ((x, torch.tensor([0, -100])), IndexError, '`target` must lie in 0…2, got 1 outside: -100'),
                               ((x, whole[:2], -.1), ValueError, r'`label_smoothing` must be a finite number in \[0, 1\], got -0.1')):
        with pytest.raises(error, match=message): act.cross_entropy(*args)
    for loss in (act.mse, act.mae):
        with pytest.raises(TypeError, match='`pred` must hold floating-point numbers, got torch.int64'): loss(whole, whole)
        with pytest.raises(TypeError, match='`target` must hold real numbers, got torch.bool'): loss(x, x>0)
        with pytest.raises(TypeError, match='`target` must be a tensor, got float'): loss(x, 1.)
