"`conv2d`, `Conv2d`, `im2col`, `conv2d_loop` and `out_size` beside PyTorch's, over many shapes and settings, also those that are refused"
import sys

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn
from strategies import close, dtypes, flags, kernels, pads, pair, rand, seeds, small, steps

from lesson8lib.checks import test_same as same
from lesson8lib.checks import test_same_fn as same_fn
from lesson8lib.convolution import Conv2d, conv2d, conv2d_loop, conv_settings, im2col, out_size
from lesson8lib.training import new_generator

many = settings(max_examples=600, deadline=None, derandomize=True)
some = settings(max_examples=500, deadline=None, derandomize=True)
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
bad = settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
sides = st.integers(1, 9)


@many
@given(st.integers(0, 3), small, small, small, sides, sides, kernels, steps, st.one_of(pads, st.sampled_from(['same', 'valid'])), steps, flags, flags, dtypes, seeds)
def test_conv2d_is_pytorchs(b, groups, i, o, h, w, kernel_size, stride, padding, dilation, bias, one_image, dtype, seed):
    "Values, the gradients of image, kernels and bias, and refusals (a kernel too large, 'same' with a stride)"
    x = rand(seed, dtype, *([] if one_image else [b]), i*groups, h, w)
    inputs = [x, rand(seed+1, dtype, o*groups, i, *pair(kernel_size))] + [rand(seed+2, dtype, o*groups)]*bias
    def call(fn): return lambda x, weight, bias=None: fn(x, weight, bias, stride, padding, dilation, groups)
    same_fn(call(conv2d), call(F.conv2d), *inputs, **close[dtype])


@many
@given(st.integers(0, 3), small, sides, sides, kernels, steps, pads, steps, flags, dtypes, seeds)
def test_im2col_is_pytorchs_unfold(b, c, h, w, kernel_size, stride, padding, dilation, one_image, dtype, seed):
    x = rand(seed, dtype, *([] if one_image else [b]), c, h, w)
    same_fn(lambda x: im2col(x, kernel_size, stride, padding, dilation), lambda x: F.unfold(x, kernel_size, dilation, padding, stride), x, **close[dtype])


@some
@given(sides, sides, small, small, small, st.integers(0, 3), dtypes, seeds)
def test_the_loop_is_pytorchs_convolution_of_one_channel(h, w, kh, kw, stride, padding, dtype, seed):
    def theirs(x, kernel): return F.conv2d(x[None,None], kernel[None,None], stride=stride, padding=padding)[0,0]
    same_fn(lambda x, k: conv2d_loop(x, k, stride, padding), theirs, rand(seed, dtype, h, w), rand(seed+1, dtype, kh, kw), **close[dtype])


def counts(fn, *args):
    try: return fn(*args)
    except (ValueError, RuntimeError): return None


@many
@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 9), st.integers(0, 9), st.integers(1, 6))
def test_out_size_is_what_pytorch_makes(size, kernel_size, stride, padding, dilation):
    def theirs(n, k, s, p, d): return F.conv2d(torch.empty(1, 1, n, 1), torch.empty(1, 1, k, 1), None, (s, 1), (p, 0), (d, 1)).shape[2]
    assert counts(out_size, size, kernel_size, stride, padding, dilation)==counts(theirs, size, kernel_size, stride, padding, dilation)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(small, small, small, kernels, steps, st.one_of(pads, st.sampled_from(['same', 'valid'])), steps, flags, seeds)
def test_the_layer_is_pytorchs(groups, i, o, kernel_size, stride, padding, dilation, bias, seed):
    "First weights, names, repr, and, with weights loaded both ways, the same results; where a layer cannot be made, neither can PyTorch's"
    arguments = (i*groups, o*groups, kernel_size, stride, padding, dilation, groups, bias)
    layers = []
    for kind in (Conv2d, nn.Conv2d):
        torch.manual_seed(seed)
        try: layers.append(kind(*arguments))
        except ValueError: pass
    if not layers: return
    ours, theirs = layers
    same(dict(ours.state_dict()), dict(theirs.state_dict()))
    assert repr(ours)==repr(theirs)
    same_fn(ours, theirs, rand(seed, torch.float32, 2, i*groups, 7, 8), rtol=1e-4, atol=1e-4)
    other = Conv2d(*arguments, generator=new_generator(seed))
    theirs.load_state_dict(other.state_dict())
    ours.load_state_dict(theirs.state_dict())
    same(dict(ours.state_dict()), dict(other.state_dict()))


