"`batch_norm` beside `F.batch_norm`: values, statistics, gradients, dtypes and refusals, over many settings"
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import flags, rand, seeds

from lesson8lib.checks import test_same as same
from lesson8lib.batchnorm import batch_norm

many = settings(max_examples=400, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
all_dtypes = st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16])
close = {torch.float64: dict(rtol=1e-9, atol=1e-9), torch.float32: dict(rtol=1e-4, atol=1e-4), torch.bfloat16: dict(rtol=.02, atol=.02), torch.float16: dict(rtol=.003, atol=.003)}
narrow = (torch.bfloat16, torch.float16)


def run(fn, x, vectors, *options):
    "The result, its dtype, the statistics after it, and three gradients; or None where it is refused"
    x, (mean, var, weight, bias) = x.clone().requires_grad_(x.is_floating_point()), [v.clone() for v in vectors]
    for v in (weight, bias): v.requires_grad_(v.is_floating_point())
    try: out = fn(x, mean, var, weight, bias, *options)
    except (ValueError, TypeError, RuntimeError, IndexError, NotImplementedError): return None
    slopes = torch.autograd.grad((out*rand(0, torch.float32, *out.shape).to(out.dtype)).sum(), (x, weight, bias))
    return out.detach(), mean, var, *slopes


@many
@given(st.integers(0, 6), st.integers(1, 5), all_dtypes, flags, flags, st.sampled_from([0., .1, .5, 1.]), st.sampled_from([1e-5, 1e-3, .5]), seeds)
def test_it_is_pytorchs(words, b, f, dtype, wide, training, momentum, eps, seed):
    "Values, running statistics and gradients; numbers of 16 bits come with vectors of 16 or of 32 bits; one row in training is refused"
    other = torch.float32 if wide and dtype in narrow else dtype
    x, vectors = rand(seed, torch.float32, b, f).to(dtype)*3+1, [(rand(seed+i, torch.float32, f).abs()+.5).to(other) for i in range(4)]
    ours, theirs = (run(fn, x, vectors, training, momentum, eps) for fn in (batch_norm, F.batch_norm))
    assert (ours is None)==(theirs is None)==(training and b==1)
    if ours is None: return
    for a,t in zip(ours, theirs, strict=True):
        assert a.dtype==t.dtype
        if b or not t.isnan().any(): same(a, t, **(close[dtype] if b>2 or not training else dict(rtol=.05, atol=.05)))  # two rows that are nearly equal lose digits


@pytest.mark.parametrize('dtype', narrow)
@pytest.mark.parametrize('training', [True, False])
def test_16_bits_are_rounded_once(dtype, training):
    "Within half a step of the result in 64 bits"
    x, vectors = rand(0, torch.float32, 50, 3).to(dtype)*5+20, [torch.full((3,), v) for v in (18., 30., 1.5, .25)]
    out = batch_norm(x, *[v.clone() for v in vectors], training)
    exact = F.batch_norm(x.double(), *[v.double() for v in vectors], training)
    assert ((out.double()-exact).abs()<=.51*torch.finfo(dtype).eps*exact.abs().clamp(min=.01)*2).all()


@many
@given(st.sampled_from([(4, 3), (1, 3), (3,), (4, 1)]), st.sampled_from([torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.complex64]),
       st.integers(0, 4), st.sampled_from(['length 1', 'length 4', 'length 0', 'two axes', 'float64', 'float16', 'int64', 'none']), flags, st.sampled_from([1e-5, 0, -1]))
def test_what_pytorch_refuses_is_refused(words, shape, dtype, which, change, training, eps):
    "One of the four vectors is changed (the fifth is none of them). Of no numbers PyTorch checks nothing"
    vectors = [torch.ones(3) for _ in range(4)]
    changed = {'length 1': torch.ones(1), 'length 4': torch.ones(4), 'length 0': torch.ones(0), 'two axes': torch.ones(1, 3), 'float64': torch.ones(3).double(),
               'float16': torch.ones(3).half(), 'int64': torch.ones(3).long(), 'none': torch.ones(3)}[change]
    if which<4: vectors[which] = changed
    if change=='two axes' and which in (2, 3): return  # declared in test_differences.py
    ours, theirs = (run(fn, torch.ones(shape).to(dtype), vectors, training, .1, eps) for fn in (batch_norm, F.batch_norm))
    assert (ours is None)==(theirs is None)


@pytest.mark.parametrize('change,error,said', [
    (dict(running_mean=torch.ones(1)), ValueError, '`running_mean` must have axes (3), got shape (1,)'),
    (dict(weight=torch.ones(4)), ValueError, '`weight` must have axes (3), got shape (4,)'),
    (dict(bias=[1., 2, 3]), TypeError, '`bias` must be a tensor with axes (3), got list'),
    (dict(running_var=torch.ones(3).double()), TypeError, '`running_var` must be of torch.float32, got torch.float64'),
    (dict(x=torch.ones(4, 3).half(), bias=torch.ones(3).half()), TypeError, '`bias` must be of torch.float32, got torch.float16'),
    (dict(x=torch.ones(4, 3).half(), running_mean=torch.ones(3).double()), TypeError, '`running_mean` must be of torch.float16 or torch.float32, got torch.float64'),
    (dict(x=torch.ones(4, 3).long()), TypeError, '`x` must hold floating-point numbers, got torch.int64'),
    (dict(x=torch.ones(1, 3)), ValueError, '`x` must hold at least 2 rows in training, since one has no variance, got 1'),
    (dict(x=torch.ones(4, 0)), ValueError, '`x` must have at least one column, got none'),
    (dict(running_mean=torch.ones(3, requires_grad=True)), ValueError, '`running_mean` must not require a gradient'),
    (dict(eps=0), ValueError, '`eps` must be a finite number greater than 0, got 0'),
    (dict(momentum=None), TypeError, '`momentum` must be a finite number, got None'),
])
def test_it_is_refused_in_words(words, change, error, said):
    arguments = dict(x=torch.rand(4, 3), **{name: torch.ones(3) for name in ('running_mean', 'running_var', 'weight', 'bias')}, training=True)
    with pytest.raises(error) as e: batch_norm(**arguments | change)
    assert said in str(e.value)


def test_a_refusal_leaves_the_statistics_as_they_were():
    mean, var = torch.zeros(3), torch.ones(3)
    with pytest.raises(ValueError): batch_norm(torch.rand(1, 3), mean, var, torch.ones(3), torch.ones(3), True)
    assert mean.eq(0).all() and var.eq(1).all()
