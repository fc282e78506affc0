"Settings that come from NumPy, as in a grid of `np.linspace`, are taken for numbers and stored as Python's own; booleans are no numbers"
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lesson8lib import activations as act
from lesson8lib import losses
from lesson8lib import collab
from lesson8lib.checks import check_interval, check_list
from lesson8lib.checks import test_same as same
from lesson8lib.cnn import SmallCNN, as_digit, conv_block
from lesson8lib.collab import DotProduct, DotProductBias, sigmoid_range
from lesson8lib.conv_matmul import conv_equations, conv_matrix
from lesson8lib.convolution import Conv2d, conv2d, conv2d_loop, im2col, out_size
from lesson8lib.dropout import Dropout, dropout, dropout_mask
from lesson8lib.embedding import Embedding, create_params, one_hot
from lesson8lib.parameters import Linear, Sequential
from lesson8lib.pooling import AdaptiveConcatPool2d, avg_pool2d, max_pool2d, receptive_field
from lesson8lib.batchnorm import batch_norm
from lesson8lib.tabular import TabularModel, lin_bn_drop
from lesson8lib.text import count_pairs
from lesson8lib.training import new_generator

pytestmark = pytest.mark.usefixtures('words')
x, image, logits, target = torch.arange(12.).view(3, 4), torch.arange(72.).view(1, 2, 6, 6), torch.eye(3), torch.tensor([0, 2, 1])
weight, kernel, digit = torch.ones(2, 2, 3, 3), torch.ones(3, 2), torch.eye(9)
vectors = [torch.ones(4) for _ in range(4)]


def seeded(): return {'generator': new_generator(0)}
def statistics(**options): return batch_norm(x, *[v.clone() for v in vectors], True, **options)


