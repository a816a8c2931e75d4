"""Every GPU kernel beyond 2^31 and 2^32 elements, by its own launch code: the last block of arrays of addresses."""

import sys
from dataclasses import replace
from importlib.util import find_spec

import gpucases
import gpuwindows
import pytest
import torch
from cases import Case

from snnkern.backends import layout, native, reference, triton
from snnkern.backends.window import Pool
from snnkern.charges import LIF, Affine, Synaptic
from snnkern.fires import Binary, SignedMemory
from snnkern.neurons import Neuron
from snnkern.resets import Soft
from snnkern.testing import assert_grads_close, assert_spikes_equal

RARE = pytest.mark.slow, pytest.mark.exhaustive
F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16


def on_cuda(request, monkeypatch):
    gpu = request.getfixturevalue('gpu')

    def install(huge):
        device = native.Device(lambda: gpu.module, lambda x: (0, 0), huge.new, partial=True)
        monkeypatch.setitem(native.DEVICES, 'cpu', device)
        monkeypatch.setattr(gpu, '_launch', huge.launch(gpu))
        monkeypatch.setattr(native.pool, 'torch', huge.torch)

    return native, install


class Laid:
    """snnkern.backends.layout with another `new_like`."""

    def __init__(self, new):
        self.new_like = new

    def __getattr__(self, name):
        return getattr(layout, name)


def on_triton(request, monkeypatch):
    pytest.importorskip('triton')
    from ptxsim.faketriton import Launcher

    request.getfixturevalue('driver')

    def install(huge):
        for name in ('multistep', 'moments', 'pool', 'pack', 'encode'):
            monkeypatch.setattr(sys.modules[f'snnkern.backends.triton.{name}'], 'layout', Laid(huge.new))
        monkeypatch.setattr(sys.modules['snnkern.backends.triton.pool'], 'torch', huge.torch)
        monkeypatch.setattr(Launcher, '__call__', huge.call())

    return triton, install


@pytest.fixture(params=[on_cuda, on_triton])
def backend(request):
    """A backend, and what puts a gpuwindows.Huge under it."""
    if request.param is on_cuda and find_spec('snnkern._cuda') is None:
        pytest.skip('snnkern._cuda is not built (no nvcc)')
    # Undone before the emulated GPU is put away, which would else come back.
    with pytest.MonkeyPatch.context() as patch:
        yield request.param(request, patch)


@pytest.fixture
def huge(backend, monkeypatch):
    """huge(size, tail): a gpuwindows.Huge under the backend."""
    # A failure's report shows arguments, and some of them have no memory.
    monkeypatch.setattr(torch.Tensor, '__repr__', lambda t: f'tensor of {tuple(t.shape)}, {t.dtype}')

    def make(size, tail):
        made = gpuwindows.Huge(size, tail)
        backend[1](made)
        return made

    return make


# dtype, samples, C, inner: more threads than 2^32 in vectors, and one by one. A last block of one sample, whatever the
# number of warps of a block is.
SHAPES = [
    (F32, 3 * 2**31 + 1, 4, 2),
    (F16, 3 * 2**32 + 1, 4, 2),
    (F32, 3 * 2**28 + 1, 5, 3),
    (BF16, 3 * 2**28 + 1, 5, 3),
]
SHAPES += [(F32, 3 * 2**27 + 1, 4, 2)]  # rows of more than 2^31 elements, and less than 2^32
QUICK = Neuron(LIF(2.0), Binary(), Soft())
STATES = Neuron(Synaptic(0.75, decay=0.5), SignedMemory(0.5, 4), Soft())
ROWS = Neuron(Affine(0.9, 0.7, -0.05), SignedMemory(0.5, 4), Soft())


