"""The CUDA kernels: nvcc's real output and the library's own launch code, run by the PTX emulator."""

from importlib.util import find_spec
from itertools import product

import cases
import emulator
import pytest
import torch
from cases import CASES, FEW, Case
from parity import backward, check, forward

from snnkern import (
    IF,
    LIF,
    PLIF,
    Adaptive,
    Affine,
    Burst,
    Hard,
    Neuron,
    Sigmoid,
    Signed,
    SignedMemory,
    Soft,
    Synaptic,
    functional,
)
from snnkern.backends import checkpoint_interval, native
from snnkern.testing import assert_grads_close, assert_spikes_equal

DTYPES = cases.AXES['dtype']

if find_spec('snnkern._cuda') is None:
    pytest.skip('snnkern._cuda is not built (no nvcc)', allow_module_level=True)
ptxsim = emulator.load()


def last_runs(gpu, count):
    return [run.traffic() for run in gpu.runs[-count:]]


def test_lists_agree(gpus):
    module = gpus[90].module
    from snnkern.neurons import AXES

    for axis, kinds in AXES.items():
        assert getattr(module, f'{axis}s'.upper()) == [kind.__name__ for kind in kinds]


TURNS = [pytest.param((75, 90)[i % 2], case, id=str(case)) for i, case in enumerate(CASES)]


@pytest.mark.parametrize(('gpu', 'case'), TURNS, indirect=['gpu'])
def test_case(gpu, case):
    check(native, case, *case.inputs())
    assert len(gpu.runs) == 2


@pytest.mark.parametrize('gpu', [75, 90], indirect=True)
@pytest.mark.parametrize('case', FEW, ids=str)
def test_both_architectures(gpu, case):
    check(native, case, *case.inputs())


@pytest.mark.slow
@pytest.mark.parametrize('gpu', [75, 90], indirect=True)
@pytest.mark.parametrize('dtype', DTYPES, ids=str)
def test_every_size(gpu, dtype):
    """The full product of sizes and steps for the default neuron."""
    for N, T in product(cases.AXES['N'], cases.AXES['T']):
        case = Case(Neuron(), dtype, T, N, v0=True, state=True)
        check(native, case, *case.inputs())


def test_channels_last_through_autograd(gpu):
    x = (2 * torch.randn(4, 2, 5, 6, 3)).permute(0, 1, 4, 2, 3).requires_grad_()
    v0 = torch.rand(x.shape[1:], requires_grad=True)
    grads = torch.randn(x.shape), torch.randn(x.shape[1:])
    found = {}
    for name in ('native', 'reference'):
        s, v = functional.multistep(x, Neuron(), v0=v0, return_state=True, backend=name)
        found[name] = s, v, *torch.autograd.grad((s, v), (x, v0), grads)
    assert len(gpu.runs) == 2
    assert found['native'][0].stride() == x.stride() != x.contiguous().stride()
    for actual, expected in zip(found['native'][:2], found['reference'][:2], strict=True):
        assert_spikes_equal(actual, expected)
    for actual, expected in zip(found['native'][2:], found['reference'][2:], strict=True):
        assert_grads_close(actual, expected)


def traffic_of(gpu, case):
    """The bytes that a call's two kernels load and store per neuron, all of them in 16-byte accesses."""
    check(native, case, *case.inputs())
    runs = last_runs(gpu, 2)
    for traffic in runs:
        assert traffic.min_width == 16
        if case.dtype == torch.float32:  # eight potentials of a half vector are two accesses of half a sector each
            assert traffic.sector_ratio == 1.0
    return tuple((traffic.load + traffic.store) / case.N for traffic in runs)


