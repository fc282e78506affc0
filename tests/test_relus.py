"Sums of ReLUs beside NumPy's interpolation, and what is rejected"
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import seeds

from lesson8lib.checks import test_same as same
from lesson8lib.relus import double_relu, rectified_linear, relu_interpolant
from lesson8lib.training import new_generator

some = settings(max_examples=200, deadline=None, derandomize=True)


def points(n, seed, dtype=torch.float64):
    generator = new_generator(seed)
    knots = torch.rand(n, generator=generator, dtype=torch.float64).add(.1).cumsum(0)-n/3
    return knots.to(dtype), torch.randn(n, generator=generator, dtype=torch.float64).to(dtype)


@some
@given(st.integers(2, 60), seeds)
def test_the_interpolant_is_numpys_between_the_knots_and_a_line_beyond(n, seed):
    knots, values = points(n, seed)
    net = relu_interpolant(knots, values)
    inside = torch.linspace(knots[0], knots[-1], 101, dtype=torch.float64)
    same(net(inside), torch.from_numpy(np.interp(inside, knots, values)), rtol=1e-6, atol=1e-9)
    same(net(knots[:1]-5), values[:1])
    slope = (values[-1]-values[-2])/(knots[-1]-knots[-2])
    same(net(knots[-1:]+5), values[-1:]+5*slope, rtol=1e-6, atol=1e-8)
    assert net[1].out_features==n-1


@pytest.mark.parametrize('dtype', [torch.float32, torch.float64])
def test_the_interpolant_has_the_dtype_of_its_values_and_can_be_trained(dtype):
    knots, values = points(7, 0, dtype)
    state = torch.random.get_rng_state()
    net = relu_interpolant(knots, values)
    assert torch.equal(torch.random.get_rng_state(), state)
    same(net(knots), values, rtol=1e-4, atol=1e-5)
    net(knots).sum().backward()
    assert all(p.grad is not None and p.dtype==dtype for p in net.parameters())
    assert values.grad is None and not values.requires_grad


@some
@given(st.tuples(*[st.floats(-5, 5)]*4), seeds)
def test_double_relu_is_two_clamped_lines(params, seed):
    x = torch.randn(3, 4, generator=new_generator(seed), dtype=torch.float64)
    m1, b1, m2, b2 = params
    same(double_relu(m1, b1, m2, b2, x), (m1*x+b1).clamp(min=0)+(m2*x+b2).clamp(min=0))
    assert (rectified_linear(m1, b1, x)>=0).all()


def test_the_parameters_of_a_unit_have_gradients():
    m, b = (torch.tensor(v, requires_grad=True) for v in (2., 1.))
    rectified_linear(m, b, torch.tensor([-3., 1., 2.])).sum().backward()
    assert m.grad==3 and b.grad==2


@pytest.mark.parametrize('knots, values, words', [
    ([1.], [1.], 'at least two positions, got 1'), ([0., 2, 1], [1., 2, 3], 'strictly ascending, got 1 of'),
    ([0., float('nan')], [1., 2], 'strictly ascending')])
def test_what_is_no_set_of_points_is_rejected(knots, values, words):
    with pytest.raises(ValueError, match=words): relu_interpolant(torch.tensor(knots), torch.tensor(values))
