"Matrix products by loops: dtypes, views and devices off the defaults"
import pytest
import torch

from lesson8lib.checks import test_same as same
from lesson8lib.matrices import matmul_broadcast, matmul_dots, matmul_loop, matmul_rows
from lesson8lib.training import new_generator

WAYS = matmul_loop, matmul_dots, matmul_rows, matmul_broadcast


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('dtype', [torch.uint8, torch.int16, torch.int32, torch.int64, torch.bfloat16, torch.float64, torch.complex64])
def test_every_dtype_is_kept(way, dtype):
    a, b = (torch.randint(0, 5, size, generator=new_generator(0)).to(dtype) for size in ((3, 4), (4, 2)))
    same(way(a, b), a@b)
    same(way(b.T, a.T), b.T@a.T)  # views, not contiguous
    same(way(a[::2], b[:,:1].expand(4, 5)), a[::2]@b[:,:1].expand(4, 5))


@pytest.mark.usefixtures('words')
@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('a, b, error, wanted', [
    (torch.ones(2, 3), torch.ones(2, 3), ValueError, r'`b` must have axes \(3, n\), got shape \(2, 3\)'),
    (torch.ones(3), torch.ones(3, 2), ValueError, r'`a` must have axes \(m, k\), got shape \(3,\)'),
    (torch.ones(2, 3), torch.ones(3, 2).half(), TypeError, 'the dtype of `a`, torch.float32, got torch.float16'),
    (torch.ones(2, 3), torch.ones(3, 2, device='meta'), ValueError, 'on cpu, got meta')])
def test_what_does_not_fit_is_refused(way, a, b, error, wanted):
    with pytest.raises(error, match=wanted): way(a, b)
