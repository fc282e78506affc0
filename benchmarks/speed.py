"""Time to a given error on MovieLens-100K, and updates a second on 20 million ratings: ours beside other libraries

`task` in a setting tells the parts apart. 'ml-100k': splits 80/20 with seeds 0 to 2, as in field.py; each library in its best setting of field.py, and
ours, with several budgets (`epochs`, or what the library calls its iterations); MSE of predictions clipped to the scale, and seconds of a fit alone.
Only fastai has one budget, the lesson's five epochs, whose error is the mark. 'quality': `fit_sgd`, `fit` and Hogwild with five seeds, unclipped.
'epoch': seconds of one pass over the 80,000 ratings, and of the parts of a step of `fit`. 'updates': steps of SGD a second on 20 million invented
ratings, 138,000 users and 27,000 items, some far more popular than others, 50 factors: medians of rounds, each variant in each round.
'million': one fit of each to a million invented ratings in a process of its own, with the memory that it takes at its peak. 'compile': seconds of an epoch
of `fit` with and without `torch.compile`, by batch size, without the time to compile.
'delay': the error if every change comes a number of ratings too late, as on a GPU, where thousands of ratings are worked on at once. 'gpu': ratings a
second of `fit_sgd` and of `fit` with batches of 16,384 on 20 million invented ratings, and the errors of both on a smaller table; needs a GPU, but neither
numba nor data, does nothing elsewhere, and writes speed_gpu.json: `python benchmarks/speed.py --only gpu`.

numba compiles before anything is timed; `compile` in `about` holds the seconds of the first compilation. Libraries that are not installed are left out,
and their stored results stay. `python benchmarks/speed.py` takes about fifteen minutes; `--only updates` some tasks.
"""
import os

for name in ('OMP', 'OPENBLAS', 'MKL', 'LK'): os.environ[f'{name}_NUM_THREADS'] = '1'  # before the libraries are imported
os.environ |= {'LK_NUM_BACKEND_THREADS': '1', 'TQDM_DISABLE': '1'}
import argparse
import json
import logging
import math
import subprocess
import sys
import tempfile
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np
import peers
import torch
from common import RESULTS, record, save
from peers import Split

from lesson8lib.collab import DotProductBias, RatingsData, sigmoid_range
from lesson8lib.data import load_movielens, make_ratings
from lesson8lib.speed import Cells, aligned_rows, compile_kernel, fit_sgd, sgd_pass
from lesson8lib.training import evaluate, fit, new_generator

SEEDS, MANY_SEEDS, ROUNDS = range(3), range(5), 3
N, SIZES, FACTORS, BLOCKS, AHEAD = 20_000_000, (138_000, 27_000), 50, 16, 8
NUMBERS = 0., 5.5, .02, .2  # range of predictions, learning rate, weight decay


@contextmanager
def clocks():
    "Seconds of processor and of clock, in the dict that it yields"
    found, cpu, wall = {}, time.process_time(), time.perf_counter()
    yield found
    found |= {'cpu seconds': time.process_time()-cpu, 'wall seconds': time.perf_counter()-wall}


def records(model:str, values:dict, seed:int=0, **setting)->list[dict]:
    return [record(model, metric, float(f'{value:.4g}'), seed, **setting) for metric,value in values.items()]


# ---- MovieLens-100K
@cache
def data_of(seed:int|str)->RatingsData:
    if seed=='million': return RatingsData.from_df(make_ratings(1_000_000, 6000, 4000), item='item', seed=0)
    return RatingsData.from_df(load_movielens().ratings, seed=seed)


def number(seed:int|str)->int: return 0 if seed=='million' else seed


def new_model(seed:int|str)->DotProductBias:
    data = data_of(seed)
    return DotProductBias(len(data.users), len(data.items), FACTORS, generator=new_generator(number(seed)))


def split_of(seed:int|str)->Split:
    data = data_of(seed)
    (pairs, ratings), (test, values) = data.train, data.valid
    sizes = len(data.users), len(data.items)
    return Split(pairs.numpy(), ratings.double().numpy(), test.numpy(), values.double().numpy(), *sizes, (1, 5), 4, number(seed), {}, {})


