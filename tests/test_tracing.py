"Layers, models and losses while they are traced: `torch.compile`, `torch.export`, `torch.func.vmap`, the meta device and fake tensors, beside PyTorch's"
import copy
import logging

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from lesson8lib import activations as act
from lesson8lib import losses as ls
from lesson8lib.checks import test_same as same
from lesson8lib.cnn import SmallCNN
from lesson8lib.collab import DotProduct, DotProductBias
from lesson8lib.convolution import Conv2d, conv2d, conv2d_loop, im2col
from lesson8lib.dropout import Dropout
from lesson8lib.embedding import Embedding, one_hot
from lesson8lib.pooling import AdaptiveConcatPool2d, avg_pool2d, max_pool2d
from lesson8lib.batchnorm import batch_norm
from lesson8lib.tabular import TabularModel
from lesson8lib.training import new_generator

pytestmark = [pytest.mark.usefixtures('words', 'quiet'), pytest.mark.filterwarnings('ignore')]


@pytest.fixture
def quiet():
    "PyTorch's tracers write much to the log"
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
    torch._dynamo.reset()


class Call(nn.Module):
    "A function as a module, which is what `torch.export` takes"
    def __init__(self, fn):
        super().__init__()
        self.fn = fn

    def forward(self, *inputs): return self.fn(*inputs)


class Dots(nn.Module):
    "What `DotProduct` and `DotProductBias` compute, with PyTorch's embeddings"
    def __init__(self, model):
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding.from_pretrained(p.detach().clone().view(5, -1), freeze=False) for p in model.parameters()])

    def forward(self, x):
        found = [table(x[:,i]) for table,i in zip(self.tables, (0, 1) if len(self.tables)==2 else (0, 0, 1, 1), strict=True)]
        if len(found)==2: return (found[0]*found[1]).sum(1)
        return torch.sigmoid((found[0]*found[2]).sum(1) + found[1].squeeze(1) + found[3].squeeze(1))*5.5


def rand(*shape): return torch.randn(shape, generator=new_generator(sum(shape)))


def loaded(theirs, ours):
    theirs.load_state_dict(dict(ours.state_dict()))
    return theirs


index, pairs, images, logits, rows = torch.tensor([1, 4, 0]), torch.tensor([[1, 2], [4, 0], [0, 0]]), rand(3, 2, 8, 7), rand(3, 5), rand(3, 4)
kernels, vectors = (rand(4, 2, 3, 3), rand(4)), (torch.full((4,), .2), torch.full((4,), 1.5), torch.full((4,), 2.), torch.full((4,), -1.))
functions = [(act.relu, F.relu), (act.leaky_relu, F.leaky_relu), (act.sigmoid, torch.sigmoid), (act.tanh, torch.tanh), (act.softplus, F.softplus), (act.gelu, F.gelu),
             (act.silu, F.silu), (act.mish, F.mish), (lambda x: ls.softmax(x, 1), lambda x: F.softmax(x, 1)), (lambda x: ls.log_softmax(x, -1), lambda x: F.log_softmax(x, -1))]
emb, conv, dot, dot_bias = Embedding(5, 3), Conv2d(2, 4, 3, padding='same', groups=2), DotProduct(5, 5, 3), DotProductBias(5, 5, 3)
table, cnn = TabularModel([(5, 3), (6, 2)], 4, 2, [6], ps=.2, y_range=(0, 5)).eval(), SmallCNN(4, channels=(4, 6)).eval()


concat = AdaptiveConcatPool2d((3, 2))

def theirs_concat(x): return torch.cat([F.adaptive_max_pool2d(x, (3, 2)), F.adaptive_avg_pool2d(x, (3, 2))], 1)
def losses(loss): return lambda x, i, y: torch.stack([loss['entropy'](x, i), loss['entropy'](x, y.softmax(1), label_smoothing=.1), loss['mse'](x, y), loss['mae'](x, y)])


