"The blocks of a small net beside fastai's, the net beside its twin, and photos of digits in the form of MNIST"
import io

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fastai.layers import AdaptiveConcatPool2d, ConvLayer
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw
from torch import nn

from lesson8lib.checks import test_same as same
from lesson8lib.cnn import SmallCNN, as_digit, conv_block
from lesson8lib.data import load_mnist
from lesson8lib.training import new_generator

few = settings(max_examples=100, deadline=None, derandomize=True)
small = st.integers(1, 5)


def gradients(model, x, seed):
    out = model(x)
    (out*torch.randn(out.shape, generator=new_generator(seed), dtype=out.dtype)).sum().backward()
    return out.detach(), [p.grad for p in model.parameters()]


@few
@given(small, small, st.sampled_from([1, 3, 5]), st.integers(1, 3), st.booleans(), st.booleans(), st.integers(2, 4), st.integers(3, 9), st.integers(3, 9), st.integers(0, 999))
def test_a_block_is_fastais(c, o, k, stride, act, training, b, h, w, seed):
    ours = conv_block(c, o, k, stride, act=act, generator=new_generator(seed)).double()
    theirs = ConvLayer(c, o, k, stride=stride, act_cls=nn.ReLU if act else None).double()
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(b, c, h, w, generator=new_generator(seed), dtype=torch.float64)
    for a,t in zip(gradients(ours.train(training), x, seed), gradients(theirs.train(training), x, seed), strict=True): same(a, t, rtol=1e-6, atol=1e-8)
    same(dict(ours.state_dict()), dict(theirs.state_dict()))


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(1, 4), st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(1, 4), st.integers(7, 20), st.integers(7, 20), st.booleans(), st.integers(0, 999))
def test_the_net_is_its_twins(c, channels, n_out, h, w, training, seed):
    ours = SmallCNN(n_out, c, channels, p=.3, generator=new_generator(seed)).double()
    sizes = [c, *channels]
    theirs = nn.Sequential(*[ConvLayer(i, o, 3 if n else 5, stride=2) for n,(i,o) in enumerate(zip(sizes, channels, strict=False))],
                           AdaptiveConcatPool2d(1), nn.Flatten(), nn.Dropout(.3), nn.Linear(2*channels[-1], n_out)).double()
    for t,a in zip(theirs.parameters(), ours.parameters(), strict=True): t.data = a.data.clone()
    x = torch.randn(3, c, h, w, generator=new_generator(seed), dtype=torch.float64)
    def run(model):
        torch.manual_seed(seed)
        return gradients(model.train(training), x, seed) if n_out>1 else gradients(nn.Sequential(model.train(training), nn.Flatten(0)), x, seed)
    for a,t in zip(run(ours), run(theirs), strict=True): same(a, t, rtol=1e-6, atol=1e-8)


def test_one_seed_one_net_and_no_trace():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    a, b, c = (SmallCNN(generator=new_generator(s)).state_dict() for s in (1, 1, 2))
    same(dict(a), dict(b))
    assert not torch.equal(a['head.2.weight'], c['head.2.weight']) and torch.equal(torch.get_rng_state(), state)


def test_the_axis_of_channels_may_be_left_out():
    model, x = SmallCNN().eval(), torch.rand(3, 28, 28)
    same(model(x), model(x[:,None]))
    assert SmallCNN(1)(x).shape==(3,) and SmallCNN(2, 3)(torch.rand(4, 3, 9, 11)).shape==(4, 2)


@pytest.fixture(scope='module')
def digits(): return load_mnist('test').images[:20]


def close(a, b, atol=.02): same(a, b, rtol=0, atol=atol)


def test_a_digit_of_mnist_stays_what_it_is(digits):
    for x in digits:
        same(as_digit(x, noise=0), x/x.max(), rtol=0, atol=1e-4)
        close(as_digit(x), x, .25)  # faint gray is taken for paper


def test_light_place_and_the_sign_of_the_ink_do_not_matter(digits):
    for x in digits[:8]:
        want = as_digit(x)
        close(as_digit(1-x), want, 1e-4)
        close(as_digit(.3+.4*x), want, 1e-4)
        close(as_digit(-7*x), want, 1e-4)
        close(as_digit(F.pad(x, (13, 2, 0, 31))), want, 1e-4)
        close(as_digit((x*255).byte()), want, 1e-4)


def test_ink_fills_twenty_pixels_and_is_centered(digits):
    for x in digits:
        big = F.interpolate(x[None,None], scale_factor=7.3, mode='bilinear')[0,0]
        out = as_digit(big)
        rows, cols = (out.sum(axis).nonzero()[:,0] for axis in (1, 0))
        assert max(rows[-1]-rows[0], cols[-1]-cols[0])+1 in (19, 20)
        for axis in (0, 1): assert abs((out.sum(1-axis)*torch.arange(28)).sum()/out.sum()-14)<=.51