SETTINGS = [  # what is called, its numeric settings with a value for each; those in a list are lists of numbers
    (lambda size, std: create_params(size, 2, std=std, **seeded()), dict(size=3, std=.5)),
    (lambda n, n_factors, std: Embedding(n, n_factors, std, **seeded()), dict(n=3, n_factors=2, std=.5)),
    (lambda n: one_hot(target, n), dict(n=3)),
    (lambda in_features, out_features: Linear(in_features, out_features, **seeded()), dict(in_features=3, out_features=2)),
    (lambda i: Sequential(torch.relu, torch.tanh)[i](x), dict(i=1)),
    (lambda low, high: sigmoid_range(x, low, high), dict(low=0., high=5.5)),
    (lambda n_users, n_items, n_factors, y_range: DotProduct(n_users, n_items, n_factors, y_range, **seeded()), dict(n_users=3, n_items=4, n_factors=2, y_range=[0., 5.5])),
    (lambda n_users, n_items, n_factors, y_range: DotProductBias(n_users, n_items, n_factors, y_range, **seeded()), dict(n_users=3, n_items=4, n_factors=2, y_range=[0., 5.5])),
    (lambda window: count_pairs(target, window), dict(window=2)),
    (statistics, dict(momentum=.25, eps=.5)),
    (lambda n_in, n_out, p: lin_bn_drop(n_in, n_out, p=p, **seeded()), dict(n_in=3, n_out=2, p=.5)),
    (lambda sz, n_cont, out_sz, layers, ps, embed_p, y_range: TabularModel([sz], n_cont, out_sz, layers, ps, embed_p, y_range, **seeded()),
     dict(sz=[4, 2], n_cont=1, out_sz=1, layers=[8, 4], ps=[.25, .5], embed_p=.25, y_range=[0., 5.])),
    (lambda ps: TabularModel([(4, 2)], 1, 1, [8], ps, **seeded()), dict(ps=.5)),
    (out_size, dict(size=9, kernel_size=3, stride=2, padding=1, dilation=2)),
    (lambda stride, padding: conv2d_loop(image[0,0], kernel, stride, padding), dict(stride=2, padding=1)),
    (lambda **options: im2col(image, **options), dict(kernel_size=3, stride=2, padding=1, dilation=1)),
    (lambda **options: im2col(image, **options), dict(kernel_size=[3, 2], stride=[2, 1], padding=[1, 0], dilation=[1, 2])),
    (lambda **options: conv2d(image, weight[:,:1], **options), dict(stride=2, padding=1, dilation=1, groups=2)),
    (lambda **options: conv2d(image, weight, **options), dict(stride=[2, 1], padding=[1, 0], dilation=[1, 2])),
    (lambda **options: Conv2d(**options, **seeded()), dict(in_channels=2, out_channels=4, kernel_size=3, stride=2, padding=1, dilation=1, groups=2)),
    (lambda **options: Conv2d(2, 4, **options, **seeded()), dict(kernel_size=[3, 2], stride=[2, 1], padding=[1, 0], dilation=[1, 2])),
    (conv_equations, dict(h=3, w=3, kh=2, kw=2, stride=1, padding=1)),
    (lambda **options: conv_matrix(weight[:,:1], **options), dict(size=6, stride=2, padding=1, dilation=1, groups=2)),
    (lambda **options: conv_matrix(weight, **options), dict(size=[6, 5], stride=[2, 1], padding=[1, 0], dilation=[1, 2])),
    (lambda **options: max_pool2d(image, **options), dict(kernel_size=2, stride=2, padding=1, dilation=1)),
    (lambda **options: max_pool2d(image, **options), dict(kernel_size=[3, 2], stride=[2, 1], padding=[1, 0], dilation=[1, 2])),
    (lambda **options: avg_pool2d(image, **options), dict(kernel_size=2, stride=2, padding=1)),
    (lambda **options: avg_pool2d(image, **options), dict(kernel_size=[3, 2], stride=[2, 1], padding=[1, 0])),
    (AdaptiveConcatPool2d, dict(size=2)),
    (AdaptiveConcatPool2d, dict(size=[2, 3])),
    (lambda kernel_size, stride, padding, dilation: receptive_field([(kernel_size, stride, padding, dilation)]), dict(kernel_size=[3, 2], stride=2, padding=1, dilation=1)),
    (lambda shape, p: dropout_mask(shape, p, **seeded()), dict(shape=[3, 4], p=.5)),
    (lambda p: dropout(x, p, **seeded()), dict(p=.5)),
    (Dropout, dict(p=.5)),
    (lambda negative_slope: act.leaky_relu(-x, negative_slope), dict(negative_slope=.5)),
    (lambda beta, threshold: act.softplus(x, beta, threshold), dict(beta=2., threshold=4.)),
    (lambda dim: losses.softmax(logits, dim), dict(dim=1)),
    (lambda dim: losses.log_softmax(logits, dim), dict(dim=-1)),
    (lambda label_smoothing: losses.cross_entropy(logits, target, label_smoothing), dict(label_smoothing=.25)),
    (lambda in_channels, out_channels, kernel_size, stride: conv_block(in_channels, out_channels, kernel_size, stride, **seeded()), dict(in_channels=1, out_channels=2, kernel_size=3, stride=2)),
    (lambda n_out, in_channels, channels, p: SmallCNN(n_out, in_channels, channels, p, **seeded()), dict(n_out=2, in_channels=3, channels=[2, 4], p=.5)),
    (lambda noise: as_digit(digit, noise), dict(noise=.25)),
]
EACH = [(call, options, name) for call,options in SETTINGS for name in options]
ids = [f'{i}-{name}' for i,(_,options) in enumerate(SETTINGS) for name in options]


def from_numpy(value):
    "The same value in NumPy's forms"
    floats, integers = (np.float64, np.float32, np.float16), (np.int64, np.int32, np.int8)
    if not isinstance(value, list): return [kind(value) for kind in (floats if isinstance(value, float) else integers)]
    return [np.array(value), *([kind(v) for v in value] for kind in (floats if isinstance(value[0], float) else integers))]


