"""The lateral pool against its step-by-step definition in float64."""

import pytest
import torch
from cases import pairwise
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.nn import functional as F

from snnkern.functional import lateral_pool2d
from snnkern.testing import assert_grads_close

DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
GEOMETRY = pairwise(
    (1, 2, 3, (2, 3)),  # kernel
    (None, 1, 2, (1, 3)),  # stride
    (0, 1, (1, 0)),  # padding
    (1, 2, (2, 1)),  # dilation
    (False, True),  # ceil_mode
    DTYPES,
    (1.0, 0.5, 0.7),  # scale
)


def fits(kernel, padding):
    pairs = [(v, v) if isinstance(v, int) else v for v in (kernel, padding)]
    return all(2 * p <= k for k, p in zip(*pairs, strict=True))


def spikes(*shape, most=1, least=0, scale=1.0, dtype=torch.float32):
    return (torch.randint(least, most + 1, shape) * scale).to(dtype)


def lateral_inhibition(counts):
    """Kernel 2, stride 2: S += x; out = maxpool(S); S -= upsample(out), in whole numbers."""
    state, outputs = torch.zeros_like(counts[0]), []
    for x in counts:
        state = state + x
        out = F.max_pool2d(state, 2)
        state = state - F.interpolate(out, scale_factor=2)
        outputs.append(out)
    return torch.stack(outputs)


def by_definition(counts, *window):
    """Step by step: the busiest input of each window so far, minus what was emitted so far."""
    total, emitted, outputs = torch.zeros_like(counts[0]), 0.0, []
    for x in counts:
        total = total + x
        top = F.max_pool2d(total, *window)
        outputs.append(top - emitted)
        emitted = top
    return torch.stack(outputs)


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('backend', [None, 'reference'])
@pytest.mark.parametrize(('most', 'least'), [(1, 0), (4, 0), (3, -2)])
@pytest.mark.parametrize('size', [(8, 8), (2, 10), (32, 6)])
def test_two_by_two(dtype, backend, most, least, size):
    """Spikes, bursts and signed ones."""
    counts = spikes(20, 2, 3, *size, most=most, least=least).double()
    found = lateral_pool2d(counts.to(dtype), 2, backend=backend)
    assert found.dtype == dtype
    assert torch.equal(found.double(), lateral_inhibition(counts))


@pytest.mark.parametrize('row', [row for row in GEOMETRY if fits(row[0], row[2])], ids=str)
@pytest.mark.parametrize('backend', [None, 'reference'])
def test_geometry(row, backend, isa):
    *window, dtype, scale = row
    counts = spikes(7, 2, 3, 9, 10, most=3, least=-1)
    x = (counts * scale).to(dtype)
    found = lateral_pool2d(x, *window, scale=scale, backend=backend)
    expected = by_definition(counts.double(), *window)
    wide = torch.float64 if dtype == torch.float64 else torch.float32
    assert torch.equal(found, (expected.to(wide) * scale).to(dtype))


@given(
    T=st.integers(1, 5),
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    ceil_mode=st.booleans(),
    seed=st.integers(0, 99),
)
def test_any_geometry(T, size, kernel, stride, padding, dilation, ceil_mode, seed):
    assume(fits(kernel, padding))
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(-1, 3, (T, 2, *size), generator=g).float()
    window = (kernel, stride, padding, dilation, ceil_mode)
    try:
        expected = by_definition(x.double(), *window)
    except RuntimeError:
        with pytest.raises(ValueError, match='must fit into'):
            lateral_pool2d(x, *window)
    else:
        assert torch.equal(lateral_pool2d(x, *window).double(), expected)


@pytest.mark.parametrize('scale', [0.1, 0.7, 1 / 3, 2.37])
@pytest.mark.parametrize('backend', [None, 'reference'])
def test_real_units_stay_exact(scale, backend, isa):
    """After 64 steps every output is still a multiple of theta, and their counts are the true ones."""
    counts = spikes(64, 1, 4, 12, 12, most=5, least=-1)
    found = lateral_pool2d(counts * scale, 2, scale=scale, backend=backend)
    whole = lateral_inhibition(counts.double()).float()
    assert torch.equal(found, whole * scale)


def test_busiest_input_decides():
    """One input fires at every step, the others never: the pool passes it on."""
    x = torch.zeros(5, 1, 1, 4, 4)
    x[:, 0, 0, 1, 2] = 1
    out = lateral_pool2d(x, 2)
    assert out[:, 0, 0, 0, 1].eq(1).all()
    assert out.sum() == 5


@pytest.mark.parametrize('leading', [(), (2,), (2, 3), (2, 3, 4)])
def test_leading_dimensions(leading):
    x = spikes(5, *leading, 3, 6, 6)
    flat = x.reshape(5, -1, 6, 6)
    assert torch.equal(lateral_pool2d(x, 2).flatten(1), lateral_pool2d(flat, 2).flatten(1))


