"`conv_matrix` beside PyTorch's convolution and transposed convolution, over many settings; `conv_equations` beside it in symbols, over all small ones"
from itertools import product

import pytest
import sympy
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import close, dtypes, flags, kernels, pads, pair, rand, seeds, small, steps

from lesson8lib.checks import test_same as same
from lesson8lib.checks import test_same_fn as same_fn
from lesson8lib.conv_matmul import conv_equations, conv_matrix

many = settings(max_examples=600, deadline=None, derandomize=True)
some = settings(max_examples=150, deadline=None, derandomize=True)
pytestmark = [pytest.mark.filterwarnings(f'ignore:{words}') for words in ("Using padding='same' with even kernel lengths", 'Sparse CSR tensor support is in beta')]
sides = st.integers(1, 8)


@many
@given(st.integers(0, 2), small, small, small, sides, sides, kernels, steps, st.one_of(pads, st.sampled_from(['same', 'valid'])), steps, flags, dtypes, seeds)
def test_matrix_times_image_is_pytorchs_convolution(b, groups, i, o, h, w, kernel_size, stride, padding, dilation, sparse, dtype, seed):
    "Values, gradients of image and kernels, and refusals"
    def ours(x, weight):
        size = h if h==w and seed%2 else (h, w)
        return (conv_matrix(weight, size, stride, padding, dilation, groups, sparse) @ x.flatten(1).T).T
    def theirs(x, weight): return F.conv2d(x, weight, None, stride, padding, dilation, groups).flatten(1)
    same_fn(ours, theirs, rand(seed, dtype, b, i*groups, h, w), rand(seed+1, dtype, o*groups, i, *pair(kernel_size)), **close[dtype])