def multistep(huge, backend, case, samples, C, inner, monkeypatch):
    """Forward and backward with everything that may be wanted."""
    huge = huge(samples * C * inner, C * inner)
    shape = 1, C, inner

    def shaped(t):
        return None if t is None else t.view(-1, *shape)

    x, state = map(shaped, case.inputs())
    residual, grads = shaped(case.residual()), [shaped(g) for g in case.gradients()]
    rows = case.coefficients()
    rows = None if rows is None else rows[:, :, :C].contiguous()
    line = None if rows is None else torch.randn(2, C)
    rest = case.spec.replace('@1', '@2'), case.T
    wants = True, case.state, case.v_seq, case.sum
    expected = reference.multistep_fwd(x, state, rows, residual, *rest, *wants)
    large = [None if t is None else huge.put(t, samples) for t in (x, state, residual, *grads)]
    small = [None if t is None else huge.put(t) for t in (rows, line)]
    found = backend.multistep_fwd(large[0], large[1], small[0], large[2], *rest, *wants)
    for actual, wanted in zip(found, expected, strict=True):
        if wanted is not None:
            assert_spikes_equal(huge.get(actual, wanted), wanted)
    wants = True, True, rows is not None
    monkeypatch.setattr(layout, 'channel_sums', lambda partial, *rest: partial)
    x = expected[3] if case.sum else x
    seen = huge.put(x, samples)
    actual = backend.multistep_bwd(*large[3:], seen, large[1], small[0], found[4], small[1], *rest, *wants)
    monkeypatch.undo()
    wanted = reference.multistep_bwd(*grads, x, state, rows, None, line, *rest, *wants)
    assert_grads_close(huge.get(actual[0], wanted[0]), wanted[0])
    assert_grads_close(huge.get(actual[1], wanted[1]), wanted[1], case.dtype)
    if rows is not None:
        partial = huge.get(actual[2], torch.empty(1, *shape))
        assert_grads_close(layout.channel_sums(partial, rows, 2), wanted[2], 'sums')
    return huge


# Triton's compiler takes minutes for all of them.
KINDS = [
    pytest.param(run, rows, *shape, marks=() if often else RARE if run is on_triton else pytest.mark.slow)
    for run in (on_cuda, on_triton)
    for i, rows in enumerate(('quick', '', 'each', 'steps'))
    for j, shape in enumerate(SHAPES)
    for often in [i == j % 4 and (run is on_cuda or i == j == 0)]
]


@pytest.mark.parametrize(('backend', 'rows', 'dtype', 'samples', 'C', 'inner'), KINDS, indirect=['backend'])
def test_multistep(huge, backend, rows, dtype, samples, C, inner):
    case = Case(QUICK, dtype, 18, C * inner, True, True)
    if rows != 'quick':
        more = {'neuron': ROWS if rows else STATES, 'v_seq': True, 'connect': 'ms', 'sum': True}
        case = replace(case, rows=rows, **more)
    with pytest.MonkeyPatch.context() as patch:
        multistep(huge, backend[0], case, samples, C, inner, patch)


def some(usual, rows, names):
    """Parametrises a test; rows that are not among the usual ones are slow."""
    marked = [pytest.param(*row, marks=() if i in usual else pytest.mark.slow) for i, row in enumerate(rows)]
    return pytest.mark.parametrize(names, marked)


@some((0, 3), SHAPES, ('dtype', 'samples', 'C', 'inner'))
def test_moments(huge, backend, dtype, samples, C, inner, monkeypatch):
    huge, x = huge(samples * C * inner, C * inner), torch.randn(5, 1, C, inner).to(dtype)
    monkeypatch.setattr(layout, 'channel_moments', lambda each, *rest: each)
    mean, deviation = huge.get(backend[0].moments(huge.put(x, samples), 2), x)
    assert_grads_close(mean.double(), x.double().mean(0), F32)
    assert_grads_close(deviation.double(), x.double().var(0, correction=0) * 5, F32)


@some((1, 2), SHAPES, ('dtype', 'samples', 'C', 'inner'))
@pytest.mark.parametrize('last', [False, True])
def test_poisson(huge, backend, dtype, samples, C, inner, last):
    huge, x = huge(samples * C * inner, C * inner), torch.rand(1, C, 1, inner).to(dtype)
    x = x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2) if last else x
    large = huge.put(x.unsqueeze(0), samples)[0]
    found = huge.get(backend[0].poisson(large, 6, 3, 5), x)
    assert_spikes_equal(found, reference.poisson(x, 6, 3, 5 + (samples - 1) * C * inner)[:, 0])


