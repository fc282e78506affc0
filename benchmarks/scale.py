"""Ratings from Parquet: speed, memory and error; what a step costs; from these, the cost model of the page

Generated files lie in the temporary directory and are deleted. Seconds are those of the process (user and system), since others may use the machine.
`python benchmarks/scale.py` takes about 15 minutes; `python benchmarks/scale.py NAME …` only measures these: read, order, step, index.
"""
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import torch
from common import RESULTS, record, save

from lesson8lib.collab import DotProductBias, RatingsData
from lesson8lib.data import load_movielens
from lesson8lib.scale import ParquetRatings, index_parquet, save_checkpoint
from lesson8lib.training import evaluate, fit, new_generator

GROUP = 2**17
SCHEMA = pa.schema({'user': pa.int32(), 'item': pa.int32(), 'rating': pa.float32()})


def generate(path:Path, n:int)->None:
    "Random ratings of 20,000 items by a million users, a row group at a time"
    rng = np.random.default_rng(0)
    with pq.ParquetWriter(path, SCHEMA, use_dictionary=['item', 'rating']) as out:
        for start in range(0, n, GROUP):
            size = min(GROUP, n-start)
            columns = rng.integers(1, 10**6, size, np.int32), rng.integers(1, 20_000, size, np.int32), rng.integers(1, 6, size).astype(np.float32)
            out.write_table(pa.table(list(columns), schema=SCHEMA))


def status(name:str)->float:
    "VmRSS or VmHWM (the most so far) of this process, in MB"
    return int(next(line for line in Path('/proc/self/status').read_text(encoding='utf-8').splitlines() if line.startswith(name)).split()[1])/1024


def read_once(path:str, bs:int)->None:
    "In a process of its own: read an epoch; what it measured as JSON"
    before, start, n = status('VmRSS'), time.process_time(), 0
    for _,y in ParquetRatings(path, bs): n += len(y)
    print(json.dumps({'ratings_per_second': n/(time.process_time()-start), 'mb_above_imports': status('VmHWM')-before}))


def read(folder:Path)->list[dict]:
    "Ratings a second, and memory, for 20 M and for 100 M"
    found = []
    for n in (20_000_000, 100_000_000):
        path = folder/'r.parquet'
        subprocess.run([sys.executable, __file__, '--generate', path, str(n)], check=True)
        for bs in (512, 16384):
            for seed in range(3):
                out = subprocess.run([sys.executable, __file__, '--read', path, str(bs)], check=True, capture_output=True, encoding='utf-8').stdout
                found += [record('ParquetRatings', metric, round(value, 1), seed=seed, ratings=n, bs=bs) for metric,value in json.loads(out).items()]
        found.append(record('ParquetRatings', 'bytes_per_rating', round(path.stat().st_size/n, 2), ratings=n))
        path.unlink()
    return found


def error_of(data:RatingsData, train, seed:int)->float:
    "Validation RMSE after the lesson's recipe"
    model = DotProductBias(len(data.users), len(data.items), generator=new_generator(seed))
    fit(model, train, bs=64, seed=seed, progress=False)
    return round(evaluate(model, data.valid)['loss']**.5, 5)


def order(folder:Path)->list[dict]:
    "Validation RMSE on MovieLens: a whole permutation, and pools of row groups of a file in several orders; 160 row groups, as 20 M ratings have"
    df, found = load_movielens().ratings, []
    for seed in range(5):
        data = RatingsData.from_df(df, seed=seed)
        x, y = data.train
        keep = torch.randperm(len(df), generator=new_generator(seed))[len(data.valid[1]):]  # the split of RatingsData
        when = torch.tensor(df.timestamp.to_numpy())[keep]
        orders = {'by user': x[:,0], 'by item': x[:,1], 'by time': when}
        orders = {'random': torch.arange(len(y))} | {name: key.argsort(stable=True) for name,key in orders.items()}
        found.append(record('whole permutation', 'rmse', error_of(data, data.train, seed), seed=seed, order='any'))
        for name,rows in orders.items():
            columns = [x[rows,0].int().numpy(), x[rows,1].int().numpy(), y[rows].numpy()]
            pq.write_table(pa.table(columns, schema=SCHEMA), folder/'o.parquet', row_group_size=500)
            for pool in (1, 8, 32):
                rmse = error_of(data, ParquetRatings(folder/'o.parquet', 64, pool=pool, seed=seed), seed)
                found.append(record(f'pool of {pool}', 'rmse', rmse, seed=seed, order=name))
    return found


