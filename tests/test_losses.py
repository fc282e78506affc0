"The losses beside PyTorch's, over many shapes, types and options: values, gradients, refusals"
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from test_activations import numbers

from lesson8lib import losses
from lesson8lib.checks import test_same as same
from lesson8lib.checks import test_same_fn as same_fn
from lesson8lib.training import new_generator

many, some = (settings(max_examples=n, deadline=None, derandomize=True) for n in (520, 120))
shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)
wide, seeds = st.sampled_from([torch.float32, torch.float64]), st.integers(0, 9999)


@many
@given(st.lists(st.integers(0, 4), max_size=4).map(tuple), wide, seeds, st.integers(-5, 5), st.booleans())
def test_softmax_and_its_logarithm_are_pytorchs(shape, dtype, seed, dim, infinite):
    x = numbers(shape, seed, dtype)
    if infinite: x = torch.where(torch.rand(x.shape, generator=new_generator(seed+1))<.2, -torch.inf, x)
    if infinite and x.ndim and -x.ndim<=dim<x.ndim and x.isneginf().all(dim).any(): return  # NaN on both sides, which equals nothing
    if infinite and not x.ndim: return
    same_fn(lambda t: losses.softmax(t, dim), lambda t: F.softmax(t, dim), x)  # axes that are not there are refused by both
    same_fn(lambda t: losses.log_softmax(t, dim), lambda t: F.log_softmax(t, dim), x)


@some
@given(st.integers(1, 5), st.integers(1, 6), wide, seeds)
def test_laws_of_softmax(b, c, dtype, seed):
    x = numbers((b, c), 2*seed, dtype)
    p = losses.softmax(x, 1)
    same(p.sum(1), torch.ones(b, dtype=dtype))
    same(losses.log_softmax(x, 1).exp(), p)
    moved = numbers((b, c), 2*seed, torch.float64, strange=False)
    same(losses.softmax(moved+1000, 1), losses.softmax(moved, 1), rtol=1e-9, atol=1e-12)
    empty = torch.full((b, c), -torch.inf, dtype=dtype)
    assert losses.softmax(empty, 1).isnan().all() and F.softmax(empty, 1).isnan().all()


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
        ours, theirs = losses.cross_entropy(pred, target, smooth), F.cross_entropy(pred, target, label_smoothing=smooth)
        torch.testing.assert_close(ours, theirs, equal_nan=True)
        return
    loose = {'rtol': 1e-5, 'atol': 1e-4} if kind=='other type' or dtype==torch.float32 else {}
    same_fn(lambda p, y: losses.cross_entropy(p, y, smooth), lambda p, y: F.cross_entropy(p, y, label_smoothing=smooth), pred, target, **loose)


@some
@given(st.integers(0, 5), st.integers(1, 6), st.integers(0, 5), st.integers(-2, 8), seeds)
def test_cross_entropy_refuses_what_pytorch_refuses(b, c, n, highest, seed):
    pred = numbers((b, c), 2*seed, torch.float32)
    target = torch.full((n,), highest)
    if not b or not n:
        if b==n: return
    same_fn(losses.cross_entropy, F.cross_entropy, pred, target)


def test_cross_entropy_at_the_ends():
    pred = torch.tensor([[0., -torch.inf, 1], [2, 3, 4]])
    same_fn(losses.cross_entropy, F.cross_entropy, pred, torch.tensor([0, 1]))
    assert losses.cross_entropy(pred, torch.tensor([1, 0]))==F.cross_entropy(pred, torch.tensor([1, 0]))==torch.inf
    pred, target = torch.tensor([[1000., -1000]], requires_grad=True), torch.tensor([1])
    loss = losses.cross_entropy(pred, target)
    assert loss==2000
    same(torch.autograd.grad(loss, pred)[0], torch.tensor([[1., -1]]))
    assert torch.autograd.gradcheck(lambda p: losses.cross_entropy(p, torch.tensor([0, 2]), .2), torch.randn(2, 3, dtype=torch.float64, generator=new_generator(0)).requires_grad_())
    for dtype in (torch.float16, torch.bfloat16):
        pred = torch.randn(4, 3, generator=new_generator(0)).to(dtype)
        same(losses.cross_entropy(pred, torch.tensor([0, 1, 2, 2])), F.cross_entropy(pred, torch.tensor([0, 1, 2, 2])), rtol=2*torch.finfo(dtype).eps, atol=0.)


