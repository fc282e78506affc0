"""MNIST: SmallCNN on all 60,000 digits; and on 20,000 beside the same network of PyTorch's and fastai's layers, and one with max pooling

Seed s means: weights initialized with seed s, order of rows and dropout from seed s. Judged on the 10,000 digits of the test part. Sizes, rate,
decay and epochs of SmallCNN were chosen on 10,000 training digits held back, drawn with seed 0: `python benchmarks/mnist.py --tune` does that
again; the networks it compares are GRID. The others take SmallCNN's settings. One thread, and seconds of the processor, so that other programs on
the machine do not count as such (they do slow each other down). `python benchmarks/mnist.py` takes eight minutes.
"""
import sys
import time

import torch
from common import record, save
from fastai.layers import AdaptiveConcatPool2d, ConvLayer
from torch import nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from lesson8lib.cnn import SmallCNN, fit_cnn, max_pool_cnn, rebuilt_with
from lesson8lib.data import Digits, load_mnist
from lesson8lib.training import accuracy, evaluate, new_generator

SEEDS = range(5)
GRID = {'8 16 32 64': (8, 16, 32, 64), '16 32 64': (16, 32, 64), '24 48 96': (24, 48, 96), '16 32 64 128': (16, 32, 64, 128)}


def small(seed:int, **options)->SmallCNN: return SmallCNN(generator=new_generator(seed), **options)


def run(model:nn.Module, train:Digits, valid:Digits, seed:int, epochs:int=4, **options)->tuple[float, float]: # accuracy, seconds of training
    start = time.process_time()
    fit_cnn(model, train, seed, epochs, loss=cross_entropy, progress=False, **options)
    seconds = time.process_time()-start
    score = evaluate(model, (valid.images[:,None], valid.labels), cross_entropy, [accuracy])['accuracy']
    return round(score, 4), round(seconds, 2)


def tune(train:Digits)->list[dict]:
    order = torch.randperm(60_000, generator=new_generator(0))
    first, last = (Digits(*(t[rows] for t in train)) for rows in (order[:50_000], order[50_000:]))
    settings = {'as it is': {}, '5 epochs': {'epochs': 5}, 'decay .1': {'wd': .1}, 'rate .02': {'lr': 2e-2}}
    found = [record('SmallCNN', 'accuracy', run(small(0, channels=sizes), first, last, 0)[0], channels=name) for name,sizes in tqdm(GRID.items(), desc='sizes')]
    return found + [record('SmallCNN', 'accuracy', run(small(0), first, last, 0, **s)[0], change=name) for name,s in tqdm(settings.items(), desc='settings')]


def main()->None:
    torch.set_num_threads(1)
    train, test = load_mnist(), load_mnist('test')
    if '--tune' in sys.argv[1:]: return save('mnist_tuning', tune(train), ('torch', 'fastai'), threads=1)
    few, found = Digits(*(t[:20_000] for t in train)), []
    def others(seed): return rebuilt_with(small(seed), ConvLayer, AdaptiveConcatPool2d)
    plan = [('SmallCNN', small, train, 4), ('SmallCNN', small, few, 3), ('PyTorch and fastai', others, few, 3),
            ('max pooling, dense', lambda seed: max_pool_cnn(10, new_generator(seed)), few, 3)]
    for name,make,digits,epochs in tqdm(plan, desc='models'):
        for seed in SEEDS:
            setting = {'digits': len(digits.labels), 'epochs': epochs}
            for metric,value in zip(('accuracy', 'seconds'), run(make(seed), digits, test, seed, epochs), strict=True):
                found.append(record(name, metric, value, seed, **setting))
    save('mnist', found, ('torch', 'fastai'), threads=1)


if __name__ == '__main__': main()
