"""Saccade frames and ODG events against their definitions, pixel by pixel."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from snnkern import encode

RIGHT, DOWN = (0, 2, 1, 0, 2, 1, 1, 2, 1), (0, 1, 2, 1, 0, 2, 1, 1, 2)
# Of the code that made ES-ImageNet: rows, columns.
REPO = (1, 0, 2, 1, 0, 2, 1, 1, 2), (0, 2, 1, 0, 1, 2, 0, 1, 1)
THRESHOLD = 0.18


def views_in_the_originals_terms(image, stride):
    """image [C, H, W]: the trace is twice the shift, view[ay/2 : H - ay/2] = image[ay:]."""
    views = torch.zeros(9, *image.shape)
    height, width = image.shape[1:]
    for view, x, y in zip(views, RIGHT, DOWN, strict=True):
        ax, ay = 2 * stride * x, 2 * stride * y
        view[:, ay // 2 : height - ay // 2, ax // 2 : width - ax // 2] = image[:, ay:, ax:]
    return views


@pytest.mark.parametrize('signed', [False, True])
@pytest.mark.parametrize('stride', [1, 2, 5])
@pytest.mark.parametrize('channels', [1, 3])
def test_saccade(channels, stride, signed):
    """Of images with negative values, too: the original's are normalised."""
    images = torch.randn(2, channels, 23, 30)
    found = encode.saccade(images, stride, signed)
    assert found.shape == (8, 2, 2 * channels, 23, 30)
    for b, image in enumerate(images):
        change = views_in_the_originals_terms(image, stride).diff(dim=0)
        assert torch.equal(found[:, b, :channels], change.clamp(min=0))
        falling = change.clamp(max=0)
        assert torch.equal(found[:, b, channels:], falling if signed else falling.abs())


def test_saccade_by_pixel():
    """View 2 is shifted by one down and two right in the paper's trace: it shows what lies there, 0 at the borders."""
    image = torch.arange(64.0).view(1, 1, 8, 8) + 1
    change = encode.saccade(image, signed_negative=True)
    total = (change[:, :, :1] + change[:, :, 1:]).cumsum(0)[0, 0, 0] + image[0, 0]
    expected = torch.zeros(8, 8)
    expected[1:7, 2:6] = image[0, 0, 2:8, 4:8]
    assert torch.equal(total, expected)


