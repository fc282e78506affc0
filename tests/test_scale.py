"Ratings from Parquet, factors divided among processes, and training that survives kill -9"
import os
import subprocess
import sys
import tempfile
import textwrap

import pytest
import torch

pa = pytest.importorskip('pyarrow')
pq = pytest.importorskip('pyarrow.parquet')

from lesson8lib.collab import DotProductBias  # noqa: E402 (only where pyarrow is installed)
from lesson8lib.recommender import Recommender  # noqa: E402
from lesson8lib.scale import ParquetRatings, index_parquet, load_model, main, shard_factors  # noqa: E402


def write(path, n=1000, group=70, seed=0, **columns):
    "Ratings that can be told apart: the user is the row"
    table = {'user': pa.array(range(n), pa.int32()), 'item': pa.array([i % 7 for i in range(n)], pa.int32()),
             'rating': pa.array([float(i % 5) for i in range(n)], pa.float32())} | columns
    pq.write_table(pa.table(table), path, row_group_size=group)
    return path

def epoch(ratings): return [(x.clone(), y.clone()) for x,y in ratings]

def users(batches): return torch.cat([x[:,0] for x,_ in batches]).tolist()

def same(a, b): return len(a)==len(b) and all(torch.equal(s, t) for left,right in zip(a, b, strict=True) for s,t in zip(left, right, strict=True))

@pytest.mark.parametrize('bs, pool', [(64, 8), (1, 3), (1000, 1), (333, 2), (5000, 100)])
def test_an_epoch_has_each_rating_once(tmp_path, bs, pool):
    ratings = ParquetRatings(write(tmp_path/'r.parquet'), bs, pool=pool)
    first, second = epoch(ratings), epoch(ratings)
    for batches in (first, second):
        assert sorted(users(batches))==list(range(1000))
        assert len(batches)==len(ratings) and {len(y) for _,y in batches[:-1]}<={bs}
        assert all(x.dtype==torch.int64 and y.dtype==torch.float32 and torch.equal(x[:,0]%7, x[:,1]) and torch.equal((x[:,0]%5).float(), y)
                   for x,y in batches)
    assert users(first)!=users(second)
    assert users(first)==users(epoch(ParquetRatings(tmp_path/'r.parquet', bs, pool=pool)))
    assert users(first)!=users(epoch(ParquetRatings(tmp_path/'r.parquet', bs, pool=pool, seed=1)))

