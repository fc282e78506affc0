"Pooling and receptive fields beside PyTorch and fastai, over many shapes and settings"
import pytest
import torch
import torch.nn.functional as F
from fastai.layers import AdaptiveConcatPool2d as FastaiConcatPool
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from strategies import dtypes, flags, one_or_two, seeds

from lesson8lib.checks import test_same as same
from lesson8lib.checks import test_same_fn as same_fn
from lesson8lib.convolution import Conv2d
from lesson8lib.data import Digits
from lesson8lib.dropout import Dropout
from lesson8lib.pooling import AdaptiveConcatPool2d, avg_pool2d, bear_net, bear_pictures, max_pool2d, receptive_field
from lesson8lib.training import new_generator

some, few = settings(max_examples=500, deadline=None, derandomize=True), settings(max_examples=100, deadline=None, derandomize=True)
shapes = st.tuples(st.integers(0, 3), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9))


def activations(shape, dtype, ties, seed, batch=True):
    "Random numbers, or few different ones; in some orders of memory"
    generator = new_generator(seed)
    x = torch.randint(-1, 2, shape, generator=generator).to(dtype) if ties else torch.randn(shape, generator=generator, dtype=dtype)
    x = x.transpose(2, 3).contiguous().transpose(2, 3) if seed%2 else x
    return x if batch or not len(x) else x[0]


def some_pixel(n, k, s, p, d):
    "Does each window reach the image? One that lies in the padding alone, as a dilated one may, makes PyTorch write beyond its memory on the way back"
    if 2*p>k or d*(k-1)+1>n+2*p: return True  # refused
    return all(any(0<=i+d*j<n for j in range(k)) for i in range(-p, n+p-d*(k-1), s))


@some
@given(shapes, one_or_two(1, 4), st.none() | one_or_two(1, 3), one_or_two(0, 2), one_or_two(1, 3), dtypes, flags, flags, seeds)
def test_max_pool_is_pytorchs(shape, k, s, p, d, dtype, ties, batch, seed):
    x = activations(shape, dtype, ties, seed, batch)
    if all(some_pixel(n, *axis) for n,*axis in zip(shape[2:], *(v if isinstance(v, tuple) else (v, v) for v in (k, k if s is None else s, p, d)), strict=True)):
        same_fn(lambda x: max_pool2d(x, k, s, p, d), lambda x: F.max_pool2d(x, k, s, p, d), x)
    else: assert max_pool2d(x, k, s, p, d).isneginf().any() or not len(x)


@some
@given(shapes, one_or_two(1, 4), st.none() | one_or_two(1, 3), one_or_two(0, 2), flags, dtypes, flags, seeds)
def test_avg_pool_is_pytorchs(shape, k, s, p, count, dtype, batch, seed):
    x = activations(shape, dtype, False, seed, batch)
    same_fn(lambda x: avg_pool2d(x, k, s, p, count_include_pad=count), lambda x: F.avg_pool2d(x, k, s, p, count_include_pad=count), x, rtol=1e-5, atol=1e-6)


@few
@given(shapes, one_or_two(2, 4), st.none() | one_or_two(1, 3), one_or_two(0, 1), flags, st.sampled_from([torch.float16, torch.bfloat16]), seeds)
def test_avg_pool_of_16_bits_is_rounded_once(shape, k, s, p, count, dtype, seed):
    x, step = activations(shape, torch.float32, False, seed).mul(3).to(dtype), torch.finfo(dtype).eps
    if any(n+2*q<size for n,q,size in zip(shape[2:], *(v if isinstance(v, tuple) else (v, v) for v in (p, k)), strict=True)): return  # refused
    mine, exact = avg_pool2d(x, k, s, p, count_include_pad=count), F.avg_pool2d(x.double(), k, s, p, count_include_pad=count)
    same(mine, F.avg_pool2d(x, k, s, p, count_include_pad=count), rtol=step, atol=1e-6)
    same(mine.double(), exact, rtol=.501*step, atol=1e-6)


def test_a_sum_of_16_bits_does_not_overflow():
    big = torch.full((1, 1, 4, 4), 6e4, dtype=torch.float16)
    same(avg_pool2d(big, 2), F.avg_pool2d(big, 2))


