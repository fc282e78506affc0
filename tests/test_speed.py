"The gradient by hand against autograd; the compiled kernel against the plain one; threads, cells, seeds and input checks of `fit_sgd`"
import copy
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lesson8lib import speed
from lesson8lib.checks import test_same as same
from lesson8lib.collab import DotProduct, DotProductBias
from lesson8lib.speed import Cells, aligned_rows, compile_kernel, fit_sgd, sgd_gradients, sgd_pass
from lesson8lib.training import evaluate, new_generator

seeds = st.integers(0, 10_000)
ranges = st.sampled_from([None, (0., 5.5), (-1., 1.), (1, 12)])
quiet = {'progress': False}


def make(n_users=30, n_items=20, n_factors=5, y_range=(0, 5.5), seed=0, dtype=torch.float32):
    "A model with initial weights that are not small"
    model = DotProductBias(n_users, n_items, n_factors, y_range, new_generator(seed)).to(dtype)
    with torch.no_grad():
        for p in model.parameters(): p.mul_(30)
    return model


def ratings(n=400, n_users=30, n_items=20, seed=0):
    "Ratings with structure; the last user and the last item have none"
    g = new_generator(seed)
    x = torch.stack([torch.randint(1, n_users-1, (n,), generator=g), torch.randint(1, n_items-1, (n,), generator=g)], 1)
    return x, (3 + torch.sin(x[:,0].float()) + torch.cos(2*x[:,1].float()) + .3*torch.randn(n, generator=g)).clamp(1, 5)


def fitted(data, seed=0, n_users=30, n_items=20, **options):
    model = make(n_users, n_items, seed=seed)
    history = fit_sgd(model, data, **quiet | {'seed': seed} | options)
    return model, history


def equal(a, b): return all(torch.equal(p, q) for p,q in zip(a.parameters(), b.parameters(), strict=True))


@settings(max_examples=100, deadline=None)
@given(seeds, st.integers(1, 9), st.integers(1, 40), ranges, st.sampled_from([torch.float32, torch.float64]))
def test_gradients_are_those_of_autograd(seed, n_factors, n, y_range, dtype):
    model, (x, y) = make(5, 4, n_factors, y_range, seed, dtype), ratings(n, 5, 4, seed)
    nn.functional.mse_loss(model(x), y.to(dtype)).backward()
    same(sgd_gradients(model, x, y.to(dtype)), {name: p.grad for name,p in model.named_parameters()}, **{'rtol': 1e-4, 'atol': 1e-6} if dtype==torch.float32 else {})


@pytest.mark.parametrize('y_range', [None, (0., 5.5)])
def test_gradients_are_those_of_finite_differences(y_range):
    model, (x, y) = make(5, 4, 3, y_range, 1, torch.float64), ratings(12, 5, 4)
    found, y = sgd_gradients(model, x, y.double()), y.double()
    for name,p in model.named_parameters():
        for k in range(p.numel()):
            def loss(step, p=p, k=k):
                with torch.no_grad():
                    p.view(-1)[k] += step
                    value = nn.functional.mse_loss(model(x), y).item()
                    p.view(-1)[k] -= step
                return value
            assert found[name].view(-1)[k].item()==pytest.approx((loss(1e-5)-loss(-1e-5))/2e-5, rel=1e-5, abs=1e-8)


@settings(max_examples=20, deadline=None)
@given(seeds, st.integers(1, 20), st.booleans(), st.sampled_from([0, 3]))
def test_the_compiled_kernel_is_the_plain_one(seed, n, bounded, ahead):
    rng = np.random.default_rng(seed)
    def tables():
        p, q = aligned_rows(6, n+2), aligned_rows(5, n+2)
        p[:,:n+1], q[:,:n] = start[0], start[1]
        p[:,n+1], q[:,n], q[:,n+1] = 1, 1, start[2]
        return p, q
    start = rng.normal(0, .3, (6, n+1)), rng.normal(0, .3, (5, n)), rng.normal(0, .3, 5)
    u, i, r = rng.integers(0, 6, 50).astype(np.int32), rng.integers(0, 5, 50).astype(np.int32), rng.uniform(1, 5, 50).astype(np.float32)
    numbers = [np.float32(v) for v in (.02, .2, 0, 5.5*bounded)]
    plain, compiled = tables(), tables()
    losses = [kernel(u, i, r, *rows, n, *numbers, ahead, 2, 47) for kernel,rows in ((sgd_pass, plain), (compile_kernel(), compiled))]
    assert losses[0]==pytest.approx(losses[1], rel=1e-4)
    for a,b in zip(plain, compiled, strict=True): np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    for rows,one in zip(compiled, (n+1, n), strict=True): assert (rows[:,one]==1).all() and not rows[:,n+2:].any()