def test_tall_and_wide_keep_their_shape():
    bar = torch.zeros(60, 90)
    bar[10:50,40:44] = 1
    out = as_digit(bar)
    assert (out.sum(1)>0).sum()==20 and (out.sum(0)>0).sum()==2
    close(as_digit(bar.T), out.T, 1e-4)


def test_files_pictures_and_arrays(digits, tmp_path):
    gray = ((1-digits[3])*255).byte().numpy()
    want = as_digit(gray)
    color = np.stack([gray]*3, 2)
    for name in ('a.png', 'a.bmp'): Image.fromarray(color).save(tmp_path/name)
    ink_only = Image.fromarray(np.dstack([np.zeros((28, 28, 3), 'uint8'), 255-gray]), 'RGBA')  # ink on nothing
    for image in (tmp_path/'a.png', str(tmp_path/'a.bmp'), Image.fromarray(gray), color, torch.from_numpy(color), ink_only, gray.tolist()): close(as_digit(image), want, .02)


@pytest.fixture(scope='module')
def seven():
    "Gray on white, neither square nor symmetric"
    picture = Image.new('L', (40, 60), 255)
    ImageDraw.Draw(picture).line([(10, 12), (30, 12), (18, 48)], fill=80, width=4)
    return picture


def in_mode(picture, mode):
    gray = np.array(picture)
    if mode.startswith('I;16'): return Image.frombytes(mode, picture.size, (gray.astype('>u2' if mode=='I;16B' else '<u2')*257).tobytes())
    if mode=='I': return Image.fromarray(gray.astype('int32')*1000)
    if mode=='F': return Image.fromarray(gray.astype('float32')/255)
    if mode=='1': return picture.convert('1', dither=Image.Dither.NONE)
    if mode=='LAB': return Image.merge('LAB', [picture, *[Image.new('L', picture.size, 128)]*2])
    first = {'La': 'LA', 'RGBa': 'RGBA', 'PA': 'P', 'HSV': 'RGB'}.get(mode)
    return (picture.convert(first) if first else picture).convert(mode)


@pytest.mark.parametrize('mode', ['1', 'L', 'P', 'RGB', 'RGBA', 'CMYK', 'YCbCr', 'LAB', 'HSV', 'I', 'F', 'LA', 'PA', 'RGBX', 'RGBa', 'La', 'I;16', 'I;16L', 'I;16B'])
def test_pictures_of_every_mode_are_read(seven, mode):
    picture = in_mode(seven, mode)
    assert picture.mode==mode
    close(as_digit(picture), as_digit(np.array(seven)), .05)


def test_ink_on_nothing_lies_on_white_paper(seven, tmp_path):
    "Transparent pictures, whose hidden color is black: with a channel for it, with a palette, in a file"
    ink = np.array(seven)<255
    rgba = Image.fromarray(np.dstack([np.zeros((*ink.shape, 3), 'uint8'), ink.astype('uint8')*255]))
    rgba.quantize(4).save(tmp_path/'palette.png')
    seven.save(tmp_path/'gray.png', transparency=255)
    for image in (rgba, rgba.convert('LA'), rgba.quantize(4), rgba.quantize(4).convert('PA'), tmp_path/'palette.png', tmp_path/'gray.png', np.array(rgba)/255):
        close(as_digit(image), as_digit(ink), .05)


@pytest.mark.parametrize('turn', range(1, 9))
def test_a_photo_is_turned_as_its_camera_was_held(seven, tmp_path, turn):
    back = {2: 'FLIP_LEFT_RIGHT', 3: 'ROTATE_180', 4: 'FLIP_TOP_BOTTOM', 5: 'TRANSPOSE', 6: 'ROTATE_90', 7: 'TRANSVERSE', 8: 'ROTATE_270'}
    exif = Image.Exif()
    exif[0x0112] = turn
    stored = seven.transpose(Image.Transpose[back[turn]]) if turn>1 else seven
    for i,picture in enumerate((stored, Image.fromarray(np.array(stored).astype('uint16')*257))):
        file = tmp_path/f'{i}.png'
        picture.save(file, exif=exif)
        for image in (file, Image.open(file)): close(as_digit(image), as_digit(seven), 1e-4)


def test_an_open_file_is_read_and_stays_open(seven, tmp_path):
    seven.save(tmp_path/'seven.png')
    with open(tmp_path/'seven.png', 'rb') as file:
        close(as_digit(file), as_digit(seven), 1e-4)
        content = io.BytesIO((tmp_path/'seven.png').read_bytes())
        close(as_digit(content), as_digit(seven), 1e-4)
        assert not file.closed and not content.closed