@pytest.mark.parametrize('kind', ['bits', 'counts', 'signed'])
@some((0, 2), [(F32, 2**35 + 8), (F16, 2**36 + 8), (BF16, 2**35 + 5), (F32, 2**31 + 7)], ('dtype', 'n'))
def test_pack(huge, backend, kind, dtype, n):
    huge, count = huge(n, n % 16), n % 16
    x = torch.randint(0, 2, (count,)).to(dtype)
    large = huge.addresses(n, dtype)
    huge.window(large, n - count, count).fill(x.view(torch.uint8).numpy())
    packed = backend[0].pack_spikes(large, kind, 1.0, False)
    assert huge.get(packed)[0].equal(reference.pack_spikes(x, kind, 1.0, False))
    assert huge.get(backend[0].unpack_spikes(packed, kind, 1.0, n, dtype))[0].equal(x)


WHAT = 'window', 'dtype', 'last'


def meta(x):
    """x's shape and layout alone."""
    return torch.empty_strided(x.shape, x.stride(), dtype=x.dtype, device='meta')


WINDOWS = {
    'tiles': ('lateral', (2, 2), (2, 2), (0, 0)),
    'overlapping': ('lateral', (3, 3), (2, 2), (1, 1)),
    'large': ('spike_max', (4, 4), (3, 3), (2, 2)),
    'plain': ('plain', (3, 3), (2, 2), (1, 1)),
}


@some((0, 4, 8, 9), [(w, *how) for w in WINDOWS for how in ((F32, False), (F32, True), (F16, True))], WHAT)
def test_pools(huge, backend, window, dtype, last, monkeypatch):
    """2^28 + 1 samples of 128 cells and 32 windows."""
    mode, kernel, stride, padding = WINDOWS[window]
    samples, cells, windows, T = 2**28 + 1, 128, 32, 1 if mode == 'plain' else 2
    pool = Pool(mode, kernel, stride, padding, (1, 1), False, 0.5)
    huge, pooled = huge(samples * cells, cells), layout.pooled
    monkeypatch.setattr(layout, 'pooled', lambda x, *size: pooled(meta(x) if x.shape[1] > 1 else x, *size))

    def scratch(flat):
        counts = 4 * samples * cells if window == 'large' else 0
        if counts and flat.numel() > 1:
            huge.window(flat, counts - 4 * cells, 4 * cells)
        for end in range(counts + samples * windows, flat.numel() + 1, samples * windows):
            huge.window(flat, end - windows, windows)
        return flat

    huge.scratch = scratch
    x = torch.randint(0, 4, (T, 1, 8, 4, 4)).mul(0.5).to(dtype)
    x = gpucases.laid(x, 'channels_last' if last else 'contiguous')
    start = None if mode == 'plain' else torch.empty_like(x[:1], dtype=F32).copy_(torch.randint(0, 5, (1, 1, 8, 4, 4)))
    large = [huge.put(x, samples), start if start is None else huge.put(start, samples)]
    out, counts = reference.pool2d_fwd(x, start, pool, pool.counts)
    found = backend[0].pool2d_fwd(*large, pool, pool.counts)
    assert_spikes_equal(huge.get(found[0], out), out)
    if pool.counts:
        assert_spikes_equal(huge.get(found[1], counts), counts)
    grad = torch.empty_like(out).copy_(torch.randint(-4, 5, out.shape))
    wanted = reference.pool2d_bwd(grad, None, x, counts, pool, mode == 'lateral')
    actual = backend[0].pool2d_bwd(huge.put(grad, samples), None, large[0], found[1], pool, mode == 'lateral')
    for gradient, expected in zip(actual, wanted, strict=True):
        if expected is not None:
            assert_grads_close(huge.get(gradient, expected), expected)