def test_a_layers_numbers_come_from_its_generator():
    a, b, c = (Conv2d(2, 3, 3, generator=new_generator(seed)) for seed in (0, 0, 1))
    same(dict(a.state_dict()), dict(b.state_dict()))
    assert not a.weight.equal(c.weight) and a.weight.abs().max()<=18**-.5
    before = torch.get_rng_state()
    Conv2d(2, 3, 3, generator=new_generator(0))
    assert torch.get_rng_state().equal(before)


@bad
@given(st.sampled_from([(5, 6), (4, 5, 6), (2, 4, 5, 6), (1, 2, 4, 5, 6), (2, 3, 5, 6), (2, 4, 2, 6)]),
       st.sampled_from([(6, 4, 3, 2), (6, 2, 3, 2), (5, 2, 3, 2), (6, 4, 3), (0, 4, 3, 2)]), st.sampled_from([None, (6,), (5,), (1,), (6, 1)]),
       st.sampled_from([1, 2, 0, -1, (2, 1), (1, 0), (1, 1, 1), 1.5, '2']), st.sampled_from([0, 1, -1, (0, -1), (1, 1, 1), 'same', 'valid', 'full', .5]),
       st.sampled_from([1, 2, 0, -1, (1, 2), (0, 1)]), st.sampled_from([1, 2, 0, -1, 3]), st.sampled_from([None, 0, 1, 2]))
def test_what_pytorch_refuses_is_refused(words, x, weight, bias, stride, padding, dilation, groups, doubled):
    "Of the four inputs of each kind most do not go together; `doubled` is the one that has another dtype"
    inputs = [torch.ones(shape) for shape in (x, weight, bias) if shape is not None]
    if doubled is not None and doubled<len(inputs): inputs[doubled] = inputs[doubled].double()
    def call(fn): return lambda x, weight, bias=None: fn(x, weight, bias, stride, padding, dilation, groups)
    same_fn(call(conv2d), call(F.conv2d), *inputs)


@bad
@given(st.sampled_from([(5, 6), (4, 5, 6), (2, 4, 5, 6), (1, 2, 4, 5, 6), (2, 0, 5, 6), (2, 1, 0, 6), (2, 1, 6, 0)]), st.sampled_from([1, 3, 0, -1, 7, (2, 1), (1, 0), (1, 1, 1)]),
       st.sampled_from([1, 2, 0, (1, 0)]), st.sampled_from([0, 1, 3, -1, (0, -1)]), st.sampled_from([1, 2, 0, (0, 1)]))
def test_what_unfold_refuses_is_refused(words, x, kernel_size, stride, padding, dilation):
    same_fn(lambda x: im2col(x, kernel_size, stride, padding, dilation), lambda x: F.unfold(x, kernel_size, dilation, padding, stride), torch.ones(x))


