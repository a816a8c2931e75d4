"""The Triton kernels, compiled for real targets and run by the PTX emulator, against the reference."""

import runpy
import struct
import sys
from dataclasses import replace
from types import SimpleNamespace

import cases
import emulator
import pytest
import torch
from cases import CASES, FEW, Case
from parity import backward, check, forward

from snnkern import (
    IF,
    LIF,
    Binary,
    Burst,
    Hard,
    Neuron,
    Sigmoid,
    Soft,
    fires,
    functional,
    neurons,
    resets,
    surrogates,
)
from snnkern.backends import checkpoint_interval, forget, layout, reference
from snnkern.backends import triton as backend
from snnkern.ops.multistep import run_bwd
from snnkern.testing import assert_grads_close, assert_spikes_equal

pytest.importorskip('triton')
ptxsim = emulator.load()

DTYPES = cases.AXES['dtype']
# Most registers: true divisions by tau and theta, both loops, exp, every optional tensor.
HEAVY = Neuron(LIF(1.5, 0.1), Burst(0.7, 5, real_units=True), Hard(-0.1), Sigmoid())


@pytest.fixture
def driver(request, monkeypatch):
    """Triton's driver is the emulator of an architecture (parameter, else 90); outputs are poisoned."""
    with ptxsim.install_triton(getattr(request, 'param', 90)) as driver:

        def poisoned(x, steps, dtype=None):
            strides, dtype = layout.strides_of(x), dtype or x.dtype
            memory = driver.empty(steps * x[0].numel(), dtype=dtype).fill_(torch.nan)
            return memory.as_strided((steps, *x.shape[1:]), strides)

        monkeypatch.setattr(backend, 'DEVICES', ('cuda', 'cpu'))
        monkeypatch.setattr(backend, 'layout', SimpleNamespace(new_like=poisoned))
        forget()
        yield driver
    forget()
    assert driver.races == []


def test_lists_agree():
    from snnkern.backends import triton_math

    lists = {'CHARGES': neurons, 'FIRES': fires, 'RESETS': resets, 'SURROGATES': surrogates}
    for name, module in lists.items():
        assert getattr(triton_math, name) == tuple(kind.__name__ for kind in getattr(module, name))


# Each on one of two architectures by turns: formulas and architectures do not interact.
TURNS = [pytest.param((75, 90)[i % 2], case, id=str(case)) for i, case in enumerate(CASES + FEW)]


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


@pytest.mark.parametrize('neuron', [Neuron(), Neuron(IF(), Burst(0.5, 3), Soft())], ids=str)
def test_not_finite(driver, neuron):
    """NaN gives no spike and stays; infinities and values at a threshold do as the reference does."""
    odd = [torch.nan, torch.inf, -torch.inf, 1.0, 2.0, 0.5, 3e38, -3e38, 1e-45, 0.0]
    x = torch.tensor(odd).repeat(3, 1)
    x[1:, 3:6] = torch.tensor([0.5, -0.0, torch.nan])
    case = Case(neuron, T=3, N=len(odd), state=True, v0=True)
    for v0 in (torch.zeros(1, len(odd)), torch.full((1, len(odd)), torch.nan)):
        check(backend, case, x, v0)
    assert forward(backend, case, x, None)[0][:, 0].eq(0).all()


NARROW = [(torch.float32, 6), (torch.bfloat16, 6), (torch.bfloat16, 12)]


@pytest.mark.parametrize(('dtype', 'N'), NARROW, ids=str)
def test_rows_without_whole_vectors(driver, dtype, N):
    case = Case(Neuron(), dtype, T=3, N=N)
    check(backend, case, *case.inputs())


@pytest.mark.parametrize('dtype', DTYPES[:2], ids=str)
def test_memory_between_vectors(driver, dtype):
    case = Case(Neuron(), dtype, T=3, N=8)
    x, _ = case.inputs()
    check(backend, case, torch.cat([x.new_zeros(1), x.flatten()])[1:].view_as(x), None)


PLAIN, STATE, ALL = (False, False, False), (True, True, False), (True, True, True)
TRAFFIC = [(torch.float32, PLAIN), (torch.float32, ALL), (torch.float16, STATE), (torch.bfloat16, ALL)]


