"""Does it matter which activation function? Accuracy on MNIST's test digits, for each function, three learning rates and five seeds

Seed s means: 20,000 of the 60,000 digits drawn with seed s, weights initialized with seed s (as PyTorch's linear layers), order of rows from seed s.
Two hidden layers of 100 and 50 units, three epochs, no weight decay; `linear` has no hidden layer. The main learning rate, 5e-3, is `fit`'s own;
the two others are a fifth and four times that. `python benchmarks/activations.py` takes about five minutes on one thread.
"""
import torch
from common import record, save
from tqdm import tqdm

from lesson8lib import activations as act
from lesson8lib.data import load_mnist
from lesson8lib.training import new_generator

SEEDS, SIZES, RATES = range(5), (784, 100, 50, 10), (1e-3, 5e-3, 2e-2)
FUNCTIONS = {'linear': None, 'identity': lambda x: x, 'relu': act.relu, 'leaky_relu': act.leaky_relu, 'sigmoid': act.sigmoid, 'tanh': act.tanh,
             'softplus': act.softplus, 'gelu': act.gelu, 'silu': act.silu, 'mish': act.mish}


def main()->None:
    torch.set_num_threads(1)
    digits, test, found = load_mnist(), load_mnist('test'), []
    plan = [(lr, name, seed) for lr in RATES for name in FUNCTIONS for seed in SEEDS]
    for lr,name,seed in tqdm(plan, desc='fits'):
        model = act.MLP(FUNCTIONS[name], SIZES if FUNCTIONS[name] else (SIZES[0], SIZES[-1]), new_generator(seed))
        score = act.fit_on_digits(model, digits, test, seed, lr)
        found.append(record(name, 'accuracy', round(score, 4), seed, lr=lr))
    save('activations', found, ('torch', 'numpy'), threads=1, digits=20_000, sizes=list(SIZES), epochs=3)


if __name__ == '__main__': main()