def test_layouts():
    x = spikes(4, 2, 3, 8, 8, most=2)
    expected = lateral_pool2d(x, 3, 2, 1)
    last = x.flatten(0, 1).to(memory_format=torch.channels_last).unflatten(0, (4, 2))
    for y in (last, x.transpose(3, 4).contiguous().transpose(3, 4), torch.stack([x, x], -1)[..., 0]):
        assert torch.equal(lateral_pool2d(y, 3, 2, 1), expected)
    still = x[:1].expand(4, *x.shape[1:])
    assert torch.equal(lateral_pool2d(still, 2), lateral_pool2d(still.contiguous(), 2))


def test_threads_change_nothing(two_threads):
    x = spikes(4, 64, 3, 32, 32, most=2)
    two = lateral_pool2d(x, 3, 2, 1)
    torch.set_num_threads(1)
    assert torch.equal(lateral_pool2d(x, 3, 2, 1), two)


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('shape', [(4, 0, 3, 8, 8), (4, 2, 0, 8, 8)])
def test_no_planes(dtype, shape):
    x = torch.zeros(shape, dtype=dtype)
    assert lateral_pool2d(x, 2).shape == (*shape[:-2], 4, 4)


def test_gradient_is_that_of_the_reference():
    """Rounding has no derivative: with ties broken as max_pool2d breaks them, none flows but where it must."""
    x = spikes(6, 2, 3, 8, 8).requires_grad_()
    out = lateral_pool2d(x, 2)
    assert torch.equal(out.detach(), lateral_pool2d(x.detach(), 2))
    upstream = torch.randn_like(out)
    (native,) = torch.autograd.grad(out, x, upstream)
    (wanted,) = torch.autograd.grad(lateral_pool2d(x, 2, backend='reference'), x, upstream)
    assert_grads_close(native, wanted)


def test_gradient_reaches_the_winner():
    """What all steps emit together is the total of the busiest input: 1 at each of its steps, 0 elsewhere."""
    x = torch.zeros(6, 1, 1, 2, 2)
    x[::2, 0, 0, 0, 1] = 0.7
    x[0, 0, 0, 1, 1] = 0.7
    x.requires_grad_()
    lateral_pool2d(x, 2, scale=0.7).sum().backward()
    expected = torch.zeros_like(x)
    expected[:, 0, 0, 0, 1] = 1
    torch.testing.assert_close(x.grad, expected)


WRONG = [
    ((torch.zeros(3, 4, 4), 2), {}, ValueError, r'x must be \[T, \.\.\., C, H, W\], got shape \(3, 4, 4\)'),
    ((torch.zeros(0, 1, 4, 4), 2), {}, ValueError, r'x must be \[T, \.\.\.\] with T >= 1, got shape'),
    ((torch.zeros(2, 1, 4, 4, dtype=torch.int), 2), {}, TypeError, 'x must be float32, float16, .* got torch.int32'),
    ((torch.zeros(2, 1, 4, 4), 0), {}, ValueError, 'kernel_size must be >= 1, got 0'),
    ((torch.zeros(2, 1, 4, 4), 2.0), {}, TypeError, r'kernel_size must be an integer, got 2\.0 \(float\)'),
    ((torch.zeros(2, 1, 4, 4), (2, 2, 2)), {}, ValueError, r'kernel_size must be one integer or two, got \(2, 2, 2\)'),
    ((torch.zeros(2, 1, 4, 4), 2, 0), {}, ValueError, 'stride must be >= 1, got 0'),
    ((torch.zeros(2, 1, 4, 4), 2, 2, -1), {}, ValueError, 'padding must be >= 0, got -1'),
    ((torch.zeros(2, 1, 4, 4), 2, 2, 2), {}, ValueError, 'padding must be at most half of kernel_size, got 2 and 2'),
    ((torch.zeros(2, 1, 4, 4), 2, 2, 0, 0), {}, ValueError, 'dilation must be >= 1, got 0'),
    ((torch.zeros(2, 1, 4, 4), 5), {}, ValueError, r'kernel_size 5 with dilation 1 must fit into 4 \+ 2 \* 0 cells'),
    ((torch.zeros(2, 1, 4, 4), 2), {'scale': 0.0}, ValueError, r'scale must be > 0, got 0\.0'),
    ((torch.zeros(2, 1, 4, 4), 2), {'scale': float('nan')}, ValueError, 'scale must be finite, got nan'),
    ((torch.zeros(2, 1, 4, 4), 2), {'backend': 'x'}, ValueError, "backend must be one of .* got 'x'"),
    ((torch.zeros(2, 1, 4, 4).double(), 2), {'backend': 'native'}, RuntimeError, "backend 'native' cannot run"),
]


@pytest.mark.parametrize(('arguments', 'named', 'error', 'text'), WRONG)
def test_errors(arguments, named, error, text):
    with pytest.raises(error, match=f'^{text}'):
        lateral_pool2d(*arguments, **named)
