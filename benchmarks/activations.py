"""Does it matter which activation function? Accuracy on MNIST's test digits, for each function, three learning rates and five seeds

Seed s means: 20,000 of the 60,000 digits drawn with seed s, weights initialized with seed s (PyTorch's usual way for a linear layer), order of
rows from seed s. Two hidden layers of 100 and 50, three epochs, no weight decay; `linear` has no hidden layer. The main learning rate, 5e-3, is
`fit`'s own; the two others are a fifth and four times that. `python benchmarks/activations.py` takes about five minutes on one thread.
"""
import torch
from common import save
from torch import nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from lesson8lib import activations as act
from lesson8lib.data import load_mnist
from lesson8lib.training import evaluate, fit, new_generator

SEEDS, N, SIZES, EPOCHS, LR, RATES = range(5), 20_000, (784, 100, 50, 10), 3, 5e-3, (1e-3, 5e-3, 2e-2)
FUNCTIONS = {'linear': None, 'identity': lambda x: x, 'relu': act.relu, 'leaky relu': act.leaky_relu, 'sigmoid': act.sigmoid, 'tanh': act.tanh,
             'softplus': act.softplus, 'gelu': act.gelu, 'silu': act.silu, 'mish': act.mish}


def accuracy(pred, y): return (pred.argmax(1)==y).float().mean()


class MLP(nn.Module):
    "Linear layers with a function between them"
    def __init__(self, activation, sizes:tuple[int, ...], seed:int):
        super().__init__()
        torch.manual_seed(seed)
        self.layers, self.activation = nn.ModuleList([nn.Linear(a, b) for a,b in zip(sizes, sizes[1:], strict=False)]), activation

    def forward(self, x):
        for layer in self.layers[:-1]: x = self.activation(layer(x))
        return self.layers[-1](x)


def main()->None:
    torch.set_num_threads(1)
    digits, test = load_mnist(), load_mnist('test')
    valid, found = (test.images.flatten(1), test.labels), {}
    plan = [(lr, name, seed) for lr in RATES for name in FUNCTIONS for seed in SEEDS]
    for lr,name,seed in tqdm(plan, desc='fits'):
        rows = torch.randperm(len(digits.labels), generator=new_generator(seed))[:N]
        model = MLP(FUNCTIONS[name], SIZES if FUNCTIONS[name] else (SIZES[0], SIZES[-1]), seed)
        fit(model, (digits.images[rows].flatten(1), digits.labels[rows]), None, cross_entropy, epochs=EPOCHS, lr=lr, wd=0., seed=seed, progress=False)
        score = evaluate(model, valid, cross_entropy, [accuracy])['accuracy']
        found.setdefault(f'{lr:g}', {}).setdefault(name, []).append(round(score, 4))
    save('activations', {'seeds': list(SEEDS), 'threads': 1, 'digits': N, 'sizes': list(SIZES), 'epochs': EPOCHS, 'lr': LR, 'accuracy': found},
         ('torch', 'numpy'))


if __name__ == '__main__': main()