def clipped(predicted, ratings)->float: return float(np.square(np.clip(predicted, 1, 5)-ratings).mean())


def ours(seed:int|str, fitting, **args)->dict:
    "Error and seconds of `fit` or of `fit_sgd`"
    model, data = new_model(seed), data_of(seed)
    with clocks() as found: fitting(model, data.train, seed=number(seed), progress=False, **args)
    with torch.no_grad(): predicted = model.eval()(data.valid[0]).numpy()
    return {'mse': clipped(predicted, data.valid[1].numpy())} | found


def theirs(seed:int|str, fitting, **args)->dict:
    split = split_of(seed)
    found = fitting(split, **args)
    return {'mse': clipped(found.predict(split.test_pairs), split.test_ratings)} | split.seconds


def tuned(name:str)->dict: return json.loads((RESULTS/'field.json').read_text(encoding='utf-8'))['about']['tuned']['n=80000'][name]


def field()->dict: # name -> package, function of a seed and of settings, name of the budget, budgets
    sgd = partial(ours, fitting=fit_sgd, threads=1)
    return {
        'fastai': ('fastai', partial(theirs, fitting=peers.fastai), 'epochs', (5,)),
        'fit, batch 64': ('torch', partial(ours, fitting=fit, bs=64), 'epochs', (3, 5)),
        'fit, batch 512': ('torch', partial(ours, fitting=fit, bs=512), 'epochs', (3, 4, 5, 8)),
        'fit_sgd': ('numba', sgd, 'epochs', (5, 8, 12, 20, 30)),
        'fit_bayes': ('numba', partial(theirs, fitting=peers.bayes), 'iterations', (5, 10, 20)),
        'Surprise SVD': ('surprise', partial(theirs, fitting=peers.surprise, kind='SVD', **tuned('Surprise SVD')), 'n_epochs', (5, 10, 20, 40)),
        'cmfrec': ('cmfrec', partial(theirs, fitting=peers.cmfrec, **tuned('cmfrec')), 'niter', (2, 5, 10, 20)),
        'LensKit': ('lenskit', partial(theirs, fitting=peers.lenskit, **tuned('LensKit biased MF')), 'epochs', (2, 5, 10, 20)),
        'myFM': ('myfm', partial(theirs, fitting=peers.myfm, **tuned('myFM')), 'n_iter', (10, 20, 50, 200)),
    }


def on_movielens()->list[dict]:
    out = []
    for seed in SEEDS:  # all models in each round, so that a slow minute of the machine hits all
        for name,(package,run,key,budgets) in field().items():
            if find_spec(package) is None: continue
            for n in budgets: out += records(name, run(seed, **{key: n}), seed, task='ml-100k', budget=n)
    return out


# ---- A million ratings
BUDGETS = {'fastai': 5, 'fit, batch 64': 5, 'fit, batch 512': 5, 'fit_sgd': 20, 'fit_bayes': 20, 'Surprise SVD': 20, 'cmfrec': 10, 'LensKit': 10, 'myFM': 200}


def memory(name:str)->float: # in MB
    "A line of what Linux says of this process: VmRSS, memory now; VmHWM, its peak"
    with open('/proc/self/status', encoding='utf-8') as f: return next(int(line.split()[1]) for line in f if line.startswith(name))/1024


def one(name:str)->dict:
    "Error, seconds and memory of a fit to a million ratings"
    package, run, key, _ = field()[name]
    import_module(package)
    data_of('million')
    with open('/proc/self/clear_refs', 'w', encoding='utf-8') as f: f.write('5')  # the peak starts anew
    before = memory('VmRSS')
    return run('million', **{key: BUDGETS[name]}) | {'MB': memory('VmHWM')-before}


def million()->list[dict]:
    out = []
    for name,(package,*_) in field().items():
        if find_spec(package) is None: continue
        done = subprocess.run([sys.executable, __file__, '--one', name], stdout=subprocess.PIPE, encoding='utf-8', check=True)
        out += records(name, json.loads(done.stdout.splitlines()[-1]), task='million', budget=BUDGETS[name])
        print(name, done.stdout.splitlines()[-1], flush=True)
    return out


