"Saved files: what comes back, what is refused, and what is left when saving fails"
import io
import json
import os
import resource
import stat
import subprocess
import sys

import numpy as np
import pytest
import torch

from lesson8lib.checks import test_same as same
from lesson8lib.files import load_tensors, pack_names, save_tensors, unpack_names

TENSORS = {'a': torch.arange(6).view(2, 3), 'b': torch.tensor(2.5, dtype=torch.float64), 'c': torch.empty(0, 4), 'd': torch.tensor([True, False]),
           'e': torch.randn(3, 2, generator=torch.Generator().manual_seed(0)).T, 'f': torch.ones(2, dtype=torch.bfloat16)}


@pytest.fixture
def path(tmp_path): return save_tensors(tmp_path/'x', TENSORS, {'lr': .1, 'names': ['é']}, 'model', number=3)


def test_what_was_saved_comes_back(path):
    about, tensors = load_tensors(path, 'model', newest=3)
    assert about=={'lr': .1, 'names': ['é'], 'format': 3} and set(tensors)==set(TENSORS)
    for name,t in TENSORS.items(): same(tensors[name], t)


def test_500_random_damages_are_refused(path, tmp_path):
    "One to eight bytes changed, cut off, inserted or swapped"
    rng, whole = np.random.default_rng(0), path.read_bytes()
    for _ in range(500):
        at, n, kind = rng.integers(len(whole)), rng.integers(1, 9), rng.integers(4)
        new = rng.integers(0, 256, n, dtype=np.uint8).tobytes()
        damaged = {0: whole[:at]+new+whole[at+n:], 1: whole[:at], 2: whole[:at]+new+whole[at:], 3: whole[at:]+whole[:at]}[int(kind)]
        if damaged==whole: continue
        (tmp_path/'y').write_bytes(damaged)
        with pytest.raises(ValueError, match='`path` must be a saved model'): load_tensors(tmp_path/'y', 'model', newest=3)


@pytest.mark.parametrize('claim', [
    {'a': {'dtype': 'F32', 'shape': [10**9], 'data_offsets': [0, 4*10**9]}},
    {'a': {'dtype': 'F32', 'shape': [2**40, 2**40], 'data_offsets': [0, 0]}},
    {'a': {'dtype': 'F32', 'shape': [10**9], 'data_offsets': [0, 8]}},
])
def test_a_claim_of_gigabytes_is_refused_before_memory_is_allocated(tmp_path, claim):
    header = json.dumps(claim).encode().ljust(504)
    (tmp_path/'x').write_bytes(len(header).to_bytes(8, 'little')+header+b'\0'*8)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ValueError, match='cannot be read'): load_tensors(tmp_path/'x', 'model')
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss-before<20_000


def test_a_header_of_claimed_size_is_refused(tmp_path):
    (tmp_path/'x').write_bytes((2**62).to_bytes(8, 'little')+b'{}')
    with pytest.raises(ValueError, match='cannot be read'): load_tensors(tmp_path/'x', 'model')


@pytest.mark.parametrize('kind, newest, words', [('dictionary', 3, 'a file of something else'), ('model', 2, 'of format 3, which a newer lesson8lib wrote')])
def test_other_kinds_and_formats_are_refused(path, kind, newest, words):
    with pytest.raises(ValueError, match=words): load_tensors(path, kind, newest)
    with pytest.raises(FileNotFoundError, match='which is not a file'): load_tensors(path.parent, 'model')


def test_an_open_file_will_do():
    file = save_tensors(io.BytesIO(), TENSORS, {}, 'model')
    file.seek(0)
    assert load_tensors(file, 'model')[0]=={'format': 1}


SAVES = '''
import sys, torch
from lesson8lib.files import save_tensors
tensors = {'a': torch.full((2_000_000,), 2.)}
print('go', flush=True)
while True: save_tensors(sys.argv[1], tensors, {}, 'model')
'''

@pytest.mark.skipif(os.name=='nt', reason='signals of POSIX')
def test_a_process_killed_while_saving_leaves_a_whole_file(tmp_path):
    path = save_tensors(tmp_path/'x', {'a': torch.ones(2)}, {}, 'model')
    for delay in (.0, .003, .01, .02, .05):
        run = subprocess.Popen([sys.executable, '-c', SAVES, str(path)], stdout=subprocess.PIPE)
        run.stdout.readline()
        try: run.wait(delay)
        except subprocess.TimeoutExpired: run.kill()
        run.wait()
        assert set(load_tensors(path, 'model')[1]['a'].unique().tolist())<={1., 2.}


@pytest.mark.skipif(os.name=='nt', reason='permissions and links of POSIX')
def test_permissions_links_and_the_old_file_stay(tmp_path, monkeypatch):
    real, link = tmp_path/'real', tmp_path/'link'
    real.touch(), real.chmod(0o664), link.symlink_to('real')
    save_tensors(link, TENSORS, {}, 'model')
    before = real.read_bytes()
    assert stat.S_IMODE(real.stat().st_mode)==0o664 and link.is_symlink() and len(before)>100

    def full(*_): raise OSError('no space left')
    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(ValueError, match='`path` could not be written, .*link: no space left'): save_tensors(link, {}, {}, 'model')
    assert real.read_bytes()==before and {p.name for p in tmp_path.iterdir()}=={'real', 'link'}


@pytest.mark.parametrize('names', [['a'], ['', 'é', '电影', '\ud800'], [1, 2], [-2**63, 2**63-1], [2**63, -1], ['7', '8']])
def test_names_survive(names):
    packed = pack_names(names)
    assert unpack_names(packed)==names and all(isinstance(t, torch.Tensor) for t in packed.values())


@pytest.mark.parametrize('call, error, text', [
    (lambda path: pack_names(['a', 1]), TypeError, '`names` must be all str or all int, got int, str'),
    (lambda path: pack_names([1, 2.]), TypeError, '`names` must be all str or all int, got float, int'),
    (lambda path: pack_names([True]), TypeError, 'got bool'),
    (lambda path: save_tensors(path, TENSORS, {'when': {1}}, 'model'), TypeError, '`about` must hold what JSON can hold, got {'),
    (lambda path: load_tensors(save_tensors(path, TENSORS, [1], 'model'), 'model'), ValueError, 'whose settings cannot be read'),
])
def test_what_cannot_be_saved_or_is_no_settings_is_refused(call, error, text, tmp_path, words):
    with pytest.raises(error) as e: call(tmp_path/'x')
    assert text in str(e.value)
