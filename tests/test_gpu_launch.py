"""The library's launch code: grids, devices, streams and errors of every function of `_cuda`."""

from dataclasses import replace

import gpucases
import pytest
import torch
from cases import Case
from gpucases import FAMILIES, given, laid

from snnkern.backends import native, reference
from snnkern.functional import pack_spikes
from snnkern.testing import assert_grads_close

F32, F16 = torch.float32, torch.float16
ERRORS = [
    ('cudaLaunchKernel', 719, 'cudaErrorLaunchFailure'),
    ('cudaLaunchKernel', 2, 'cudaErrorMemoryAllocation'),
    ('cudaLaunchKernel', 9, 'cudaErrorInvalidConfiguration'),
    ('cudaSetDevice', 101, 'cudaErrorInvalidDevice'),
    ('cudaGetDevice', 700, 'cudaErrorIllegalAddress'),
]


@pytest.fixture
def elsewhere(gpu, monkeypatch):
    """Calls ask for device 1 of 2 and a stream."""
    gpu.devices = 2
    monkeypatch.setitem(native.DEVICES, 'cpu', replace(native.DEVICES['cpu'], where=lambda x: (1, 0x500)))
    return gpu


def call(family, size=9, dtype=F32):
    """Forward and backward of a family."""
    x = laid(given(family, size, False).to(dtype), 'contiguous')
    return FAMILIES[family](x, 'native')


@pytest.mark.parametrize('family', FAMILIES)
def test_device_and_stream(elsewhere, family):
    """Of every kernel of a call; the caller's device stays."""
    call(family)
    assert {(run.device, run.stream) for run in elsewhere.runs} == {(1, 0x500)}
    assert elsewhere.current_device == 0


# One for each function of _cuda.
FUNCTIONS = ('neuron', 'rows', 'lateral tiles', 'lateral', 'plain', 'bits', 'moments', 'poisson')


@pytest.mark.parametrize(('function', 'number', 'name'), ERRORS)
@pytest.mark.parametrize('family', FUNCTIONS)
def test_errors(elsewhere, family, function, number, name):
    """By their CUDA names; the device is restored, and the next call is not blamed."""
    elsewhere.fail_next(function, number)
    with pytest.raises(RuntimeError, match=f'^CUDA: {name}: '):
        call(family)
    assert elsewhere.current_device == 0
    call(family)


def backward(family):
    """The backward call alone, to be made."""
    x = given(family, 9, False).requires_grad_()
    if family == 'neuron':
        out = gpucases.functional.lif(x)
    else:
        out = gpucases.functional.lateral_pool2d(x, *FAMILIES[family].window, scale=0.5)
    return lambda: out.backward(torch.ones_like(out))


@pytest.mark.parametrize('family', ['neuron', 'lateral tiles', 'lateral', 'lateral large'])
def test_errors_of_backward(elsewhere, family):
    run = backward(family)
    elsewhere.fail_next('cudaLaunchKernel', 2)
    with pytest.raises(RuntimeError, match=r'^CUDA: cudaErrorMemoryAllocation: '):
        run()
    backward(family)()


def test_a_failed_unpack(elsewhere):
    packed = pack_spikes(torch.ones(40))
    elsewhere.fail_next('cudaLaunchKernel', 2)
    with pytest.raises(RuntimeError, match=r'^CUDA: cudaErrorMemoryAllocation: '):
        packed.unpack()
    assert packed.unpack().eq(1).all()


def test_a_device_that_is_not_there(gpu, monkeypatch):
    monkeypatch.setitem(native.DEVICES, 'cpu', replace(native.DEVICES['cpu'], where=lambda x: (7, 0)))
    with pytest.raises(RuntimeError, match=r'^CUDA: cudaErrorInvalidDevice: '):
        call('neuron')
    assert gpu.runs == []