@some
@given(small, small, small, sides, sides, kernels, steps, pads, steps, flags, dtypes, seeds)
def test_transposed_matrix_is_the_transposed_convolution(groups, i, o, h, w, kernel_size, stride, padding, dilation, sparse, dtype, seed):
    weight = rand(seed, dtype, o*groups, i, *pair(kernel_size))
    room = [n+2*p-d*(k-1)-1 for n,p,d,k in zip((h, w), pair(padding), pair(dilation), pair(kernel_size), strict=True)]
    if min(room)<0: return
    left = tuple(r%s for r,s in zip(room, pair(stride), strict=True))
    y = rand(seed+1, dtype, 1, o*groups, *(r//s+1 for r,s in zip(room, pair(stride), strict=True)))
    def ours(y, weight): return (conv_matrix(weight, (h, w), stride, padding, dilation, groups, sparse).T @ y.flatten()[:,None]).view(1, -1, h, w)
    def theirs(y, weight): return F.conv_transpose2d(y, weight, None, stride, padding, left, groups, dilation)
    same_fn(ours, theirs, y, weight, **close[dtype])


@some
@given(small, small, small, sides, kernels, steps, pads, steps, dtypes, seeds)
def test_sparse_holds_each_weight_that_sees_a_pixel_and_nothing_else(groups, i, o, side, kernel_size, stride, padding, dilation, dtype, seed):
    weight = torch.arange(1., groups*o*i*pair(kernel_size)[0]*pair(kernel_size)[1]+1, dtype=dtype).view(groups*o, i, *pair(kernel_size))
    try: dense = conv_matrix(weight, side, stride, padding, dilation, groups)
    except ValueError: return
    sparse = conv_matrix(weight, side, stride, padding, dilation, groups, sparse=True)
    assert sparse.is_coalesced() and sparse._nnz()==dense.count_nonzero() and sparse.dtype==dense.dtype==dtype
    same(sparse.to_dense(), dense)
    again = torch.sparse_coo_tensor(sparse.indices(), sparse.values(), sparse.shape, check_invariants=True).coalesce()
    same(again.indices(), sparse.indices())  # sorted, as it claims
    same(sparse.to_sparse_csr().to_dense(), dense)


def test_every_small_convolution_in_symbols():
    capitals, b = sympy.symbols('A:H J:Z'), sympy.Symbol('b')
    greek, letters, n = sympy.symbols('alpha beta gamma delta epsilon zeta eta theta iota'), sympy.symbols('p:z'), 0
    for h,w,kh,kw,stride,padding in product(range(1, 6), range(1, 6), range(1, 4), range(1, 4), range(1, 4), range(3)):
        if kh>h+2*padding or kw>w+2*padding:
            with pytest.raises(ValueError, match='must fit'): conv_equations(h, w, kh, kw, stride, padding)
            continue
        n += 1
        matrix = conv_matrix(torch.arange(1., kh*kw+1).view(1, 1, kh, kw), (h, w), stride, padding, sparse=True)
        rows = [[b] for _ in range(len(matrix))]
        for (i, j),number in zip(matrix.indices().T.tolist(), matrix.values().tolist(), strict=True): rows[i].append(greek[int(number)-1]*capitals[j])
        equations = conv_equations(h, w, kh, kw, stride, padding)
        for row,(y,total) in zip(rows, equations.items(), strict=True): assert sympy.Add(*row)==total.doit(), (h, w, kh, kw, stride, padding, y)
        if len(rows)<=len(letters): assert tuple(equations)==letters[:len(rows)]
    assert n==3*(12**2+15**2+15**2)==1782  # along an axis 12 of 15 pairs of image and kernel fit without padding, all with it


def test_equations_with_numbers_are_pytorchs_convolution():
    for h,w,kh,kw,stride,padding in ((3, 3, 2, 2, 1, 0), (5, 4, 3, 2, 2, 1), (2, 7, 4, 4, 1, 1), (6, 5, 3, 5, 3, 2), (1, 1, 1, 1, 1, 0)):
        equations = conv_equations(h, w, kh, kw, stride, padding)
        x, weight = torch.arange(1., h*w+1).view(1, 1, h, w), torch.arange(2., kh*kw+2).view(1, 1, kh, kw)**2
        many_pixels, many_weights = h*w>25, kh*kw>14
        pixels = [sympy.Symbol(f'x_{{{i},{j}}}') for i in range(h) for j in range(w)] if many_pixels else sympy.symbols('A:H J:Z')[:h*w]
        names = 'alpha beta gamma delta epsilon zeta eta theta iota kappa lamda mu nu xi'
        weights = [sympy.Symbol(f'w_{{{i},{j}}}') for i in range(kh) for j in range(kw)] if many_weights else sympy.symbols(names)[:kh*kw]
        values = dict(zip(pixels, x.flatten().tolist(), strict=True)) | dict(zip(weights, weight.flatten().tolist(), strict=True)) | {sympy.Symbol('b'): .5}
        expected = F.conv2d(x, weight, torch.tensor([.5]), stride, padding)
        same(torch.tensor([float(total.subs(values)) for total in equations.values()]).view_as(expected), expected)
    assert sympy.Symbol('y_{0,1}') in conv_equations(5, 5, 1, 1) and sympy.Symbol('p') in conv_equations(3, 3, 1, 1)


def test_defaults_are_pytorchs():
    weight, x = rand(0, torch.float32, 2, 3, 3, 2), rand(1, torch.float32, 1, 3, 6, 7)
    same(conv_matrix(weight, (6, 7)) @ x.flatten(), F.conv2d(x, weight).flatten(), rtol=1e-4, atol=1e-5)
    assert not conv_matrix(weight, 6).is_sparse and conv_matrix(weight, 6, sparse=True).is_sparse
    assert list(conv_equations(3, 3, 2, 2))==list(sympy.symbols('p q r s'))


def test_the_lessons_words():
    lines = [sympy.latex(total, order='none') for total in conv_equations(3, 3, 2, 2).values()]
    assert lines==[r'\alpha A + \beta B + \gamma D + \delta E + b', r'\alpha B + \beta C + \gamma E + \delta F + b',
                   r'\alpha D + \beta E + \gamma G + \delta H + b', r'\alpha E + \beta F + \gamma H + \delta J + b']


@pytest.mark.parametrize('sparse', [False, True])
def test_dtype_layout_and_second_derivatives(sparse):
    weight = rand(0, torch.float64, 2, 2, 3, 3).requires_grad_()
    if not sparse: assert torch.autograd.gradgradcheck(lambda w: conv_matrix(w, 4, padding=1).square().sum(), [weight])
    assert torch.autograd.gradcheck(lambda w: conv_matrix(w, 4, padding=1, sparse=sparse).to_dense(), [weight])
    for dtype in (torch.float16, torch.bfloat16): assert conv_matrix(weight.to(dtype), 4, sparse=sparse).dtype==dtype
    turned = weight.detach().permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    a, b = conv_matrix(turned, 4, sparse=sparse), conv_matrix(turned.contiguous(), 4, sparse=sparse)
    same(a.to_dense(), b.to_dense())
    a.to_dense().zero_()
    same(turned, weight.detach())


@pytest.mark.parametrize('call,error,words_', [
    (lambda: conv_matrix(torch.ones(1, 1, 3, 3), 2), ValueError, '`kernel_size` must fit into the padded image, 2 + 2·0 = 2 pixels, got 3 with dilation 1, which spans 3'),
    (lambda: conv_matrix(torch.ones(3, 3), 5), ValueError, '`weight` must have axes (o, i, kh, kw), got shape (3, 3)'),
    (lambda: conv_matrix(torch.ones(1, 1, 3, 3).long(), 5), TypeError, '`weight` must hold floating-point numbers, got torch.int64'),
    (lambda: conv_matrix([[1]], 5), TypeError, '`weight` must be a tensor with axes (o, i, kh, kw), got list'),
    (lambda: conv_matrix(torch.ones(3, 1, 3, 3), 5, groups=2), ValueError, '`groups` must divide `weight.shape[0]`, 3, got 2'),
    (lambda: conv_matrix(torch.ones(3, 1, 3, 3), 5, groups=0), ValueError, '`groups` must be an integer of at least 1, got 0'),
    (lambda: conv_matrix(torch.ones(3, 1, 3, 3), 5, groups=1.), TypeError, '`groups` must be an integer of at least 1, got 1.0'),
    (lambda: conv_matrix(torch.ones(3, 0, 3, 3), 5), ValueError, '`weight` must have axes (o, i, kh, kw), none of them empty, got shape (3, 0, 3, 3)'),
    (lambda: conv_matrix(torch.ones(0, 1, 3, 3), 5), ValueError, '`weight` must have axes (o, i, kh, kw), none of them empty, got shape (0, 1, 3, 3)'),
    (lambda: conv_matrix(torch.ones(1, 1, 0, 3), 5), ValueError, '`weight` must have axes (o, i, kh, kw), none of them empty, got shape (1, 1, 0, 3)'),
    (lambda: conv_matrix(torch.ones(1, 1, 3, 3), 0, padding=2), ValueError, '`size` must be an integer of at least 1, got 0'),
    (lambda: conv_matrix(torch.ones(1, 1, 3, 3), (5, 5, 5)), ValueError, '`size` must be one number or two, down and across, got 3'),
    (lambda: conv_matrix(torch.ones(1, 1, 3, 3), 5, stride=0), ValueError, '`stride` must be an integer of at least 1, got 0'),
    (lambda: conv_matrix(torch.ones(1, 1, 3, 3), 5, padding=-1), ValueError, '`padding` must be an integer of at least 0, got -1'),
    (lambda: conv_matrix(torch.ones(1, 1, 3, 3), 5, padding='full'), ValueError, "`padding` must be 'same', 'valid' or numbers, got 'full'"),
    (lambda: conv_matrix(torch.ones(1, 1, 3, 3), 5, 2, 'same'), ValueError, "`stride` must be 1 where `padding` is 'same', got 2"),
    (lambda: conv_equations(2, 2, 3, 3), ValueError, '`kernel_size` must fit into the padded image, 2 + 2·0 = 2 pixels, got 3'),
    (lambda: conv_equations(3, 3, 2, 2, stride=0), ValueError, '`stride` must be an integer of at least 1, got 0'),
    (lambda: conv_equations(3, 3, 2, 2, padding=.5), TypeError, '`padding` must be an integer of at least 0, got 0.5'),
])
def test_it_is_refused_in_words(words, call, error, words_):
    with pytest.raises(error) as e: call()
    assert words_ in str(e.value)