@pytest.mark.parametrize('world', [2, 3, 7])
def test_ranks_divide_an_epoch_into_equal_parts(tmp_path, world):
    write(tmp_path/'r.parquet')
    ranks = [ParquetRatings(tmp_path/'r.parquet', 10, rank=r, world=world) for r in range(world)]
    seen = set()
    for _ in range(6):
        parts = [epoch(r) for r in ranks]
        assert {len(p) for p in parts}=={len(ranks[0])}
        assert {len(users(p)) for p in parts}=={1000//world}
        together = [u for p in parts for u in users(p)]
        assert len(set(together))==len(together)  # no rating twice
        seen |= set(together)
    assert len(seen)==1000  # what one epoch leaves out, another has

@pytest.mark.parametrize('start, at', [(0, 0), (0, 1), (0, 13), (1, 9), (2, 25), (1, 26)])
def test_resume_gives_the_same_batches(tmp_path, start, at):
    whole = ParquetRatings(write(tmp_path/'r.parquet'), 39, pool=2, seed=3)
    epochs = [epoch(whole) for _ in range(4)]
    stopped = ParquetRatings(tmp_path/'r.parquet', 39, pool=2, seed=3)
    for _ in range(start): epoch(stopped)
    running = iter(stopped)
    for _ in range(at): next(running)
    again = ParquetRatings(tmp_path/'r.parquet', 39, pool=2, seed=3)
    again.load_state_dict(stopped.state_dict())
    assert same(epoch(again), epochs[start][at:])
    assert same(epoch(again), epochs[start+1])

def test_a_folder_is_one_table_and_row_groups_of_any_size_do(tmp_path):
    for k,(n,group) in enumerate([(10, 3), (500, 500), (1, 1)]):
        write(tmp_path/f'{k}.parquet', n, group, user=pa.array([1000*k+i for i in range(n)], pa.int64()))
    ratings = ParquetRatings(tmp_path, 50)
    expected = [1000*k+i for k,n in enumerate((10, 500, 1)) for i in range(n)]
    assert sorted(users(ratings))==expected and ratings.n_ratings==511

def test_a_pool_mixes_its_row_groups(tmp_path):
    "Row groups of one user each: a batch has ratings of about as many users as the pool has row groups"
    write(tmp_path/'r.parquet', 6400, 100, user=pa.array([i//100 for i in range(6400)], pa.int32()))
    def mixed(pool): return sum(len(x[:,0].unique()) for x,_ in ParquetRatings(tmp_path/'r.parquet', 100, pool=pool))/64
    assert mixed(1)==1 and mixed(8)>7.9 and mixed(64)>45

@pytest.mark.parametrize('call, error, says', [
    (lambda p: ParquetRatings(p, 0), ValueError, '`bs` must be an integer of at least 1, got 0'),
    (lambda p: ParquetRatings(p, 5, pool=0), ValueError, '`pool` must be'),
    (lambda p: ParquetRatings(p, 5, rank=2, world=2), ValueError, r'`rank` must be an integer in \[0, 2\), got 2'),
    (lambda p: ParquetRatings(p, 5, world=1001), ValueError, 'at least one row for each rank, got 1000 rows for 1001 ranks'),
    (lambda p: ParquetRatings(p.with_name('no'), 5), FileNotFoundError, '`path` must be a Parquet file'),
    (lambda p: ParquetRatings(p, 5, user='who'), KeyError, "`user` must be a column of r.parquet .*got 'who'"),
    (lambda p: ParquetRatings(p, 5, item='title'), TypeError, '`item` must be a column of integer indices: `index_parquet` makes them of any IDs, got string'),
    (lambda p: ParquetRatings(p, 5, rating='title'), TypeError, '`rating` must be a column of numbers, got string'),
    (lambda p: list(ParquetRatings(p, 5, rating='holes')), ValueError, "got 1 missing in column 'holes'"),
])
def test_refusals(tmp_path, call, error, says):
    path = write(tmp_path/'r.parquet', title=pa.array(['a']*1000), holes=pa.array([1.]*999+[None]))
    with pytest.raises(error, match=says): call(path)

def test_another_state_is_refused(tmp_path):
    path = write(tmp_path/'r.parquet')
    state = ParquetRatings(path, 10).state_dict()
    with pytest.raises(ValueError, match='`state` must be of the same ratings and settings, with bs=20, got 10'): ParquetRatings(path, 20).load_state_dict(state)
    write(path, 999)
    with pytest.raises(ValueError, match='with n_ratings=999, got 1000'): ParquetRatings(path, 10).load_state_dict(state)

def test_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'pyarrow', None)
    with pytest.raises(ImportError, match=r"pip install 'lesson8lib\[scale\]'"): ParquetRatings(write(tmp_path/'r.parquet'), 5)

def test_an_import_of_the_module_loads_neither_pyarrow_nor_distributed_checkpoints():
    code = 'import sys, torch, lesson8lib.scale; assert not {"pyarrow", "torch.distributed.checkpoint", "torch.distributed.tensor", "pandas"} & set(sys.modules)'
    subprocess.run([sys.executable, '-c', code], check=True)

# ---- IDs become indices
@pytest.mark.parametrize('kind', ['int', 'str'])
def test_index_parquet(tmp_path, kind):
    g = torch.Generator().manual_seed(0)
    who, what = (torch.randint(0, 40, (900,), generator=g).tolist() for _ in range(2))
    who = [w*1000 for w in who] if kind=='int' else [f'user {w}' for w in who]
    stars = [float(i % 5) for i in range(900)]
    source = tmp_path/'source'
    source.mkdir()
    for k in range(3):
        part = slice(300*k, 300*k+300)
        pq.write_table(pa.table({'who': who[part], 'what': what[part], 'stars': stars[part], 'when': [0]*300}), source/f'{k}.parquet', row_group_size=91)
    users, items = index_parquet(source, tmp_path/'r.parquet', 'who', 'what', 'stars', rows=64, seed=None)
    assert users.decode(torch.arange(1, len(users)))==sorted(set(who)) and items.kind=='item'
    table = pq.read_table(tmp_path/'r.parquet')
    assert users.decode(torch.tensor(table['user'].to_numpy()))==who and items.decode(torch.tensor(table['item'].to_numpy()))==what
    assert table['rating'].to_pylist()==stars and [table[c].type for c in ('user', 'rating')]==[pa.int32(), pa.float32()]
    assert pq.read_metadata(tmp_path/'r.parquet').row_group(0).num_rows<=64
    shuffled = []
    for seed in (0, 0, 1):
        index_parquet(source, tmp_path/'s.parquet', 'who', 'what', 'stars', rows=64, seed=seed)
        shuffled.append(pq.read_table(tmp_path/'s.parquet').to_pydict())
    def rows(columns): return list(zip(*columns.values(), strict=True))
    assert sorted(rows(shuffled[0]))==sorted(rows(table.to_pydict())) and shuffled[0]==shuffled[1] and rows(shuffled[0])!=rows(shuffled[2])
    assert [p.name for p in sorted(tmp_path.iterdir())]==['r.parquet', 's.parquet', 'source']

def test_index_parquet_shuffles_uniformly(tmp_path):
    "Where a row comes to lie does not depend on where it was: neighbors in the source are as far apart as any two rows"
    write(tmp_path/'r.parquet', 20_000)
    index_parquet(tmp_path/'r.parquet', tmp_path/'s.parquet', rows=100)
    place = torch.tensor(pq.read_table(tmp_path/'s.parquet')['user'].to_numpy()).argsort().double()
    assert abs(torch.corrcoef(torch.stack([place, torch.arange(20_000).double()]))[0,1])<.03
    assert abs(place.diff().abs().mean()/20_000-1/3)<.01

@pytest.mark.parametrize('columns, error, says', [
    ({'user': [1, None]}, ValueError, "`user` must be a column without gaps, got 1 missing in 'user'"),
    ({'item': [1.5, 2]}, TypeError, '`item` must be all str or all int'),
    ({'rating': [1, float('nan')]}, ValueError, "`rating` must be a column of finite numbers, got 1 others in 'rating'"),
    ({'rating': [1, None]}, ValueError, '`rating` must be a column of finite numbers, got 1'),
])
def test_index_parquet_leaves_nothing_behind_after_an_error(tmp_path, columns, error, says):
    pq.write_table(pa.table({'user': [1, 2], 'item': [1, 2], 'rating': [1., 2.]} | columns), tmp_path/'r.parquet')
    with pytest.raises(error, match=says): index_parquet(tmp_path/'r.parquet', tmp_path/'indexed.parquet')
    assert [p.name for p in tmp_path.iterdir()]==['r.parquet']

def test_index_parquet_names_a_missing_column(tmp_path):
    with pytest.raises(KeyError, match="`source` must have the column 'who': r.parquet has user, item, rating"):
        index_parquet(write(tmp_path/'r.parquet'), tmp_path/'x', user='who')

# ---- Several processes
HEAD = '''
import os, sys
from pathlib import Path
import torch, torch.distributed as dist
from torch.distributed.tensor.experimental import implicit_replication
from lesson8lib.collab import DotProductBias
from lesson8lib.scale import *
from lesson8lib.training import fit, new_generator
torch.set_num_threads(1)
rank, world, folder = int(os.environ['RANK']), int(os.environ['WORLD_SIZE']), Path(sys.argv[1])
dist.init_process_group('gloo', init_method=os.environ['STORE'], rank=rank, world_size=world)
g = torch.Generator().manual_seed(1)
x = torch.stack([torch.randint(0, n, (3000,), generator=g) for n in (300, 100)], 1)
y = torch.randint(1, 6, (3000,), generator=g).float()
def new(n_factors): return DotProductBias(300, 100, n_factors, generator=new_generator(0))
'''

def ranks(code, folder, world=2):
    "Run a script in `world` processes; each may use what HEAD defines"
    file = folder/'script.py'
    file.write_text(HEAD + textwrap.dedent(code), encoding='utf-8')
    store = tempfile.mktemp(dir=folder)  # a new one for each run
    env = os.environ | {'WORLD_SIZE': str(world), 'OMP_NUM_THREADS': '1', 'STORE': f'file://{store}'}
    started = [subprocess.Popen([sys.executable, file, folder], env=env | {'RANK': str(r)}, stderr=subprocess.PIPE, encoding='utf-8') for r in range(world)]
    for p in started:
        try: errors = p.communicate(timeout=120)[1]
        except subprocess.TimeoutExpired:
            for q in started: q.kill()
            raise
        assert p.returncode==0, errors

def test_two_processes_train_as_one(tmp_path):
    "An uneven number of factors, `fit` unchanged: the losses of all steps differ by at most 1e-6, and a step moves 4 bytes for each rating"
    ranks('''
    def train(model):
        losses = []
        def mse(pred, target):
            loss = ((pred-target)**2).mean()
            losses.append(loss.item())
            return loss
        history = fit(model, (x, y), (x[:500], y[:500]), mse, epochs=2, bs=100, seed=0, progress=False)
        return losses, history
    for n_factors in (50, 49):
        losses, history = train(new(n_factors))
        model = shard_factors(new(n_factors))
        with implicit_replication():
            with CommBytes() as moved: shared, both = train(model)
        assert len(losses)==62 and max(abs(a-b) for a,b in zip(losses, shared, strict=True))<=1e-6
        assert (history-both).abs().max().max()<=1e-6
        assert model.user_factors.to_local().shape[1]==(25 if rank==0 else n_factors-25)
        assert model.user_bias.to_local().shape==(300,)
        # 30 batches in each of two epochs, and 500 ratings of validation after each
        assert moved.calls==62 and moved.n==4*2*(3000+500), (moved.calls, moved.n)
    ''', tmp_path)

def test_a_table_drawn_in_pieces_is_that_of_a_single_process_and_too_few_factors_are_refused(tmp_path):
    ranks('''
    import lesson8lib.embedding
    for chunk,n_users,n_factors in ((2**22, 300, 50), (320, 300, 49), (64, 301, 3), (16, 97, 2), (48, 33, 7)):
        lesson8lib.embedding._piece = chunk
        whole = DotProductBias(n_users, 100, n_factors, generator=new_generator(5))
        with torch.device('meta'): parts = DotProductBias(n_users, 100, n_factors)
        shard_factors(parts, generator=new_generator(5))
        for a,b in zip(whole.parameters(), parts.parameters(), strict=True): assert torch.equal(a, b.full_tensor()), (chunk, a.shape)
    for model,generator,says in ((new(1), None, 'must have factors for each of 2 processes, got 1'), (new(4), new_generator(0), 'must be a generator for')):
        try: shard_factors(model, generator=generator)
        except ValueError as e: assert says in str(e), e
        else: raise AssertionError(says)
    ''', tmp_path)

def test_shard_factors_refuses(words):
    with pytest.raises(ValueError, match='`mesh` needs a process group, got none'): shard_factors(DotProductBias(5, 5, 4))
    with pytest.raises(TypeError, match='`model` must be a DotProductBias, got Linear'): shard_factors(torch.nn.Linear(2, 2))

def test_checkpoints_are_read_by_any_number_of_processes(tmp_path):
    "2 → 1 → 2 processes: parameters and optimizer to 2e-7 those of a single run, and to the bit those that were saved"
    first = '''
    from lesson8lib.scale import Checkpoint
    class Stop(Exception): pass
    def run(model, stop):
        checkpoint = Checkpoint(folder/'saved', every=7)
        def on_step(state):
            checkpoint(state)
            if state.step==stop: raise Stop
        train = x, y
        with implicit_replication():
            try: return fit(model, train, (x[:500], y[:500]), epochs=3, bs=100, seed=0, progress=False, on_step=on_step)
            except Stop: pass
    '''
    ranks(first + '''
    run(shard_factors(new(49)), 24)  # in the first epoch, saved after 21 steps
    ''', tmp_path)
    assert [p.name for p in sorted((tmp_path/'saved').iterdir())]==['step-000000014', 'step-000000021']
    ranks(first + '''
    run(new(49), 40)  # in the second one
    ''', tmp_path, world=1)
    ranks(first + '''
    model = shard_factors(new(49))
    history = run(model, -1)
    whole = new(49)
    expected = fit(whole, (x, y), (x[:500], y[:500]), epochs=3, bs=100, seed=0, progress=False)
    assert (history-expected).abs().max().max()<=2e-7
    for a,b in zip(model.parameters(), whole.parameters(), strict=True): torch.testing.assert_close(a.full_tensor(), b, atol=2e-7, rtol=0)
    ''', tmp_path)

KILLED = '''
import json, os, signal, sys, time
from pathlib import Path
import torch
import torch.distributed as dist
import torch.distributed.checkpoint, torch.distributed.tensor.experimental
from lesson8lib.collab import DotProductBias
from lesson8lib.scale import *
from lesson8lib.scale import _mixed
from lesson8lib.training import fit, new_generator
torch.set_num_threads(1)
folder, world = Path(sys.argv[1]), int(sys.argv[2])

def train(rank, attempt, kill):
    "A run that kills itself: before step `kill`, or (if negative) while it writes the checkpoint after step -kill"
    if world>1: dist.init_process_group('gloo', init_method=f'file://{folder}/store{attempt}', rank=rank, world_size=world)
    model = DotProductBias(300, 100, 9, generator=new_generator(0))
    if world>1: shard_factors(model)
    checkpoint = Checkpoint(folder/'saved', every=5)
    def on_step(state):
        if state.step==-kill and rank==0:
            import lesson8lib.scale
            lesson8lib.scale._replace_folder = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
        checkpoint(state)
        if state.step==kill and rank==world-1: os.kill(os.getpid(), signal.SIGKILL)
        path.append(state.step)
    path = []
    ratings = ParquetRatings(folder/'r.parquet', 100, pool=2)
    with _mixed(world>1): history = fit(model, ratings, epochs=3, seed=0, progress=False, on_step=on_step if kill is not None else None)
    whole = [p.full_tensor() if world>1 else p.detach() for p in model.parameters()]
    if rank==0: torch.save({'history': history.train_loss.tolist(), 'parameters': whole, 'path': path}, folder/f'result{attempt}')
    if world>1: dist.destroy_process_group()

def start(attempt, kill):
    "As torchrun does: the processes of a run end together. Forked, so that each starts at once"
    children = {}
    for rank in range(world):
        if not (pid := os.fork()):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # the others complain
            status = 1
            try:
                train(rank, attempt, kill)
                status = 0
            finally: os._exit(status)
        children[pid] = rank
    ends = []
    while children:
        pid, status = os.wait()
        children.pop(pid, None)
        ends.append(status)
        if status:
            for other in children: os.kill(other, signal.SIGKILL)
    return ends

start('undisturbed', None)
kills = json.loads(sys.argv[3])
for k,kill in enumerate(kills): assert signal.SIGKILL in start(k, kill), f'attempt {k} was not killed'
assert start('last', 10**9)==[0]*world
a, b = (torch.load(folder/f'result{name}') for name in ('undisturbed', 'last'))
assert a['history']==b['history'], (a['history'], b['history'])
assert all(map(torch.equal, a['parameters'], b['parameters']))
assert b['path'][0]==max(abs(k) for k in kills)//5*5 - 5*(max(kills, key=abs)<0), b['path'][0]
'''

@pytest.mark.parametrize('world', [1, 2])
def test_killed_ten_times_the_numbers_are_those_of_an_undisturbed_run(tmp_path, world):
    "kill -9 at ten random steps, some of them while a checkpoint is written, at times the same step again: equal to the bit"
    write(tmp_path/'r.parquet', 2000, 90, item=pa.array([i % 100 for i in range(2000)], pa.int32()), user=pa.array([i*7 % 300 for i in range(2000)], pa.int32()))
    g = torch.Generator().manual_seed(world)
    kills = sorted(torch.randint(1, 60, (7,), generator=g).tolist() + [-10, -20, -35], key=abs)
    (tmp_path/'killed.py').write_text(KILLED, encoding='utf-8')
    done = subprocess.run([sys.executable, tmp_path/'killed.py', tmp_path, str(world), str(kills)], capture_output=True, encoding='utf-8', timeout=300, env=os.environ | {'OMP_NUM_THREADS': '1'})
    assert done.returncode==0, done.stderr[-3000:]
    assert not list((tmp_path/'saved').glob('.*'))

# ---- The command
def raw_ratings(path, n=3000):
    g = torch.Generator().manual_seed(0)
    who, what = (torch.randint(0, m, (n,), generator=g) for m in (50, 30))
    stars = 1 + (who*7 % 3 + what*5 % 3 + torch.randint(0, 2, (n,), generator=g)).float().clamp(max=4)
    pq.write_table(pa.table({'who': [f'user {i}' for i in who.tolist()], 'what': what.tolist(), 'stars': stars.tolist()}), path)
    return path, ['--user', 'who', '--item', 'what', '--rating', 'stars', '--factors', '5', '--epochs', '3', '--bs', '50', '--every', '20']

def test_main_writes_a_recommender(tmp_path, capsys):
    path, options = raw_ratings(tmp_path/'r.parquet')
    main([str(path), str(tmp_path/'films'), *options])
    ours = Recommender.load(tmp_path/'films')
    assert len(ours.users)==50 and set(ours.items)==set(range(30)) and ours.n_factors==5 and ours.user=='who'
    table = pq.read_table(path).to_pandas()
    assert (ours.predict(table)-table.stars).std()<.8*table.stars.std()
    assert len(ours.recommend('user 3', 5))>0 and ours.predict(table[:1].assign(what=99), unknown='na').notna().all()
    assert 'train_loss' in capsys.readouterr().out
    saved = sorted(p.name for p in (tmp_path/'films.checkpoint').glob('step-*'))
    assert saved==['step-000000160', 'step-000000180']
    main([str(path), str(tmp_path/'again'), *options, '--checkpoint', str(tmp_path/'films.checkpoint'), '--save', 'factors'])  # nothing is left to train
    model, users, items = load_model(tmp_path/'again')
    assert users==ours.data.users and items==ours.data.items
    torch.testing.assert_close(model.user_factors[1:], ours.model.user_factors[1:])
    with pytest.raises(ValueError, match='`--checkpoint` must be a new folder, or that of a run with bs 60, got one with 50'):
        main([str(path), str(tmp_path/'other'), *options, '--bs', '60', '--checkpoint', str(tmp_path/'films.checkpoint')])
    with pytest.raises(ValueError, match='a saved factors'): load_model(tmp_path/'films')

def test_torchrun_restarts_a_killed_process(tmp_path):
    "A process is killed in the first run and in the second; the third goes on, to the factors of a single process"
    path, options = raw_ratings(tmp_path/'r.parquet')
    script = tmp_path/'script.py'
    script.write_text(textwrap.dedent('''
    import os, signal, sys
    from lesson8lib import scale
    attempt, whole = int(os.environ['TORCHELASTIC_RESTART_COUNT']), scale.Checkpoint.__call__
    def call(self, state):
        whole(self, state)
        if attempt<2 and state.step==(33, 107)[attempt] and os.environ['RANK']==str(attempt): os.kill(os.getpid(), signal.SIGKILL)
        if attempt: assert state.step>=(0, 20, 100)[attempt]
    scale.Checkpoint.__call__ = call
    scale.main()
    '''), encoding='utf-8')
    command = [sys.executable, '-m', 'torch.distributed.run', '--nproc-per-node', '2', '--max-restarts', '2']
    done = subprocess.run([*command, script, path, tmp_path/'two', *options, '--save', 'factors'], capture_output=True, encoding='utf-8', timeout=300,
                          env=os.environ | {'OMP_NUM_THREADS': '1', 'TQDM_DISABLE': '1', 'TORCH_DISABLE_SHARE_RDZV_TCP_STORE': '1'})
    assert done.returncode==0, done.stderr[-3000:]
    main([str(path), str(tmp_path/'one'), *options, '--save', 'factors'])
    for a,b in zip(*(load_model(tmp_path/name)[0].parameters() for name in ('one', 'two')), strict=True): torch.testing.assert_close(a, b, atol=1e-6, rtol=0)
