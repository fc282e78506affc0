"`fit` on a device, on batches of any origin, and in runs that are interrupted and continued"
import copy

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, TensorDataset

from lesson8lib import training
from lesson8lib.checks import test_same as same
from lesson8lib.cnn import SmallCNN
from lesson8lib.collab import DotProduct, DotProductBias
from lesson8lib.collab_nn import CollabNN
from lesson8lib.hybrid import HybridCollab
from lesson8lib.tabular import TabularModel
from lesson8lib.training import evaluate, fit, new_generator


class Reads(TorchDispatchMode):
    "Counts operations whose result Python reads: on a device, each waits for all work before it"
    reading = ('_local_scalar_dense', 'is_nonzero', 'equal', 'nonzero', 'item', '_unique2', 'masked_select')
    def __init__(self):
        super().__init__()
        self.n = 0
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.n += func.overloadpacket.__name__ in self.reading
        return func(*args, **(kwargs or {}))


def ratings(n:int=90):
    g = new_generator(0)
    pairs = torch.stack([torch.randint(1, 9, (n,), generator=g), torch.randint(1, 7, (n,), generator=g)], 1)
    return pairs, torch.rand(n, generator=g)*4 + 1


def table(n:int=90):
    g = new_generator(0)
    return torch.randint(0, 4, (n, 2), generator=g), torch.randn(n, 3, generator=g), torch.rand(n, generator=g)


def digits(n:int=90):
    g = new_generator(0)
    return torch.randn(n, 1, 28, 28, generator=g), torch.randint(0, 10, (n,), generator=g)


MODELS = {
    'DotProduct': (lambda: DotProduct(9, 7, 3), ratings, {}),
    'DotProductBias': (lambda: DotProductBias(9, 7, 3), ratings, {}),
    'CollabNN': (lambda: CollabNN((9, 3), (7, 3), (5,), p=.1), ratings, {}),
    'HybridCollab': (lambda: HybridCollab(9, 7, torch.ones(9, 2), n_factors=3, hide_users=.1), ratings, {}),
    'TabularModel': (lambda: TabularModel([(4, 2), (4, 3)], 3, 1, [5], ps=.1, embed_p=.1), table, {}),
    'SmallCNN': (lambda: SmallCNN(), digits, {'loss': nn.functional.cross_entropy}),
}


def trained(name, **settings):
    make, data, more = MODELS[name]
    torch.manual_seed(0)
    model = make()
    return model, fit(model, settings.pop('train', data()), epochs=3, bs=20, seed=1, **more, **settings)