def seconds_of(f, n:int)->float:
    f()
    start = time.process_time()
    for _ in range(n): f()
    return (time.process_time()-start)/n


def step(folder:Path)->list[dict]:
    "What a step costs: for each rating of the batch, and for each parameter of the model, on one core; bytes of a checkpoint"
    found, bs, f = [], 16384, 50
    def cost(rows):
        model = DotProductBias(rows, 1000, f, generator=new_generator(0))
        opt = torch.optim.AdamW(model.parameters(), fused=True)
        x, y = torch.stack([torch.randint(0, n, (bs,), generator=new_generator(1)) for n in (rows, 1000)], 1), torch.ones(bs)
        def one():
            opt.zero_grad()
            torch.nn.functional.mse_loss(model(x), y).backward()
            opt.step()
        return seconds_of(one, 5), sum(p.numel() for p in model.parameters()), model, opt
    (small, n_small, *_), (large, n_large, model, opt) = cost(1000), cost(400_000)
    per_parameter = (large-small)/(n_large-n_small)
    found.append(record('step of AdamW', 'ns_per_parameter', round(per_parameter*1e9, 3)))
    found.append(record('step of AdamW', 'ns_per_rating', round((small-n_small*per_parameter)/bs*1e9, 1), bs=bs, factors=f))
    start = time.process_time()
    path = save_checkpoint(folder/'saved', model, opt)
    found.append(record('save_checkpoint', 'bytes_per_second', round(n_large*12/(time.process_time()-start))))
    size = sum(file.stat().st_size for file in path.rglob('*') if file.is_file())
    return [*found, record('save_checkpoint', 'bytes_per_parameter', round(size/n_large, 2))]


def index(folder:Path)->list[dict]:
    "Ratings a second of `index_parquet`, for IDs that are text"
    n, rng, source = 2_000_000, np.random.default_rng(0), folder/'raw.parquet'
    users, items = np.array([f'user {k}' for k in range(50_000)]), np.array([f'item {k}' for k in range(5000)])
    columns = users[rng.integers(0, len(users), n)], items[rng.integers(0, len(items), n)], rng.integers(1, 6, n).astype(float)
    pq.write_table(pa.table(dict(zip(('user', 'item', 'rating'), columns, strict=True))), source)
    start = time.process_time()
    index_parquet(source, folder/'indexed.parquet')
    return [record('index_parquet', 'ratings_per_second', round(n/(time.process_time()-start)), ratings=n)]


def main(names:list[str])->None:
    torch.set_num_threads(1)
    parts = {'read': read, 'order': order, 'step': step, 'index': index}
    found, file = [], RESULTS/'scale.json'
    if names and file.exists(): found = [r for r in json.loads(file.read_text(encoding='utf-8'))['results'] if r['setting'].get('part') not in names]
    for name in names or parts:
        with tempfile.TemporaryDirectory() as folder: measured = parts[name](Path(folder))
        for r in measured: r['setting'] = {'part': name} | r['setting']
        found += measured
    save('scale', found, packages=('torch', 'pyarrow', 'numpy', 'pandas'), threads=1, row_group=GROUP)


if __name__ == '__main__':
    if sys.argv[1:2] == ['--read']: read_once(sys.argv[2], int(sys.argv[3]))
    elif sys.argv[1:2] == ['--generate']: generate(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        os.environ['OMP_NUM_THREADS'] = '1'
        main(sys.argv[1:])
