"""The weights of `trained_cnn`: SmallCNN after four epochs on all 60,000 digits, seed 0, as in mnist.py, packed in half precision

Writes lesson8lib/static/small_cnn.txt, and how the packed network compares with the one that was trained, on the 10,000 test digits. One minute.
"""
from pathlib import Path

import torch
from common import record, save

from lesson8lib.cnn import SmallCNN, fit_cnn, pack_weights, trained_cnn
from lesson8lib.data import load_mnist
from lesson8lib.training import new_generator

FILE = Path(__file__).parents[1]/'lesson8lib'/'static'/'small_cnn.txt'


def main()->None:
    torch.set_num_threads(1)
    test, full = load_mnist('test'), SmallCNN(generator=new_generator(0))
    fit_cnn(full, load_mnist(), seed=0, epochs=4, progress=False)
    FILE.write_text(pack_weights(full), encoding='utf-8')
    with torch.no_grad(): chances, packed = (model.eval()(test.images).softmax(1) for model in (full, trained_cnn()))
    right = {name: (p.argmax(1)==test.labels).float().mean().item() for name,p in (('full precision', chances), ('half precision', packed))}
    found = [record(name, 'accuracy', round(value, 4)) for name,value in right.items()]
    found += [record('half precision', 'same digit', (chances.argmax(1)==packed.argmax(1)).float().mean().item()),
              record('half precision', 'largest difference', round((chances-packed).abs().max().item(), 5))]
    save('trained_cnn', found, ('torch',), threads=1)


if __name__ == '__main__': main()
