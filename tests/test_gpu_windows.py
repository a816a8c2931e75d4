"""Every GPU kernel beyond 2^31 and 2^32 elements, by its own launch code: the last block of arrays that only addresses hold."""

import gpuwindows
import pytest
import torch
from cases import Case

from snnkern.backends import layout, native, reference
from snnkern.charges import Affine, Synaptic
from snnkern.fires import SignedMemory
from snnkern.neurons import Neuron
from snnkern.resets import Soft
from snnkern.testing import assert_grads_close, assert_spikes_equal

F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16


@pytest.fixture
def huge(gpu, monkeypatch):
    """huge(size, tail): a gpuwindows.Huge on the emulated GPU."""

    def make(size, tail):
        made = gpuwindows.Huge(size, tail)
        device = native.Device(lambda: gpu.module, lambda x: (0, 0), made.new, partial=True)
        monkeypatch.setitem(native.DEVICES, 'cpu', device)
        monkeypatch.setattr(gpu, '_launch', made.launch(gpu))
        monkeypatch.setattr(native.pool, 'torch', made.torch)
        return made

    return make


# dtype, samples, C, inner: more threads than 2^32 in vectors, and one by one. A last block of one sample, whatever the
# number of warps of a block is.
SHAPES = [(F32, 3 * 2**31 + 1, 4, 2), (F16, 3 * 2**32 + 1, 4, 2), (F32, 3 * 2**28 + 1, 5, 3), (BF16, 3 * 2**28 + 1, 5, 3)]
SHAPES += [(F32, 3 * 2**27 + 1, 4, 2)]  # rows of more than 2^31 elements, and less than 2^32
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
    expected = reference.multistep_fwd(x, state, rows, residual, *rest, True, True, True, True)
    large = [None if t is None else huge.put(t, samples) for t in (x, state, residual, *grads)]
    small = [None if t is None else huge.put(t) for t in (rows, line)]
    found = backend.multistep_fwd(large[0], large[1], small[0], large[2], *rest, True, True, True, True)
    for actual, wanted in zip(found, expected, strict=True):
        assert_spikes_equal(huge.get(actual, wanted), wanted)
    wants = True, True, rows is not None
    monkeypatch.setattr(layout, 'channel_sums', lambda partial, *rest: partial)
    seen = huge.put(expected[3], samples)
    actual = backend.multistep_bwd(*large[3:], seen, large[1], small[0], found[4], small[1], *rest, *wants)
    monkeypatch.undo()
    wanted = reference.multistep_bwd(*grads, expected[3], state, rows, None, line, *rest, *wants)
    assert_grads_close(huge.get(actual[0], wanted[0]), wanted[0])
    assert_grads_close(huge.get(actual[1], wanted[1]), wanted[1], case.dtype)
    if rows is not None:
        partial = huge.get(actual[2], torch.empty(1, *shape))
        assert_grads_close(layout.channel_sums(partial, rows, 2), wanted[2], 'sums')
    return huge


@pytest.mark.parametrize('rows', ['', 'each', 'steps'])
@pytest.mark.parametrize(('dtype', 'samples', 'C', 'inner'), SHAPES)
def test_multistep_cuda(gpu, huge, rows, dtype, samples, C, inner, monkeypatch):
    case = Case(ROWS if rows else STATES, dtype, 18, C * inner, *[True] * 2, v_seq=True, rows=rows, connect='ms', sum=True)
    with monkeypatch.context() as patch:
        multistep(huge, native, case, samples, C, inner, patch)
