"What `fit` does to the process around it: Ctrl-C, the progress bar, random numbers, modes"
import contextlib
import copy
import inspect
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch
from conftest import ROOT
from torch import nn

from lesson8lib import training
from lesson8lib.checks import test_same as same
from lesson8lib.training import evaluate, fit, lr_find, progress_range

SCRIPT = '''
import signal, torch
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job starts with it ignored
from lesson8lib.training import fit
torch.manual_seed(0)
model, x = torch.nn.Linear(3, 1), torch.randn(1000, 3)
before = model.weight.detach().clone()
print('started', flush=True)
history = fit(model, (x, x.sum(1, keepdim=True)), epochs=EPOCHS, seed=0)
print(len(history), bool((model.weight!=before).all()), model.training, flush=True)
'''


def run(epochs:int, **env)->subprocess.Popen:
    env = {k: v for k,v in os.environ.items() if k not in ('IN_TEST', 'TQDM_DISABLE')} | env
    return subprocess.Popen([sys.executable, '-W', 'always', '-c', SCRIPT.replace('EPOCHS', str(epochs))], cwd=ROOT, env=env, encoding='utf-8',
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


@pytest.mark.skipif(os.name=='nt', reason='Windows has no SIGINT to send')
def test_ctrl_c_keeps_what_was_learned():
    process = run(10**6)
    assert process.stdout.readline()=='started\n'
    seen = ''
    while 'train_loss=' not in seen and process.poll() is None: seen += process.stderr.read(1)  # the bar says when an epoch is over
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    try: out, err = process.communicate(timeout=60)
    finally: process.kill()
    epochs, learned, training = out.split()
    assert process.returncode==0 and int(epochs)>1 and (learned, training)==('True', 'True')
    assert f'interrupted after {epochs} of 1000000 epochs' in err


@pytest.mark.parametrize('env,shown', [({}, True), ({'TQDM_DISABLE': '1'}, False), ({'IN_TEST': '1'}, False)])
def test_a_progress_bar_shows_batches_and_losses_in_a_terminal(env, shown):
    out, err = run(2, **env).communicate(timeout=60)
    assert out.split()==['started', '2', 'True', 'True']
    assert ('32/32' in err and 'train_loss=' in err)==shown


def model_and_data():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.Dropout(.5), nn.Linear(4, 1)), (torch.randn(50, 3), torch.randn(50, 1))


@pytest.mark.parametrize('call', [fit, lr_find])
def test_global_random_numbers_and_modes_are_left_alone(call):
    model, data = model_and_data()
    model.eval()
    model[1].train()
    modes, state = [m.training for m in model.modules()], torch.get_rng_state()
    call(model, data, seed=3)
    assert [m.training for m in model.modules()]==modes
    same(torch.get_rng_state(), state)


def test_dropout_is_reproduced_by_the_seed_and_off_in_evaluation():
    results = []
    for seed in (3, 3, 4):
        model, data = model_and_data()
        fit(model, data, epochs=1, seed=seed)
        results.append(model[0].weight.detach())
    same(results[0], results[1], rtol=0, atol=0)
    assert not torch.equal(results[0], results[2])
    assert evaluate(model, data)==evaluate(model, data)


@pytest.mark.parametrize('steps', [6, 7, 20, 30])
def test_lr_find_suggests_one_of_its_rates_however_short_it_is(steps):
    for seed in range(20):
        model, data = model_and_data()
        found = lr_find(model, data, steps=steps, seed=seed, bs=5)
        assert found.attrs['suggested'] in found.lr.tolist()


def test_lr_find_refuses_nan_and_survives_an_explosion():
    model, data = model_and_data()
    with pytest.raises(FloatingPointError): lr_find(model, (data[0], data[1]*float('nan')))
    calls = []
    def explode(pred, target):
        calls.append(1)
        return (pred-target).square().mean() if len(calls)<40 else pred.sum()*float('inf')
    assert 0 < len(lr_find(model, data, explode)) < 40


def test_a_metric_has_the_name_of_its_function_or_class():
    def half(pred, target): return .5
    model, data = model_and_data()
    assert fit(model, data, data, epochs=1, metrics=[half, nn.L1Loss()]).columns.tolist()==['train_loss', 'valid_loss', 'half', 'L1Loss']


def test_without_a_seed_the_global_one_counts():
    weights = []
    for _ in range(2):
        model, data = model_and_data()
        torch.manual_seed(5)
        fit(model, data, epochs=1)
        weights.append(model[0].weight.detach())
    same(*weights, rtol=0, atol=0)


def test_lr_find_restores_the_model_even_when_it_is_interrupted():
    model, data = model_and_data()
    before = [p.detach().clone() for p in model.parameters()]
    calls = []
    def loss(pred, target):
        calls.append(1)
        if len(calls)==5: raise KeyboardInterrupt
        return (pred-target).square().mean()
    with pytest.raises(KeyboardInterrupt): lr_find(model, data, loss)
    for p,q in zip(model.parameters(), before, strict=True): same(p.detach(), q, rtol=0, atol=0)


