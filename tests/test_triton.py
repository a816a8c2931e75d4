"""The Triton kernels, compiled for real targets and run by the PTX emulator, against the reference."""

import runpy
import struct
import sys
from dataclasses import replace
from itertools import product

import cases
import emulator
import pytest
import torch
from cases import CASES, FEW, Case
from compiled import compiling
from parity import backward, check, forward

from snnkern import functional
from snnkern.backends import CUSTOM, checkpoint_interval, reference
from snnkern.backends import triton as backend
from snnkern.backends.triton import device
from snnkern.backends.triton.multistep import _numbers
from snnkern.charges import IF, LIF, Affine, Synaptic
from snnkern.fires import Binary, Burst, Integer, SignedMemory
from snnkern.neurons import AXES, Neuron
from snnkern.ops.multistep import Call, run_bwd
from snnkern.resets import Delayed, Hard, Soft
from snnkern.surrogates import Sigmoid
from snnkern.testing import assert_grads_close, assert_spikes_equal

pytest.importorskip('triton')
ptxsim = emulator.load()

DTYPES = cases.AXES['dtype']
# Most registers: true divisions by tau and theta, both loops, exp, every optional tensor.
HEAVY = Neuron(LIF(1.5, 0.1), Burst(0.7, 5, real_units=True), Hard(-0.1), Sigmoid())
# Three states, of which two are kept for each step of a chunk; snnTorch's Leaky, whose every number may be a tensor.
STATES = Neuron(Synaptic(0.8, decay=0.7), SignedMemory(0.7, 5, real_units=True), Soft())
LEAKY = Neuron(Affine(0.9, 0.7), Binary(strict=True), Delayed())


def test_lists_agree():
    from snnkern.backends.triton import math as triton_math
    from snnkern.backends.triton import surrogate

    for axis, kinds in AXES.items():
        module = surrogate if axis == 'surrogate' else triton_math
        assert getattr(module, f'{axis.upper()}S') == tuple(kind.__name__ for kind in kinds)


def quick():
    """Whether each of CASES runs always, since compilers are slow: all values of all axes, and every twelfth."""
    seen = set()
    for i, case in enumerate(CASES):
        values = {*case.neuron.parts, *((name, getattr(case, name)) for name in list(cases.AXES)[4:])}
        yield i % 12 == 0 or not values <= seen
        seen |= values


# Each on one of two architectures by turns: formulas and architectures do not interact.
RARE = (pytest.mark.slow, pytest.mark.exhaustive)
MARKS = [() if often else RARE for often in (*quick(), *[True] * len(FEW))]
TURNS = [pytest.param((75, 90)[i % 2], c, id=str(c), marks=MARKS[i]) for i, c in enumerate(CASES + FEW)]


@pytest.mark.parametrize(('driver', 'case'), TURNS, indirect=['driver'])
def test_case(driver, case):
    check(backend, case, *case.inputs())
    assert f'.target sm_{driver.arch}' in driver.runs[-1][0].asm['ptx']


@pytest.mark.parametrize('neuron', [Neuron(), HEAVY], ids=str)
def test_channels_last_through_autograd(driver, neuron):
    """No copies on the way in or out, gradients of any strides, v0 and its gradient."""
    x = (2 * torch.randn(4, 2, 5, 6, 3)).permute(0, 1, 4, 2, 3).requires_grad_()
    v0 = torch.rand(x.shape[1:], requires_grad=True)
    grads = torch.randn(x.shape), torch.randn(x.shape[1:])
    found = {}
    for name in ('triton', 'reference'):
        s, v = functional.multistep(x, neuron, v0=v0, return_state=True, backend=name)
        found[name] = s, v, *torch.autograd.grad((s, v), (x, v0), grads)
    actual, expected = found['triton'], found['reference']
    assert len(driver.runs) == 2
    assert actual[0].stride() == x.stride() != x.contiguous().stride()
    assert_spikes_equal(actual[0], expected[0])
    assert_spikes_equal(actual[1], expected[1])
    assert_grads_close(actual[2], expected[2])
    assert_grads_close(actual[3], expected[3])


