"One process and several find the same numbers; what one process refuses, all refuse; a killed fit goes on"
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lesson8lib import embedding, parts
from lesson8lib.bayes import fit_bayes
from lesson8lib.checks import test_same as same
from lesson8lib.parts import fit_bayes_parts, in_processes, join_parts
from lesson8lib.training import new_generator


def table(seed, n_users, n_items, n):
    "Ratings with repeated pairs, and with users and items that have none"
    g = new_generator(seed)
    pairs = torch.stack([torch.randint(max(k-2, 1), (n,), generator=g) for k in (n_users, n_items)], 1)
    return pairs, torch.randint(1, 11, (n,), generator=g)/2


def shares(seed, n, *tables):
    "Tables dealt to n processes at random; a process may come away empty"
    to = torch.randint(n, (len(tables[0]),), generator=new_generator(seed))
    return [tuple(t[to==rank] for t in tables) for rank in range(n)]


def metadata(seed, n_users, n_items):
    g = new_generator(seed)
    return {'user_meta': torch.randn(n_users, 2, generator=g), 'item_meta': torch.randint(2, (n_items, 3), generator=g).float()}


def same_fits(a, b, tol=1e-9):
    for name in ('user_mean', 'user_cov', 'item_mean', 'item_cov', 'bounds'): same(getattr(a, name), getattr(b, name), rtol=tol, atol=tol)
    for of in ('user', 'item'):
        for x,y in zip(getattr(a, f'{of}_prior'), getattr(b, f'{of}_prior'), strict=True): same(x, y, rtol=tol, atol=tol)
        for x,y in zip(getattr(a, f'{of}_features'), getattr(b, f'{of}_features'), strict=True): same(*(torch.as_tensor(v) for v in (x, y)), rtol=tol, atol=tol)
    assert abs(a.noise-b.noise)<=tol and abs(a.mu-b.mu)<=tol


CASES = {'plain': (30, 20, 300, {}), 'more items': (60, 70, 900, {'meta': True, 'implicit': True, 'compiled': False}), 'biases': (9, 14, 80, {'n_factors': 0}), 'few rows': (4, 2, 12, {'n_factors': 1}),
         'metadata': (30, 20, 300, {'meta': True}), 'who rated what': (70, 60, 900, {'implicit': True}),
         'both, PyTorch': (70, 60, 900, {'implicit': True, 'meta': True, 'compiled': False})}


@pytest.mark.parametrize('n', [2, 3])
@pytest.mark.parametrize('case', CASES)
def test_several_processes_find_what_one_finds(case, n):
    n_users, n_items, size, options = CASES[case]
    options = {'n_factors': 3, 'iterations': 12} | options
    if options.pop('meta', False): options |= metadata(0, n_users, n_items)
    given = table(len(case), n_users, n_items, size)
    whole = fit_bayes(*given, n_users, n_items, **options)
    first, *others = in_processes(fit_bayes_parts, shares(n, n, *given), n_users=n_users, n_items=n_items, **options)
    same_fits(first, whole)
    assert others==[None]*(n-1)


def test_directions_that_the_table_does_not_have_change_no_prediction():
    given = table(2, 30, 20, 100)  # a matrix of rank 18 or less, with 20 implicit features
    everything = torch.cartesian_prod(torch.arange(30), torch.arange(20))
    whole = fit_bayes(*given, 30, 20, 3, 10, implicit=True)
    found = in_processes(fit_bayes_parts, shares(2, 3, *given), n_users=30, n_items=20, n_factors=3, iterations=10, implicit=True)[0]
    same(found.predict(everything), whole.predict(everything), rtol=1e-6, atol=1e-6)


def test_a_process_may_read_no_rating():
    pairs, ratings = table(4, 30, 20, 300)
    found = in_processes(fit_bayes_parts, [(pairs[:0], ratings[:0]), (pairs, ratings)], n_users=30, n_items=20, n_factors=2, iterations=5)
    same_fits(found[0], fit_bayes(pairs, ratings, 30, 20, 2, 5))


def test_a_group_for_tensors_on_a_gpu_is_refused(monkeypatch):
    monkeypatch.setattr(parts, '_several', lambda: True)
    monkeypatch.setattr(parts.dist, 'get_backend', lambda: 'nccl')
    with pytest.raises(ValueError, match="must have gloo, for tensors on the CPU, got 'nccl'"): fit_bayes_parts(*table(0, 9, 7, 60), 9, 7)


