"Random settings and numbers that the tests of convolutions and pools share"
import torch
from hypothesis import strategies as st

from lesson8lib.training import new_generator

flags, seeds, dtypes = st.booleans(), st.integers(0, 999), st.sampled_from([torch.float32, torch.float64])
close = {torch.float32: dict(rtol=1e-4, atol=1e-4), torch.float64: dict(rtol=1e-9, atol=1e-9)}  # sums in another order


def one_or_two(low, high):
    "One number for both axes, or two: down, across"
    return st.integers(low, high) | st.tuples(st.integers(low, high), st.integers(low, high))


small, kernels, steps, pads = st.integers(1, 3), one_or_two(1, 4), one_or_two(1, 3), one_or_two(0, 3)


def pair(n): return n if isinstance(n, tuple) else (n, n)


def rand(seed, dtype, *shape): return torch.randn(*shape, generator=new_generator(seed), dtype=dtype)
