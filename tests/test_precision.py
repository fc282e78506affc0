"Results of 16 bits, under autocast and without it, and of float64 as default dtype, beside PyTorch's: dtypes and values of all functions and layers"
import contextlib

import pytest
import torch
import torch.nn.functional as F
from fastai.layers import AdaptiveConcatPool2d as FastaiConcatPool
from fastai.layers import sigmoid_range as fastai_sigmoid_range
from strategies import rand
from torch import nn

from lesson8lib import activations as act
from lesson8lib import losses
from lesson8lib.checks import test_same as same
from lesson8lib.cnn import SmallCNN, as_digit
from lesson8lib.collab import DotProduct, DotProductBias, sigmoid_range
from lesson8lib.conv_matmul import conv_matrix
from lesson8lib.convolution import Conv2d, conv2d, conv2d_loop, im2col
from lesson8lib.dropout import Dropout, dropout, dropout_mask
from lesson8lib.embedding import Embedding, create_params, one_hot
from lesson8lib.parameters import Linear
from lesson8lib.pooling import AdaptiveConcatPool2d, avg_pool2d, max_pool2d
from lesson8lib.batchnorm import batch_norm
from lesson8lib.tabular import TabularModel, lin_bn_drop

pytestmark = pytest.mark.usefixtures('words')
logits, images, classes = rand(0, torch.float32, 6, 5), rand(1, torch.float32, 2, 3, 8, 7), torch.arange(6)%5
weight, bias, other = rand(2, torch.float32, 4, 3, 3, 3), rand(3, torch.float32, 4), rand(4, torch.float32, 6, 5)
linear, embedding = Linear(5, 4), Embedding(5, 3)
their_linear, their_embedding = nn.Linear(5, 4), nn.Embedding(5, 3)
their_linear.load_state_dict(linear.state_dict())
their_embedding.weight = embedding.weight


def vectors(x): return [torch.full((5,), v, dtype=x.dtype) for v in (.1, 1.5, .7, .2)]


def seeded(fn):
    def call(x):
        torch.manual_seed(0)
        return fn(x)
    return call


PAIRS = {  # ours, PyTorch's, inputs
    **{name: (getattr(act, name), getattr(torch if name in ('sigmoid', 'tanh') else F, name), (logits,))
       for name in ('relu', 'leaky_relu', 'sigmoid', 'tanh', 'softplus', 'gelu', 'silu', 'mish')},
    'softmax': (lambda x: losses.softmax(x, 1), lambda x: F.softmax(x, 1), (logits,)),
    'log_softmax': (lambda x: losses.log_softmax(x, 1), lambda x: F.log_softmax(x, 1), (logits,)),
    'cross_entropy': (losses.cross_entropy, F.cross_entropy, (logits, classes)),
    'cross_entropy of bytes': (losses.cross_entropy, F.cross_entropy, (logits, classes.byte())),
    'cross_entropy, smoothed': (lambda x, y: losses.cross_entropy(x, y, .1), lambda x, y: F.cross_entropy(x, y, label_smoothing=.1), (logits, classes)),
    'cross_entropy of probabilities': (losses.cross_entropy, F.cross_entropy, (logits, other.softmax(1))),
    'cross_entropy of float32': (lambda x: losses.cross_entropy(x, other.softmax(1)), lambda x: F.cross_entropy(x, other.softmax(1)), (logits,)),
    **{f'{name}{kind}': (lambda x, f=ours, y=y: f(x, x.flip(0) if y is None else y), lambda x, f=theirs, y=y: f(x, x.flip(0) if y is None else y), (logits,))
       for name,ours,theirs in (('mse', losses.mse, F.mse_loss), ('mae', losses.mae, F.l1_loss))
       for kind,y in (('', None), (' of float32', other), (' of float64', other.double()), (' of integers', classes[:,None].expand(6, 5)))},
    'max_pool2d': (lambda x: max_pool2d(x, 3, 2, 1), lambda x: F.max_pool2d(x, 3, 2, 1), (images,)),
    'avg_pool2d': (lambda x: avg_pool2d(x, 3, 2, 1), lambda x: F.avg_pool2d(x, 3, 2, 1), (images,)),
    'concat pool': (AdaptiveConcatPool2d(2), FastaiConcatPool(2), (images,)),
    'conv2d': (conv2d, F.conv2d, (images, weight, bias)),
    'im2col': (lambda x: im2col(x, 3), lambda x: F.unfold(x, 3), (images,)),
    'Linear': (linear, their_linear, (logits,)),
    'batch_norm': (lambda x: batch_norm(x, *vectors(x), False), lambda x: F.batch_norm(x, *vectors(x), False), (logits,)),
    'batch_norm in training': (lambda x: batch_norm(x, *vectors(x), True), lambda x: F.batch_norm(x, *vectors(x), True), (logits,)),
    'Embedding': (embedding, their_embedding, (classes,)),
    'one_hot': (lambda i: one_hot(i, 5), lambda i: F.one_hot(i, 5), (classes.long(),)),
    'sigmoid_range': (lambda x: sigmoid_range(x, 0, 5), lambda x: fastai_sigmoid_range(x, 0, 5), (logits,)),
    'dropout': (seeded(lambda x: dropout(x, .3)), seeded(lambda x: F.dropout(x, .3)), (logits,)),
    'Dropout': (seeded(Dropout(.3)), seeded(nn.Dropout(.3)), (logits,)),
}