ODD = Burst(0.5, 3), Integer(0.5, 3), SignedMemory(0.5, 3)


@pytest.mark.parametrize('neuron', [Neuron(), *(Neuron(IF(), fire, Soft()) for fire in ODD)], ids=str)
def test_not_finite(driver, neuron):
    """NaN gives no spike and stays; infinities and values at a threshold do as the reference does."""
    odd = [torch.nan, torch.inf, -torch.inf, 1.0, 2.0, 0.5, 3e38, -3e38, 1e-45, 0.0]
    x = torch.tensor(odd).repeat(3, 1)
    x[1:, 3:6] = torch.tensor([0.5, -0.0, torch.nan])
    case = Case(neuron, T=3, N=len(odd), state=True, v0=True)
    for start in (0.0, torch.nan):
        check(backend, case, x, torch.full((len(neuron.states), len(odd)), start))
    assert forward(backend, case, x, None)[0][:, 0].eq(0).all()


F32, F16, BF16 = DTYPES
NARROW = [(F32, 6, 0), (BF16, 6, 0), (BF16, 12, 0), (F32, 8, 1), (F16, 8, 1)]


@pytest.mark.parametrize(('dtype', 'N', 'shift'), NARROW, ids=str)
def test_no_whole_vectors(driver, dtype, N, shift):
    """In a row, or because memory begins between two."""
    case = Case(Neuron(), dtype, T=3, N=N)
    x, _ = case.inputs()
    check(backend, case, torch.cat([x.new_zeros(shift), x.flatten()])[shift:].view_as(x), None)


TRAFFIC = [
    Case(Neuron()),
    Case(Neuron(), v0=True, state=True, constant=True),
    Case(Neuron(), F16, v0=True, state=True),
    Case(Neuron(), BF16, v0=True, state=True, constant=True),
    Case(STATES, v0=True, state=True, v_seq=True),
    Case(LEAKY, v_seq=True, rows='each'),
]


