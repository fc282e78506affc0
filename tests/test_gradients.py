"Gradient descent beside PyTorch's SGD, and the numeric gradient beside autograd, for random losses and shapes; what is refused"
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lesson8lib.checks import test_same as same
from lesson8lib.gradients import gradient_descent, noisy_quadratic, numeric_gradient, quadratic
from lesson8lib.training import new_generator

many = settings(max_examples=100, deadline=None, derandomize=True)
shapes, seeds = st.lists(st.integers(1, 4), max_size=3).map(tuple), st.integers(0, 999)


def smooth_loss(shape, seed):
    "A loss that is no parabola, and where to start"
    generator = new_generator(seed)
    a, b, start = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3))
    return (lambda p: (torch.sin(a*p)+(p-b)**2).sum()), start


@many
@given(shapes, seeds)
def test_the_numeric_gradient_is_autograds(shape, seed):
    loss, start = smooth_loss(shape, seed)
    exact, = torch.autograd.grad(loss(leaf := start.clone().requires_grad_()), leaf)
    same(numeric_gradient(loss, start), exact, rtol=1e-7, atol=1e-7)


@many
@given(shapes, seeds, st.floats(1e-4, .3), st.integers(0, 9), st.booleans())
def test_the_path_is_that_of_pytorchs_sgd(shape, seed, lr, steps, zero):
    loss, start = smooth_loss(shape, seed)
    path, before = gradient_descent(loss, start, lr, steps, zero), start.clone()
    p = start.clone().requires_grad_()
    optimizer = torch.optim.SGD([p], lr, momentum=0 if zero else 1)
    for row in path:
        same(row, p.detach(), rtol=1e-9, atol=1e-9)
        optimizer.zero_grad()
        loss(p).backward()
        optimizer.step()
    assert path.shape==(steps+1, *shape) and not path.requires_grad
    same(start, before, rtol=0, atol=0)


def test_a_random_loss_is_called_once_in_each_step():
    calls = []
    gradient_descent(lambda p: (calls.append(1), p.square().sum())[1], torch.ones(2), .1, 7)
    assert len(calls)==7


def test_the_order_in_memory_does_not_matter():
    weights, start = torch.randn(4, 3, generator=new_generator(0), dtype=torch.float64), torch.ones(3, 4, dtype=torch.float64).T
    same(numeric_gradient(lambda p: (weights*p**2).sum(), start), 2*weights, rtol=1e-7, atol=1e-7)


def test_noise_scales_with_its_options_and_depends_on_the_seed_alone():
    x, y = noisy_quadratic(mult=0, add=2, n=5000, seed=1)
    off = y-quadratic(3, 2, 1, x)
    assert len(x)==5000 and (x[0], x[-1])==(-2, 2) and abs(off.std()-2)<.1 and abs(off.mean())<.1
    x, y = noisy_quadratic(mult=.3, add=0, n=5000, seed=1)
    assert abs((y/quadratic(3, 2, 1, x)).std()-.3)<.02
    state = torch.get_rng_state()
    same(noisy_quadratic(n=7), noisy_quadratic(n=7), rtol=0, atol=0)
    assert torch.equal(state, torch.get_rng_state()) and not torch.equal(noisy_quadratic()[1], noisy_quadratic(seed=1)[1])


@pytest.mark.usefixtures('words')
@pytest.mark.parametrize(('call', 'error', 'wanted'), [
    (lambda: gradient_descent(torch.sum, torch.ones(2), lr=-1), ValueError, '`lr` must be a finite number greater than 0, got -1'),
    (lambda: gradient_descent(torch.sum, torch.ones(2), .1, steps=1.5), TypeError, '`steps` must be an integer'),
    (lambda: numeric_gradient(torch.sum, torch.arange(3)), TypeError, '`params` must hold floating-point numbers, got torch.int64'),
    (lambda: numeric_gradient(torch.sum, torch.ones(2), h=0), ValueError, '`h` must be a finite number greater than 0, got 0'),
    (lambda: noisy_quadratic(mult=-.1), ValueError, '`mult` must be a finite number of at least 0, got -0.1'),
    (lambda: noisy_quadratic(seed=2**32), ValueError, '`seed` must be an integer in [0, 4294967296)'),
])
def test_it_is_refused_in_words(call, error, wanted):
    with pytest.raises(error) as caught: call()
    assert wanted in str(caught.value)