@pytest.mark.parametrize('y_range', [None, (0., 5.5)])
def test_one_step_is_a_step_along_the_gradient(y_range):
    "With a single rating, an epoch is a step of gradient descent with decoupled weight decay on the two rows"
    model, x, y = make(4, 4, 3, y_range), torch.tensor([[1, 2]]), torch.tensor([4.])
    before, grads = copy.deepcopy(model), sgd_gradients(model, x, y)
    loss = evaluate(model, (x, y))['loss']
    history = fit_sgd(model, (x, y), epochs=1, lr=.1, wd=.3, seed=0, **quiet)
    assert history.train_loss[0]==pytest.approx(loss, rel=1e-5)
    for name,p in before.named_parameters():
        row = 1 if name.startswith('user') else 2
        expected = p.detach().clone()
        expected[row] = (1-.1*.3)*expected[row] - .1*grads[name][row]
        same(getattr(model, name).detach(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('blocks', [None, 1, 3, 16, 40])
def test_threads_do_not_change_a_bit(blocks):
    data = ratings(3000)
    models, histories = zip(*[fitted(data, blocks=blocks, threads=n, epochs=4, valid=data) for n in (1, 2, 3)], strict=True)
    assert equal(models[0], models[1]) and equal(models[0], models[2])
    assert histories[0].equals(histories[1]) and histories[0].equals(histories[2])


def test_no_two_cells_of_a_stratum_share_a_row():
    "Each cell runs with others that know nothing of it: their users and items are disjoint"
    rng, blocks = np.random.default_rng(0), 7
    u, i = rng.integers(0, 30, 5000), rng.integers(0, 20, 5000)
    cells = Cells.sort(u, i, u+100.*i, (30, 20), blocks, rng)
    assert cells.start[-1]==5000 and sorted(cells.ratings)==sorted(u+100.*i)
    assert (cells.ratings==cells.users+100.*cells.items).all()
    seen = []
    for shift in range(blocks):
        found = [slice(*cells.start[row*blocks+(row+shift)%blocks:][:2]) for row in range(blocks)]
        for column in (cells.users, cells.items):
            sets = [set(column[s]) for s in found]
            assert len(set().union(*sets))==sum(map(len, sets))
        seen += found
    assert sum(s.stop-s.start for s in seen)==5000


def test_blocks_change_only_the_order():
    g = new_generator(0)
    p, q = torch.randn(200, 3, generator=g), torch.randn(100, 3, generator=g)
    def draw(n):
        x = torch.stack([torch.randint(200, (n,), generator=g), torch.randint(100, (n,), generator=g)], 1)
        return x, (3+.5*(p[x[:,0]]*q[x[:,1]]).sum(1)+.5*torch.randn(n, generator=g)).clamp(1, 5)
    train, valid = draw(8000), draw(4000)
    def error(blocks):
        found = []
        for seed in range(5):
            model = DotProductBias(200, 100, 5, generator=new_generator(seed))
            found.append(fit_sgd(model, train, valid, blocks=blocks, seed=seed, **quiet).valid_loss.iloc[-1])
        return np.mean(found)
    errors = [error(blocks) for blocks in (1, 4, 16)]
    assert max(errors)-min(errors)<.005 and max(errors)<.6<valid[1].var()


def test_rows_without_ratings_stay():
    data, before = ratings(), make()
    model, _ = fitted(data)
    for name,p in model.named_parameters():
        rated = data[0][:,0 if name.startswith('user') else 1].unique()
        changed = (p!=getattr(before, name)).view(len(p), -1).any(1)
        assert changed[rated].all() and changed.sum()==len(rated)<len(p)


def test_seeds():
    data, global_state = ratings(), torch.get_rng_state()
    assert equal(fitted(data, seed=1)[0], fitted(data, seed=1)[0]) and torch.equal(torch.get_rng_state(), global_state)
    a, b = make(), make()
    fit_sgd(a, data, seed=1, **quiet)
    fit_sgd(b, data, seed=2, **quiet)
    assert not equal(a, b)
    with torch.random.fork_rng():
        found = []
        for k in (5, 5, 6):
            torch.manual_seed(k)
            found.append(make())
            fit_sgd(found[-1], data, **quiet)
    assert equal(*found[:2]) and not equal(*found[1:])


def test_history_and_model():
    data, valid = ratings(), ratings(100, seed=1)
    model = make().eval()
    history = fit_sgd(model, data, valid, epochs=3, seed=0, **quiet)
    assert isinstance(history, pd.DataFrame) and list(history)==['train_loss', 'valid_loss'] and history.index.name=='epoch' and len(history)==3
    assert not model.training and history.train_loss.is_monotonic_decreasing
    same(history.valid_loss.iloc[-1], evaluate(model, valid)['loss'])
    alone = make()
    assert list(fit_sgd(alone, data, epochs=3, seed=0, **quiet))==['train_loss'] and equal(alone, model)
    assert all(p.requires_grad and p.is_leaf for p in model.parameters())


@pytest.mark.parametrize('n_factors', [1, 14, 15, 50])
@pytest.mark.parametrize('y_range', [None, (0, 5.5)])
def test_it_learns_with_any_size_and_range(n_factors, y_range):
    data = ratings(2000)
    model = DotProductBias(30, 20, n_factors, y_range, new_generator(0))
    before = evaluate(model, data)['loss']
    assert fit_sgd(model, data, seed=0, **quiet).train_loss.iloc[-1]<.5*before
    assert evaluate(model, data)['loss']<.3*data[1].var()


def test_kinds_of_input():
    x, y = ratings()
    expected = fitted((x, y))[0]
    for given_ in ([x.int(), y.double()], (x.to(torch.uint8), y), (x.t().contiguous().t(), y)): assert equal(fitted(given_)[0], expected)


def test_divergence():
    data = ratings()
    with pytest.raises(FloatingPointError, match='lower `lr`'): fit_sgd(make(y_range=None), data, lr=5., seed=0, **quiet)
    with pytest.raises(FloatingPointError, match='large ratings'): fit_sgd(make(), (data[0], data[1]*1e30), seed=0, **quiet)
    broken = make()
    with torch.no_grad(): broken.user_bias[1] = float('nan')
    with pytest.raises(FloatingPointError, match='became nan'): fit_sgd(broken, data, seed=0, **quiet)


def test_interruption_keeps_what_was_learned(monkeypatch):
    data, model, epoch = ratings(), make(), speed._epoch
    calls = []
    def interrupted(*args):
        calls.append(1)
        if len(calls)==3: raise KeyboardInterrupt
        return epoch(*args)
    monkeypatch.setattr(speed, '_epoch', interrupted)
    with pytest.warns(UserWarning, match='after 2 of 20 epochs'): history = fit_sgd(model, data, seed=0, **quiet)
    assert len(history)==2 and evaluate(model, data)['loss']<evaluate(make(), data)['loss']


class Other(DotProductBias):
    def forward(self, x): return super().forward(x)+1


def frozen():
    model = make()
    model.item_bias.requires_grad_(False)
    return model


X, Y = ratings(20)


@pytest.mark.parametrize('error, says, call', [
    (TypeError, '`model` must be a DotProductBias, got DotProduct', lambda: fit_sgd(DotProduct(30, 20), (X, Y))),
    (TypeError, '`model` must be a DotProductBias, got Other', lambda: sgd_gradients(Other(30, 20), X, Y)),
    (ValueError, 'float32 numbers on the CPU or on a CUDA device, got torch.float64 on cpu in `user_factors`', lambda: fit_sgd(make(dtype=torch.float64), (X, Y))),
    (ValueError, 'on meta', lambda: fit_sgd(make().to('meta'), (X, Y))),
    (ValueError, '`item_bias`, which does not', lambda: fit_sgd(frozen(), (X, Y))),
    (TypeError, '`train` must be a pair', lambda: fit_sgd(make(), X)),
    (TypeError, 'got 3 entries', lambda: fit_sgd(make(), (X, Y, Y))),
    (TypeError, '`train[1]` must hold floating-point', lambda: fit_sgd(make(), (X, Y.long()))),
    (ValueError, '`train[1]` must have', lambda: fit_sgd(make(), (X, Y[:-1]))),
    (ValueError, '`train[1]` must hold finite ratings, got 1 others, the first being nan', lambda: fit_sgd(make(), (X, Y.clone().index_fill(0, torch.tensor(3), float('nan'))))),
    (ValueError, 'the first being inf', lambda: fit_sgd(make(), (X, Y), (X, Y/0))),
    (ValueError, '`train[1]` must hold at least one', lambda: fit_sgd(make(), (X[:0], Y[:0]))),
    (IndexError, '`train[0][:,0] (users)`', lambda: fit_sgd(make(), (X+29, Y))),
    (IndexError, '`valid[0][:,1] (items)`', lambda: fit_sgd(make(), (X, Y), (X-torch.tensor([0, 20]), Y))),
    (IndexError, '`x[:,1] (items)`', lambda: sgd_gradients(make(), X+torch.tensor([0, 20]), Y)),
    (ValueError, '`y` must have', lambda: sgd_gradients(make(), X, Y[:-1])),
    (ValueError, '`epochs`', lambda: fit_sgd(make(), (X, Y), epochs=0)),
    (ValueError, '`lr`', lambda: fit_sgd(make(), (X, Y), lr=0)),
    (ValueError, '`wd`', lambda: fit_sgd(make(), (X, Y), wd=-1)),
    (ValueError, '`threads`', lambda: fit_sgd(make(), (X, Y), threads=0)),
    (ValueError, '`blocks` must be an integer in [1, 256], got 257', lambda: fit_sgd(make(), (X, Y), blocks=257)),
    (TypeError, '`blocks`', lambda: fit_sgd(make(), (X, Y), blocks=2.5)),
    (ValueError, '`n_columns`', lambda: aligned_rows(3, 0)),
])
@pytest.mark.usefixtures('words')
def test_input_checks(error, says, call):
    with pytest.raises(error) as found: call()
    assert says in str(found.value)


def test_without_numba(monkeypatch):
    monkeypatch.setattr(speed, 'find_spec', lambda name: None)
    compile_kernel.cache_clear()
    with pytest.raises(ImportError, match=r'lesson8lib\[fast\]'): fit_sgd(make(), (X, Y))
    monkeypatch.undo()
    fitted((X, Y))


def test_the_import_loads_no_numba():
    subprocess.run([sys.executable, '-c', 'import sys, lesson8lib.speed; assert not {"numba", "pandas"} & set(sys.modules)'], check=True)


@pytest.mark.parametrize('n_columns', [1, 16, 17, 52])
def test_rows_fill_cache_lines(n_columns):
    rows = aligned_rows(7, n_columns)
    assert rows.shape[1]%16==0 and 0<=rows.shape[1]-n_columns<16 and rows.ctypes.data%64==0 and not rows.any()


def test_the_unit_of_the_ratings():
    "A scale twice as wide, a quarter of the learning rate, four times the weight decay: the same numbers, since powers of two are exact"
    x, y = ratings()
    a, b = (DotProductBias(30, 20, 5, y_range, new_generator(0)) for y_range in ((0, 5.5), (0, 11)))
    fit_sgd(a, (x, y), seed=0, **quiet)
    fit_sgd(b, (x, 2*y), lr=.02/4, wd=.2*4, seed=0, **quiet)
    same(list(a.parameters()), list(b.parameters()), rtol=1e-5, atol=1e-6)


def test_two_fits_at_once():
    "From two threads, on two models"
    data = ratings(2000)
    expected = [fitted(data, seed=s, threads=2)[0] for s in (0, 1)]
    with ThreadPoolExecutor(2) as pool: found = list(pool.map(lambda s: fitted(data, seed=s, threads=2)[0], (0, 1)))
    assert all(equal(a, b) for a,b in zip(found, expected, strict=True))


IN_TRITON = """if 1:
    import copy, sys
    sys.path.insert(0, 'tests')
    import numpy as np, pytest, torch
    from lesson8lib import speed
    from lesson8lib.collab import DotProductBias
    from lesson8lib.training import evaluate, new_generator
    from test_speed import make, ratings
    speed._on_gpu = lambda model: True
    data = ratings(120)
    data = data[0], torch.stack([data[1], data[1]], 1)[:,0]  # no contiguous rows

    for n_factors,y_range in ((3, (0, 5.5)), (14, None), (50, (1., 5.)), (70, (0, 5.5))):
        model, rng = make(n_factors=n_factors, y_range=y_range), np.random.default_rng(1)
        tables = [speed._pack(model, side, rng) for side in ('user', 'item')]
        assert all(isinstance(t, torch.Tensor) for pair in tables for t in pair)
        p, q = (t.clone().numpy() for t,_ in tables)
        seed = int(copy.deepcopy(rng).integers(2**63))
        run = speed._gpu_run((*data[0].T, data[1]), tables, rng)
        low, high = y_range or (0, 0)
        numbers = .02, .2, float(low), float(high-low)
        generator = torch.Generator().manual_seed(seed)
        for epoch in range(2):
            order = torch.randperm(120, generator=generator, dtype=torch.int32).numpy()
            u, i = (at[column].int().numpy()[order] for (_,at),column in zip(tables, data[0].T))
            given = u, i, data[1].numpy()[order], p, q, n_factors, *map(np.float32, numbers)
            expected = speed.sgd_pass(*given, 0, 0, 120)/120
            np.testing.assert_allclose(run(n_factors, *numbers), expected, rtol=1e-5)
            for (found,_),plain in zip(tables, (p, q)): np.testing.assert_allclose(found, plain, rtol=1e-5, atol=1e-6)
        assert (tables[0][0][:,n_factors+1]==1).all() and (tables[1][0][:,n_factors]==1).all()

    model = DotProductBias(30, 20, 5, generator=new_generator(0))
    before = evaluate(model, data)['loss']
    history = speed.fit_sgd(model, data, data, epochs=3, lr=.05, seed=0, progress=False)
    assert history.valid_loss.iloc[-1]==evaluate(model, data)['loss']<.9*before and history.train_loss.is_monotonic_decreasing
    with pytest.raises(FloatingPointError, match='large ratings'): speed.fit_sgd(model, (data[0], data[1]*1e30), seed=0, progress=False)
    assert not {'numba', 'llvmlite'} & set(sys.modules)
"""


@pytest.mark.skipif(find_spec('triton') is None, reason='Triton is not installed')
def test_a_gpu_does_what_the_loop_does():
    "In Triton's interpreter, which runs the programs one after another, on the CPU"
    done = subprocess.run([sys.executable, '-c', IN_TRITON], env=os.environ | {'TRITON_INTERPRET': '1'}, capture_output=True, encoding='utf-8')
    assert done.returncode==0, done.stderr


@pytest.mark.parametrize('n, popular', [(1, 1), (7, 7), (80_000, 466), (20_000_000, 66_000), (20_000_000, 660_000), (10**9, 1)])
def test_programs_of_a_gpu(n, popular):
    "Few enough that at most 16 work on the most popular row on average"
    part = speed._part(n, popular)
    programs = -(-n//part)
    assert 1<=programs<=4096 and (programs-1)*part<n<=programs*part
    assert programs*popular<=16*n and 2*programs>=min(4096, 16*n//popular, n)


@pytest.mark.parametrize('options, says', [({'threads': 1}, '`threads` must be None for a model on a GPU, got 1'), ({'blocks': 4}, '`blocks` must be None')])
def test_a_gpu_has_no_blocks_and_threads(monkeypatch, options, says):
    monkeypatch.setattr(speed, '_on_gpu', lambda model: True)
    with pytest.raises(ValueError, match=says): fit_sgd(make(), (X, Y), **quiet, **options)


def test_without_triton(monkeypatch):
    monkeypatch.setattr(speed, '_on_gpu', lambda model: True)
    monkeypatch.setattr(speed, 'find_spec', lambda name: None)
    speed._triton_kernel.cache_clear()
    with pytest.raises(ImportError, match='pip install triton'): fit_sgd(make(), (X, Y), **quiet)
