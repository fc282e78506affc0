"""Where this library differs on purpose from PyTorch or fastai: the one list of such places

Each entry shows both sides, so that a difference that has gone away is noticed too.
"""
import warnings

import pandas as pd
import pytest
import torch
from fastai.collab import CollabDataLoaders, EmbeddingNN
from fastai.data.transforms import CategoryMap
from fastai.layers import AdaptiveConcatPool2d as FastaiConcatPool
from fastai.tabular.model import TabularModel as FastaiTabularModel
from fastai.torch_core import norm_bias_params
from torch import nn
from torch.utils.checkpoint import checkpoint

from lesson8lib.activations import gelu, leaky_relu, relu, sigmoid, softplus, tanh
from lesson8lib.collab import DotProductBias, RatingsData
from lesson8lib.collab_nn import CollabNN
from lesson8lib.convolution import Conv2d, conv2d, conv2d_loop
from lesson8lib.data import Vocab
from lesson8lib.dropout import Dropout, dropout
from lesson8lib.embedding import Embedding, one_hot
from lesson8lib.losses import cross_entropy, log_softmax, mae, mse, softmax
from lesson8lib.optimizers import SGD
from lesson8lib.parameters import Linear, Module, Parameter, Sequential
from lesson8lib.pooling import AdaptiveConcatPool2d, avg_pool2d, max_pool2d
from lesson8lib.batchnorm import batch_norm
from lesson8lib.tabular import TabularModel
from lesson8lib.training import _param_groups, fit

pytestmark = pytest.mark.usefixtures('words')


def test_a_loss_between_shapes_b1_and_b_is_refused_where_pytorch_stretches_it():
    pred, target = torch.zeros(4, 1), torch.arange(4.)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        assert nn.functional.mse_loss(pred, target).ndim==0
    with pytest.raises(ValueError, match='must predict the shape of the target'): fit(nn.Linear(2, 1), (torch.zeros(4, 2), target))


def test_a_negative_row_is_refused_where_a_parameter_counts_from_the_end():
    weight = nn.Parameter(torch.zeros(3, 2))
    assert weight[torch.tensor([-1])].shape==(1, 2)
    for call in (lambda i: Embedding(3, 2)(i), lambda i: DotProductBias(3, 3)(i[:,None].expand(-1, 2))):
        with pytest.raises(IndexError, match='got 1 outside: -1'): call(torch.tensor([-1]))


def test_a_nan_loss_ends_the_training_where_pytorch_goes_on():
    with pytest.raises(FloatingPointError, match='the loss became nan'): fit(nn.Linear(2, 1), (torch.zeros(4, 2), torch.full((4, 1), torch.nan)))


def test_rows_of_an_embedding_start_small_where_pytorchs_have_standard_deviation_1():
    assert nn.Embedding(100, 50).weight.std()>.9 and Embedding(100, 50).weight.std()<.011


