"""A second input, and what BatchNorm fused with its neuron needs: on every backend against the reference."""

from dataclasses import replace

import cases
import emulator
import pytest
import torch
from cases import Case
from parity import backward, check, forward

from snnkern import (
    LIF,
    Adaptive,
    Affine,
    ATan,
    Binary,
    Burst,
    Delayed,
    Hard,
    Neuron,
    SignedMemory,
    Soft,
    Synaptic,
    Triangle,
)
from snnkern.backends import checkpoint_interval, native, reference, triton
from snnkern.testing import assert_grads_close, assert_spikes_equal

AXES = {
    'neuron': (
        Neuron(),
        Neuron(LIF(3.0, 0.1), Burst(0.75, 3, real_units=True), Hard(-0.2, detach=True), Triangle()),
        Neuron(Affine(0.9, 0.7, -0.05), Binary(0.7), Soft(), ATan(2.0)),
        Neuron(Affine(0.5, 0.5), Binary(strict=True), Delayed()),
        Neuron(Synaptic(0.8, decay=0.7), SignedMemory(0.5, 4), Soft()),
        Neuron(Synaptic(0.75, 0.5, 0.05, 0.6, delayed=True), Adaptive(0.6, 0.3, 0.9), Hard()),
    ),
    'dtype': cases.AXES['dtype'],
    'T': (1, 3, 16, 20),
    'N': (1, 33, 136, 1000),
    'v0': (False, True),
    'state': (False, True),
    'constant': (False, True),
    'v_seq': (False, True),
    'rows': ('', 'one', 'each', 'steps'),
    'connect': ('', 'sew', 'ms'),
    'sum': (False, True),
    'line': (False, True),
    'want_x': (True, False),
}


def _possible(row: tuple) -> bool:
    """Whether there is such a call: a sum is that of ms; a threshold of a delayed reset does not vary; some gradient is
    wanted."""
    case = Case(*row)
    if (case.sum and case.connect != 'ms') or (case.neuron.reset.delayed and case.rows == 'steps'):
        return False
    return bool(case.want_x or case.v0 or case.rows)


CASES = [Case(*row) for row in cases.pairwise(*AXES.values(), allowed=_possible)]
TURNS = [pytest.param((75, 90)[i % 2], case, id=str(case)) for i, case in enumerate(CASES)]


@pytest.mark.parametrize('case', CASES, ids=str)
def test_cpu(isa, poisoned, case):
    check(native, case, *case.inputs())


@pytest.mark.parametrize(('gpu', 'case'), TURNS, indirect=['gpu'])
def test_cuda(gpu, case):
    check(native, case, *case.inputs())


RARE = (pytest.mark.slow, pytest.mark.exhaustive)


def few():
    """Marks of CASES for Triton, whose compiler is slow: what is new in each dtype runs always."""
    seen = set()
    for param, case in zip(TURNS, CASES, strict=True):
        new = {(case.dtype, name, getattr(case, name)) for name in ('connect', 'sum', 'line', 'want_x')}
        yield pytest.param(*param.values, id=param.id, marks=RARE if new <= seen else ())
        seen |= new


@pytest.mark.parametrize(('driver', 'case'), list(few()), indirect=['driver'])
def test_triton(driver, case):
    check(triton, case, *case.inputs())


@pytest.fixture(params=['cpu', 'cuda', 'triton'])
def backend(request):
    """Each backend, on a CPU or emulated."""
    if request.param == 'triton':
        pytest.importorskip('triton')
    request.getfixturevalue({'cpu': 'poisoned', 'cuda': 'gpu', 'triton': 'driver'}[request.param])
    return triton if request.param == 'triton' else native


# BatchNorm and its neuron: scale and shift of each channel.
FUSED = Neuron(Affine(0.5, 0.5, 0.1), Binary(0.7))
TABLE = f'{FUSED.spec} @2 b c'


def both_passes(module, x, rows, line, grad_s):
    """Checkpoints; the sums over channels, without a gradient of x; that gradient and a line more, without sums."""
    T = len(x)
    s, _, _, _, kept = module.multistep_fwd(x, None, rows, None, TABLE, T, True, False, False, False)
    given = grad_s, None, None, None, x, None, rows, kept
    none, _, sums = module.multistep_bwd(*given, None, TABLE, T, False, False, True)
    grad_x, _, no_sums = module.multistep_bwd(*given, line, TABLE, T, True, False, False)
    assert none is no_sums is None
    return s, sums, grad_x