def parts(result):
    "What can be compared: the settings of all parts of a module, and its tensors; or what a function gave"
    if isinstance(result, nn.Module):
        return {(path, k): v for path,m in result.named_modules() for k,v in vars(m).items() if isinstance(v, int | float | tuple | list | np.generic | np.ndarray)}, dict(result.state_dict())
    if hasattr(result, 'state_dict'): return {}, dict(result.state_dict())
    return ({}, result) if isinstance(result, Tensor) or isinstance(result, tuple) and isinstance(result[0], Tensor) else ({'result': result}, torch.zeros(0))


def check_same(ours, theirs):
    (settings, tensors), (settings_, tensors_) = parts(ours), parts(theirs)
    assert settings==settings_
    same(tensors, tensors_)
    for value in settings.values():
        for v in value if isinstance(value, tuple | list) else [value]: assert not isinstance(v, np.generic | np.ndarray)


@pytest.mark.parametrize('call,options,name', EACH, ids=ids)
def test_a_number_of_numpys_is_pythons_number(call, options, name):
    expected = call(**options)
    for value in from_numpy(options[name]): check_same(call(**options | {name: value}), expected)


@pytest.mark.parametrize('call,options,name', EACH, ids=ids)
def test_a_boolean_is_no_number(call, options, name):
    given = options[name]
    for flag in (True, np.True_):
        for value in ([flag, *given[1:]], np.array([True]*len(given))) if isinstance(given, list) else (flag,):
            with pytest.raises(TypeError, match='must be'): call(**options | {name: value})


@pytest.mark.parametrize('call', [Embedding(3, 2), lambda i: one_hot(i, 3), DotProduct(3, 3, 2), DotProductBias(3, 3, 2), TabularModel([(3, 2), (3, 2)], 0, 1, [4]).eval(), count_pairs,
                                  lambda i: losses.cross_entropy(logits[:2], i[0])])
def test_a_mask_is_no_index(call):
    index = torch.tensor([[True, False], [False, True]])
    with pytest.raises(TypeError, match='must hold'): call(index[0] if call is count_pairs else index)


@pytest.mark.parametrize('dtype', [torch.int8, torch.uint8, torch.int16, torch.uint16, torch.int32, torch.uint32])
def test_indices_of_any_integer_dtype_give_the_same_rows(dtype):
    rows = torch.tensor([[0, 1], [1, 0], [2, 2]])
    for model in (Embedding(3, 2), DotProduct(3, 3, 2), DotProductBias(3, 3, 2), TabularModel([(3, 2), (3, 2)], 0, 1, [4]).eval(), lambda i: one_hot(i, 3), lambda i: count_pairs(i[:,0])):
        same(model(rows.to(dtype)), model(rows))


def test_flags_may_be_numpys():
    for flag in (False, True):
        own = np.bool_(flag)
        check_same(lin_bn_drop(3, 2, own, .5, own, **seeded()), lin_bn_drop(3, 2, flag, .5, flag, **seeded()))
        assert len(conv_block(1, 2, act=own))==len(conv_block(1, 2, act=flag))
        assert avg_pool2d(image, 2, padding=1, count_include_pad=own).equal(avg_pool2d(image, 2, padding=1, count_include_pad=flag))


def test_a_range_is_a_list():
    assert check_list(range(1, 3), 'sizes', low=1, whole=True)==[1, 2] and check_interval(range(0, 6, 5), 'y_range')==(0, 5)
    assert SmallCNN(channels=range(1, 4)).body[2][0].out_channels==3 and TabularModel([range(4, 6)], 1, 1, range(2, 4)).layers[1][0].out_features==3
    assert TabularModel(np.array([[4, 2], [5, 3]]), 1, 1, [3]).embeds[1].weight.shape==(5, 3)