def test_none_over_a_parameter_is_refused_where_pytorch_takes_it_out_of_training():
    class Theirs(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Parameter(torch.ones(3))

    class Ours(Module):
        def __init__(self):
            super().__init__()
            self.a = Parameter(torch.ones(3))

    theirs, ours = Theirs(), Ours()
    theirs.a = None
    assert not list(theirs.parameters())
    with pytest.raises(TypeError, match='`a` must stay a Parameter'): ours.a = None


def test_another_kind_over_a_module_or_parameter_is_refused_where_pytorch_swaps_them():
    class Theirs(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(2, 2)

    class Ours(Module):
        def __init__(self):
            super().__init__()
            self.a = Linear(2, 2)

    theirs, ours = Theirs(), Ours()
    theirs.a = nn.Parameter(torch.ones(3))
    assert len(list(theirs.parameters()))==1
    with pytest.raises(TypeError, match='`a` must stay a Module, got Parameter'): ours.a = Parameter(torch.ones(3))
    assert [name for name,_ in ours.named_parameters()]==['a.weight', 'a.bias']


def test_missing_ratings_are_refused_where_fastai_takes_them():
    df = pd.DataFrame({'user': [1, 2]*8, 'title': list('abcd')*4, 'rating': [1., 2., float('nan'), 4.]*4})
    assert CollabDataLoaders.from_df(df, user_name='user', item_name='title', rating_name='rating', bs=4).train.n
    with pytest.raises(ValueError, match='got 4 missing'): RatingsData.from_df(df)


@pytest.mark.parametrize('dtype', [torch.int8, torch.uint8, torch.int16, torch.uint16, torch.int32, torch.uint32])
def test_indices_of_any_integer_dtype_are_taken_where_pytorch_wants_one_or_two(dtype):
    index, embedding = torch.tensor([1, 0]).to(dtype), Embedding(2, 3)
    with pytest.raises(RuntimeError): nn.functional.one_hot(index, 2)
    if dtype!=torch.int32:
        with pytest.raises(RuntimeError): nn.Embedding(2, 3)(index)
    assert one_hot(index, 2).tolist()==[[0, 1], [1, 0]] and embedding(index).equal(embedding.weight[[1, 0]])


def test_any_function_is_a_layer_where_pytorchs_sequential_wants_a_module():
    with pytest.raises(TypeError): nn.Sequential(torch.relu)
    assert Sequential(torch.relu)(torch.tensor([-1., 1.])).tolist()==[0, 1]


def test_a_linear_layer_takes_two_axes_where_pytorchs_takes_any_number():
    for x in (torch.ones(3), torch.ones(2, 2, 3)):
        assert nn.Linear(3, 4)(x).shape==(*x.shape[:-1], 4)
        with pytest.raises(ValueError, match='`x` must have axes'): Linear(3, 4)(x)


def test_group_normalization_does_not_decay_where_fastai_frees_its_bias_only():
    model = nn.Sequential(nn.GroupNorm(1, 2))
    assert len(norm_bias_params(model, with_bias=True))==1
    free, = _param_groups(model, .1)
    assert (len(free['params']), free['weight_decay'])==(2, 0)


def test_an_unknown_name_is_refused_where_fastai_gives_it_row_0():
    assert CategoryMap(['a', 'b'], add_na=True).o2i['c']==0
    with pytest.raises(KeyError, match="1 unknown item: 'c'"): Vocab(['a', 'b']).index(['a', 'c'])


def test_a_layers_own_generator_where_pytorchs_layers_know_the_global_one_only():
    with pytest.raises(TypeError): nn.Linear(2, 2, generator=torch.Generator())
    assert Linear(2, 2, generator=torch.Generator())


def test_a_net_of_ratings_gives_b_where_fastais_gives_b1():
    x = torch.zeros(3, 2).long()
    assert EmbeddingNN([(4, 2), (4, 2)], [5])(x).shape==(3, 1) and CollabNN((4, 2), (4, 2), [5])(x).shape==(3,)


def test_the_bias_of_batch_normalization_starts_at_0_where_fastais_starts_at_a_thousandth():
    norms = [[m for m in model.layers.modules() if isinstance(m, nn.BatchNorm1d)][0] for model in
             (EmbeddingNN([(4, 2), (4, 2)], [5]), CollabNN((4, 2), (4, 2), [5], use_bn=True))]
    assert norms[0].bias.tolist()==pytest.approx([.001]*5) and norms[1].bias.tolist()==[0]*5


def test_a_model_of_tables_gives_b_where_fastais_gives_b1_and_wants_a_dropout_for_each_layer():
    x = torch.zeros(3, 1).long()
    assert FastaiTabularModel([(4, 2)], 0, 1, [5])(x).shape==(3, 1) and TabularModel([(4, 2)], 0, 1, [5])(x).shape==(3,)
    assert len(FastaiTabularModel([(4, 2)], 0, 1, [5, 6], ps=[.1]).layers)==2  # a layer is lost
    with pytest.raises(ValueError, match='`ps` must have one probability for each of 2 layers'): TabularModel([(4, 2)], 0, 1, [5, 6], ps=[.1])


def test_whole_numbers_are_never_dropped_where_pytorch_refuses_them_in_training_only():
    x = torch.arange(3)
    assert nn.functional.dropout(x, .5, False) is x and nn.functional.dropout(x, 1.).tolist()==[0, 0, 0]
    for call in (lambda: dropout(x, .5, False), lambda: dropout(x, 1.)):
        with pytest.raises(TypeError, match='`x` must hold floating-point numbers, got torch.int64'): call()


def test_a_probability_is_a_number_where_pytorch_takes_a_boolean_or_a_tensor():
    assert nn.Dropout(True)(torch.ones(2)).tolist()==[0, 0] and nn.Dropout(torch.tensor(.5))(torch.ones(2)).shape==(2,)
    for p in (True, torch.tensor(.5)):
        with pytest.raises(TypeError, match='`p` must be'): Dropout(p)


def test_dropout_has_a_generator_of_its_own_where_pytorchs_knows_the_global_one_only():
    with pytest.raises(TypeError): nn.Dropout(.5, generator=torch.Generator())
    assert Dropout(.5, generator=torch.Generator())


def test_a_dropouts_own_generator_is_not_rewound_by_checkpointing_where_the_global_one_is():
    x = torch.ones(1, 64, requires_grad=True)
    for generator in (None, torch.Generator().manual_seed(0)):
        torch.manual_seed(0)
        layer = Dropout(.5, generator=generator)
        out = checkpoint(lambda x, layer=layer: layer(x*1.)**2, x, use_reentrant=False)
        slope, = torch.autograd.grad(out.sum(), x)  # of the second time
        assert ((slope!=0)==(out!=0)).all()==(generator is None)


def test_a_generator_is_named_where_pytorch_has_other_arguments_in_its_place():
    x = torch.ones(8)
    assert nn.Dropout(.5, True).inplace and nn.functional.dropout(x, 0., True, True) is x
    assert nn.Conv2d(1, 1, 3, 1, 0, 1, 1, True, 'reflect').padding_mode=='reflect'
    for call in (lambda: Dropout(.5, True), lambda: dropout(x, 0., True, True), lambda: Conv2d(1, 1, 3, 1, 0, 1, 1, True, 'reflect')):
        with pytest.raises(TypeError, match='positional argument'): call()


def test_the_rim_counts_or_not_by_name_where_pytorch_has_ceil_mode_in_its_place():
    x = torch.ones(1, 1, 5, 5)
    assert nn.functional.avg_pool2d(x, 2, 2, 0, True).shape==(1, 1, 3, 3)
    with pytest.raises(TypeError, match='positional argument'): avg_pool2d(x, 2, 2, 0, True)


def test_a_convolution_wants_floats_where_pytorchs_takes_whole_and_complex_numbers():
    for dtype in (torch.int64, torch.complex64):
        x, weight = torch.ones(1, 1, 4, 4, dtype=dtype), torch.ones(1, 1, 3, 3, dtype=dtype)
        assert nn.functional.conv2d(x, weight).shape==(1, 1, 2, 2)
        with pytest.raises(TypeError, match='`x` must hold floating-point numbers'): conv2d(x, weight)


def test_an_image_without_a_pixel_is_refused_where_pytorch_takes_some():
    nothing = torch.ones(2, 0, 4, 4), torch.ones(3, 0, 3, 3)
    assert nn.functional.conv2d(*nothing).shape==(2, 0, 2, 2)
    with pytest.raises(ValueError, match=r'`x` must have axes .*, none of them empty, got shape \(2, 0, 4, 4\)'): conv2d(*nothing)
    no_rows = torch.ones(0, 1, 0, 5), torch.ones(1, 1, 3, 3)
    assert nn.functional.conv2d(*no_rows, padding=2).shape==(0, 1, 2, 7)
    with pytest.raises(ValueError, match=r'`x` must have axes .*, none of them empty, got shape \(0, 1, 0, 5\)'): conv2d(*no_rows, padding=2)


def test_a_stride_is_one_number_or_two_where_pytorch_takes_a_list_of_one():
    x, weight = torch.ones(1, 1, 4, 4), torch.ones(1, 1, 3, 3)
    assert nn.functional.conv2d(x, weight, stride=[2]).shape==(1, 1, 1, 1)
    with pytest.raises(ValueError, match='`stride` must be one number or two, down and across, got 1'): conv2d(x, weight, stride=[2])


def test_a_layer_that_no_image_could_pass_is_refused_when_it_is_made():
    for bad in (dict(stride=0), dict(padding=-1), dict(dilation=0), dict(kernel_size=0), dict(in_channels=0), dict(out_channels=0)):
        arguments = dict(in_channels=1, out_channels=1, kernel_size=3) | bad
        with pytest.warns() if 0 in (arguments['in_channels'], arguments['out_channels'], arguments['kernel_size']) else warnings.catch_warnings(): assert nn.Conv2d(**arguments)
        with pytest.raises(ValueError, match=f'`{next(iter(bad))}` must be an integer of at least'): Conv2d(**arguments)


def test_the_batch_of_a_convolution_comes_last_in_memory_where_pytorchs_comes_first():
    x, weight = torch.ones(2, 1, 5, 5), torch.ones(3, 1, 3, 3)
    assert nn.functional.conv2d(x, weight).is_contiguous()
    ours = conv2d(x, weight)
    assert ours.stride()==(1, 18, 6, 2) and ours.view(2, -1).shape==(2, 27)
    with pytest.raises(RuntimeError): ours.view(-1)


def test_whole_numbers_are_no_activations_where_pytorch_takes_them_for_three_functions():
    whole = torch.arange(-1, 3)
    assert nn.functional.relu(whole).dtype==torch.int64 and torch.sigmoid(whole).dtype==torch.tanh(whole).dtype==torch.float32
    for fn in (relu, sigmoid, tanh):
        with pytest.raises(TypeError, match='`x` must hold floating-point numbers, got torch.int64'): fn(whole)


def test_options_of_activations_that_give_no_usable_function_are_refused_where_pytorch_computes():
    x = torch.tensor([-1., 0, 1])
    assert nn.functional.softplus(x, beta=0).isinf().all() and (nn.functional.softplus(x, beta=-1)<0).all()
    assert nn.functional.leaky_relu(x, float('nan'))[0].isnan() and nn.functional.leaky_relu(x, float('inf'))[1].isnan()
    for beta in (0, -1):
        with pytest.raises(ValueError, match='`beta` must be a finite number greater than 0'): softplus(x, beta)
    for negative_slope in (float('nan'), float('inf')):
        with pytest.raises(ValueError, match='`negative_slope` must be a finite number'): leaky_relu(x, negative_slope)


def test_gelu_of_infinity_is_infinity_where_pytorchs_kernel_of_some_processors_gives_nan():
    ends = torch.full((64,), torch.inf)
    theirs = nn.functional.gelu(ends)
    assert (theirs.isnan() | (theirs==torch.inf)).all()  # NaN with AVX-512, infinity with AVX2
    assert (gelu(ends)==torch.inf).all()


def test_softmax_asks_for_its_axis_where_pytorch_guesses_it():
    x = torch.zeros(2, 3)
    with pytest.warns(UserWarning, match='Implicit dimension choice'): assert nn.functional.softmax(x).shape==(2, 3)
    for fn in (softmax, log_softmax):
        with pytest.raises(TypeError, match='dim'): fn(x)


def test_cross_entropy_takes_rows_and_classes_that_exist_where_pytorch_takes_more():
    pred = torch.tensor([[2., 1, 0], [0, 0, 1]])
    assert nn.functional.cross_entropy(pred, torch.tensor([0, -100])).isfinite()  # ignored
    with pytest.raises(IndexError, match='`target` must lie in 0…2, got 1 outside: -100'): cross_entropy(pred, torch.tensor([0, -100]))
    assert nn.functional.cross_entropy(pred[0], torch.tensor(1)).ndim==0
    with pytest.raises(ValueError, match=r'`pred` must have axes \(b, c\), got shape \(3,\)'): cross_entropy(pred[0], torch.tensor(1))
    assert nn.functional.cross_entropy(pred[...,None], torch.zeros(2, 1, dtype=torch.int64)).ndim==0
    with pytest.raises(ValueError, match=r'`pred` must have axes \(b, c\), got shape \(2, 3, 1\)'): cross_entropy(pred[...,None], torch.zeros(2, 1, dtype=torch.int64))
    assert nn.functional.cross_entropy(pred, torch.tensor([0, 1]), label_smoothing=-.1).isfinite()
    with pytest.raises(ValueError, match=r'`label_smoothing` must be a finite number in \[0, 1\], got -0.1'): cross_entropy(pred, torch.tensor([0, 1]), -.1)


def test_a_squared_error_beyond_float16_is_averaged_where_pytorch_overflows():
    pred, target = torch.tensor([300., 0]).half(), torch.zeros(2).half()
    assert nn.functional.mse_loss(pred, target).isinf()
    assert mse(pred, target).dtype==torch.float16 and mse(pred, target)==45_000


def test_a_window_by_window_convolution_keeps_32_bits_under_autocast_where_pytorchs_has_16():
    x, kernel = torch.rand(4, 5), torch.rand(2, 3)
    with torch.autocast('cpu', torch.bfloat16):
        assert nn.functional.conv2d(x[None,None], kernel[None,None]).dtype==torch.bfloat16
        assert conv2d_loop(x, kernel).dtype==torch.float32  # autocast knows matrix products and PyTorch's convolutions


def test_batch_normalization_takes_rows_and_four_vectors_where_pytorch_takes_more():
    x, ones = torch.rand(4, 3), torch.ones(3)
    assert nn.functional.batch_norm(x, None, None, training=True).shape==x.shape
    assert nn.functional.batch_norm(x, ones, ones, ones[None], training=False).shape==x.shape
    assert nn.functional.batch_norm(x[...,None], ones, ones, training=False).shape==(4, 3, 1)
    assert nn.functional.batch_norm(x, ones, ones, training=True, momentum=float('nan')).shape==x.shape
    for call,error,words_ in (
        (lambda: batch_norm(x, None, None, ones, ones, True), TypeError, r'`running_mean` must be a tensor with axes \(3\), got NoneType'),
        (lambda: batch_norm(x, ones, ones, ones[None], ones, False), ValueError, r'`weight` must have axes \(3\), got shape \(1, 3\)'),
        (lambda: batch_norm(x[...,None], ones, ones, ones, ones, False), ValueError, r'`x` must have axes \(b, f\), got shape \(4, 3, 1\)'),
        (lambda: batch_norm(x, ones, ones, ones, ones, True, float('nan')), ValueError, '`momentum` must be a finite number, got nan'),
    ):
        with pytest.raises(error, match=words_): call()


def test_mse_and_mae_refuse_shapes_and_types_that_pytorch_makes_fit():
    pred, target = torch.zeros(4, 1), torch.arange(4.)
    for ours,theirs in ((mse, nn.functional.mse_loss), (mae, nn.functional.l1_loss)):
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            assert theirs(pred, target).ndim==0
        with pytest.raises(ValueError, match=r'`target` must have the shape of `pred`, \(4, 1\), got \(4,\), which PyTorch would broadcast'): ours(pred, target)
        assert theirs(torch.arange(4), target)==0  # the prediction may be integers, if the target is not
        with pytest.raises(TypeError, match='`pred` must hold floating-point numbers, got torch.int64'): ours(torch.arange(4), target)
    assert nn.functional.mse_loss(target, target>0)>0
    with pytest.raises(TypeError, match='`target` must hold real numbers, got torch.bool'): mse(target, target>0)


def test_whole_numbers_are_refused_where_pytorch_pools_them():
    x = torch.ones(1, 1, 4, 4).long()
    assert nn.functional.max_pool2d(x, 2).sum()==nn.functional.avg_pool2d(x, 2).sum()==4
    for pool in (max_pool2d, avg_pool2d):
        with pytest.raises(TypeError, match='`x` must hold floating-point numbers'): pool(x, 2)


def test_concat_pooling_of_an_image_without_batch_doubles_its_channels_where_fastai_doubles_its_rows():
    x = torch.rand(3, 5, 6)
    assert FastaiConcatPool()(x).shape==(3, 2, 1) and AdaptiveConcatPool2d()(x).shape==(6, 1, 1)


def test_concat_pooling_to_0_cells_is_refused_where_fastai_takes_it_for_1():
    assert FastaiConcatPool(0)(torch.rand(2, 3, 5, 6)).shape==(2, 6, 1, 1)
    with pytest.raises(ValueError, match='`size` must be an integer of at least 1, got 0'): AdaptiveConcatPool2d(0)


def slope(pool, x, *args):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(pool(x, *args).sum(), x)[0].flatten().tolist()


def test_of_two_nans_in_a_window_the_first_gets_the_slope_where_pytorch_takes_the_last():
    x = torch.tensor([[[1., torch.nan], [torch.nan, 3]]])
    assert slope(max_pool2d, x, 2)==[0, 1, 0, 0] and slope(nn.functional.max_pool2d, x, 2)==[0, 0, 1, 0]


def test_minus_infinity_ties_with_the_padding_where_pytorch_prefers_the_image():
    x = torch.full((1, 2, 2), -torch.inf)
    assert slope(max_pool2d, x, 2, 2, 1)==[0, 0, 0, 1] and slope(nn.functional.max_pool2d, x, 2, 2, 1)==[1, 1, 1, 1]


def test_no_stride_is_none_where_pytorch_also_takes_an_empty_tuple():
    x = torch.rand(1, 1, 4, 4)
    assert nn.functional.max_pool2d(x, 2, ()).shape==max_pool2d(x, 2).shape==(1, 1, 2, 2)
    with pytest.raises(ValueError, match='`stride` must be one number or two, down and across, got 0'): max_pool2d(x, 2, ())


def test_a_window_in_the_padding_has_no_slope_where_pytorch_names_a_pixel_beyond_the_image():
    x = torch.zeros(1, 2, 2)
    largest, index = nn.functional.max_pool2d(x, 2, padding=1, dilation=3, return_indices=True)  # its way back writes beyond its memory: not run
    assert largest.isneginf().all() and index.item()>=x.numel()
    assert slope(max_pool2d, x, 2, None, 1, 3)==[0, 0, 0, 0]


def test_optimizers_refuse_a_momentum_above_1_which_makes_pytorchs_steps_grow_without_end():
    w = torch.ones(1, requires_grad=True)
    torch.optim.SGD([w], lr=.1, momentum=1.1)
    with pytest.raises(ValueError, match=r'`momentum` must be a finite number in \[0, 1\], got 1.1'): SGD([w], momentum=1.1)
    for option in ('nesterov', 'dampening', 'maximize'):
        with pytest.raises(TypeError, match=option): SGD([w], **{option: True})
