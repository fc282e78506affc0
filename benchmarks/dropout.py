"""A wide net on a few digits of MNIST: losses and accuracy over p, over weight decay, and over the number of digits

Seed s means: digits drawn with seed s from the 60,000 (the first for training, the last 5,000 for validation), weights initialized with seed s,
order of rows and dropout from seed s. Each fit takes the same number of steps, about 480 batches of 64: 30 epochs of 1,000 digits. The rate
5e-3 was chosen after a few runs with seeds 0 and 1. `python benchmarks/dropout.py` takes five minutes.
"""
import torch
from common import save
from torch import nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from lesson8lib.data import Digits, load_mnist
from lesson8lib.dropout import Dropout
from lesson8lib.training import evaluate, fit, new_generator

SEEDS, N, WIDTH, STEPS, BS, LR = range(5), 1000, 512, 480, 64, 5e-3
PS, WDS, SIZES = [i/10 for i in range(10)], [0., .3, 1., 3., 10.], [100, 300, 1000, 3000, 10_000]


def accuracy(pred, y): return (pred.argmax(1)==y).float().mean()


def wide_net(p:float, seed:int)->nn.Sequential:
    "Two hidden layers of 512, each with dropout after its ReLU"
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(784, WIDTH), nn.ReLU(), Dropout(p), nn.Linear(WIDTH, WIDTH), nn.ReLU(), Dropout(p), nn.Linear(WIDTH, 10))


def measure(digits:Digits, seed:int, p:float=0., wd:float=0., n:int=N)->dict[str, float]:
    "Loss on the training digits while dropping (the last epoch's mean) and with all units, loss and accuracy on the validation digits"
    order = torch.randperm(len(digits.labels), generator=new_generator(seed))
    train, valid = ((digits.images[rows].flatten(1), digits.labels[rows]) for rows in (order[:n], order[-5000:]))
    model = wide_net(p, seed)
    history = fit(model, train, None, cross_entropy, epochs=max(1, round(STEPS/-(-n//BS))), lr=LR, wd=wd, bs=BS, seed=seed, progress=False)
    on_valid = evaluate(model, valid, cross_entropy, [accuracy])
    return {'train_dropping': history.train_loss.iloc[-1], 'train': evaluate(model, train, cross_entropy)['loss'],
            'valid': on_valid['loss'], 'accuracy': on_valid['accuracy']}


def main()->None:
    torch.set_num_threads(1)
    digits = load_mnist()
    plan = {('over_p', f'{p}'): {'p': p} for p in PS} | {('over_wd', f'{wd:g}'): {'wd': wd} for wd in WDS if wd}
    plan |= {('both', 'p .5, wd 3'): {'p': .5, 'wd': 3.}}
    plan |= {(f'over_n, p {p}', f'{n}'): {'p': p, 'n': n} for n in SIZES if n!=N for p in (0., .5)}
    found = {}
    for (what,value),options in tqdm(plan.items(), desc='settings'):
        for seed in SEEDS:
            for name,number in measure(digits, seed, **options).items():
                found.setdefault(what, {}).setdefault(value, {}).setdefault(name, []).append(round(float(number), 4))
    found['over_wd'] = {'0': found['over_p']['0.0']} | found['over_wd']
    for p in (0., .5):
        sizes = found[f'over_n, p {p}'] | {f'{N}': found['over_p'][f'{p}']}
        found[f'over_n, p {p}'] = {f'{n}': sizes[f'{n}'] for n in SIZES}
    save('dropout', {'seeds': list(SEEDS), 'threads': 1, 'digits': N, 'width': WIDTH, 'steps': STEPS, 'bs': BS, 'lr': LR, **found}, ('torch', 'numpy'))


if __name__ == '__main__': main()