# ---- torch.compile
def compiled()->list[dict]:
    out, data = [], data_of(0)
    for bs in (512, 4096, 16_384):
        for k in range(ROUNDS):
            for name,wrap in (('fit', lambda model: model), ('fit, torch.compile', torch.compile)):
                model = wrap(new_model(0))
                def run(epochs, model=model, bs=bs): fit(model, data.train, epochs=epochs, bs=bs, seed=0, progress=False)
                run(1)  # compiles
                with clocks() as found: run(5)
                out += records(name, {m: v/5 for m,v in found.items()}, k, task='compile', bs=bs)
    return out


# ---- Quality
def quality()->list[dict]:
    out = []
    for seed in MANY_SEEDS:
        data = data_of(seed)
        for name,fitting in (('fit_sgd', fit_sgd), ('fit, batch 64', fit), ('fit, batch 512', partial(fit, bs=512)), ('Hogwild', hogwild)):
            model = new_model(seed)
            fitting(model, data.train, seed=seed, progress=False)
            out += records(name, {'mse': evaluate(model.eval(), data.valid)['loss']}, seed, task='quality')
    return out


# ---- Hogwild: two threads on any two parts of the ratings, without regard to who else writes
def hogwild(model, train, seed, progress, epochs=20, lr=.02, wd=.2):
    (x, y), n, rng = train, model.user_factors.shape[1], np.random.default_rng(seed)
    order = rng.permutation(len(y))
    u, i, r = (a[order] for a in (x[:,0].numpy().astype(np.int32), x[:,1].numpy().astype(np.int32), y.numpy()))
    with ThreadPoolExecutor(2) as pool, rows_of(model) as (p, q):
        for epoch in range(epochs):
            rate = lr*(1+math.cos(math.pi*epoch/epochs))/2
            list(pool.map(partial(compile_kernel(), u, i, r, p, q, n, *floats(rate, wd, 0, 5.5), AHEAD), (0, len(y)//2), (len(y)//2, len(y))))


@contextmanager
def rows_of(model):
    "Rows of users and of items, which go back into the model at the end"
    n = model.user_factors.shape[1]
    p, q = aligned_rows(len(model.user_bias), n+2), aligned_rows(len(model.item_bias), n+2)
    parts = [(p, model.user_factors, model.user_bias, n), (q, model.item_factors, model.item_bias, n+1)]
    for rows,factors,bias,own in parts: rows[:,:n], rows[:,own], rows[:,2*n+1-own] = factors.detach(), bias.detach(), 1
    yield p, q
    with torch.no_grad():
        for rows,factors,bias,own in parts:
            factors.copy_(torch.from_numpy(rows[:,:n]))
            bias.copy_(torch.from_numpy(rows[:,own]))


def floats(*values): return [np.float32(v) for v in values]


# ---- Changes that come late
def late_pass(users, items, ratings, p, q, n, lr, wd, low, span, delay):
    "`sgd_pass`, but a rating reads rows to which the changes of the last `delay` ratings have not been added"
    width = p.shape[1]
    late_p, late_q = np.zeros((delay, width), np.float32), np.zeros((delay, width), np.float32)
    for k in range(len(ratings)+delay):
        u, i = users[min(k, len(ratings)-1)], items[min(k, len(ratings)-1)]
        a, b, at = p[u].copy(), q[i].copy(), k % delay
        if k>=delay:
            p[users[k-delay]] += late_p[at]
            q[items[k-delay]] += late_q[at]
        if k<len(ratings):
            s = 1/(1+np.exp(-np.sum(a*b)))
            step = 2*lr*(low+span*s-ratings[k])*span*s*(1-s)
            late_p[at], late_q[at] = -lr*wd*a-step*b, -lr*wd*b-step*a
            late_p[at,n+1], late_q[at,n] = 0, 0


def fit_late(model, train, seed, delay, epochs=20, lr=.02, wd=.2):
    (x, y), rng, kernel = train, np.random.default_rng(seed), compile_kernel(late_pass)
    with rows_of(model) as (p, q):
        for epoch in range(epochs):
            order, rate = rng.permutation(len(y)), lr*(1+math.cos(math.pi*epoch/epochs))/2
            kernel(*x.numpy()[order].T.copy(), y.numpy()[order], p, q, model.user_factors.shape[1], *floats(rate, wd, 0, 5.5), delay)


def late()->list[dict]:
    out = []
    for seed in MANY_SEEDS:
        data = data_of(seed)
        popular = max(data.train[0][:,k].bincount().max().item() for k in (0, 1))
        for programs in (1, 4, 16, 64):  # at work on the most popular row, on average
            model = new_model(seed)
            fit_late(model, data.train, seed, programs*len(data.train[1])//popular)
            out += records('late changes', {'mse': evaluate(model.eval(), data.valid)['loss']}, seed, task='delay', programs=programs)
    return out


# ---- One pass over 80,000 ratings
def epoch()->list[dict]:
    out, data = [], data_of(0)
    runs = {'fit, batch 64': partial(fit, bs=64), 'fit, batch 512': partial(fit, bs=512), 'fit_sgd': partial(fit_sgd, threads=1)}
    for k in range(ROUNDS):
        for name,fitting in runs.items():
            many = 20 if name=='fit_sgd' else 1
            with clocks() as found: fitting(new_model(0), data.train, epochs=many, seed=0, progress=False)
            out += records(name, {m: v/many for m,v in found.items()}, k, task='epoch')
        out += records('Python loop', python_loop(data.train), k, task='epoch')
        out += [r for name,found in step_parts(data.train).items() for r in records(name, found, k, task='step')]
    return out


def python_loop(train, n=4000)->dict:
    "The kernel before it is compiled, on `n` ratings"
    model, (x, y) = new_model(0), train
    p, q = aligned_rows(len(model.user_bias), FACTORS+2), aligned_rows(len(model.item_bias), FACTORS+2)
    given = x[:n,0].numpy(), x[:n,1].numpy(), y[:n].numpy(), p, q, FACTORS
    with clocks() as found: sgd_pass(*given, *floats(.02, .2, 0, 5.5), 0, 0, n)
    return {m: v*len(y)/n for m,v in found.items()}


def step_parts(train, bs=64, n=400)->dict:
    "What a step of `fit` consists of: seconds for `n` steps, longer by one part each time"
    model, (x, y) = new_model(0), train
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, fused=True)
    def run(*, backward, step):
        with clocks() as found:
            for k in range(n):
                loss = torch.nn.functional.mse_loss(model(x[k*bs:k*bs+bs]), y[k*bs:k*bs+bs])
                if backward: loss.backward()
                if step: optimizer.step()
                if backward: optimizer.zero_grad()
        return {'us a step': found['cpu seconds']/n*1e6}
    run(backward=True, step=True)
    return {'forward': run(backward=False, step=False), 'forward and backward': run(backward=True, step=False), 'whole step': run(backward=True, step=True)}


# ---- 20 million ratings
def strata(cells:Cells, step, each)->None:
    blocks = math.isqrt(len(cells.start)-1)
    for shift in range(blocks):
        found = [row*blocks+(row+shift)%blocks for row in range(blocks)]
        list(each(lambda cell: step(cells.start[cell], cells.start[cell+1]), found))


def invented(rng, powers=(2, 3)): # the higher the power, the more popular the most popular: it has 1/size^(1/power) of the ratings
    users, items = ((rng.permutation(n)[(n*rng.random(N, np.float32)**power).astype(np.int32).clip(max=n-1)]).astype(np.int32)
                    for n,power in zip(SIZES, powers, strict=True))
    return users, items, rng.integers(1, 6, N).astype(np.float32)


def variants()->tuple[dict, float]: # name -> function that makes updates, and how many; seconds of sorting
    rng = np.random.default_rng(0)
    users, items, ratings = invented(rng)
    def tables(make):
        p, q = (make(n, FACTORS+2) for n in SIZES)
        for rows,ones in ((p, FACTORS+1), (q, FACTORS)):
            rows[:,:FACTORS], rows[:,ones] = rng.normal(0, .01, (len(rows), FACTORS)), 1
        return p, q
    plain, padded = tables(lambda n, columns: np.zeros((n, columns), np.float32)), tables(aligned_rows)
    def step(given, rows, ahead): return partial(compile_kernel(), *given, *rows, FACTORS, *floats(.02, .2, 0, 5.5), ahead)
    shuffled, part = (users, items, ratings), N//5
    start = time.perf_counter()
    cells = Cells.sort(users, items, ratings, SIZES, BLOCKS, rng)
    sorting = time.perf_counter()-start
    pool, halves = ThreadPoolExecutor(2), ((0, N//2), (N//2, N))
    few = np.zeros(part, np.int32)+rng.integers(0, 50, part, np.int32)
    cached = few, rng.permutation(few), ratings[:part]
    def run(cells, ahead=AHEAD, each=map): return lambda: strata(cells, step(cells[:3], padded, ahead), each), N
    return {
        'plain': (lambda: step(shuffled, plain, 0)(0, part), part),
        'padding': (lambda: step(shuffled, padded, 0)(0, part), part),
        'padding, prefetching': (lambda: step(shuffled, padded, AHEAD)(0, part), part),
        'padding, cells': run(cells, 0),
        'padding, cells, prefetching': run(cells),
        'padding, cells, prefetching, 2 threads': run(cells, each=pool.map),
        'Hogwild, 2 threads': (lambda: list(pool.map(step(shuffled, padded, AHEAD), *zip(*halves, strict=True))), N),
        'rows in the nearest cache': (lambda: step(cached, padded, 0)(0, part), part),
        **{f'padding, {blocks} × {blocks} cells, prefetching': run(Cells.sort(*shuffled, SIZES, blocks, rng)) for blocks in (8, 32)},
    }, sorting


def updates()->list[dict]:
    (runs, sorting), out = variants(), []
    out += records('sorting into cells', {'wall seconds': sorting}, task='updates')
    block, other = np.ones(2**26, np.float32), np.ones(2**26, np.float32)
    for k in range(ROUNDS):
        with clocks() as found: np.copyto(block, other)
        out += records('copy', {'GB/s': 2*block.nbytes/found['cpu seconds']/1e9}, k, task='updates')
        for name,(run,n) in runs.items():
            with clocks() as found: run()
            out += records(name, {'M/s, cpu': n/found['cpu seconds']/1e6, 'M/s, wall': n/found['wall seconds']/1e6}, k, task='updates')
            print(k, name, out[-2]['value'], out[-1]['value'], flush=True)
    return out


# ---- On a GPU
def of_an_epoch(run, more:int)->float:
    "Seconds of an epoch alone: a run of 1+more epochs less one of a single epoch, after a first one that compiles"
    seconds = []
    for epochs in (1, 1, 1+more):
        start = time.perf_counter()
        run(epochs=epochs)
        torch.cuda.synchronize()
        seconds.append(time.perf_counter()-start)
    return (seconds[2]-seconds[1])/more


def gpu_speed(powers)->list[dict]:
    "Most of an epoch of `fit` may be the order of ratings, which the CPU draws"
    users, items, ratings = map(torch.from_numpy, invented(np.random.default_rng(0), powers))
    data, out = (torch.stack([users, items], 1).cuda(), ratings.cuda()), []
    setting = {'task': 'gpu', 'popular': round(items.bincount().max().item()/N, 4)}
    for k in range(ROUNDS):
        for name,fitting,more in (('fit_sgd', fit_sgd, 10), ('fit, batch 16,384', partial(fit, bs=16_384), 1)):
            def run(epochs, fitting=fitting):
                model = DotProductBias(*SIZES, FACTORS, generator=new_generator(0)).cuda()
                fitting(model, data, epochs=epochs, seed=0, progress=False)
            out += records(name, {'M/s': N/of_an_epoch(run, more)/1e6}, k, **setting)
        start = time.perf_counter()
        torch.randperm(N, generator=new_generator(0)).cuda()
        out += records('order of fit', {'seconds': time.perf_counter()-start}, k, **setting)
        for r in out[-3:]: print(r, flush=True)
    return out


def gpu_quality(n=100_000, sizes=(944, 1665), factors=5)->list[dict]:
    "Errors on ratings of a model with noise: the noise alone has a variance of 1"
    out = []
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        x = np.stack([(size*rng.random(2*n)**1.4).astype(np.int64) for size in sizes], 1)
        p, q = (torch.from_numpy(rng.normal(0, 1, (size, factors))) for size in sizes)
        pairs = torch.from_numpy(x)
        y = (sigmoid_range((p[pairs[:,0]]*q[pairs[:,1]]).sum(1)/2, 0, 5.5)+torch.from_numpy(rng.normal(0, 1, 2*n))).float()
        train, valid = ((pairs[part].cuda(), y[part].cuda()) for part in (slice(n), slice(n, None)))
        for name,fitting in (('fit_sgd', fit_sgd), ('fit, batch 512', partial(fit, bs=512))):
            model = DotProductBias(*sizes, FACTORS, generator=new_generator(seed)).cuda()
            fitting(model, train, seed=seed, progress=False)
            out += records(name, {'mse': evaluate(model.eval(), valid)['loss']}, seed, task='gpu quality')
            print(out[-1], flush=True)
    return out


def gpu()->None:
    if not torch.cuda.is_available(): return print('gpu: no GPU, nothing measured')
    found = [r for powers in ((2, 1.75), (2, 3)) for r in gpu_speed(powers)] + gpu_quality()
    save('speed_gpu', found, ('torch', 'triton', 'numpy'), gpu=torch.cuda.get_device_name(), n=N, sizes=SIZES, factors=FACTORS)


# ---- Running, and storing
TASKS = {'ml-100k': on_movielens, 'million': million, 'compile': compiled, 'quality': quality, 'delay': late, 'epoch': epoch, 'updates': updates}
DISTRIBUTIONS = {'surprise': 'scikit-surprise', 'cmfrec': 'cmfrec', 'lenskit': 'lenskit', 'myfm': 'myfm', 'fastai': 'fastai', 'numba': 'numba'}


def compile_seconds()->float:
    "Seconds of the first call in a fresh process with an empty cache, less those of the second"
    code = """if 1:
        import time, torch
        from lesson8lib.collab import DotProductBias
        from lesson8lib.speed import fit_sgd
        def run():
            start = time.perf_counter()
            fit_sgd(DotProductBias(3, 3), (torch.ones(4, 2, dtype=torch.int64), torch.ones(4)), epochs=1, progress=False)
            return time.perf_counter()-start
        first = run()
        print(first-run())"""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run([sys.executable, '-c', code], env=os.environ | {'NUMBA_CACHE_DIR': folder}, capture_output=True, encoding='utf-8', check=True)
    return round(float(done.stdout), 2)


def store(found:list[dict], done:list[str])->None:
    "Replace the records of the tasks that ran, but keep those of libraries that are not installed"
    file = RESULTS/'speed.json'
    old = json.loads(file.read_text(encoding='utf-8')) if file.exists() else {'results': [], 'about': {'versions': {}}}
    ran = {(r['model'], r['setting']['task']) for r in found}
    missing = {name for name,(package,*_) in field().items() if find_spec(package) is None}
    kept = [r for r in old['results'] if (r['setting']['task'] not in done+['step']*('epoch' in done) or r['model'] in missing) and
            (r['model'], r['setting']['task']) not in ran]
    versions = old['about']['versions'] | {p: version(p) for p in ('torch', 'numpy')}
    versions |= {name: version(name) for package,name in DISTRIBUTIONS.items() if find_spec(package)}
    order = [*TASKS, 'step']
    rows = sorted(kept+found, key=lambda r: order.index(r['setting']['task']))
    save('speed', rows, ('torch', 'numpy'), versions=versions, compile=compile_seconds(), n=N, sizes=SIZES, factors=FACTORS, blocks=BLOCKS)


def main()->None:
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--only', nargs='*', default=[*TASKS, 'gpu'], choices=[*TASKS, 'gpu'], help='tasks')
    parser.add_argument('--one', choices=[*BUDGETS], help='a fit of this model to a million ratings alone')
    args = parser.parse_args()
    if args.one: return print(json.dumps(one(args.one)))
    tasks = args.only
    if 'gpu' in tasks: gpu()
    if not (tasks := [task for task in tasks if task!='gpu']): return
    fit_sgd(new_model(0), data_of(0).train, epochs=1, progress=False)  # numba compiles
    store([r for task in tasks for r in TASKS[task]()], tasks)


if __name__ == '__main__':
    warnings.filterwarnings('ignore')
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    main()