@some
@given(shapes, st.none() | st.integers(1, 11) | st.tuples(*[st.none() | st.integers(1, 11)]*2), dtypes, flags, seeds)
def test_concat_pool_is_fastais(shape, size, dtype, ties, seed):
    x = activations(shape, dtype, ties, seed)
    ours = AdaptiveConcatPool2d(size)
    same_fn(ours, FastaiConcatPool(size), x, rtol=1e-5, atol=1e-6)
    if len(x):
        c, torchs = x.shape[1], 1 if size is None else size
        same_fn(lambda x: ours(x)[:c], nn.AdaptiveMaxPool2d(torchs), x[0])
        same_fn(lambda x: ours(x)[c:], nn.AdaptiveAvgPool2d(torchs), x[0], rtol=1e-5, atol=1e-6)


@few
@given(shapes, one_or_two(1, 3), one_or_two(1, 2), seeds)
def test_nan_passes_as_in_pytorch(shape, k, s, seed):
    x = activations(shape, torch.float32, False, seed)
    x[torch.rand(x.shape, generator=new_generator(seed))<.1] = torch.nan
    for ours,theirs in ((max_pool2d, F.max_pool2d), (avg_pool2d, F.avg_pool2d)):
        a, b = (None if min(x.shape[2:])<3 and k==3 else f(x, 1 if min(x.shape[2:])<3 else k, s) for f in (ours, theirs))
        if a is not None: torch.testing.assert_close(a, b, equal_nan=True)
    torch.testing.assert_close(AdaptiveConcatPool2d(2)(x), FastaiConcatPool(2)(x), equal_nan=True)


def test_slopes_by_differences():
    x = torch.randn(2, 2, 5, 6, generator=new_generator(0), dtype=torch.float64, requires_grad=True)
    for f in (lambda x: max_pool2d(x, 3, 2, 1), lambda x: avg_pool2d(x, (3, 2), 2, 1, count_include_pad=False), AdaptiveConcatPool2d((2, 4))):
        assert torch.autograd.gradcheck(f, x)


windows = st.tuples(*[st.tuples(st.integers(1, 4), st.integers(1, 3))]*2, st.tuples(st.integers(0, 2), st.integers(0, 2)), st.tuples(st.integers(1, 2), st.integers(1, 3)))