CASES = {  # ours, PyTorch's equivalent (of a whole model: itself, not traced), inputs
    'Embedding': (emb, loaded(nn.Embedding(5, 3), emb), (index,)),
    'one_hot': (Call(lambda i: one_hot(i, 5)), Call(lambda i: F.one_hot(i, 5)), (index,)),
    'DotProduct': (dot, Dots(dot), (pairs,)),
    'DotProductBias': (dot_bias, Dots(dot_bias), (pairs,)),
    'TabularModel': (table, table, (pairs, rows)),
    'conv2d': (Call(lambda x, w, b: conv2d(x, w, b, (2, 1), 1)), Call(lambda x, w, b: F.conv2d(x, w, b, (2, 1), 1)), (images, *kernels)),
    'Conv2d': (conv, loaded(nn.Conv2d(2, 4, 3, padding='same', groups=2), conv), (images,)),
    'im2col': (Call(lambda x: im2col(x, (3, 2), 2, 1)), Call(lambda x: F.unfold(x, (3, 2), 1, 1, 2)), (images,)),
    'pooling': (Call(lambda x: (max_pool2d(x, 3, 2, 1), avg_pool2d(x, 2, 2, 1, count_include_pad=False), concat(x))),
                Call(lambda x: (F.max_pool2d(x, 3, 2, 1), F.avg_pool2d(x, 2, 2, 1, count_include_pad=False), theirs_concat(x))), (images,)),
    'Dropout in evaluation': (Dropout().eval(), nn.Dropout().eval(), (rows,)),
    'activations': (Call(lambda x: tuple(f(x) for f,_ in functions)), Call(lambda x: tuple(f(x) for _,f in functions)), (logits,)),
    'losses': (Call(losses({'entropy': ls.cross_entropy, 'mse': ls.mse, 'mae': ls.mae})),
               Call(losses({'entropy': F.cross_entropy, 'mse': F.mse_loss, 'mae': F.l1_loss})), (logits, index, logits.flip(0))),
    'batch_norm': (Call(lambda x, *v: batch_norm(x, *v, False)), Call(lambda x, *v: F.batch_norm(x, *v, False)), (rows, *vectors)),
    'SmallCNN': (cnn, cnn, (rand(3, 1, 9, 8),)),
}
batched = {'conv2d': 1, 'batch_norm': 1}  # how many of the inputs have a batch axis, where not all
close = dict(rtol=1e-4, atol=1e-5)


def with_gradients(model, inputs, constant):
    "Results, and the gradients of a weighted sum of them, for inputs and parameters"
    inputs = [x.detach().clone().requires_grad_(x.is_floating_point() and i not in constant) for i,x in enumerate(inputs)]
    found = model(*inputs)
    outs = found if isinstance(found, tuple) else (found,)
    leaves = [x for x in inputs if x.requires_grad] + list(model.parameters())
    total = sum((out*rand(*out.shape)).sum() for out in outs if out.requires_grad)
    return outs, torch.autograd.grad(total, leaves) if leaves else ()


