"""A wide net on a few digits of MNIST: losses and accuracy over p, over weight decay, and over the number of digits

Seed s means: digits drawn with seed s from the 60,000 (the first for training, the last 5,000 for validation), weights initialized with seed s,
order of rows and dropout from seed s. Each fit takes the same number of steps, about 480 batches of 64: 30 epochs of 1,000 digits. The rate
5e-3 was chosen after a few runs with seeds 0 and 1. `python benchmarks/dropout.py` takes five minutes.
"""
import torch
from common import record, save
from tqdm import tqdm

from lesson8lib.data import load_mnist
from lesson8lib.dropout import dropout_mlp, fit_few_digits

SEEDS, N = range(5), 1000
PS, WDS, SIZES = [i/10 for i in range(10)], [.3, 1., 3., 10.], [100, 300, 3000, 10_000]


def main()->None:
    torch.set_num_threads(1)
    digits = load_mnist()
    plan = [(p, 0., N) for p in PS] + [(0., wd, N) for wd in WDS] + [(.5, 3., N)] + [(p, 0., n) for p in (0., .5) for n in SIZES]
    found = []
    for p,wd,n in tqdm(plan, desc='settings'):
        for seed in SEEDS:
            scores = fit_few_digits(digits, dropout_mlp(p, seed), seed, wd, n)
            found += [record('dropout_mlp', metric, round(float(value), 4), seed, p=p, wd=wd, n=n) for metric,value in scores.items()]
    save('dropout', found, ('torch', 'numpy'), threads=1, steps=480, bs=64, lr=5e-3)


if __name__ == '__main__': main()
