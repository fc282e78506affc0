"""What does not keep the rules of CONTRIBUTING.md yet

The lists only shrink: a test fails where an entry has become needless. One entry a line, so that two branches can each remove one.
"""

# pages that are to be rebuilt (`index`: its text only): the check leaves out their length, lines and words
PAGES = {
    'checks',
    'data',
    'show',
    'training',
    'parameters',
    'embedding',
    'collab',
    'interpret',
    'collab_nn',
    'text',
    'tabular',
    'entity',
    'convolution',
    'conv_matmul',
    'pooling',
    'dropout',
    'activations',
    'cnn',
    'recommender',
    'index',
}

# private names of a module that another file of ours reads
PRIVATE = {
    'benchmarks/cold_start.py: collab_nn._rate',
    'benchmarks/entity.py: collab_nn._linear',
    'benchmarks/entity.py: entity._batch',
    'benchmarks/mnist.py: collab_nn._linear',
    'lesson8lib/activations.py: convolution._autocast',
    'lesson8lib/activations.py: dropout._float',
    'lesson8lib/cnn.py: collab_nn._linear',
    'lesson8lib/collab_nn.py: collab._rows',
    'lesson8lib/conv_matmul.py: convolution._check_filled',
    'lesson8lib/conv_matmul.py: convolution._check_groups',
    'lesson8lib/conv_matmul.py: convolution._pad_by_name',
    'lesson8lib/conv_matmul.py: convolution._pair',
    'lesson8lib/pooling.py: convolution._check_images',
    'lesson8lib/pooling.py: convolution._grid',
    'lesson8lib/pooling.py: convolution._pair',
    'lesson8lib/pooling.py: convolution._pairs',
    'lesson8lib/tabular.py: collab_nn._check_dropout',
    'lesson8lib/tabular.py: collab_nn._linear',
    'lesson8lib/tabular.py: training._device',
    'nbs/27_entity.ipynb: collab_nn._linear',
}

# what the type checker finds in tests/user_script.py
TYPES = set()