@many
@given(shapes, st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
       st.sampled_from([torch.float16, torch.float32, torch.float64, torch.int64, torch.uint8]), seeds)
def test_mse_and_mae_are_pytorchs(shape, dtype, other, seed):
    pred, target = numbers(shape, 2*seed, dtype), numbers(shape, 2*seed+2, torch.float32).abs().clamp(max=200).to(other)
    if dtype==torch.float16: pred = pred.clamp(-50, 250)  # beyond, PyTorch's squares are infinite
    if seed%3==0 and other==dtype: target = pred.clone()
    for mine,theirs in ((losses.mse, F.mse_loss), (losses.mae, F.l1_loss)):
        a, b = mine(pred, target), theirs(pred, target)
        assert a.isnan()==b.isnan() and a.dtype==b.dtype  # the mean of an empty tensor is NaN, in both
        step = torch.finfo(dtype).eps
        if not a.isnan(): same_fn(mine, theirs, pred, target, **({'rtol': 2*step, 'atol': 2*step} if dtype.itemsize<4 else {}))


@some
@given(shapes, shapes, seeds)
def test_the_losses_refuse_other_shapes(shape, other, seed):
    pred, target = numbers(shape, 2*seed, torch.float32), numbers(other, 2*seed, torch.float32)
    for loss in (losses.mse, losses.mae):
        if shape==other: loss(pred, target)
        else:
            with pytest.raises(ValueError, match=r'`target` must have the shape of `pred`'): loss(pred, target)


def test_refused_words(words):
    x, whole = torch.zeros(2, 3), torch.arange(3)
    for fn in (losses.softmax, losses.log_softmax):
        with pytest.raises(TypeError, match='`x` must hold floating-point numbers, got torch.int64'): fn(whole, 0)
        with pytest.raises(ValueError, match=r'`dim` must be an integer in \[-2, 1\], got -3'): fn(x, -3)
        with pytest.raises(TypeError, match='`dim` must be an integer'): fn(x, None)
    for args,error,message in (((x[0], torch.tensor(1)), ValueError, r'`pred` must have axes \(b, c\), got shape \(3,\)'),
                               ((x, whole), ValueError, r'`target` must have axes \(2\), got shape \(3,\)'),
                               ((x, torch.zeros(2, 4)), ValueError, r'`target` must have axes \(2, 3\), got shape \(2, 4\)'),
                               ((x, torch.zeros(2)), ValueError, r'`target` must have axes \(2, 3\), got shape \(2,\)'),
                               ((x, torch.zeros(2, dtype=torch.int32)), TypeError, '`target` must hold int64 or uint8 class indices, or probabilities, got torch.int32'),
                               ((x, [0, 1]), TypeError, '`target` must be a tensor of integers, got list'),
                               ((x.long(), whole[:2]), TypeError, '`pred` must hold floating-point numbers, got torch.int64'),
                               ((x, torch.tensor([0, -100])), IndexError, '`target` must lie in 0…2, got 1 outside: -100'),
                               ((x, whole[:2], -.1), ValueError, r'`label_smoothing` must be a finite number in \[0, 1\], got -0.1')):
        with pytest.raises(error, match=message): losses.cross_entropy(*args)
    for loss in (losses.mse, losses.mae):
        with pytest.raises(TypeError, match='`pred` must hold floating-point numbers, got torch.int64'): loss(whole, whole)
        with pytest.raises(TypeError, match='`target` must hold real numbers, got torch.bool'): loss(x, x>0)
        with pytest.raises(TypeError, match='`target` must be a tensor, got float'): loss(x, 1.)
