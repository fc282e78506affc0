"""Is there a bear in the corner? Average, maximum or both after a 7 × 7 grid, on pictures full of digits in which the 3 is the bear

A picture has 56 × 56 pixels and is full of digits of MNIST: sixteen of 14 pixels, four of 28 or one of 56, all rolled together by up to 7 pixels
down and across. Half of the pictures hold the stated number of threes, the others none. Seed s means: pictures drawn with seed s, weights
initialized with seed s, order of rows from seed s; the three pools get the same pictures. Trained with 8 threes of sixteen ("many"), with 1, 2, 4
or 8 ("mixed") or with 1 ("one"), each net is tested on 1,000 pictures with 1, 2, 4, 8 and 16; the larger digits with one three only. Number of
pictures, epochs and rate were chosen after a few runs with seed 0. `python benchmarks/pooling.py` takes nine minutes.
"""
import torch
from common import record, save
from torch import nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from lesson8lib.data import Digits, load_mnist
from lesson8lib.pooling import AdaptiveConcatPool2d, bear_net, bear_pictures
from lesson8lib.training import accuracy, evaluate, fit, new_generator

SEEDS, N, N_TEST, EPOCHS, LR, WD, BS = range(5), 6000, 1000, 4, 1e-2, .01, 64
NUMBERS, REGIMES = [1, 2, 4, 8, 16], {'many': [8], 'mixed': [1, 2, 4, 8], 'one': [1]}
POOLS = {'average': nn.AdaptiveAvgPool2d, 'maximum': nn.AdaptiveMaxPool2d, 'concat': AdaptiveConcatPool2d}


def training_pictures(digits:Digits, numbers:list[int], pixels:int, generator:torch.Generator)->tuple[torch.Tensor, torch.Tensor]:
    "As many of each number of bears"
    parts = [bear_pictures(digits, N//len(numbers), k, pixels, generator) for k in numbers]
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def main()->None:
    torch.set_num_threads(1)
    digits, test_digits, found = load_mnist(), load_mnist('test'), []
    plan = [(name, 14, numbers, NUMBERS) for name,numbers in REGIMES.items()] + [('one', pixels, [1], [1]) for pixels in (28, 56)]
    for seed in tqdm(SEEDS, desc='seeds'):
        for trained,pixels,numbers,tested in plan:
            generator = new_generator(seed)
            train = training_pictures(digits, numbers, pixels, generator)
            tests = {k: bear_pictures(test_digits, N_TEST, k, pixels, generator) for k in tested}
            for name,pool in POOLS.items():
                model = bear_net(pool(1), seed)
                fit(model, train, loss=cross_entropy, epochs=EPOCHS, lr=LR, wd=WD, bs=BS, seed=seed, progress=False)
                for k,test in tests.items():
                    score = evaluate(model, test, cross_entropy, [accuracy], bs=500)['accuracy']
                    found.append(record(name, 'accuracy', round(score, 4), seed, trained=trained, pixels=pixels, bears=k))
    save('pooling', found, ('torch', 'numpy'), threads=1, pictures=N, tested=N_TEST, epochs=EPOCHS, lr=LR)


if __name__ == '__main__': main()