def test_saccade_gradient():
    images = torch.randn(1, 2, 6, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(encode.saccade, images)


def events_by_definition(image, rows, columns, threshold):
    """image [C, H, W]; the whole canvas [8, 2, H + 4, W + 4], a pixel at a time."""
    value = image.max(0).values
    height, width = value.shape
    events = torch.zeros(8, 2, height + 4, width + 4)

    def at(t, r, c):
        y, x = r - rows[t], c - columns[t]
        return value[y, x].item() if 0 <= y < height and 0 <= x < width else 0.0

    for t in range(1, 9):
        for r in range(height + 4):
            for c in range(width + 4):
                row_seen = (rows[t] <= r < rows[t] + height) == (rows[t - 1] <= r < rows[t - 1] + height)
                seen = (columns[t] <= c < columns[t] + width) == (columns[t - 1] <= c < columns[t - 1] + width)
                if not (row_seen and seen):
                    continue
                change = torch.tensor(at(t, r, c)) - torch.tensor(at(t - 1, r, c))
                events[t - 1, 0, r, c] = change > threshold
                events[t - 1, 1, r, c] = change < -threshold
    return events


@pytest.mark.parametrize('trace', ['paper', 'repo'])
@pytest.mark.parametrize('channels', [1, 3])
def test_odg(trace, channels):
    rows, columns = (DOWN, RIGHT) if trace == 'paper' else REPO
    images = torch.rand(2, channels, 6, 9)
    found = encode.odg(images, trace=trace)
    assert found.shape == (8, 2, 2, 6, 9)
    for b, image in enumerate(images):
        canvas = events_by_definition(image, rows, columns, THRESHOLD)
        assert torch.equal(found[:, b], canvas[..., 1:7, 1:10])
    assert 0.1 < found.mean() < 0.6


def test_borders_are_no_edges():
    """A bright plain image: every border moves, nothing is an event."""
    assert encode.odg(torch.full((1, 3, 12, 10), 0.9)).sum() == 0
    assert encode.odg(torch.full((1, 3, 120, 100), 0.9), resize=254, crop=224).sum() == 0


def test_an_edge_moves():
    """One vertical edge: events only where the trace moves sideways, of the polarity of the move."""
    image = torch.zeros(1, 1, 10, 12)
    image[..., 6:] = 1
    found = encode.odg(image)
    moves = torch.tensor(REPO[1]).diff()
    middle = found[:, 0, :, 5].sum(-1)
    assert torch.equal(middle[:, 1], moves.clamp(min=0).float())
    assert torch.equal(middle[:, 0], moves.neg().clamp(min=0).float())


def generated(image):
    """[C, H, W] -> [8, 2, 224, 224] by the steps of traconvert.py and the loader, events as lists of places."""
    height, width = image.shape[1:]
    if height > width:
        size = 254, int(width * 254 / height)
    else:
        size = int(height * 254 / width), 254
    value = F.interpolate(image[None], size, mode='nearest')[0].max(0).values
    out = torch.zeros(8, 2, 256, 256)
    last = torch.zeros(size[0] + 4, size[1] + 4)
    for t in range(9):
        x, y = REPO[0][t], REPO[1][t]
        new = torch.zeros_like(last)
        new[x : x + size[0], y : y + size[1]] = value
        for polarity, events in enumerate((new - last > THRESHOLD, new - last < -THRESHOLD)):
            if t == 0:
                continue
            x0, y0 = REPO[0][t - 1], REPO[1][t - 1]
            for low, high in ((min(x, x0), max(x, x0)), (min(x, x0) + size[0], max(x, x0) + size[0])):
                events[low:high] = False
            for low, high in ((min(y, y0), max(y, y0)), (min(y, y0) + size[1], max(y, y0) + size[1])):
                events[:, low:high] = False
            places = events.nonzero()
            places = places[((places > 16) & (places < 240)).all(1)]
            places += torch.tensor([(254 - side) // 2 for side in size])
            out[t - 1, polarity, places[:, 0], places[:, 1]] = 1
        last = new
    return out[:, :, 16:240, 16:240]


@pytest.mark.parametrize('size', [(32, 32), (375, 500), (300, 201), (20, 90)])
def test_as_in_es_imagenet(size):
    images = torch.rand(1, 3, *size)
    found = encode.odg(images, resize=254, crop=224)
    expected = generated(images[0])
    assert torch.equal(found[:, 0], expected)
    assert expected.sum() > 1000


def test_resize_without_crop():
    images = torch.rand(1, 3, 30, 40)
    smaller = F.interpolate(images, (15, 20), mode='nearest')
    assert torch.equal(encode.odg(images, resize=20), encode.odg(smaller))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64], ids=str)
def test_dtypes(dtype):
    images = torch.rand(2, 3, 12, 14).to(dtype)
    wide = torch.promote_types(dtype, torch.float32)
    for function in (encode.saccade, encode.odg):
        assert function(images).dtype == dtype
        assert torch.equal(function(images), function(images.to(wide)).to(dtype)) or function is encode.saccade
    assert not encode.odg(images.requires_grad_()).requires_grad


@given(
    size=st.tuples(st.integers(5, 12), st.integers(5, 12)),
    resize=st.none() | st.integers(4, 30),
    crop=st.none() | st.integers(1, 20),
)
def test_any_size(size, resize, crop):
    images = torch.rand(1, 1, *size)
    height, width = size
    if resize:
        height, width = (max(1, int(side * resize / max(size))) for side in size)
    if crop and crop > max(height, width) + 2:
        with pytest.raises(ValueError, match=r'^crop must be at most'):
            encode.odg(images, resize=resize, crop=crop)
    else:
        found = encode.odg(images, resize=resize, crop=crop)
        assert found.shape == (8, 1, 2, *((crop, crop) if crop else (height, width)))
        assert found.unique().tolist() in ([0.0], [1.0], [0.0, 1.0])
        assert not (found[:, :, 0] * found[:, :, 1]).any()
    assert encode.saccade(images).shape == (8, 1, 2, *size)


def test_layouts_and_empty():
    images = torch.rand(2, 3, 11, 12)
    for function in (encode.saccade, encode.odg):
        assert torch.equal(function(images.to(memory_format=torch.channels_last)), function(images))
        assert function(images[:0]).shape[1] == 0


def test_modules_compile():
    torch._dynamo.reset()
    images = torch.rand(1, 3, 11, 12)
    for module in (encode.Saccade(2), encode.ODG(resize=20, crop=16)):
        assert torch.equal(torch.compile(module, fullgraph=True, backend='aot_eager')(images), module(images))


I = torch.rand(1, 3, 9, 9)  # noqa: E741
WRONG = [
    (encode.odg, (I * 255,), ValueError, r'images must lie in \[0, 1\], got values from'),
    (encode.odg, (I * torch.nan,), ValueError, r'images must lie in \[0, 1\], got NaN'),
    (encode.saccade, (I[0],), ValueError, r'images must be \[B, C, H, W\], got shape \(3, 9, 9\)'),
    (encode.saccade, (I.byte(),), TypeError, 'images must be float32, .* got torch.uint8: divide by 255'),
    (encode.saccade, (I, 0), ValueError, 'stride must be >= 1, got 0'),
    (encode.saccade, (I, 3), ValueError, r'images must be larger than 4 \* stride = 12 pixels, got 9 x 9'),
    (encode.odg, ([1.0],), TypeError, 'images must be a tensor, got list'),
    (encode.odg, (I[0],), ValueError, r'images must be \[B, C, H, W\], got shape'),
    (encode.odg, (I.int(),), TypeError, 'images must be float32, .* got torch.int32: divide by 255'),
    (encode.odg, (I[:, :0],), ValueError, 'images must have channels and pixels, got shape'),
    (encode.odg, (I, 0.0), ValueError, r'threshold must be > 0, got 0\.0'),
    (encode.odg, (I, 0.1, 'code'), ValueError, "trace must be one of paper, repo, got 'code'"),
    (encode.odg, (I, 0.1, 'repo', 0), ValueError, 'resize must be >= 1, got 0'),
    (encode.odg, (I, 0.1, 'repo', None, 12), ValueError, r'crop must be at most the longest side \+ 2 = 11, got 12'),
]


@pytest.mark.parametrize(('function', 'arguments', 'error', 'text'), WRONG)
def test_errors(function, arguments, error, text):
    with pytest.raises(error, match=f'^{text}'):
        function(*arguments)
