"""Is there a bear in the corner? Average, maximum or both after a 7 × 7 grid, on pictures full of digits in which the 3 is the bear

A picture has 56 × 56 pixels and is full of digits of MNIST: sixteen of 14 pixels, four of 28 or one of 56, all rolled together by up to 7 pixels
down and across. Half of the pictures hold the stated number of threes, the others none. Seed s means: pictures drawn with seed s, weights
initialized with seed s, order of rows from seed s; the three pools get the same pictures. Trained with 8 threes of sixteen ("many"), with 1, 2, 4
or 8 ("mixed") or with 1 ("one"), each net is tested on 1,000 pictures with 1, 2, 4, 8 and 16; the larger digits with one three only. Number of
pictures, epochs and rate were chosen after a few runs with seed 0. `python benchmarks/pooling.py` takes nine minutes.
"""
import torch
from common import save
from torch import nn
from torch.nn.functional import avg_pool2d, cross_entropy
from tqdm import tqdm

from lesson8lib.data import Digits, load_mnist
from lesson8lib.pooling import AdaptiveConcatPool2d
from lesson8lib.training import evaluate, fit, new_generator

SEEDS, N, N_TEST, EPOCHS, LR, WD, BS = range(5), 6000, 1000, 4, 1e-2, .01, 64
BEAR, NUMBERS, REGIMES = 3, [1, 2, 4, 8, 16], {'many': [8], 'mixed': [1, 2, 4, 8], 'one': [1]}
POOLS = {'average': nn.AdaptiveAvgPool2d, 'maximum': nn.AdaptiveMaxPool2d, 'concat': AdaptiveConcatPool2d}


def accuracy(pred, y): return (pred.argmax(1)==y).float().mean()


def pictures(digits:Digits, n:int, bears:int, pixels:int, generator:torch.Generator)->tuple[torch.Tensor, torch.Tensor]:
    "Pictures, (n, 1, 56, 56), and whether there is a bear, (n)"
    side = 56//pixels
    y = torch.arange(n)%2
    def some(rows): return rows[torch.randint(len(rows), (n, side**2), generator=generator)]
    is_bear = digits.labels==BEAR
    others, threes = some((~is_bear).nonzero()[:,0]), some(is_bear.nonzero()[:,0])
    places = torch.rand(n, side**2, generator=generator).argsort(1)<bears
    tiles = digits.images[torch.where(places & (y[:,None]==1), threes, others)]      # (n, side², 28, 28)
    tiles = avg_pool2d(tiles, 2) if pixels==14 else tiles.repeat_interleave(pixels//28, 2).repeat_interleave(pixels//28, 3)
    x = tiles.view(n, side, side, pixels, pixels).transpose(2, 3).reshape(n, 1, 56, 56)
    shifts = torch.randint(8, (n, 2), generator=generator).tolist()
    return torch.stack([image.roll(shift, (1, 2)) for image,shift in zip(x, shifts, strict=True)]), y


def net(pool:str, seed:int)->nn.Sequential:
    "Four convolutions to a 7 × 7 grid, the pool, a linear layer"
    torch.manual_seed(seed)
    def conv(i, o, stride=2): return [nn.Conv2d(i, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU()]
    return nn.Sequential(*conv(1, 8), *conv(8, 16), *conv(16, 32, 1), *conv(32, 32), POOLS[pool](1), nn.Flatten(), nn.Linear(64 if pool=='concat' else 32, 2))


def training_pictures(digits:Digits, numbers:list[int], pixels:int, generator:torch.Generator)->tuple[torch.Tensor, torch.Tensor]:
    "As many of each number of bears"
    parts = [pictures(digits, N//len(numbers), k, pixels, generator) for k in numbers]
    return tuple(torch.cat(column) for column in zip(*parts, strict=True))


def main()->None:
    torch.set_num_threads(1)
    digits, test_digits, found = load_mnist(), load_mnist('test'), {}
    plan = [(name, 14, numbers, NUMBERS) for name,numbers in REGIMES.items()] + [(f'one of {pixels} pixels', pixels, [1], [1]) for pixels in (28, 56)]
    for seed in tqdm(SEEDS, desc='seeds'):
        for name,pixels,numbers,tested in plan:
            generator = new_generator(seed)
            train = training_pictures(digits, numbers, pixels, generator)
            tests = {k: pictures(test_digits, N_TEST, k, pixels, generator) for k in tested}
            for pool in POOLS:
                model = net(pool, seed)
                fit(model, train, loss=cross_entropy, epochs=EPOCHS, lr=LR, wd=WD, bs=BS, seed=seed, progress=False)
                for k,test in tests.items():
                    score = evaluate(model, test, cross_entropy, [accuracy], bs=500)['accuracy']
                    found.setdefault(name, {}).setdefault(pool, {}).setdefault(f'{k}', []).append(round(score, 4))
    save('pooling', {'seeds': list(SEEDS), 'threads': 1, 'pictures': N, 'tested': N_TEST, 'epochs': EPOCHS, 'lr': LR, 'accuracy': found}, ('torch', 'numpy'))


if __name__ == '__main__': main()
