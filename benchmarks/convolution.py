"""A convolution five ways (loop, dense matrix, sparse matrix, unfolded image, PyTorch's own), and ours beside PyTorch's in a small CNN, there and back

One thread, and seconds of the processor, so that other programs on the machine do not count. In each round every way has its turn, so that a slow
minute hits all; medians over rounds, of ratios within a round. A dense matrix of more than 700 MB is left out. `python benchmarks/convolution.py`
takes two minutes.
"""
import statistics
import time
import warnings

import torch
import torch.nn.functional as F
from common import record, save
from fastai.layers import AdaptiveConcatPool2d, ConvLayer
from torch import nn
from tqdm import tqdm

from lesson8lib.cnn import SmallCNN, rebuilt_with
from lesson8lib.conv_matmul import conv_matrix
from lesson8lib.convolution import Conv2d, conv2d, conv2d_loop, im2col
from lesson8lib.data import load_mnist
from lesson8lib.training import new_generator

SIZES, WAYS_ROUNDS = (8, 16, 28, 56, 112), 11
CHANNELS, KERNELS, BATCHES, CNN_ROUNDS = (1, 16, 32, 64, 128), (5, 3, 3, 3), (64, 128, 256, 512), 15  # of SmallCNN


def seconds(fn, repeat:int=1)->float:
    "Of the processor, for one call, on average over `repeat`"
    start = time.process_time()
    for _ in range(repeat): fn()
    return (time.process_time()-start)/repeat


def rounds(fns:dict, n:int, at_least:float=.004)->dict[str, list[float]]:
    "Seconds of each function in each of n rounds; the order turns from round to round. Short calls are repeated"
    repeats = {name: max(1, int(at_least/min(seconds(fn) for _ in range(2)))) for name,fn in fns.items()}
    taken = {name: [] for name in fns}
    for i in range(n):
        names = list(fns)
        for name in names[i%len(names):] + names[:i%len(names)]: taken[name].append(seconds(fns[name], repeats[name]))
    return taken


def median(values)->float: return statistics.median(values)


def ratio(taken:dict, of:str, to:str)->float: return median([a/b for a,b in zip(taken[of], taken[to], strict=True)])


def ways(case:str, size:int, n_images:int, c:int=1, o:int=1)->list[dict]:
    "Records of each way, of o 3 × 3 kernels on images of c channels: seconds, ratio to `F.conv2d`, memory of the matrices in MB"
    x, weight = torch.rand(n_images, c, size, size, generator=new_generator(0)), torch.randn(o, c, 3, 3, generator=new_generator(1))
    sparse, dense_mb = conv_matrix(weight, size, sparse=True).to_sparse_csr(), 4e-6*o*(size-2)**2*c*size**2
    pixels = x.flatten(1).T.contiguous()
    fns = {'sparse matrix': lambda: sparse @ pixels, 'im2col': lambda: conv2d(x, weight), 'F.conv2d': lambda: F.conv2d(x, weight)}
    if dense_mb<700:
        dense = conv_matrix(weight, size)
        fns = {'dense matrix': lambda: dense @ pixels, **fns}
    if n_images==c==o==1: fns = {'loop': lambda: conv2d_loop(x[0,0], weight[0,0]), **fns}
    with torch.no_grad(): taken = rounds(fns, WAYS_ROUNDS)
    parts = sparse.crow_indices(), sparse.col_indices(), sparse.values()
    values = [(name, 'seconds', median(t)) for name,t in taken.items()] + [(name, 'ratio', ratio(taken, name, 'F.conv2d')) for name in taken]
    values += [('dense matrix', 'mb', dense_mb), ('sparse matrix', 'mb', sum(part.nbytes for part in parts)/1e6)]
    return [record(*value, case=case, size=size) for value in values]


def there_and_back(model, x, loss):
    "A forward and a backward pass; images get a gradient only if they ask for one, as those of a first layer do not"
    def call():
        model.zero_grad()
        x.grad = None
        loss(model(x))
    return call


def all_ones(out): out.backward(torch.ones_like(out)) # laid out in memory as the outputs are