@pytest.mark.parametrize('name', MODELS)
@pytest.mark.parametrize('device', [True, False])
def test_no_value_is_read_within_an_epoch(name, device, monkeypatch):
    "On the CPU, where reading costs nothing, each loss is read: the count can tell"
    if device: monkeypatch.setattr(training, '_reads_each_loss', lambda at: False)
    between = []
    with Reads() as reads: _, history = trained(name, on_step=lambda state: between.append((state.step, reads.n)))
    steps = -(-len(MODELS[name][1]()[0])//20)
    counts = dict(between)
    assert len(counts)==3*steps+1
    within = [counts[k+1]-counts[k] for k in range(3*steps) if k%steps]  # all but those of an epoch's beginning and end
    assert (sum(within)==0)==device
    if not device: assert sum(within)==len(within)  # the loss, and nothing else


@pytest.mark.parametrize('name', MODELS)
def test_reading_losses_at_the_end_changes_no_number(name, monkeypatch):
    model, history = trained(name)
    monkeypatch.setattr(training, '_reads_each_loss', lambda at: False)
    other, same_history = trained(name)
    assert history.equals(same_history)
    same(dict(model.state_dict()), dict(other.state_dict()), rtol=0, atol=0)


def test_a_device_names_the_step_that_failed_and_undoes_its_epoch(monkeypatch):
    monkeypatch.setattr(training, '_reads_each_loss', lambda at: False)
    torch.manual_seed(0)
    model, saved, calls = nn.Linear(3, 1), {}, []
    def loss(pred, target):
        calls.append(1)
        return (pred-target).square().mean()*(float('nan') if len(calls)==7 else 1)
    def keep(state):
        if state.step==4: saved.update(copy.deepcopy(model.state_dict()))
    with pytest.raises(FloatingPointError, match=r'became nan at a learning rate of [0-9.e-]+, in step 3 of epoch 1 \(whose steps in this run were undone'):
        fit(model, (torch.randn(40, 3), torch.randn(40, 1)), loss=loss, bs=10, epochs=3, seed=0, on_step=keep)
    same(dict(model.state_dict()), saved, rtol=0, atol=0)


@pytest.mark.parametrize('name', MODELS)
@pytest.mark.parametrize('at', [0, 1, 5, 10, 14])
def test_a_run_goes_on_as_if_it_had_never_stopped(name, at):
    whole, history = trained(name)
    saved = []
    def stop(state):
        if state.step==at:
            saved.append(copy.deepcopy(state.state_dict()))
            raise KeyboardInterrupt
    with pytest.warns(UserWarning, match='interrupted'): trained(name, on_step=stop)
    def restore(state):
        if not state.step: state.load_state_dict(saved[0])
    torch.manual_seed(99)
    model, rest = trained(name, on_step=restore) if at else trained(name)
    assert rest.equals(history)
    same(dict(model.state_dict()), dict(whole.state_dict()), rtol=0, atol=0)


def test_batches_of_any_origin():
    "A list, a DataLoader, and a class of one's own, whose random order comes from the global generator"
    x, y = ratings()
    class Mine:
        def __len__(self): return 5
        def __iter__(self):
            for rows in torch.randperm(90).split(18): yield x[rows], y[rows]
    for train in ([(x[:50], y[:50]), (x[50:], y[50:])], DataLoader(TensorDataset(x, y), 18, shuffle=True), Mine()):
        model, history = trained('DotProductBias', train=train)
        assert len(history)==3 and history.train_loss.diff().max()<0
        saved = []
        def save(state, saved=saved):
            if state.step==4: saved.append(copy.deepcopy(state.state_dict()))
        again, _ = trained('DotProductBias', train=train, on_step=save)
        same(dict(again.state_dict()), dict(model.state_dict()), rtol=0, atol=0)
        resumed, rest = trained('DotProductBias', train=train, on_step=lambda state, saved=saved: state.step or state.load_state_dict(saved[0]))
        assert rest.equals(history)
        same(dict(resumed.state_dict()), dict(model.state_dict()), rtol=0, atol=0)


def test_one_row_of_batches_equals_tensors():
    x, y = ratings()
    of_tensors = trained('DotProductBias', shuffle=False)[1]
    of_batches = trained('DotProductBias', train=list(zip(x.split(20), y.split(20), strict=True)))[1]
    assert of_tensors.equals(of_batches)


class Iterable:
    def __init__(self, batches, n): self.batches, self.n = batches, n
    def __len__(self): return self.n
    def __iter__(self): return iter(self.batches)


def pair(user=1): return torch.tensor([[user, 1]]), torch.tensor([3.])

@pytest.mark.parametrize('train,error,words_', [
    (Iterable([pair()], 2), ValueError, '`train` must yield 2 batches, as its length says, got 1'),
    (Iterable([pair()]*3, 2), ValueError, '`train` must yield 2 batches, as its length says, got more'),
    (Iterable([], 0), ValueError, '`train` must hold at least one batch, got none'),
    (Iterable([pair()[0]], 1), TypeError, 'a batch of `train` must be a tuple of tensors'),
    (Iterable([(torch.zeros(2, 2).long(), torch.ones(3))], 1), ValueError, 'a batch of `train` must hold tensors of one length'),
    (Iterable([pair(), pair(9)], 2), IndexError, '`x[:,0] (users)` must lie in 0…8, got 1 outside: 9'),
    ((torch.tensor([[1, 1], [9, 1]]), torch.ones(2)), IndexError, '`x[:,0] (users)` must lie in 0…8, got 1 outside: 9'),
])
def test_what_batches_must_be(train, error, words_):
    import re
    with pytest.raises(error, match=re.escape(words_)): trained('DotProductBias', train=train)


def test_indices_are_checked_again_outside_of_fit():
    model, _ = trained('DotProductBias')
    wrong = torch.tensor([[9, 1]])
    with pytest.raises(IndexError): model(wrong)
    with pytest.raises(IndexError): evaluate(model, (wrong, torch.ones(1)))


def test_another_run_is_not_continued():
    saved = []
    trained('DotProductBias', on_step=lambda state: saved.append(copy.deepcopy(state.state_dict())))
    with pytest.raises(ValueError, match='`saved` must have the settings of this run.*0.005.*got.*0.005'):
        trained('DotProductBias', shuffle=False, on_step=lambda state: state.load_state_dict(saved[5]))