@pytest.mark.parametrize('dtype', DTYPES, ids=str)
@pytest.mark.parametrize('T', [4, 16, 40])
def test_bytes_and_widths(gpu, dtype, T):
    """Exactly the bytes that must move, in 16-byte accesses: 8 + 12 a step in float32, 4 + 6 in half."""
    kept = -(-T // checkpoint_interval(dtype)) - 1
    row = dtype.itemsize * T
    expected = 2 * row + 4 * (2 + kept), 3 * row + 4 * (3 + kept)  # states: v0, v_last; v0, grad_last, grad_v0
    assert traffic_of(gpu, Case(Neuron(), dtype, T, 4096, v0=True, state=True)) == expected


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize('v_seq', [False, True])
def test_bytes_of_more_states(gpu, dtype, v_seq):
    """Every state moves as the potential does; the trace of v and its gradient are a float32 row each."""
    neurons = (Neuron(Synaptic()), Neuron(fire=Adaptive()), Neuron(Synaptic(), SignedMemory(0.5, 4)))
    for neuron in neurons:
        T, S = 20, len(neuron.states)
        kept = -(-T // checkpoint_interval(dtype)) - 1
        row = dtype.itemsize * T
        expected = 2 * row + 4 * S * (2 + kept) + 4 * T * v_seq, 3 * row + 4 * S * (3 + kept) + 4 * T * v_seq
        assert traffic_of(gpu, Case(neuron, dtype, T, 1024, v0=True, state=True, v_seq=v_seq)) == expected


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16], ids=str)
@pytest.mark.parametrize('charge', [Affine(), Synaptic(), LIF()], ids=lambda charge: type(charge).__name__)
def test_bytes_of_coefficients(gpu, dtype, charge):
    """Coefficients are read once, their sums written once: x, gradients and checkpoints move as without them."""
    T, neuron = 20, Neuron(charge, SignedMemory(0.5, 4), Soft())
    case = Case(neuron, dtype, T, 1024, state=True, rows='each')
    P, S, kept = len(neuron.coefficients), len(neuron.states), -(-T // checkpoint_interval(dtype)) - 1
    row = dtype.itemsize * T
    # alpha is no coefficient of forward; backward reads all and writes all sums
    expected = 2 * row + 4 * S * (1 + kept) + 4 * (P - 1), 3 * row + 4 * S * (1 + kept) + 4 * 2 * P
    assert traffic_of(gpu, case) == expected


def test_constant_input_is_read_once(gpu):
    case = Case(Neuron(), T=40, N=4096, constant=True)
    check(native, case, *case.inputs())
    forth, back = last_runs(gpu, 2)
    assert forth.load == 4 * 4096
    assert back.store == 4 * 4096


# B, C, H, W: vectors of 4 and 8 that span channels, lie within one, and one or several neighbours.
SHAPES = [(4, 3, 2, 5), (4, 5, 2, 3), (2, 8, 1, 3), (1, 2, 4, 4), (3, 3, 1, 5)]


@pytest.mark.parametrize('gpu', [75, 90], indirect=True)
@pytest.mark.parametrize('steps', [1, 5])
@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_coefficients_in_every_layout(gpu, shape, steps):
    """[T, B, C, H, W], contiguous and channels-last; numbers of each channel, and of each step."""
    T, C = 5, shape[1]
    neuron = Neuron(Affine(0.9, 0.7, -0.05), Signed(0.5, 3, True, -1.5, 0.5), Soft())
    own = {'a': 0.9, 'c': -0.05, 'v_threshold': 0.5, 'alpha': 2.0}
    around = {name: value * (1 + torch.rand(steps, C) / 4) for name, value in own.items()}
    rows = {name: (value if steps > 1 else value[0]).requires_grad_() for name, value in around.items()}
    dense = (3 * torch.randn(T, *shape) / 2).half().float()
    grad = torch.randn(T, *shape)
    last = dense.permute(0, 1, 3, 4, 2).contiguous().permute(0, 1, 4, 2, 3)
    for x, dtype in product((dense, last), (torch.float32, torch.float16)):
        x = x.to(dtype).requires_grad_()
        found = {}
        for name in ('native', 'reference'):
            s = functional.multistep(x, neuron, coefficients=rows, backend=name)
            found[name] = s, *torch.autograd.grad(s, (x, *rows.values()), grad.to(dtype))
        assert_spikes_equal(found['native'][0], found['reference'][0])
        assert_grads_close(found['native'][1], found['reference'][1])
        for actual, expected in zip(found['native'][2:], found['reference'][2:], strict=True):
            assert_grads_close(actual, expected)


def test_coefficients_in_misaligned_memory(gpu):
    """One tensor of coefficients is not copied: its address need not be that of a vector."""
    x, memory = torch.randn(4, 2, 16), torch.rand(17)
    grads = {}
    for name in ('native', 'reference'):
        theta = memory[1:].requires_grad_()
        s = functional.multistep(x, Neuron(), coefficients={'v_threshold': theta}, backend=name)
        grads[name] = torch.autograd.grad(s.square().sum(), theta)[0]
    assert_grads_close(grads['native'], grads['reference'])


def test_sums_are_the_same_every_time(gpu):
    case = Case(Neuron(PLIF(0.3), Burst(0.75, 3), Soft()), T=20, N=264, rows='one')
    x, _ = case.inputs()
    first = backward(native, case, x, None, forward(native, case, x, None)[4])
    again = backward(native, case, x, None, forward(native, case, x, None)[4])
    assert first[2].abs().min() > 0
    assert torch.equal(first[2], again[2])


@pytest.mark.parametrize('offset', [1, 3])
def test_misaligned_memory(gpu, offset):
    case = Case(Neuron(), T=5, N=128)
    x, _ = case.inputs()
    memory = torch.empty(x.numel() + offset)
    check(native, case, memory[offset:].view_as(x).copy_(x), None)
    assert all(traffic.min_width == 4 for traffic in last_runs(gpu, 2))


def test_special_values(gpu):
    """NaN makes no spike and stays, infinities reset, a potential exactly at the threshold fires."""
    values = [torch.nan, torch.inf, -torch.inf, 1.0, 1.0 - 2**-24, 1e-40, -1e-40, 3.4e38]
    x = torch.tensor(values).repeat(3, 5)
    for neuron in (Neuron(IF()), Neuron(LIF(1.5), reset=Soft()), Neuron(IF(), Burst(0.5, 3), Hard(0.1))):
        check(native, Case(neuron, T=3, N=x.shape[1], state=True), x, None)


def test_empty_input_launches_nothing(gpu):
    assert functional.lif(torch.empty(4, 0)).shape == (4, 0)
    assert gpu.runs == []


def test_a_failed_launch_is_an_exception(gpu, monkeypatch):
    device = native.Device(lambda: gpu.module, lambda x: (7, 0))  # there is one device, number 0
    monkeypatch.setitem(native.DEVICES, 'cpu', device)
    with pytest.raises(RuntimeError, match='CUDA: '):
        functional.lif(torch.randn(4, 33))


HEAVIEST = [
    Neuron(LIF(1.5, 0.1), Burst(0.75, 5, real_units=True), Hard(-0.1), Sigmoid()),
    Neuron(Synaptic(0.75, 0.5, 0.05, 0.6, delayed=True), SignedMemory(0.75, 5, True, -1.0), Hard(-0.1), Sigmoid()),
]


@pytest.mark.parametrize('rows', ['', 'each'])
@pytest.mark.parametrize('neuron', HEAVIEST)
def test_heaviest_neurons(gpu, neuron, rows):
    case = Case(neuron, T=17, N=260, v0=True, state=True, v_seq=True, rows=rows)
    check(native, case, *case.inputs())