@pytest.mark.parametrize('order', ['contiguous', 'channels_last'])
@pytest.mark.parametrize('shape', [(4, 3, 2, 5), (2, 8, 1, 3), (3, 3, 1, 5)], ids=str)
def test_channels(backend, shape, order):
    """Vectors that span channels, lie within one, or hold neighbouring ones; [T, B, C, H, W] in either layout."""
    x = torch.randint(-5, 17, (5, *shape)) / 10
    if order == 'channels_last':
        x = x.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    rows, line = torch.randint(8, 12, (2, 1, shape[1])) / 20, torch.randn(2, shape[1])
    grad_s = torch.randn_like(x)
    actual, expected = (both_passes(module, x, rows, line, grad_s) for module in (backend, reference))
    assert_spikes_equal(actual[0], expected[0])
    assert_grads_close(actual[1], expected[1], 'sums')
    assert_grads_close(actual[2], expected[2])


def test_misaligned_residual(backend):
    case = Case(Neuron(), T=5, N=128, connect='ms', sum=True)
    x, _ = case.inputs()
    memory = torch.cat([torch.zeros(1), case.residual().flatten()])[1:].view_as(x)
    call = case.spec, case.T, False, False, False, True
    actual, expected = (module.multistep_fwd(x, None, None, memory, *call) for module in (backend, reference))
    assert_spikes_equal(actual[0], expected[0])
    assert_spikes_equal(actual[3], x + memory)


def bytes_of(runs, N):
    """What each kernel loads and stores per neuron."""
    return [(traffic.load + traffic.store) / N for traffic in runs]


@pytest.mark.parametrize('dtype', cases.AXES['dtype'][:2], ids=str)
@pytest.mark.parametrize('T', [4, 40])
def test_bytes_of_batch_norm(dtype, T, request):
    """Training moves 4 + 8 + 8 + 12 = 32 bytes an element-step in float32, 16 in half, and what it has once."""
    N, V, e = 1024, 16 // dtype.itemsize, dtype.itemsize
    kept = 4 * (-(-T // checkpoint_interval(dtype)) - 1)
    chunks = kept // 4 + 1
    for name, module in (('gpu', native), ('driver', triton)):
        device = request.getfixturevalue(name)
        x = torch.randn(T, 2, 8, 8, 8).to(dtype)  # made while the device looks
        rows, line, grad_s = torch.rand(2, 1, 8), torch.rand(2, 8), torch.randn_like(x)
        module.moments(x, 2)
        both_passes(module, x, rows, line, grad_s)
        runs = [run if name == 'gpu' else run[1] for run in device.runs]
        # A vector within a channel reads a number once, in Triton each neuron does.
        number, times = (4 / V, chunks) if name == 'gpu' else (4, 1)
        per_neuron = 8, kept + 2 * number, kept + 2 * number + 4 * 2, kept + 2 * number + 2 * number * times
        rows_of = e, 2 * e, 2 * e, 3 * e
        expected = [T * row + once for row, once in zip(rows_of, per_neuron, strict=True)]
        assert sum(rows_of) == 8 * e
        assert bytes_of([run.traffic() for run in runs], N) == expected


@pytest.mark.parametrize('case', [Case(Neuron(), connect=c, sum=c == 'ms') for c in ('sew', 'ms')], ids=str)
def test_bytes_of_residuals(case, request):
    """A residual, a sum and its gradient are a row more each, 16 bytes at a time."""
    case = replace(case, T=20, N=1024)
    for name, module in (('gpu', native), ('driver', triton)):
        device = request.getfixturevalue(name)
        x, _ = case.inputs()  # made while the device looks
        kept = forward(module, case, x, None)[4]
        backward(module, case, case.seen(x), None, kept)
        runs = [(run if name == 'gpu' else run[1]).traffic() for run in device.runs]
        assert bytes_of(runs, case.N) == [4 * case.T * (3 + case.sum) + 4, 4 * case.T * (3 + case.sum) + 4]
        assert all(traffic.min_width == 16 and traffic.sector_ratio == 1 for traffic in runs)


# Of Triton's kernels, what keeps most in registers: x for the line, two rows more under way.
GATES = [
    (Case(Neuron(), T=40, N=1024, connect='ms', sum=True, line=True), 75, (96, 255)),
    (Case(AXES['neuron'][4], torch.float16, 40, 1024, True, True, connect='ms', sum=True, line=True), 90, (160, 255)),
    (Case(FUSED, T=40, N=1024, connect='sew', rows='each', line=True), 120, (112, 255)),
]


@pytest.mark.parametrize(('driver', 'case', 'most'), [(a, c, m) for c, a, m in GATES], indirect=['driver'], ids=str)
def test_machine_code_of_triton(driver, case, most):
    """No spills, no stack."""
    x, v0 = case.inputs()
    kept = forward(triton, case, x, v0)[4]
    backward(triton, case, case.seen(x), v0, kept)
    for (compiled, _), limit in zip(driver.runs, most, strict=True):
        facts = emulator.facts(compiled.asm['cubin'])
        assert (facts.spills, facts.stack, facts.local) == (0, 0, 0)
        assert facts.registers <= limit