def test_frozen_and_shared_parameters():
    "A frozen parameter stays; one that two layers share is moved once a step"
    model, data = model_and_data()
    model[0].weight.requires_grad_(False)
    frozen = model[0].weight.detach().clone()
    fit(model, data, epochs=1)
    same(model[0].weight.detach(), frozen)
    shared = nn.Sequential(a := nn.Linear(3, 3), nn.Tanh(), a)
    fit(shared, (data[0], data[0]), epochs=1)


@pytest.mark.parametrize('wrong,error,words_', [
    ({'epochs': 1.5}, TypeError, '`epochs` must be an integer of at least 1, got 1.5'),
    ({'bs': 0}, ValueError, '`bs` must be an integer of at least 1, got 0'),
    ({'lr': -1}, ValueError, '`lr` must be a finite number greater than 0, got -1'),
    ({'wd': float('nan')}, ValueError, '`wd` must be a finite number of at least 0, got nan'),
    ({'train': torch.zeros(3)}, TypeError, '`train` must be a tuple of tensors'),
    ({'train': (torch.zeros(0, 3), torch.zeros(0, 1))}, ValueError, '`train` must hold tensors of one length, at least 1'),
    ({'valid': (torch.zeros(3, 3), torch.zeros(2, 1))}, ValueError, '`valid` must hold tensors of one length'),
    ({'train': ([1.], [2.])}, TypeError, r'`train` must be a tuple of tensors (inputs, …, target), got (list, list)'),
    ({'metrics': [nn.L1Loss()]}, ValueError, '`valid` must be given where there are `metrics`'),
    ({'metrics': [nn.L1Loss(), nn.L1Loss()]}, ValueError, '`metrics` must have different names'),
    ({'model': nn.ReLU()}, ValueError, '`model` must have parameters that require gradients, got none'),
])
def test_refusals_name_the_argument(words, wrong, error, words_):
    model, data = model_and_data()
    with pytest.raises(error, match=re.escape(words_)): fit(**{'model': model, 'train': data} | wrong)


def test_the_defaults_are_the_lessons_recipe():
    defaults = {k: p.default for k,p in inspect.signature(fit).parameters.items()}
    assert {k: defaults[k] for k in ('epochs', 'lr', 'wd', 'bs', 'shuffle')}=={'epochs': 5, 'lr': 5e-3, 'wd': .1, 'bs': 64, 'shuffle': True}
    assert defaults['loss'] is nn.functional.mse_loss


@pytest.mark.parametrize('n,bs', [(12, 4), (13, 4), (3, 5)])
def test_the_cycle_begins_at_0_and_ends_one_step_before_1(monkeypatch, n, bs):
    done = []
    cycle = training.one_cycle
    monkeypatch.setattr(training, 'one_cycle', lambda share, lr: done.append(share) or cycle(share, lr))
    fit(nn.Linear(2, 1), (torch.zeros(n, 2), torch.zeros(n, 1)), epochs=3, bs=bs)
    steps = 3*-(-n//bs)
    assert done==[i/steps for i in range(steps)]


def test_every_row_counts_alike_in_the_losses():
    "Also where the last batch is a small one"
    model = nn.Linear(1, 1)
    nn.init.zeros_(model.weight), nn.init.zeros_(model.bias)
    y = torch.tensor([0., 0, 0, 0, 10])[:,None]
    history = fit(model, (torch.zeros(5, 1), y), (torch.zeros(5, 1), y), epochs=1, lr=1e-12, bs=4, shuffle=False)
    assert history.train_loss.item()==pytest.approx(20) and history.valid_loss.item()==pytest.approx(20)


def test_biases_of_layers_and_normalization_do_not_decay():
    model = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.LayerNorm(3), nn.Embedding(4, 3))
    decayed, free = training._param_groups(model, .1)
    assert [p.shape for p in decayed['params']]==[(3, 2), (4, 3)] and (decayed['weight_decay'], free['weight_decay'])==(.1, 0)
    assert len(free['params'])==5


def test_lr_find_is_fastais():
    "The same rates and the same smoothed losses on the same rows"
    import copy
    import fastai.callback.schedule  # noqa: F401
    from fastai.data.core import DataLoaders
    from fastai.learner import Learner
    from fastai.torch_core import default_device
    default_device(False)  # the CPU, even beside a GPU
    from torch.utils.data import DataLoader, TensorDataset
    torch.manual_seed(0)
    model, x, y = nn.Linear(3, 1), torch.randn(40, 3), torch.randn(40, 1)
    loader = DataLoader(TensorDataset(x, y), batch_size=40)
    learn = Learner(DataLoaders(loader, loader), copy.deepcopy(model), loss_func=nn.functional.mse_loss, wd=.1)
    with learn.no_bar(), learn.no_logging(): learn.lr_find(show_plot=False, suggest_funcs=())
    ours = lr_find(model, (x, y), bs=40, wd=.1, seed=0)
    n = len(ours)
    same(torch.tensor(ours.lr.tolist()), torch.tensor(learn.recorder.lrs[10:10+n]), rtol=1e-5, atol=0)
    same(torch.tensor(ours.loss.tolist()), torch.stack(learn.recorder.losses[10:10+n]), rtol=1e-3, atol=1e-4)