def given(fn, inputs):
    try: return fn(*inputs)
    except (RuntimeError, TypeError, ValueError): return None


@pytest.mark.parametrize('name', PAIRS)
@pytest.mark.parametrize('low', [torch.bfloat16, torch.float16])
def test_dtypes_and_values_are_pytorchs_with_and_without_autocast(name, low):
    "Where one of them is refused, as float64 beside a layer's float32, the other is, too"
    ours, theirs, inputs = PAIRS[name]
    for dtype in (low, torch.float32, torch.float64):
        inputs = [x.to(dtype) if x.is_floating_point() else x for x in inputs]
        for context in (torch.autocast('cpu', low), contextlib.nullcontext()):
            with context: a, t = given(ours, inputs), given(theirs, inputs)
            assert (a is None)==(t is None)
            if a is None: continue
            assert a.dtype==t.dtype
            step = max(torch.finfo(d).eps for d in (a.dtype, dtype) if d.is_floating_point)
            exact = not a.is_floating_point() or name in ('relu', 'max_pool2d', 'Embedding')
            same(a, t, **(dict(rtol=0, atol=0) if exact else dict(rtol=4*step, atol=4*step)) if 'conv' not in name else dict(rtol=50*step, atol=50*step))


@pytest.mark.parametrize('name', ['softmax', 'log_softmax', 'softplus'])
def test_a_gpu_under_autocast_keeps_32_bits_of_an_exponential(monkeypatch, name):
    "As PyTorch's documentation of autocast says; the meta device stands for the GPU"
    monkeypatch.setattr(act, 'under_autocast', lambda x: True)
    fn = (lambda x: act.softplus(x)) if name=='softplus' else (lambda x: getattr(losses, name)(x, 1))
    assert fn(logits.bfloat16().to('meta')).dtype==torch.float32
    assert fn(logits.bfloat16()).dtype==torch.bfloat16


def test_losses_of_16_bits_under_autocast_keep_their_digits():
    pred, target = logits.bfloat16(), other.bfloat16()
    with torch.autocast('cpu', torch.bfloat16):
        for loss,exact in ((losses.mse, F.mse_loss), (losses.mae, F.l1_loss)): same(loss(pred, target), exact(pred.float(), target.float()))
        same(losses.cross_entropy(pred, classes), F.cross_entropy(pred.float(), classes))


@pytest.fixture
def float64():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


MODELS = {  # made while float64 is the default, called with float64
    'Embedding': (lambda: Embedding(5, 3), lambda: (classes,)),
    'DotProduct': (lambda: DotProduct(5, 5, 3), lambda: (classes[:,None].expand(-1, 2),)),
    'DotProductBias': (lambda: DotProductBias(5, 5, 3), lambda: (classes[:,None].expand(-1, 2),)),
    'TabularModel': (lambda: TabularModel([(5, 3)], 5, 2, [4], ps=.1, y_range=(0, 5)), lambda: (classes[:,None], logits.double())),
    'lin_bn_drop': (lambda: lin_bn_drop(5, 3, p=.1), lambda: (logits.double(),)),
    'Linear': (lambda: Linear(5, 3), lambda: (logits.double(),)),
    'Conv2d': (lambda: Conv2d(3, 4, 3, padding='same'), lambda: (images.double(),)),
    'SmallCNN': (lambda: SmallCNN(4, 3, (4, 6)), lambda: (images.double(),)),
}


@pytest.mark.parametrize('name', MODELS)
def test_models_made_with_float64_as_default_take_and_give_it(float64, name):
    make, inputs = MODELS[name]
    model = make()
    assert all(v.dtype==torch.float64 for v in model.state_dict().values() if v.is_floating_point())
    out = model(*inputs())
    assert out.dtype==torch.float64
    out.sum().backward()


@pytest.mark.parametrize('name', PAIRS)
def test_functions_do_not_care_about_the_default_dtype(float64, name):
    ours, theirs, inputs = PAIRS[name]
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        inputs = [x.to(dtype) if x.is_floating_point() else x for x in inputs]
        a, t = given(ours, inputs), given(theirs, inputs)
        assert (a is None)==(t is None) and (a is None or a.dtype==t.dtype)


def test_what_is_made_of_nothing_has_the_default_dtype(float64):
    assert create_params(3).dtype==dropout_mask((2, 3)).dtype==as_digit(torch.eye(9)).dtype==as_digit(torch.eye(9).float()).dtype==torch.float64
    assert conv_matrix(weight, 5).dtype==conv2d_loop(images[0,0], weight[0,0]).dtype==torch.float32
    same(conv_matrix(weight.double(), (8, 7)) @ images[0].double().flatten(), F.conv2d(images.double(), weight.double())[0].flatten())