def net(kind)->nn.Sequential:
    layers = [layer for c,o,k in zip(CHANNELS, CHANNELS[1:], KERNELS, strict=False) for layer in (kind(c, o, k, stride=2, padding=k//2), nn.ReLU())]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(CHANNELS[-1]*2*2, 10))


def layer_times(name:str, ours:nn.Module, theirs:nn.Module, x)->list[dict]:
    "Records of one layer, there and back, ours and PyTorch's; and of ours in parts: copying windows, matrix product, the rest"
    k, o = ours.weight[0].numel(), ours.out_channels
    window = ours.kernel_size, ours.stride, ours.padding
    with torch.no_grad(): columns = im2col(x, *window).permute(1, 2, 0).reshape(k, -1)
    rows = ours.weight.detach().view(o, k)
    def copy():
        with torch.no_grad(): im2col(x, *window)
    def forward():
        with torch.no_grad(): ours(x)
    same_x = x.detach().contiguous().requires_grad_(x.requires_grad) # each gets the layout in memory that its own layers hand on
    taken = rounds({'ours': there_and_back(ours, x, all_ones), 'PyTorch': there_and_back(theirs, same_x, all_ones), 'copying windows': copy,
                    'matrix product': lambda: rows @ columns, 'forward': forward}, CNN_ROUNDS)
    share = {name: ratio(taken, name, 'ours') for name in ('copying windows', 'matrix product', 'forward')}
    parts = {'copying windows': share['copying windows'], 'matrix product': share['matrix product'],
             'rest of the forward pass': share['forward']-share['copying windows']-share['matrix product'], 'backward pass': 1-share['forward']}
    found = [record(name, 'ratio', ratio(taken, 'ours', 'PyTorch'), batch=len(x))]
    return found + [record(name, 'share of time', value, batch=len(x), part=part) for part,value in parts.items()]


def cnn(bs:int)->list[dict]:
    "Records of the convolutions of SmallCNN with ReLUs, together and each on what arrives there; and of SmallCNN beside its equivalent"
    digits = load_mnist()
    x, y = digits.images[:bs,None], digits.labels[:bs]
    torch.manual_seed(0)
    ours, theirs = net(Conv2d), net(nn.Conv2d)
    theirs.load_state_dict(ours.state_dict())
    def loss(out): F.cross_entropy(out, y).backward()
    taken = rounds({'ours': there_and_back(ours, x, loss), 'PyTorch': there_and_back(theirs, x, loss)}, 2*CNN_ROUNDS)
    small = SmallCNN(generator=new_generator(0))
    reference = rebuilt_with(small, ConvLayer, AdaptiveConcatPool2d)
    trained = rounds({'ours': there_and_back(small, x, loss), 'PyTorch': there_and_back(reference, x, loss)}, CNN_ROUNDS)
    found = [record('four convolutions', 'ratio', ratio(taken, 'ours', 'PyTorch'), batch=bs)]
    found += [record('SmallCNN', 'ratio', ratio(trained, 'ours', 'PyTorch'), batch=bs)]
    by_round = [p/q for p,q in zip(taken['ours'], taken['PyTorch'], strict=True)]
    found += [record('four convolutions', 'ratio of a round', value, batch=bs, round=i) for i,value in enumerate(by_round)]
    a = x
    for i in range(0, len(ours)-2, 2):
        a = a.detach().requires_grad_(i>0)
        found += layer_times(f'{CHANNELS[i//2]}→{CHANNELS[i//2+1]}', ours[i], theirs[i], a)
        a = ours[i+1](ours[i](a))
    return found


def main()->None:
    warnings.filterwarnings('ignore', message='Sparse CSR')
    torch.set_num_threads(1)
    cases, found = {'one image': (1, 1, 1), '64 images': (64, 1, 1), '64 images, 8 → 16 channels': (64, 8, 16)}, []
    for case,numbers in cases.items():
        for size in tqdm(SIZES[:None if numbers[-1]==1 else -1], desc=case): found += ways(case, size, *numbers)
    for bs in tqdm(BATCHES, desc='nets'): found += cnn(bs)
    for r in found: r['value'] = float(f'{r["value"]:.4g}')  # four digits are plenty
    save('convolution', found, ('torch', 'numpy'), threads=1, channels=list(CHANNELS))


if __name__ == '__main__': main()