@pytest.mark.parametrize('call,error,said', [
    (lambda: TabularModel([(4, 2)], 1, 1, [8], y_range=5), TypeError, '`y_range` must be a pair (low, high), got 5'),
    (lambda: TabularModel([(4, 2)], 1, 1, [8], y_range=(5, 0)), ValueError, '`y_range` must go from a lower to a higher number, got (5, 0)'),
    (lambda: TabularModel([(4, 2)], 1, 1, [8], y_range=np.array(5)), TypeError, '`y_range` must be a pair (low, high), got array(5)'),
    (lambda: TabularModel([(4, 2)], 1, 1, [8], y_range=('a', 5)), TypeError, "`y_range` must be a finite number, got 'a'"),
    (lambda: TabularModel([(4, 2)], 1, 1, [8], ps='a'), TypeError, "`ps` must be a finite number in [0, 1), got 'a'"),
    (lambda: TabularModel([(4, 2)], 1, 1, [8], ps=True), TypeError, '`ps` must be a finite number in [0, 1), got True'),
    (lambda: TabularModel([(4, 2)], 1, 1, [8], ps=1), ValueError, '`ps` must be a finite number in [0, 1)'),
    (lambda: TabularModel([(4, 2)], 1, 1, [8], embed_p=None), TypeError, '`embed_p` must be a finite number in [0, 1), got None'),
    (lambda: TabularModel([(4, 2)], 1, 1, 3), TypeError, '`layers` must be a list of integers, got 3'),
    (lambda: TabularModel([(4, 2)], 1, 1, None), TypeError, '`layers` must be a list of integers, got None'),
    (lambda: TabularModel([(4, 2)], 1, 1, '12'), TypeError, "`layers` must be a list of integers, got '12'"),
    (lambda: TabularModel(None, 1, 1, [8]), TypeError, '`emb_szs` must be a list of pairs (categories, dimension), got None'),
    (lambda: TabularModel((4, 2), 1, 1, [8]), TypeError, '`emb_szs` must hold pairs (categories, dimension), got 4'),
    (lambda: TabularModel(['42'], 1, 1, [8]), TypeError, "`emb_szs` must hold pairs (categories, dimension), got '42'"),
    (lambda: TabularModel([(4, 2, 1)], 1, 1, [8]), TypeError, '`emb_szs` must hold pairs (categories, dimension), got (4, 2, 1)'),
    (lambda: TabularModel([(4, 0)], 1, 1, [8]), ValueError, '`emb_szs` must be an integer of at least 1, got 0'),
    (lambda: lin_bn_drop(0, 2), ValueError, '`n_in` must be an integer of at least 1, got 0'),
    (lambda: lin_bn_drop(2, 2., p=.1), TypeError, '`n_out` must be an integer of at least 1, got 2.0'),
    (lambda: SmallCNN(channels=8), TypeError, '`channels` must be a list of integers, got 8'),
    (lambda: SmallCNN(in_channels=None), TypeError, '`in_channels` must be an integer of at least 1, got None'),
    (lambda: dropout_mask(3), TypeError, '`shape` must be a list of integers, got 3'),
    (lambda: Conv2d(1, 1, '33'), TypeError, "`kernel_size` must be a list of integers, got '33'"),
    (lambda: check_interval(np.array(5.), 'y_range'), TypeError, '`y_range` must be a pair (low, high), got array(5.)'),
])
def test_it_is_refused_in_words(call, error, said):
    with pytest.raises(error) as e: call()
    assert said in str(e.value)


@pytest.mark.parametrize('model', [DotProduct(3, 3, 2, (0, 5)), DotProductBias(3, 3, 2)])
def test_settings_are_checked_once_and_a_forward_checks_its_pairs_only(model, monkeypatch):
    "The axes, and the indices of both columns"
    called = []
    def spied(name, fn):
        def spy(*args, **options):
            called.append(name)
            return fn(*args, **options)
        return spy
    for name,fn in list(vars(collab).items()):
        if name.startswith('check_'): monkeypatch.setattr(collab, name, spied(name, fn))
    model(torch.tensor([[1, 2]]))
    assert called==['check_axes', 'check_index', 'check_index']