@pytest.mark.parametrize('change', [
    lambda a: a[::-1][::-1], lambda a: np.flipud(a.copy()[::-1]), lambda a: a.repeat(2, 1)[:,::2], np.asfortranarray, lambda a: a.astype('>u2'), lambda a: a.astype('>f8'), lambda a: (a/255).astype('float16'),
    lambda a: a.astype('float32')/255, lambda a: a.astype('uint16')*257, lambda a: a.astype('uint32')*2**24, lambda a: a.astype('uint64')*2**50, lambda a: a.astype('int64')-1000,
    lambda a: (a.astype('int16')-128).astype('int8'), np.ma.array, lambda a: a.tolist(), torch.tensor, lambda a: torch.tensor(a).bfloat16(), lambda a: torch.tensor(a).to(torch.uint16),
    lambda a: torch.tensor(a).float().requires_grad_(), lambda a: np.stack([a]*3, 2)[::-1][::-1], lambda a: np.stack([a]*3, 2)/255, lambda a: np.stack([a]*3, 2).astype('>u2')*257,
    lambda a: np.stack([a]*3, 2).astype('int64'), lambda a: torch.tensor(a)[:,:,None].expand(-1, -1, 3), lambda a: np.dstack([a, a, a, np.full_like(a, 255)]),
])
def test_arrays_of_every_kind_are_read(seven, change): close(as_digit(change(np.array(seven))), as_digit(seven), .05)


def test_a_mask_of_ink_is_read(seven):
    ink = np.array(seven)<255
    for image in (ink, torch.tensor(ink), ink.astype(int)): close(as_digit(image), as_digit(ink.astype('float64')), 1e-6)


@pytest.mark.parametrize('image,error,said', [
    (None, TypeError, '`image` must be a file, a picture or an array of numbers, got NoneType'),
    (5, TypeError, '`image` must be a file, a picture or an array of numbers, got int'),
    (b'seven', TypeError, '`image` must be a file, a picture or an array of numbers, got bytes'),
    ([['a', 'b']]*3, TypeError, '`image` must hold numbers, got <U1'),
    ([[None]*4]*4, TypeError, '`image` must hold numbers, got object'),
    ([[1, 2], [3]], ValueError, '`image` must have rows of one length, got several'),
    (np.eye(9)*1j, TypeError, '`image` must hold numbers, got complex128'),
    (torch.eye(9)*1j, TypeError, '`image` must hold numbers, got complex64'),
    (np.zeros((9, 9), 'M8[s]'), TypeError, '`image` must hold numbers, got datetime64[s]'),
    (np.full((9, 9, 3), -1), ValueError, '`image` must hold colors from 0 to 1, to 255 or to 65535, got others'),
    (io.BytesIO(b'no image'), ValueError, '`image` must be a file that holds an image'),
    ('seven', FileNotFoundError, '`image` must be a file that exists, got seven'),
    (torch.ones(9, 9), ValueError, '`image` must show a digit, got one color all over'),
    (torch.zeros(9, 9), ValueError, '`image` must show a digit, got one color all over'),
    (torch.full((9, 9), torch.nan), ValueError, '`image` must hold finite numbers, got 81'),
    (torch.ones(3, 9, 9), ValueError, '`image` must have axes (h, w), or (h, w, 3) for colors, got shape (3, 9, 9)'),
    (torch.ones(2, 9), ValueError, '`image` must be at least 3 pixels high and wide, got (2, 9)'),
    ('nowhere.png', FileNotFoundError, 'nowhere.png'),
    (__file__, ValueError, '`image` must be a file that holds an image'),
])
def test_what_is_no_digit_is_refused(words, image, error, said):
    with pytest.raises(error) as e: as_digit(image)
    assert said in str(e.value)


@pytest.mark.parametrize('call,error,said', [
    (lambda: conv_block(1, 1, 2), ValueError, '`kernel_size` must be odd, got 2'),
    (lambda: SmallCNN(channels=[]), ValueError, '`channels` must have a number for each block, got none'),
    (lambda: SmallCNN(0), ValueError, '`n_out` must be an integer of at least 1, got 0'),
    (lambda: SmallCNN(p=1.5), ValueError, '`p` must be a finite number in [0, 1], got 1.5'),
    (lambda: SmallCNN(in_channels=3)(torch.zeros(2, 28, 28)), ValueError, '`x` must have axes (b, 3, h, w), got shape (2, 28, 28)'),
    (lambda: as_digit(torch.eye(5), noise=1), ValueError, '`noise` must be less than 1, got 1'),
])
def test_what_cannot_be_is_refused(words, call, error, said):
    with pytest.raises(error) as e: call()
    assert said in str(e.value)