def layer(kind, k, s, p, d):
    "Of ones, where it has weights"
    p = tuple(min(n, m//2) for n,m in zip(p, k, strict=True)) if kind in ('maximum', 'average') else p
    if kind=='average': return nn.AvgPool2d(k, s, p)
    if kind=='maximum': return nn.MaxPool2d(k, s, p, d)
    made = (Conv2d if kind=='ours' else nn.Conv2d)(1, 1, k, s if kind!='same' else 1, p if kind!='same' else 'same', d, bias=False)
    nn.init.ones_(made.weight)
    return made


def first_output(field): return tuple(-(a//t) for a,t in zip(field.start, field.step, strict=True))  # whose field begins in the image


def check_field(field, is_seen, at):
    "Rows and columns in which anything is seen begin and end where the arithmetic says"
    for axis,other in ((0, 1), (1, 0)):
        found = is_seen.any(other).nonzero()[:,0]
        first = field.start[axis]+at[axis]*field.step[axis]
        assert (int(found[0]), int(found[-1]))==(first, first+field.size[axis]-1)


@few
@given(st.lists(st.tuples(st.sampled_from(['ours', 'torch', 'same', 'average']), windows), min_size=1, max_size=3), flags)
def test_receptive_field_is_where_the_slope_is_not_zero(plan, nested):
    layers = [layer(kind, *window) for kind,window in plan]
    net = nn.Sequential(layers[0], nn.Sequential(nn.ReLU(), nn.Dropout(0.), *layers[1:]), nn.Identity()) if nested else nn.Sequential(*layers)
    field = receptive_field(net)
    at = first_output(field)
    x = torch.full((1, 1, 4*field.size[0]+40, 4*field.size[1]+40), 1., requires_grad=True)
    slope, = torch.autograd.grad(net(x)[0,0,at[0],at[1]], x)
    check_field(field, slope[0,0]!=0, at)
    assert field==receptive_field(layers)


@few
@given(st.lists(st.tuples(st.sampled_from(['ours', 'same', 'average', 'maximum']), windows), min_size=1, max_size=3), st.integers(0, 2))
def test_receptive_field_is_what_a_nan_can_reach(plan, further):
    "A NaN in row 0 of a picture and so on passes through maxima as well. Rows alone and columns alone, so that few pictures do"
    net = nn.Sequential(*[layer(kind, *window) for kind,window in plan])
    field = receptive_field(net)
    at = tuple(n+further for n in first_output(field))
    for axis in (0, 1):
        first = field.start[axis]+at[axis]*field.step[axis]
        sizes = [a+n*t+r+8+8*t for (r, t, a),n in zip(zip(*field, strict=True), at, strict=True)]
        for pixel,wanted in ((first-1, False), (first, True), (first+field.size[axis]-1, True), (first+field.size[axis], False)):
            if pixel<0: continue
            x = torch.zeros(1, 1, *sizes)
            x.select(axis+2, pixel).fill_(torch.nan)
            with torch.no_grad(): assert bool(net(x)[0,0,at[0],at[1]].isnan())==wanted


def test_receptive_field_of_known_nets():
    assert receptive_field([])==((1, 1), (1, 1), (0, 0))
    assert receptive_field([(3, 1, 1)])==receptive_field(nn.Conv2d(1, 1, 3, padding=1))==receptive_field(((3, 1, 1),))==((3, 3), (1, 1), (-1, -1))
    assert receptive_field([((3, 5), (1, 2), (0, 1), (2, 1))])==((5, 5), (1, 2), (0, -1))
    conv, pool = (3, 1, 1), (2, 2)
    assert receptive_field(((3, 2), (3, 2))).size==(7, 7)  # two layers, not one with pairs
    vgg16 = receptive_field([conv, conv, pool]*2 + [conv, conv, conv, pool]*3)
    assert vgg16.size==(212, 212) and vgg16.step==(32, 32)


class Skip(nn.Sequential):
    def forward(self, x): return x[...,2:,2:]+super().forward(x)


class Blur(nn.Identity):
    def forward(self, x): return F.avg_pool2d(x, 3, 1, 1)


class Identity(nn.Module):
    "A name that is known, and another class"
    def forward(self, x): return x.flip(3)


class Block(nn.Sequential):
    "One layer after the other, as in its base"


def test_receptive_field_looks_into_blocks_and_into_this_librarys_layers():
    assert receptive_field(Block(Conv2d(1, 2, 3), Block(nn.ReLU(), Dropout(.1), nn.MaxPool2d(2))))==receptive_field([(3,), (2, 2)])
    changed = nn.Identity()
    changed.forward = lambda x: x.flip(3)
    with pytest.raises(TypeError, match='got Identity'): receptive_field([changed])


@pytest.mark.usefixtures('words')
def test_refusals_in_words():
    x = torch.zeros(1, 2, 4, 5)
    for call,error,text in (
        (lambda: max_pool2d(x, 3, padding=(1, 2)), ValueError, '`padding` must be at most 1, half of `kernel_size`, 3, got 2'),
        (lambda: max_pool2d(x, 3, padding=-1), ValueError, '`padding` must be an integer of at least 0'),
        (lambda: max_pool2d(x, (2, 2, 2)), ValueError, '`kernel_size` must be one number or two'),
        (lambda: max_pool2d(x, 2, dilation=0), ValueError, '`dilation` must be an integer of at least 1'),
        (lambda: avg_pool2d(x, 5), ValueError, '`kernel_size` must fit into the padded image'),
        (lambda: avg_pool2d(x, 2, 0), ValueError, '`stride` must be an integer of at least 1'),
        (lambda: avg_pool2d(x[:,:0], 2), ValueError, r'`x` must have axes .*, none of them empty'),
        (lambda: avg_pool2d(x[0,0], 2), ValueError, '`x` must have axes'),
        (lambda: max_pool2d(x.tolist(), 2), TypeError, '`x` must be a tensor'),
        (lambda: max_pool2d(x.bool(), 2), TypeError, '`x` must hold floating-point numbers'),
        (lambda: AdaptiveConcatPool2d((1, 2, 3)), ValueError, '`size` must be one number or two'),
        (lambda: AdaptiveConcatPool2d(1.5), TypeError, '`size` must be an integer'),
        (lambda: AdaptiveConcatPool2d(-1), ValueError, '`size` must be an integer of at least 1'),
        (lambda: AdaptiveConcatPool2d()(x[:,:,:0]), ValueError, r'`x` must have axes .*, none of them empty'),
        (lambda: receptive_field(nn.Sequential(nn.Conv2d(1, 1, 3), nn.Flatten())), ValueError, r'`layers\[1\]` must see a window, got Flatten'),
        (lambda: receptive_field(nn.Linear(3, 3)), ValueError, '`layers` must see a window, got Linear'),
        (lambda: receptive_field([AdaptiveConcatPool2d()]), ValueError, 'got AdaptiveConcatPool2d, which sees the whole image'),
        (lambda: receptive_field([nn.Sequential(nn.LSTM(1, 1))]), TypeError, r'`layers\[0\]\[0\]` must be a known layer'),
        (lambda: receptive_field([nn.Conv2d(1, 1, 3, padding=1, padding_mode='circular')]), ValueError, "must have padding_mode 'zeros', got 'circular'"),
        (lambda: receptive_field([(3, 1, 0, 1, 1)]), ValueError, 'the last ones may be left out'),
        (lambda: receptive_field([(3, 1), (0,)]), ValueError, r'`layers\[1\], kernel_size` must be an integer of at least 1'),
        (lambda: receptive_field((3, 1, 1)), TypeError, r'`layers\[0\]` must be a known layer .*, got int'),
        (lambda: receptive_field([(nn.Conv2d(1, 1, 3),)]), TypeError, r'`layers\[0\], kernel_size` must be an integer'),
        (lambda: receptive_field(Skip(nn.Conv2d(1, 1, 3))), TypeError, '`layers` must be a known layer .*, got Skip'),
        (lambda: receptive_field(nn.Sequential(nn.Conv2d(1, 1, 3), Blur())), TypeError, r'`layers\[1\]` must be a known layer .*, got Blur'),
        (lambda: receptive_field([Identity()]), TypeError, r'`layers\[0\]` must be a known layer .*, got Identity'),
        (lambda: receptive_field([3]), TypeError, r'`layers\[0\]` must be a known layer'),
        (lambda: receptive_field([nn.ConvTranspose2d(1, 1, 3)]), TypeError, 'got ConvTranspose2d'),
    ):
        with pytest.raises(error, match=text): call()


def test_the_layer_has_nothing_to_learn_and_says_its_size():
    assert not list(AdaptiveConcatPool2d().parameters()) and repr(AdaptiveConcatPool2d((2, None)))=='AdaptiveConcatPool2d(size=(2, None))'
    x = torch.rand(3, 6, 7, generator=new_generator(0))
    same(AdaptiveConcatPool2d(2)(x), AdaptiveConcatPool2d(2)(x[None])[0])


@pytest.mark.parametrize('pixels,bears', [(14, 0), (14, 1), (14, 8), (14, 16), (28, 1), (28, 4), (56, 1)])
def test_every_other_picture_has_the_stated_number_of_bears(pixels, bears):
    labels = torch.arange(50)%10
    digits = Digits((labels==3).float()[:,None,None].expand(50, 28, 28).contiguous(), labels)  # a three is black, all others are white
    x, y = bear_pictures(digits, 7, bears, pixels, new_generator(1))
    assert x.shape==(7, 1, 56, 56) and y.tolist()==[0, 1, 0, 1, 0, 1, 0]
    same(x.sum((1, 2, 3)), y*float(bears*pixels**2))
    again, _ = bear_pictures(digits, 7, bears, pixels, new_generator(1))
    same(again, x)


def test_the_network_of_the_experiment():
    x = torch.rand(3, 1, 56, 56, generator=new_generator(0))
    for pool,n_in in ((nn.AdaptiveAvgPool2d(1), 32), (nn.AdaptiveMaxPool2d(1), 32), (AdaptiveConcatPool2d(1), 64)):
        net, again = bear_net(pool, 4), bear_net(pool, 4)
        assert net[:-3](x).shape==(3, 32, 7, 7) and net(x).shape==(3, 2) and net[-1].in_features==n_in
        same(dict(net[0].state_dict()), dict(again[0].state_dict()))
    digits = Digits(torch.zeros(4, 28, 28), torch.arange(4))
    with pytest.raises(ValueError, match='`pixels` must be 14, 28 or 56, got 20'): bear_pictures(digits, 4, 1, 20)


def test_the_bears_model_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    bear_net(nn.AdaptiveAvgPool2d(1), 0)
    assert torch.equal(torch.get_rng_state(), before)
