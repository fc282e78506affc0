"""MNIST: SmallCNN on all 60,000 digits; and on 20,000 beside the same net of PyTorch's and fastai's layers, and the old way with max pooling

Seed s means: weights initialized with seed s, order of rows and dropout from seed s. Judged on the 10,000 digits of the test part. Sizes, rate,
decay and epochs of SmallCNN were chosen on 10,000 training digits held back, drawn with seed 0: `python benchmarks/mnist.py --tune` does that
again; the nets it compares are GRID. The others take SmallCNN's settings. One thread, and seconds of the processor, so that other programs on
the machine do not count as such (they do slow each other down). `python benchmarks/mnist.py` takes eight minutes.
"""
import sys
import time

import torch
from common import save
from fastai.layers import AdaptiveConcatPool2d, ConvLayer
from torch import nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from lesson8lib.cnn import SmallCNN
from lesson8lib.convolution import Conv2d
from lesson8lib.data import load_mnist
from lesson8lib.training import evaluate, fit, new_generator, new_linear

SEEDS = range(5)
RECIPE = {'loss': cross_entropy, 'epochs': 4, 'lr': 1e-2, 'wd': .3, 'bs': 128, 'progress': False}
GRID = {'8 16 32 64': (8, 16, 32, 64), '16 32 64': (16, 32, 64), '24 48 96': (24, 48, 96), '16 32 64 128': (16, 32, 64, 128)}


def accuracy(pred, y): return (pred.argmax(1)==y).float().mean()


def twin(seed:int):
    "SmallCNN's wiring of other people's layers, from the same first weights"
    sizes = (1, 16, 5), (16, 32, 3), (32, 64, 3), (64, 128, 3)
    net = nn.Sequential(*[ConvLayer(i, o, k, stride=2) for i,o,k in sizes], AdaptiveConcatPool2d(1), nn.Flatten(), nn.Dropout(.2), nn.Linear(256, 10))
    for theirs,ours in zip(net.parameters(), SmallCNN(generator=new_generator(seed)).parameters(), strict=True): theirs.data = ours.data.clone()
    return net


def old_way(seed:int):
    g = new_generator(seed)
    return nn.Sequential(Conv2d(1, 8, 3, generator=g), nn.ReLU(), Conv2d(8, 8, 3, generator=g), nn.ReLU(),
                         nn.MaxPool2d(2), nn.Flatten(), new_linear(8*12*12, 10, True, g))


def run(model, train, valid, seed:int, **options)->tuple[float, float]: # accuracy, the processor's seconds of training
    start = time.process_time()
    fit(model, train, seed=seed, **RECIPE | options)
    seconds = time.process_time()-start
    return round(evaluate(model, valid, cross_entropy, [accuracy])['accuracy'], 4), round(seconds, 2)


def tune(train)->dict:
    order = torch.randperm(60_000, generator=new_generator(0))
    first, last = [t[order[:50_000]] for t in train], [t[order[50_000:]] for t in train]
    settings = {'as it is': {}, '5 epochs': {'epochs': 5}, 'decay .1': {'wd': .1}, 'rate .02': {'lr': 2e-2}}
    found = {name: run(SmallCNN(channels=sizes, generator=new_generator(0)), first, last, 0)[0] for name,sizes in tqdm(GRID.items(), desc='sizes')}
    return found | {name: run(SmallCNN(generator=new_generator(0)), first, last, 0, **s)[0] for name,s in tqdm(settings.items(), desc='settings')}


def main()->None:
    torch.set_num_threads(1)
    train, test = ((d.images[:,None], d.labels) for d in (load_mnist(), load_mnist('test')))
    if '--tune' in sys.argv[1:]: return save('mnist_tuning', {'threads': 1, 'seed': 0, 'accuracy': tune(train)}, ('torch', 'fastai'))
    few = [t[:20_000] for t in train]
    def small(seed): return SmallCNN(generator=new_generator(seed))
    makers = {'SmallCNN, all digits': (small, train, {}), 'SmallCNN': (small, few, {'epochs': 3}),
              'its twin of PyTorch and fastai': (twin, few, {'epochs': 3}), 'the old way': (old_way, few, {'epochs': 3})}
    found = {name: {'accuracy': [], 'seconds': []} for name in makers}
    for seed in tqdm(SEEDS, desc='seeds'):
        for name,(maker,digits,options) in makers.items():
            for what,value in zip(('accuracy', 'seconds'), run(maker(seed), digits, test, seed, **options), strict=True): found[name][what].append(value)
    save('mnist', {'seeds': list(SEEDS), 'threads': 1, 'runs': found}, ('torch', 'fastai'))


if __name__ == '__main__': main()