@pytest.mark.parametrize('groups,stride,padding,dilation', [(1, 1, 0, 1), (2, (2, 1), (1, 0), (1, 2)), (4, 3, 2, 2), (2, 1, 'same', (1, 2))])
def test_gradients_are_true_slopes_twice(groups, stride, padding, dilation):
    inputs = [rand(i, torch.float64, *shape).requires_grad_() for i,shape in enumerate([(2, 4, 3, 4), (4, 4//groups, 2, 2), (4,)])]
    def call(*a): return conv2d(*a, stride, padding, dilation, groups)
    assert torch.autograd.gradcheck(call, inputs) and torch.autograd.gradgradcheck(call, inputs)


def test_functions_of_torch_func_and_autocast_pass_through():
    x, weight, bias = rand(0, torch.float32, 3, 2, 5, 5), rand(1, torch.float32, 4, 2, 3, 3), rand(2, torch.float32, 4)
    def slopes(fn): return torch.func.vmap(torch.func.grad(lambda w, x: fn(x, w, stride=2, padding=1).square().sum()), (None, 0))(weight, x)
    same(slopes(conv2d), slopes(F.conv2d), rtol=1e-4, atol=1e-4)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        for image in (x, x.bfloat16()): same(conv2d(image, weight, bias), F.conv2d(image, weight, bias), rtol=.02, atol=.1)


def test_forward_mode_is_pytorchs():
    x, weight, dx = rand(0, torch.float64, 2, 3, 5, 6), rand(1, torch.float64, 4, 3, 3, 2), rand(2, torch.float64, 2, 3, 5, 6)
    def along(fn): return torch.func.jvp(lambda x: fn(x, weight, stride=(2, 1), padding=1), (x,), (dx,))[1]
    same(along(conv2d), along(F.conv2d), rtol=1e-9, atol=1e-9)
    def bends(fn): return torch.func.hessian(lambda x: (fn(x, weight)**3).sum())(x[:1,:,:3,:3])
    same(bends(conv2d), bends(F.conv2d), rtol=1e-9, atol=1e-9)


def test_shapes_are_known_without_numbers():
    x, weight, bias = (torch.ones(shape, device='meta') for shape in ((2, 4, 7, 6), (6, 2, 3, 3), (6,)))
    out = conv2d(x, weight, bias, 2, 1, groups=2)
    assert out.shape==F.conv2d(x, weight, bias, 2, 1, groups=2).shape and out.device.type=='meta'


def test_defaults_are_pytorchs():
    x, weight = rand(0, torch.float32, 1, 1, 7, 6), rand(1, torch.float32, 1, 1, 3, 2)
    expected = F.conv2d(x, weight)
    for ours in (conv2d(x, weight), conv2d_loop(x[0,0], weight[0,0])[None,None]): same(ours, expected, rtol=1e-4, atol=1e-5)
    same(im2col(x, (3, 2)), F.unfold(x, (3, 2)))
    assert (out_size(7, 3), out_size(6, 2))==expected.shape[2:]
    layer = Conv2d(1, 1, (3, 2))
    same(layer(x), F.conv2d(x, layer.weight, layer.bias), rtol=1e-4, atol=1e-5)


def test_any_layout_in_memory_will_do():
    x, weight = rand(0, torch.float32, 3, 4, 6, 5), rand(1, torch.float32, 2, 4, 3, 3)
    for other in (x.to(memory_format=torch.channels_last), x.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0), x.repeat_interleave(2, 2)[:,:,::2]):
        same(conv2d(other, weight.to(memory_format=torch.channels_last), padding=1), F.conv2d(x, weight, padding=1), rtol=1e-4, atol=1e-5)
    same(conv2d(x[:1].expand(3, -1, -1, -1), weight), F.conv2d(x[:1].expand(3, -1, -1, -1), weight), rtol=1e-4, atol=1e-5)


def test_images_and_kernels_stay_as_they_were():
    x, weight, bias = (torch.ones(shape) for shape in ((2, 2, 5, 5), (4, 1, 3, 3), (4,)))
    out = conv2d(x, weight, bias, padding=1, groups=2)
    im2col(x, 3).zero_()
    out.zero_()
    assert all(t.eq(1).all() for t in (x, weight, bias))


def test_one_by_one_kernels_share_no_memory_with_the_image():
    x = torch.ones(1, 1, 4, 4)
    im2col(x, 1).zero_()
    assert x.eq(1).all()


@pytest.mark.parametrize('call,error,words_', [
    (lambda: out_size(2, 3), ValueError, '`kernel_size` must fit into the padded image, 2 + 2·0 = 2 pixels, got 3 with dilation 1, which spans 3'),
    (lambda: out_size(5, 3, dilation=4), ValueError, 'got 3 with dilation 4, which spans 9'),
    (lambda: out_size(5, 3, stride=0), ValueError, '`stride` must be an integer of at least 1, got 0'),
    (lambda: out_size(5, 3., 1), TypeError, '`kernel_size` must be an integer of at least 1, got 3.0'),
    (lambda: out_size(0, 1, padding=1), ValueError, '`size` must be an integer of at least 1, got 0'),
    (lambda: conv2d_loop(torch.ones(3), torch.ones(1, 1)), ValueError, '`x` must have axes (h, w), got shape (3,)'),
    (lambda: conv2d_loop(torch.ones(3, 3), torch.ones(2, 2).double()), TypeError, '`kernel` must have the dtype of `x`, torch.float32, got torch.float64'),
    (lambda: im2col(torch.ones(1, 3, 3), 2, padding=-1), ValueError, '`padding` must be an integer of at least 0, got -1'),
    (lambda: im2col(torch.ones(1, 1, 3, 3), (2, 2, 2)), ValueError, '`kernel_size` must be one number or two, down and across, got 3'),
    (lambda: im2col(torch.ones(2, 0, 3, 3), 2), ValueError, '`x` must have axes (b, c, h, w), none of them empty, got shape (2, 0, 3, 3)'),
    (lambda: conv2d(torch.ones(1, 3, 5, 5), torch.ones(2, 1, 3, 3)), ValueError, '`x` must have 1 channels, 1 for each of the groups (1), as `weight` has, got 3'),
    (lambda: conv2d(torch.ones(1, 3, 5, 5), torch.ones(2, 3, 3, 3), groups=2), ValueError, '`groups` must divide `x.shape[-3]`, 3, got 2'),
    (lambda: conv2d(torch.ones(1, 4, 5, 5), torch.ones(3, 2, 3, 3), groups=2), ValueError, '`groups` must divide `weight.shape[0]`, 3, got 2'),
    (lambda: conv2d(torch.ones(1, 1, 5, 5), torch.ones(2, 1, 3, 3), torch.ones(3)), ValueError, '`bias` must have an entry for each of 2 kernels, got 3'),
    (lambda: conv2d(torch.ones(1, 1, 5, 5), torch.ones(2, 1, 3, 3), torch.ones(1)), ValueError, '`bias` must have an entry for each of 2 kernels, got 1'),
    (lambda: conv2d(torch.ones(1, 1, 5, 5), torch.ones(2, 1, 3, 3).double()), TypeError, '`weight` must have the dtype of `x`, torch.float32, got torch.float64'),
    (lambda: conv2d(torch.ones(1, 1, 5, 5), torch.ones(2, 1, 3, 3), padding='full'), ValueError, "`padding` must be 'same', 'valid' or numbers, got 'full'"),
    (lambda: conv2d(torch.ones(1, 1, 5, 5), torch.ones(2, 1, 3, 3), stride=2, padding='same'), ValueError, "`stride` must be 1 where `padding` is 'same', got 2"),
    (lambda: Conv2d(1, 2, 3, stride=2, padding='same'), ValueError, "`stride` must be 1 where `padding` is 'same', got 2"),
    (lambda: Conv2d(3, 4, 3, groups=2), ValueError, '`groups` must divide `in_channels`, 3, got 2'),
    (lambda: Conv2d(0, 4, 3), ValueError, '`in_channels` must be an integer of at least 1, got 0'),
    (lambda: Conv2d(1, 1, 3)(torch.ones(5, 5)), ValueError, '`x` must have axes (b, c, h, w), got shape (5, 5)'),
    (lambda: Conv2d(1, 1, 3)('image'), TypeError, '`x` must be a tensor with axes (b, c, h, w), got str'),
])
def test_it_is_refused_in_words(words, call, error, words_):
    with pytest.raises(error) as e: call()
    assert words_ in str(e.value)


@pytest.mark.parametrize('padding', [0, 1])
def test_laws_of_stride_dilation_groups_and_single_pixels(padding):
    "Skipped windows, gaps filled with zeros, convolutions side by side, a linear layer at each pixel"
    x, weight = rand(0, torch.float64, 3, 4, 9, 8), rand(1, torch.float64, 6, 4, 3, 3)
    every = conv2d(x, weight, padding=padding)
    for s in (2, 3): same(conv2d(x, weight, stride=s, padding=padding), every[:,:,::s,::s])
    spread = torch.zeros(6, 4, 5, 5, dtype=x.dtype)
    spread[:,:,::2,::2] = weight
    same(conv2d(x, weight, padding=padding, dilation=2), conv2d(x, spread, padding=padding))
    apart = [conv2d(part, kernels[:,:2], padding=padding) for part,kernels in zip(x.chunk(2, 1), weight.chunk(2), strict=True)]
    same(conv2d(x, weight[:,:2], padding=padding, groups=2), torch.cat(apart, 1))
    mix, bias = weight[:,:,:1,:1], rand(2, torch.float64, 6)
    same(conv2d(x, mix, bias), F.linear(x.movedim(1, -1), mix.flatten(1), bias).movedim(-1, 1))


def test_when_the_image_moves_the_output_moves():
    x, weight = rand(0, torch.float64, 2, 3, 9, 8), rand(1, torch.float64, 4, 3, 3, 2)
    same(conv2d(x.roll((2, 1), (2, 3)), weight)[:,:,2:,1:], conv2d(x, weight)[:,:,:-2,:-1])


def test_a_pixel_gets_a_gradient_from_each_window_that_it_lies_in():
    x = torch.zeros(1, 3, 3, requires_grad=True)
    im2col(x, 2).sum().backward()
    same(x.grad, torch.tensor([[[1., 2, 1], [2, 4, 2], [1, 2, 1]]]))


def test_columns_of_three_by_three_take_nine_times_the_memory_of_the_images():
    x = torch.ones(5, 2, 28, 28)
    assert im2col(x, 3, padding=1).numel()==9*x.numel()


def test_settings_are_checked_once():
    "At most three checks for each call: of images, of weights, and of all settings at once"
    x, weight, bias = torch.ones(2, 4, 8, 8), torch.ones(6, 2, 3, 3), torch.ones(6)
    layer, calls = Conv2d(4, 6, 3, (2, 1), 1, groups=2), []
    def note(frame, event, _):
        if event=='call' and frame.f_code.co_filename.endswith('checks.py') and frame.f_code.co_name.startswith('check_'): calls.append(frame.f_code.co_name)
    for call,n in ((lambda: layer(x), 1), (lambda: conv2d(x, weight, bias, (2, 1), 'valid', 1, 2), 2), (lambda: im2col(x, (3, 2), 2), 1)):
        calls.clear()
        before = sys.getprofile()
        sys.setprofile(note)
        try: call()
        finally: sys.setprofile(before)
        assert calls==['check_axes']*n


@pytest.mark.parametrize('call,words_', [
    (lambda: Conv2d(3, 8, 3)(torch.ones(1, 1, 5, 5)), '`x` must have 3 channels, got 1'),
    (lambda: Conv2d(3, 8, 3)(torch.ones(1, 3, 5, 5).double()), '`x` must have the dtype of the layer, torch.float32, got torch.float64'),
    (lambda: conv2d(torch.ones(1, 1, 5, 5), torch.ones(2, 1, 3, 3), 'bias'), '`bias` must be a tensor with axes (o), got str'),
    (lambda: conv2d(torch.ones(1, 1, 5, 5), torch.ones(2, 1, 3, 3), torch.ones(2, 1)), '`bias` must have axes (o), got shape (2, 1)'),
    (lambda: im2col(torch.ones(1, 1, 5, 5), 3, padding='same'), "`padding` must be a list of integers, got 'same'"),
    (lambda: conv_settings(3, channels={'in_channels': 3}, groups=2), '`groups` must divide `in_channels`, 3, got 2'),
])
def test_more_is_refused_in_words(words, call, words_):
    with pytest.raises((TypeError, ValueError)) as e: call()
    assert words_ in str(e.value)