@pytest.mark.parametrize('dtype', [F32, F16], ids=str)
@pytest.mark.parametrize('family', ['neuron', 'moments', 'poisson', 'bits', 'counts'])
def test_grids(gpu, family, dtype):
    """As few blocks as hold all vectors of 16 bytes, or all elements where they are not whole or not aligned."""
    vector, grids = 16 // dtype.itemsize, []
    for vectors in (1, 127, 128, 129, 256, 257):
        n = vectors * vector
        for size in (n - 1, n, n + 1):
            gpu.runs.clear()
            x = torch.rand(1, size).to(dtype)
            if family == 'neuron':
                native.multistep_fwd(x, None, None, None, gpucases.Neuron().spec, 1, False, False, False, False)
            elif family == 'moments':
                native.moments(x.view(1, 1, size), 2)
            elif family == 'poisson':
                native.poisson(x[0], 1, 0, 0)
            else:
                native.pack_spikes(x[0].round(), family, 1.0, False)
            whole = family in ('bits', 'counts') or size % vector == 0
            grids.append((size, gpu.runs[-1].grid, (-(-size // (128 * (vector if whole else 1))), 1, 1)))
    for size, grid, expected in grids:
        assert tuple(grid) == expected, size


def launches(gpu, monkeypatch, n):
    """The grids of a call on n neurons that are nowhere; nothing runs."""
    grids = []

    class Nothing:
        pass

    monkeypatch.setattr(gpu, '_launch', lambda name, grid, *rest: grids.append(grid) or Nothing())
    gpu.module.moments(0, 1, n, 1 << 50, 1 << 55, 1, 1)
    gpu.runs.clear()
    return grids


def test_the_largest_grid(gpu, monkeypatch):
    """2^31 - 1 blocks; of more, 32 bits might count only a few."""
    most = 2**31 - 1
    assert launches(gpu, monkeypatch, 512 * most) == [(most, 1, 1)]
    for n in (512 * most + 4, 512 * 2**32 + 4):
        with pytest.raises(RuntimeError, match=r'CUDA: more than 2\^31 - 1 blocks'):
            launches(gpu, monkeypatch, n)


def misaligned(t):
    """A copy that begins an element behind a multiple of 16 bytes."""
    return None if t is None else t.new_empty(t.numel() + 1)[1:].view_as(t).copy_(t)


def behind(new, number):
    """`new` of a Device, whose block number `number` begins an element behind a multiple of 16 bytes."""
    count = iter(range(100))

    def made(x, steps, dtype=None):
        block = new(x, steps, dtype)
        return block if next(count) != number else misaligned(block)

    return made


QUICK = Case(gpucases.Neuron(), N=32, T=18, v0=True, state=True)
FULL = Case(FAMILIES['states'].neuron, N=32, T=18, v0=True, state=True, v_seq=True, rows='each', connect='ms', sum=True)


@pytest.mark.parametrize('case', [QUICK, FULL], ids=['quick', 'full'])
def test_each_tensor_alone_misaligned(gpu, case, monkeypatch):
    """No kernel that moves 16 bytes at a time takes one that is not aligned, whichever it is."""
    rest, wants = (case.spec, case.T), (True, case.state, case.v_seq, case.sum)
    given = [*case.inputs(), case.coefficients(), case.residual()]
    expected = reference.multistep_fwd(*given, *rest, *wants)
    seen = [*case.gradients(), expected[3] if case.sum else given[0], *given[1:3], expected[4], case.lines()]
    grads = reference.multistep_bwd(*seen, *rest, True, True, case.rows != '')
    device = native.DEVICES['cpu']
    for number in range(len(seen)):
        monkeypatch.setitem(native.DEVICES, 'cpu', replace(device, new=behind(device.new, number)))
        one = [misaligned(t) if i == number else t for i, t in enumerate(given)]
        for actual, wanted in zip(native.multistep_fwd(*one, *rest, *wants), expected, strict=True):
            assert wanted is None or torch.equal(actual, wanted)
        monkeypatch.setitem(native.DEVICES, 'cpu', replace(device, new=behind(device.new, number)))
        one = [misaligned(t) if i == number else t for i, t in enumerate(seen)]
        found = native.multistep_bwd(*one, *rest, True, True, case.rows != '')
        for actual, wanted, dtype in zip(found, grads, (F32, F32, 'sums'), strict=True):
            assert (actual is None) == (wanted is None)
            if wanted is not None:
                assert_grads_close(actual, wanted, dtype)