def test_a_parameter_tied_by_assignment_is_moved_once_a_step():
    a, b = nn.Linear(3, 3), nn.Linear(3, 3)
    b.weight = a.weight
    groups = training._param_groups(nn.Sequential(a, b), .1)
    assert [len(g['params']) for g in groups]==[1, 2]


def test_whole_numbers_of_another_shape_are_refused_too(words):
    with pytest.raises(ValueError, match='must predict the shape'): fit(nn.Linear(2, 1), (torch.zeros(4, 2), torch.arange(4)))


def test_a_model_without_parameters_is_evaluated_too():
    x = torch.tensor([1., 2., 3.])
    assert evaluate(nn.Identity(), (x, x+1))=={'loss': 1.}


def test_one_seed_gives_one_order_and_no_seed_another():
    order = lambda seed: [b.tolist() for b, in training.batches((torch.arange(20),), 3, generator=training.new_generator(seed))]
    assert order(1)==order(1)!=order(2)
    torch.manual_seed(0)
    assert order(None)!=order(None)
    torch.manual_seed(0)  # the global state decides nothing once there is a generator
    first = order(1)
    torch.manual_seed(1)
    assert order(1)==first


def test_lr_find_decays_weights():
    "At a high rate a large decay pulls the weights to zero, and so changes the losses"
    curves = []
    for wd in (0., 5.):
        model, data = model_and_data()
        curves.append(lr_find(model.eval(), data, wd=wd, seed=0).loss)
    n = min(map(len, curves))
    assert (curves[0][:n]-curves[1][:n]).abs().max()>1e-3


def test_lr_find_ends_once_the_smoothed_loss_has_grown_fourfold():
    losses, calls = [1.]*30 + [1e3]*100, []
    def loss(pred, target):
        calls.append(1)
        return pred.sum()*0 + losses[len(calls)-1]
    model, data = model_and_data()
    lr_find(model, data, loss)
    average = lambda k: sum(.98**(k-i)*.02*losses[i-1] for i in range(1, k+1))/(1-.98**k)
    assert len(calls)==next(k for k in range(1, 131) if average(k)>4)==31


@pytest.mark.parametrize('device', ['cuda', 'mps'])
def test_only_the_models_own_device_is_seeded(monkeypatch, device):
    "`torch.manual_seed` would seed every GPU, and nobody would put those back"
    seeded = []
    monkeypatch.setattr(torch, 'manual_seed', lambda seed: seeded.append('all'))
    monkeypatch.setattr(torch.cuda, 'manual_seed', lambda seed: seeded.append(('cuda', seed)))
    monkeypatch.setattr(torch.cuda, 'device', contextlib.nullcontext)
    monkeypatch.setattr(torch.mps, 'manual_seed', lambda seed: seeded.append(('mps', seed)))
    state = torch.get_rng_state()
    training._seed_device(7, torch.device(device))
    assert seeded==[(device, 7)] and torch.default_generator.initial_seed()==7
    training._seed_device(7, torch.device('cpu'))
    assert len(seeded)==1
    torch.set_rng_state(state)


@pytest.mark.parametrize('device', [pytest.param(d, marks=pytest.mark.skipif(not there, reason=f'no {d} here')) for d,there in
                                    (('cuda', torch.cuda.is_available()), ('mps', torch.backends.mps.is_available()))])
def test_data_go_where_the_model_is(device):
    model, data = model_and_data()
    on_cpu = fit(copy.deepcopy(model).eval(), data, data, epochs=2, seed=0)
    state = torch.get_device_module(device).get_rng_state()
    found = fit(model.to(device).eval(), data, data, epochs=2, seed=0)
    assert found.valid_loss.tolist()==pytest.approx(on_cpu.valid_loss.tolist(), rel=.2)  # dropout draws other numbers there
    same(torch.get_device_module(device).get_rng_state(), state)


@pytest.mark.parametrize('progress', [True, False])
def test_a_range_under_a_bar_is_a_range(progress): assert list(progress_range(3, progress, 'part'))==[0, 1, 2]


def test_jupyter_without_widgets_is_not_warned(monkeypatch):
    "tqdm's own warning, that it falls back to a bar of text, would stand above every training"
    script = '''
import sys, types, warnings
warnings.simplefilter('error')
ipython = types.ModuleType('IPython'); ipython.get_ipython = lambda: types.SimpleNamespace(config={'IPKernelApp': 1})
sys.modules |= {'IPython': ipython, 'ipywidgets': None}
from lesson8lib.training import progress_bar
print(type(progress_bar(3, True)).__module__)
'''
    env = {k: v for k,v in os.environ.items() if k not in ('IN_TEST', 'TQDM_DISABLE')}
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, encoding='utf-8', cwd=ROOT, env=env)
    assert done.returncode==0, done.stderr
    assert 'tqdm' in done.stdout
