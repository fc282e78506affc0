"""Matrix products by loops, broadcasting, einsum and `@`; and what a GPU gains, by kind of work and by size

Ratios within one run. `python benchmarks/matmul.py` takes three minutes, with one thread; it writes matmul.json and, where
there is a GPU, matmul_gpu.json, which it otherwise leaves as it is (`matmul.py gpu` writes that alone).
"""
import statistics
import sys
import time
from functools import partial

import torch
from common import record, save

from lesson8lib.matrices import matmul_broadcast, matmul_dots, matmul_loop, matmul_rows
from lesson8lib.training import new_generator

WAYS = {
    'three loops': (matmul_loop, 128), 'two loops': (matmul_dots, 256), 'one loop': (matmul_rows, 512), 'broadcasting': (matmul_broadcast, 512),
    'einsum': (lambda a, b: torch.einsum('ik,kj->ij', a, b), 2048), '@': (torch.matmul, 2048)}  # the function, and the largest size it is timed at
SIZES, ROUNDS, AT_LEAST = (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048), 5, .01
GPU_SIZES = (1, 4, 16, 64, 256, 1024, 4096, 8192)


def seconds(fn, wait=lambda: None)->float:
    "Seconds of one call: the median over rounds of at least 10 ms each"
    fn()
    wait()
    start = time.perf_counter()
    fn()
    wait()
    repeat, taken = max(1, int(AT_LEAST/(time.perf_counter()-start))), []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(repeat): fn()
        wait()
        taken.append((time.perf_counter()-start)/repeat)
    return statistics.median(taken)


def square(n:int, seed:int)->torch.Tensor: return torch.rand(n, n, generator=new_generator(seed))


def ways()->list[dict]:
    "Records of each way to multiply two n × n matrices: seconds, and the ratio to `@`"
    out = []
    for n in SIZES:
        a, b = square(n, 0), square(n, 1)
        taken = {name: seconds(partial(fn, a, b)) for name,(fn,largest) in WAYS.items() if n<=largest}
        for name,s in taken.items():
            out += [record(name, 'seconds', float(f'{s:.4g}'), size=n), record(name, 'times @', float(f'{s/taken["@"]:.4g}'), size=n)]
    return out


def scalars(x:torch.Tensor, n:int=100)->torch.Tensor:
    "A hundred numbers, one after the other, each of which needs the one before"
    total = x[0]
    for i in range(n): total = total*.5 + x[i%len(x)]
    return total


def there_and_back(a:torch.Tensor, b:torch.Tensor)->torch.Tensor: return (a.cuda()@b.cuda()).cpu()


def gpu()->list[dict]:
    "Records of seconds on the CPU divided by seconds on the GPU, in float32 unless the model says otherwise"
    out = []
    for n in GPU_SIZES:
        a, b = square(n, 0), square(n, 1)
        there, half = (a.cuda(), b.cuda()), (a.cuda().bfloat16(), b.cuda().bfloat16())
        pairs = {
            'matrix product': (torch.matmul, (a, b), torch.matmul, there),
            'matrix product, with the copies there and back': (torch.matmul, (a, b), there_and_back, (a, b)),
            'matrix product, bfloat16 on the GPU': (torch.matmul, (a, b), torch.matmul, half),
            'ReLU of each number': (torch.relu, (a,), torch.relu, there[:1]),
            'one number after the other': (scalars, (a[0],), scalars, (there[0][0],))}
        for name,(on_cpu, inputs, on_gpu, copies) in pairs.items():
            cpu_seconds = seconds(partial(on_cpu, *inputs))
            gpu_seconds = seconds(partial(on_gpu, *copies), torch.cuda.synchronize)
            out.append(record(name, 'CPU time / GPU time', float(f'{cpu_seconds/gpu_seconds:.4g}'), size=n))
            if name.startswith('matrix product'): out.append(record(name, 'Tflop/s', float(f'{2e-12*n**3/gpu_seconds:.4g}'), size=n))
    return out


if __name__=='__main__':
    if torch.cuda.is_available():
        with torch.inference_mode(): save('matmul_gpu', gpu(), packages=('torch',), gpu=torch.cuda.get_device_name(), threads=torch.get_num_threads())
    if 'gpu' not in sys.argv:
        torch.set_num_threads(1)
        with torch.inference_mode(): save('matmul', ways(), packages=('torch',), threads=1)