@pytest.mark.parametrize(('dtype', 'flags'), TRAFFIC, ids=str)
def test_traffic(driver, dtype, flags):
    """The bytes of PITFALLS' formula, 16 at a time."""
    v0, state, constant = flags
    for T in (4, 40):
        case = Case(Neuron(), dtype, T, 1024, *flags)
        x, start = case.inputs()
        checkpoints = forward(backend, case, x, start)[2]
        backward(backend, case, x, start, checkpoints)
        e, kept = dtype.itemsize, 4 * (-(-T // checkpoint_interval(dtype)) - 1)
        there = e * (T + (1 if constant else T)) + 4 * v0 + 4 * state + kept
        back = e * (T + 2 * (1 if constant else T)) + 2 * 4 * v0 + 4 * state + kept
        for (_, run), expected in zip(driver.runs[-2:], (there, back), strict=True):
            moved = run.traffic()
            assert moved.load + moved.store == pytest.approx(expected * case.N, rel=0.05)
            assert moved.min_width == 16
            if dtype == torch.float32:  # in half, a thread's 8 values of the state are two accesses
                assert moved.sector_ratio == 1


@pytest.mark.parametrize('dtype', DTYPES[:2], ids=str)
def test_few_variants(driver, dtype):
    """T compiles nothing new but the chunks of short runs: counted over T = 1..64."""
    for T in (*range(1, 11), 15, 16, 17, 32, 33, 64):
        case = Case(Neuron(), dtype, T, 8)
        x, _ = case.inputs()
        backward(backend, case, x, None, forward(backend, case, x, None)[2])
    kernels = {(c.metadata.name, c.hash) for c, _ in driver.runs}
    count = [sum(name == kind for name, _ in kernels) for kind in ('forward', 'backward')]
    assert count == ([4, 6] if dtype == torch.float32 else [3, 5])


MACHINES = [(arch, dtype) for arch in (75, 80, 90, 100, 120) for dtype in (torch.float32, torch.bfloat16)]
SLOW = [pytest.mark.slow if i % 4 in (1, 2) else () for i in range(len(MACHINES))]  # one dtype each by turns
GATES = [pytest.param(*machine, marks=slow) for machine, slow in zip(MACHINES, SLOW, strict=True)]


@pytest.mark.parametrize(('driver', 'dtype'), GATES, indirect=['driver'])
def test_machine_code(driver, dtype):
    """No spills, no stack, only wide accesses."""
    case = Case(HEAVY, dtype, 40, 8, v0=True, state=True)
    x, v0 = case.inputs()
    backward(backend, case, x, v0, forward(backend, case, x, v0)[2])
    for (compiled, _), most in zip(driver.runs, (80, 208), strict=True):
        facts = emulator.facts(compiled.asm['cubin'])
        assert (facts.spills, facts.stack, facts.local) == (0, 0, 0)
        assert facts.loads.keys() | facts.stores.keys() == {'128'}
        assert facts.registers <= most


def test_no_contraction(driver):
    """h - s * theta stays two operations, which only machine code shows: PTX leaves it to the assembler."""
    case = Case(Neuron(IF(), Binary(0.7), Soft()), N=8)
    forward(backend, case, *case.inputs())
    facts = emulator.facts(driver.runs[0][0].asm['cubin'])
    assert facts.count('FADD') > 0
    assert facts.count('FFMA') == 0


def test_offsets_beyond_32_bits(driver):
    """The last block of 2^32 + 8 neurons, in windows of memory that hold nothing else."""
    N, T, block = 2**32 + 8, 2, 512
    small = Case(Neuron(IF()), T=T, N=8)
    x, _ = small.inputs()
    expected = forward(backend, small, x, None)[0]
    kernel = ptxsim.Module(driver.runs[-1][0].asm['ptx'])
    gpu, base = ptxsim.GPU(), {'x': 1 << 40, 's': 1 << 41}
    rows = {}
    for name, start in base.items():
        for t in range(T):
            address = start + 4 * (t * N + N - 8)
            rows[name, t] = gpu.window(address, 32, f'{name}{t}', written=False)
            if name == 'x':
                rows[name, t].fill(x[t].numpy())
    numbers = [struct.pack('<f', value) for value in (0.0, 0.0, 1.0, 1.0)]
    arguments = [base['x'], base['s'], N // 4, T, *numbers, 1, numbers[0], 0, 0]
    gpu.launch(kernel, 'forward', -(-N // block), 128, arguments, blocks=[N // block])
    for t in range(T):
        found = torch.from_numpy(gpu.get(rows['s', t], 'float32'))
        assert_spikes_equal(found, expected[t])


def test_empty(driver):
    s, last, checkpoints = backend.multistep_fwd(torch.empty(40, 0, 3), None, Neuron().spec, 40, True, True)
    assert (s.shape, last.shape, checkpoints.shape) == ((40, 0, 3), (1, 0, 3), (2, 0, 3))
    grads = backend.multistep_bwd(s, None, s, None, checkpoints, Neuron().spec, 40, True)
    assert [g.shape for g in grads] == [(40, 0, 3), (1, 0, 3)]
    assert driver.runs == []


def test_backward_without_checkpoints(driver):
    """The op makes them anew rather than take them for none."""
    case = replace(FEW[1], T=20)
    x, v0 = case.inputs()
    actual = run_bwd(x, *case.gradients(), v0, None, case.neuron.spec, case.T, case.v0, 'triton')
    expected = backward(reference, case, x, v0, None)
    assert_grads_close(actual[0], expected[0])
    assert_grads_close(actual[1], expected[1], case.dtype)


def test_refusal(monkeypatch):
    gpu, cpu = torch.device('cuda'), torch.device('cpu')
    assert backend.refusal('multistep', gpu, torch.bfloat16) is None
    assert 'not on cpu' in backend.refusal('multistep', cpu, torch.float32)
    assert 'not float64' in backend.refusal('multistep', gpu, torch.float64)
    assert 'lateral_pool2d' in backend.refusal('lateral_pool2d', gpu, torch.float32)
    monkeypatch.setitem(sys.modules, 'triton', None)
    assert backend.refusal('multistep', gpu, torch.float32) == 'triton is not installed'
    assert runpy.run_path(backend.__file__)['DEVICES'] == ('cuda',)  # importable without it, too
