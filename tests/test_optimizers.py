"The optimizers beside PyTorch's, for random settings and a model; a changed learning rate; what is refused"
import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lesson8lib import optimizers
from lesson8lib.checks import test_same as same
from lesson8lib.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop, cosine_lr
from lesson8lib.training import new_generator

some = settings(max_examples=60, deadline=None, derandomize=True)
rates, fractions, decays = st.floats(1e-4, .1), st.floats(0, .99), st.sampled_from([0, .01, .3])
choices = st.one_of(
    st.fixed_dictionaries({'name': st.just('SGD'), 'lr': rates, 'momentum': fractions, 'weight_decay': decays}),
    st.fixed_dictionaries({'name': st.just('RMSprop'), 'lr': rates, 'alpha': fractions, 'eps': st.floats(1e-8, .1), 'weight_decay': decays}),
    st.fixed_dictionaries({'name': st.sampled_from(['Adam', 'AdamW']), 'lr': rates, 'betas': st.tuples(fractions, fractions),
                           'eps': st.floats(1e-8, .1), 'weight_decay': decays}))


@some
@given(choices, st.integers(0, 999))
def test_each_step_is_pytorchs(options, seed):
    name, generator = options.pop('name'), new_generator(seed)
    ours = [torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_() for shape in [(2, 3), (4,), ()]]
    theirs = copy.deepcopy(ours)
    pair = getattr(optimizers, name)(ours, **options), getattr(torch.optim, name)(theirs, **options)
    for step in range(50):
        for i,(a,b) in enumerate(zip(ours, theirs, strict=True)):
            g = torch.randn(a.shape, generator=generator, dtype=torch.float64) if i==0 or (i==1 and step%3==2) else None
            a.grad, b.grad = g, None if g is None else g.clone()
        for optimizer in pair: optimizer.step()
        same(ours, theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize('name', ['SGD', 'RMSprop', 'Adam', 'AdamW'])
def test_a_model_is_trained_as_by_pytorchs_with_its_defaults(name):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)).double()
    other, x = copy.deepcopy(model), torch.randn(20, 3, dtype=torch.float64, generator=new_generator(1))
    pair = getattr(optimizers, name)(model.parameters()), getattr(torch.optim, name)(other.parameters())
    for step in range(50):
        for net,optimizer in zip((model, other), pair, strict=True):
            optimizer.zero_grad()
            net(x).square().mean().backward()
            optimizer.step()
        rate = .01/(step+1)  # a schedule changes the learning rate between steps
        pair[0].lr = pair[1].param_groups[0]['lr'] = rate
    same(dict(model.state_dict()), dict(other.state_dict()), rtol=1e-10, atol=1e-10)


def test_the_totals_do_not_share_memory_with_the_gradient():
    p, g = torch.zeros(2, requires_grad=True), torch.ones(2)
    p.grad, optimizer = g, SGD([p], lr=1, momentum=.5)
    optimizer.step()
    g.zero_()  # as `zero_grad(set_to_none=False)` does
    optimizer.step()
    same(p.detach(), torch.full((2,), -1.5))
    same(g, torch.zeros(2))


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_parameters_keep_their_dtype_and_place(dtype):
    for kind in (SGD, RMSprop, Adam, AdamW):
        p = torch.ones(2, dtype=dtype, requires_grad=True)
        place, p.grad = p.data_ptr(), torch.ones(2, dtype=dtype)
        (optimizer := kind([p], lr=.1)).step()
        optimizer.zero_grad()
        assert p.dtype==dtype and p.data_ptr()==place and p.grad is None and (p<1).all() and p.is_leaf


@some
@given(st.floats(0, 10), st.floats(0, 1), st.integers(1, 40))
def test_the_schedule_is_pytorchs(lr, end, steps):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps, end)
    for step in range(steps+1):
        assert cosine_lr(step/steps, lr, end)==pytest.approx(optimizer.param_groups[0]['lr'], rel=1e-9, abs=1e-9)
        optimizer.step()
        schedule.step()


p = torch.zeros(2, requires_grad=True)
@pytest.mark.usefixtures('words')
@pytest.mark.parametrize(('call', 'error', 'wanted'), [
    (lambda: SGD(p), TypeError, '`params` must be a list of parameters, got Tensor'),
    (lambda: Adam([p, 1.]), TypeError, '`params[1]` must be a tensor of floating-point numbers, got float'),
    (lambda: Adam([]), ValueError, 'and nothing else, got none'), (lambda: SGD(torch.nn.Linear(2, 1)), TypeError, 'must be a list of parameters, got Linear'),
    (lambda: SGD([p*2]), ValueError, 'got the result of a computation'), (lambda: Adam([torch.ones(2, dtype=torch.complex64)]), TypeError, 'must hold floating-point numbers, got torch.complex64'),
    (lambda: SGD([p], lr=torch.nan), ValueError, '`lr` must be a finite number of at least 0, got nan'),
    (lambda: SGD([p], momentum=True), TypeError, '`momentum` must be a finite number in [0, 1], got True'),
    (lambda: RMSprop([p], alpha=1), ValueError, '`alpha` must be a finite number in [0, 1), got 1'),
    (lambda: RMSprop([p], eps=-1), ValueError, '`eps` must be a finite number of at least 0, got -1'),
    (lambda: Adam([p], betas=(.9,)), ValueError, '`betas` must be a list of 2 numbers, got (0.9,)'),
    (lambda: AdamW([p], weight_decay=-.1), ValueError, '`weight_decay` must be a finite number of at least 0, got -0.1'),
    (lambda: cosine_lr(1.1, .1), ValueError, '`done` must be a finite number in [0, 1], got 1.1'),
])
def test_it_is_refused_in_words(call, error, wanted):
    with pytest.raises(error) as caught: call()
    assert wanted in str(caught.value)


def test_the_base_class_has_no_step_of_its_own():
    p.grad = torch.ones(2)
    with pytest.raises(NotImplementedError): Optimizer([p], lr=.1).step()


@pytest.mark.usefixtures('words')
def test_a_learning_rate_assigned_later_is_checked():
    p = torch.ones(2, requires_grad=True)
    optimizer = SGD([p], lr=.1)
    optimizer.lr = .5
    assert optimizer.lr==.5
    for wrong in (float('nan'), -1, 'fast'):
        with pytest.raises((ValueError, TypeError), match='`lr`'): optimizer.lr = wrong


def test_without_weight_decay_sparse_gradients_work_and_infinite_parameters_stay():
    ours, theirs = (torch.nn.Embedding(5, 2, sparse=True) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    for table, kind in ((ours, SGD), (theirs, torch.optim.SGD)):
        optimizer = kind(table.parameters(), lr=.3)
        table(torch.tensor([1, 3, 3])).sum().backward()
        optimizer.step()
    same(ours.weight.detach(), theirs.weight.detach())
    for kind, peer in ((SGD, torch.optim.SGD), (RMSprop, torch.optim.RMSprop), (Adam, torch.optim.Adam)):
        values = []
        for of in (kind, peer):
            p = torch.tensor([torch.inf, 1., -torch.inf], requires_grad=True)
            p.grad = torch.ones(3)
            of([p], lr=.1).step()
            values.append(p.detach())
        same(*values)