@pytest.mark.parametrize('name', CASES)
def test_compiled_results_and_gradients_are_pytorchs(name):
    ours, theirs, inputs = CASES[name]
    constant = (1, 2) if name=='batch_norm' else ()  # its running statistics
    outs, grads = with_gradients(torch.compile(ours, fullgraph=True, backend='aot_eager'), inputs, constant)
    expected, slopes = with_gradients(theirs, inputs, constant)
    same(outs, expected, **close)
    same([g.flatten() for g in grads], [g.flatten() for g in slopes], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize('name', CASES)
def test_exported_results_are_pytorchs(name):
    "Strict: traced from its bytecode, as in `torch.compile`. The other way follows below"
    ours, theirs, inputs = CASES[name]
    same(torch.export.export(ours, inputs, strict=True).module()(*inputs), theirs(*inputs), **close)


@pytest.mark.parametrize('name', CASES)
def test_an_export_with_a_batch_of_any_size(name):
    ours, theirs, inputs = CASES[name]
    n, b = batched.get(name, len(inputs)), torch.export.Dim('b', min=2, max=64)
    axes = tuple({0: b} if i<n else None for i in range(len(inputs)))
    program = torch.export.export(ours, inputs, dynamic_shapes=(axes,) if isinstance(ours, Call) else axes, strict=False).module()
    for times in (1, 3):
        larger = [torch.cat([x]*times) if i<n else x for i,x in enumerate(inputs)]
        same(program(*larger), theirs(*larger), **close)


def test_an_export_with_images_of_any_size():
    auto = torch.export.Dim.AUTO
    program = torch.export.export(conv, (rand(2, 2, 16, 12),), dynamic_shapes=({0: auto, 2: auto, 3: auto},), strict=False).module()
    same(program(rand(5, 2, 20, 22)), conv(rand(5, 2, 20, 22)), **close)


@pytest.mark.parametrize('name', CASES)
def test_results_under_vmap_are_pytorchs(name):
    ours, theirs, inputs = CASES[name]
    stacked = [torch.stack([x, x.flip(0)]) for x in inputs]
    same(*(torch.func.vmap(model, randomness='different')(*stacked) for model in (ours, theirs)), **close)


def described(outs): return [(out.shape, out.dtype, out.device.type) for out in (outs if isinstance(outs, tuple) else (outs,))]


@pytest.mark.parametrize('name', CASES)
def test_shapes_without_numbers_are_pytorchs(name):
    "On the meta device, and of fake tensors"
    ours, theirs, inputs = CASES[name]
    on_meta = [described(copy.deepcopy(model).to('meta')(*(x.to('meta') for x in inputs))) for model in (ours, theirs)]
    assert on_meta[0]==on_meta[1]
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode: fake = [described(model(*(mode.from_tensor(x) for x in inputs))) for model in (ours, theirs)]
    assert fake[0]==fake[1] and all(device=='cpu' for _,_,device in fake[0])


@pytest.mark.parametrize('make,inputs', [
    (lambda: SmallCNN(3, channels=(4,)), lambda b: (rand(b, 1, 9, 8),)),
    (lambda: DotProductBias(5, 5, 3), lambda b: (pairs[:1].expand(b, -1),)),
    (lambda: TabularModel([(5, 3)], 4, 1, [6]), lambda b: (pairs[:1,:1].expand(b, -1), rand(b, 4))),
])
def test_one_compiled_model_takes_batches_of_many_sizes(make, inputs):
    "The second size makes PyTorch compile for any size; after that nothing is compiled anew"
    graphs, model = [], make()
    def count(graph, _):
        graphs.append(graph)
        return graph
    compiled = torch.compile(model, fullgraph=True, backend=count)
    for b in (4, 6, 5, 9, 12, 7, 3, 17, 8, 11, 2, 10): assert len(compiled(*inputs(b)))==b
    assert len(graphs)<=2


def test_what_is_compiled_to_machine_code_is_the_same():
    "PyTorch's own backend, which needs a C++ compiler, with indices, kernels, pooling and a loss in one graph"
    def loss(x, i): return ls.cross_entropy(max_pool2d(conv(x), 4).sum((2, 3))[:,:3]*emb(i), i%3)
    with torch.no_grad(): same(torch.compile(loss, fullgraph=True)(images, index), loss(images, index), **close)


def test_dropout_draws_while_it_is_traced():
    "As many zeros as PyTorch's, and the others scaled; images of a batch have masks of their own under vmap"
    x = torch.ones(4, 1000)
    for run in (lambda layer: torch.compile(layer, fullgraph=True, backend='aot_eager')(x),
                lambda layer: torch.func.vmap(layer, randomness='different')(x)):
        for layer in (Dropout(.3), nn.Dropout(.3)):
            torch.manual_seed(0)
            out = run(layer)
            assert out.unique().tolist()==pytest.approx([0., 1/.7]) and .65<(out>0).float().mean()<.75 and not out[0].equal(out[1])


def test_batch_normalization_in_training_keeps_its_statistics_while_compiled():
    found = []
    for fn in (torch.compile(batch_norm, fullgraph=True, backend='aot_eager'), F.batch_norm):
        vectors_ = [v.clone() for v in vectors]
        found.append((fn(rows, *vectors_, training=True), *vectors_))
    same(*found, **close)


def test_gradients_image_by_image():
    def loss(w, x): return ls.cross_entropy(conv2d(x[None], w, padding=1).mean((2, 3)), torch.tensor([1]))
    def theirs(w, x): return F.cross_entropy(F.conv2d(x[None], w, padding=1).mean((2, 3)), torch.tensor([1]))
    same(*(torch.func.vmap(torch.func.grad(fn), (None, 0))(kernels[0], images) for fn in (loss, theirs)), **close)


def test_a_loop_over_windows_is_traced_too():
    x, kernel = rand(6, 5), rand(3, 2)
    expected = F.conv2d(x[None,None], kernel[None,None])[0,0]
    same(torch.compile(conv2d_loop, fullgraph=True, backend='aot_eager')(x, kernel), expected, **close)
    assert conv2d_loop(x.to('meta'), kernel.to('meta')).shape==expected.shape


def test_indices_are_checked_again_after_tracing():
    "A tracer has no values to look at; a call without one has"
    torch.compile(emb, fullgraph=True, backend='aot_eager')(index)
    torch.func.vmap(emb)(index[:,None])
    with pytest.raises(IndexError, match='`index` must lie in 0…4, got 1 outside: 5'): emb(torch.tensor([5]))