def test_parts_join_and_go_on():
    given, sizes = table(0, 40, 25, 500), {'n_users': 40, 'n_items': 25}
    early = fit_bayes(given[0][:400]//2, given[1][:400], 20, 13, 2, 5)
    whole = fit_bayes(*given, **sizes, n_factors=2, iterations=5, start=early)
    found = in_processes(fit_bayes_parts, shares(0, 2, *given), **sizes, n_factors=2, iterations=5, start=early, gather=False)
    same_fits(join_parts(found), whole)
    work = [p.ratings+3*len(p.users) for p in found]  # a user without ratings counts like d = 3 of them
    assert sum(p.ratings for p in found)==500 and abs(work[0]-work[1])<=torch.bincount(given[0][:,0]).max()+3
    assert [p.ratings for p in found]==[torch.isin(given[0][:,0], torch.tensor(p.users)).sum() for p in found]
    with pytest.raises(ValueError, match='`parts` must follow each other, got users'): join_parts(found[::-1])


@pytest.mark.parametrize('sizes', [(40, 25), (25, 40)])
def test_bytes_are_those_of_the_formula(sizes):
    given, d, main = table(0, *sizes, 200), 4, int(sizes[1]>sizes[0])
    found = in_processes(fit_bayes_parts, shares(0, 3, *given), n_users=sizes[0], n_items=sizes[1], n_factors=d-1, iterations=2, gather=False)
    rated = [given[0][torch.isin(given[0][:,main], torch.tensor(part[main])),1-main].unique() for part in found]
    for k,part in enumerate(found):
        own = torch.tensor(part[1-main])
        others = sum(torch.isin(rows, own).sum() for rows in rated[:k]+rated[k+1:])  # own rows that other processes need
        away = (~torch.isin(rated[k], own)).sum()
        assert part.sent==8*(others*(d + d*(d+1)//2) + away*(d*(d+1)//2 + 2*d + 2))


def test_sums_travel_in_blocks(monkeypatch):
    given = table(5, 70, 60, 900)
    whole = fit_bayes(*given, 70, 60, 3, 10, implicit=True)
    for block in (1, 7):
        monkeypatch.setattr(parts._Group, 'block', block)
        same_fits(fit_bayes_parts(*given, 70, 60, 3, 10, implicit=True), whole)
    found = in_processes(_in_blocks, shares(0, 3, *given), n_users=70, n_items=60, n_factors=3, iterations=10, implicit=True)
    same_fits(found[0], whole)


def _in_blocks(*args, **settings):
    parts._Group.block = 6  # two rows of each process at a time
    return fit_bayes_parts(*args, **settings)


@pytest.mark.parametrize('options', [{}, {'implicit': True}])
def test_without_a_group_it_is_fit_bayes(options):
    given = table(1, 30, 20, 300)
    same_fits(fit_bayes_parts(*given, 30, 20, 3, 10, **options), fit_bayes(*given, 30, 20, 3, 10, **options), tol=0)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.integers(1, 60), st.integers(0, 7), st.integers(1, 400), st.sampled_from([torch.float32, torch.float64]))
def test_pieces_of_a_table_are_drawn_as_the_whole(n, width, piece, dtype):
    shape = (n, width) if width else (n,)
    with pytest.MonkeyPatch.context() as m:
        m.setattr(embedding, '_piece', piece)
        pieces = list(embedding.normal_pieces(shape, new_generator(0), std=.5, dtype=dtype))
    assert [rows.start for rows,_ in pieces]==[0, *(rows.stop for rows,_ in pieces[:-1])]
    same(torch.cat([values for _,values in pieces]), torch.empty(shape, dtype=dtype).normal_(0, .5, generator=new_generator(0)), rtol=0, atol=0)


def refused(change, error, match, **settings):
    "Process 1 of 3 gets something else; every process must raise, and soon"
    dealt, begin = shares(0, 3, *table(0, 9, 7, 60)), time.monotonic()
    dealt = [(*share, 9, 7) for share in dealt]
    dealt[1] = change(*dealt[1])
    found = in_processes(_outcome, dealt, iterations=2, **settings)
    assert time.monotonic()-begin<60
    for kind,message,_ in found: assert (kind, match in message)==(error, True), found
    return found


def _outcome(*args, **settings):
    try: return fit_bayes_parts(*args, **settings)
    except Exception as e: return type(e), str(e), getattr(e, '__notes__', [])


@pytest.mark.parametrize(('change', 'error', 'match'), [
    (lambda p, r, u, i: (p.clamp(min=20), r, u, i), IndexError, 'must lie in 0…8, got'),
    (lambda p, r, u, i: (p, r*torch.nan, u, i), ValueError, '`ratings` must be finite numbers, got [nan'),
    (lambda p, r, u, i: (p, r, u, 8), ValueError, '`n_items` must be equal in all processes, got 7 in process 0 and 8 in process 1'),
    (lambda p, r, u, i: (p, r, u, i, 3), ValueError, '`n_factors` must be equal in all processes, got 10 in process 0 and 3 in process 1'),
    (lambda p, r, u, i: (p, r, u, i, -1), ValueError, '`n_factors` must be an integer of at least 0')])
def test_what_one_refuses_all_refuse(change, error, match):
    found = refused(change, error, match)
    if error is IndexError: assert [notes for *_,notes in found]==[['raised in process 1'], [], ['raised in process 1']]


def test_equal_ratings_in_all_processes_are_refused():
    pairs, _ = table(0, 9, 7, 60)
    for r,got in ((torch.full((60,), 4.), '60 of 4.0'), (torch.zeros(0), 'none')):
        found = in_processes(_outcome, shares(0, 2, pairs[:len(r)], r), n_users=9, n_items=7)
        for kind,message,_ in found: assert kind is ValueError and f'two different ratings, got {got}' in message


def _of(folder, **changes):
    "The first 12 or more iterations of a small fit, in two processes or as many as given"
    options = {'n_users': 40, 'n_items': 25, 'n_factors': 2, 'iterations': 12, 'implicit': True, 'checkpoint': folder, 'every': 4} | changes
    return in_processes(_outcome, shares(0, options.pop('processes', 2), *table(0, 40, 25, 500)), **options)


def test_a_checkpoint_goes_on_where_it_stands(tmp_path):
    whole = _of(None, iterations=15)[0]
    _of(tmp_path/'fit')
    names = {f'{k}-{rank}-of-2.pt' for k in (12,) for rank in (0, 1)}
    assert {f.name for f in (tmp_path/'fit').iterdir()}==names
    same_fits(_of(tmp_path/'fit', iterations=15)[0], whole, tol=0)
    same_fits(_of(tmp_path/'fit', iterations=15)[0], whole, tol=0)  # nothing is left to do
    (tmp_path/'fit'/'15-1-of-2.pt').unlink()  # what only some have does not count
    same_fits(_of(tmp_path/'fit', iterations=15)[0], whole, tol=0)
    for change,match in ({'seed': 1}, '`checkpoint` holds a fit with seed = 0, got 1'), ({'n_factors': 3}, 'n_factors = 2, got 3'), \
                        ({'processes': 3}, '`checkpoint` holds parts of 2 processes, got 3'), ({'iterations': 9}, '`iterations` must be at least 15, as in `checkpoint`, got 9'):
        for kind,message,_ in _of(tmp_path/'fit', **{'iterations': 15} | change): assert kind is ValueError and match in message


SCRIPT = """
import pickle, sys
import torch, torch.distributed as dist
from lesson8lib.parts import fit_bayes_parts
torch.set_num_threads(1)
rank, store, share, folder, out = int(sys.argv[1]), *sys.argv[2:]
dist.init_process_group('gloo', store=dist.FileStore(store, 2), rank=rank, world_size=2)
found = fit_bayes_parts(*torch.load(share), 200, 100, 4, 300, checkpoint=folder, every=3)
if found is not None: pickle.dump(found, open(out, 'wb'))
"""


def test_a_killed_fit_resumes_to_the_same_numbers(tmp_path):
    given = table(3, 200, 100, 4000)
    for rank,share in enumerate(shares(3, 2, *given)): torch.save(list(share), tmp_path/f'{rank}.share')
    folder = tmp_path/'fit'
    def start(run):
        args = [[str(rank), tmp_path/f'{run}.store', tmp_path/f'{rank}.share', folder, tmp_path/'out'] for rank in (0, 1)]
        return [subprocess.Popen([sys.executable, '-c', SCRIPT, *map(str, a)], stderr=subprocess.PIPE) for a in args]
    def reached(): return max((int(f.name.split('-')[0]) for f in folder.glob('*.pt')), default=0)
    for run,k in enumerate((3, 60)):  # kill one process, then the other
        both, began = start(run), time.monotonic()
        while reached()<k and time.monotonic()-began<60 and both[run].poll() is None: time.sleep(.005)
        os.kill(both[run].pid, signal.SIGKILL)
        assert both[1-run].wait(60)!=0 and b'Connection' in both[1-run].stderr.read()
        both[run].wait()
        assert k<=reached()<300
    for p in start(2): assert p.wait(120)==0, p.stderr.read()
    found = parts.pickle.loads((tmp_path/'out').read_bytes())
    same_fits(found, fit_bayes(*given, 200, 100, 4, 300), tol=1e-7)
    plain = in_processes(fit_bayes_parts, shares(3, 2, *given), n_users=200, n_items=100, n_factors=4, iterations=300)[0]
    same_fits(found, plain, tol=0)