@pytest.mark.parametrize('case', TRAFFIC, ids=str)
def test_traffic(driver, case):
    """The bytes that must move (docs/gpu.md) and not one more, 16 at a time."""
    e, states = case.dtype.itemsize, 4 * len(case.neuron.states)
    rows = 4 * len(case.neuron.coefficients) if case.rows else 0
    for T in (4, 40):
        case = replace(case, T=T, N=1024)
        x, start = case.inputs()
        backward(backend, case, x, start, forward(backend, case, x, start)[4])
        shared = states * (case.v0 + case.state + -(-T // checkpoint_interval(case.dtype)) - 1) + 4 * T * case.v_seq
        # alpha is read backward only, where coefficients are read and partial sums written
        there = e * (T + (1 if case.constant else T)) + shared + max(0, rows - 4)
        back = e * (T + 2 * (1 if case.constant else T)) + shared + states * case.v0 + 2 * rows
        for (_, run), expected in zip(driver.runs[-2:], (there, back), strict=True):
            moved = run.traffic()
            assert moved.load + moved.store == expected * case.N
            assert moved.min_width == (4 if case.rows else 16)
            if case.dtype == F32 and not case.rows:  # in half, a thread's 8 values of the state are two accesses
                assert moved.sector_ratio == 1


@pytest.mark.parametrize('dtype', DTYPES)
def test_few_variants(dtype):
    """T compiles nothing new but the chunks of short runs: over T = 1..64, for inference and for training, forward is
    two kernels (with and without checkpoints) and backward four, in half precision three.
    """
    with compiling(90) as made:
        for T in range(1, 65):
            case = Case(Neuron(), dtype, T, 8)
            x, _ = case.inputs()
            checkpoints = forward(backend, case, x, None)[4]
            backend.multistep_fwd(x, None, None, None, case.spec, T, False, False, False, False)
            backward(backend, case, x, None, checkpoints)
    kernels = {(kernel.name, kernel.hash) for kernel in made}
    count = [sum(name == kind for name, _ in kernels) for kind in ('forward', 'backward')]
    assert count == [2, 4 if dtype == F32 else 3]


@pytest.mark.parametrize(('dtype', 'most'), [(F32, 1.23), (F16, 1.47)], ids=str)
def test_not_aligned(driver, dtype, most):
    """Neighbours are read and written together whatever N is: 128 or 64 bytes of a warp touch one sector more."""
    case = Case(Neuron(), dtype, T=16, N=1025, v0=True, state=True)
    x, v0 = case.inputs()
    check(backend, case, x, v0)
    for _, run in driver.runs[-2:]:
        assert run.traffic().sector_ratio < most


MACHINES = [(arch, dtype) for arch in (75, 80, 90, 100, 120) for dtype in (F32, BF16)]
HEAVY_CASE = Case(HEAVY, T=40, N=8, v0=True, state=True)
STATES_CASE = Case(STATES, T=40, N=8, v0=True, state=True)
ROWS_CASE = Case(LEAKY, T=40, N=8, v0=True, state=True, v_seq=True, rows='each')
LEAN_CASE = Case(Neuron(), T=40, N=8, v0=True, state=True)
MOST = {LEAN_CASE: (72, 128), HEAVY_CASE: (112, 176), STATES_CASE: (136, 255), ROWS_CASE: (112, 255)}
# One dtype each by turns for the heavy one, one architecture for others, of which the compiler takes its time.
GATES = [
    pytest.param(arch, replace(case, dtype=dtype), most, marks=() if often else pytest.mark.slow)
    for case, most in MOST.items()
    for i, (arch, dtype) in enumerate(MACHINES)
    for often in [i % 4 in (0, 3) if case is HEAVY_CASE else i == 4]
]


@pytest.mark.parametrize(('driver', 'case', 'most'), GATES, indirect=['driver'], ids=str)
def test_machine_code(driver, case, most):
    """No spills, no stack, only wide accesses (but for coefficients)."""
    x, v0 = case.inputs()
    backward(backend, case, x, v0, forward(backend, case, x, v0)[4])
    for (compiled, _), limit in zip(driver.runs, most, strict=True):
        facts = emulator.facts(compiled.asm['cubin'])
        assert (facts.spills, facts.stack, facts.local) == (0, 0, 0)
        widths = facts.loads.keys() | facts.stores.keys()
        assert widths == {'128'} or (case.rows and facts.stores.keys() <= {'64', '128'})
        assert facts.registers <= limit


def test_no_contraction(driver):
    """h - s * theta stays two operations, which only machine code shows: PTX leaves it to the assembler."""
    case = Case(Neuron(IF(), Binary(0.7), Soft()), N=8)
    forward(backend, case, *case.inputs())
    facts = emulator.facts(driver.runs[0][0].asm['cubin'])
    assert facts.count('FADD') > 0
    assert facts.count('FFMA') == 0


def test_offsets_beyond_32_bits(driver):
    """The last block of 2^32 + 8 neurons, in windows of memory that hold nothing else; 5 channels of 3 neurons."""
    from snnkern.backends.triton.kernels import forward as kernel

    N, T, block = 2**32 + 8, 2, 512
    small = Case(Neuron(IF(), Binary(0.5)), T=T, N=8, rows='each')
    table = torch.rand(3, 5)
    x, _ = small.inputs()
    rows = table[:, None, torch.arange(N - 8, N) // 3 % 5].contiguous()
    expected = backend.multistep_fwd(x, None, rows, None, small.spec, T, False, False, False, False)[0]
    module, gpu = ptxsim.Module(driver.runs[-1][0].asm['ptx']), ptxsim.GPU()
    values = {'x': 1 << 40, 's': 1 << 41, 'coefficients': gpu.put(table.numpy(), 'coefficients')}
    values |= {'vectors': N // 4, 'T': T, 'inner': 3, 'channels': 5, **_numbers(small.spec)}
    windows = {}
    for name, t in product('xs', range(T)):
        address = values[name] + 4 * (t * N + N - 8)
        windows[name, t] = gpu.window(address, 32, f'{name}{t}', written=False)
        if name == 'x':
            windows[name, t].fill(x[t].numpy())
            gpu.window(values[name] + 4 * t * N, 16, f'first{t}').fill(
                x[t, :4].numpy()
            )  # what lanes beyond the last neuron read
    given = [values[name] for name in kernel.arg_names if name in values]
    arguments = [struct.pack('<f', v) if isinstance(v, float) else v for v in given]
    gpu.launch(module, 'forward', -(-N // block), 128, [*arguments, 0, 0], blocks=[N // block])
    for t in range(T):
        found = torch.from_numpy(gpu.get(windows['s', t], 'float32'))
        assert_spikes_equal(found, expected[t])


CHANNELS = {'contiguous': (4, 2, 5, 3, 3), 'channels_last': (4, 2, 3, 3, 5)}


@pytest.mark.parametrize('varying', [False, True])
@pytest.mark.parametrize('order', CHANNELS)
def test_coefficients_of_channels(driver, order, varying):
    """5 channels, no copies: (n // inner) % C whatever a vector spans."""
    x = 2 * torch.randn(CHANNELS[order])
    x = (x if order == 'contiguous' else x.permute(0, 1, 4, 2, 3)).requires_grad_()
    own = {'a': 0.9, 'b': 0.7, 'v_threshold': 1.0}
    shape = (4, 5) if varying else (5,)
    rows = {name: (value + 0.1 * torch.randn(shape)).requires_grad_() for name, value in own.items()}
    rows['v_threshold'] = torch.tensor(0.75, requires_grad=True)
    found = {}
    for name in ('triton', 'reference'):
        s = functional.multistep(x, LEAKY, coefficients=rows, backend=name)
        found[name] = s, *torch.autograd.grad(s, (x, *rows.values()), torch.linspace(-1, 1, s.numel()).view_as(s))
    assert found['triton'][0].stride() == x.stride()
    assert_spikes_equal(found['triton'][0], found['reference'][0])
    for actual, expected in zip(found['triton'][1:], found['reference'][1:], strict=True):
        assert_grads_close(actual, expected)


@pytest.mark.parametrize('rows', ['', 'each'])
def test_empty(driver, rows):
    case = replace(STATES_CASE, rows=rows)
    table = torch.ones(5, 1, 3) if rows else None
    call = case.spec.replace('@1', '@2'), 40
    x = torch.empty(40, 0, 3)
    s, last, v_seq, total, checkpoints = backend.multistep_fwd(x, None, table, x, *call, *[True] * 4)
    assert (s.shape, last.shape, checkpoints.shape) == (x.shape, (3, 0, 3), (6, 0, 3))
    assert v_seq.shape == total.shape == x.shape
    grads = backend.multistep_bwd(s, None, None, s, x, None, table, checkpoints, None, *call, True, True, bool(rows))
    assert [g.shape for g in grads[:2]] == [(40, 0, 3), (3, 0, 3)]
    assert grads[2].eq(0).all() if rows else grads[2] is None
    assert driver.runs == []


def test_backward_without_checkpoints(driver):
    """The op makes them anew rather than take them for none."""
    case = replace(FEW[1], T=20)
    x, v0 = case.inputs()
    call = Call(case.spec, case.T, backend='triton')
    actual = run_bwd(x, case.gradients(), v0, None, None, call, (True, case.v0, False))
    expected = backward(reference, case, x, v0, None)
    assert_grads_close(actual[0], expected[0])
    assert_grads_close(actual[1], expected[1], case.dtype)


def test_refusal(monkeypatch):
    gpu, cpu = torch.device('cuda'), torch.device('cpu')
    assert backend.refusal('multistep', gpu, torch.bfloat16) is None
    assert 'not on cpu' in backend.refusal('multistep', cpu, torch.float32)
    assert 'not float64' in backend.refusal('multistep', gpu, torch.float64)
    assert 'Python function' in backend.refusal(CUSTOM, gpu, torch.float32)
    monkeypatch.setitem(sys.modules, 'triton', None)
    assert backend.refusal('multistep', gpu, torch.float32) == 'triton is not installed'
    assert runpy.run_path(device.__file__)['DEVICES'] == ('cuda',)  # importable without it, too
