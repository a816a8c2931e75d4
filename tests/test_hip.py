"""Every Triton kernel compiled for an AMD GPU (gfx942: MI300), as our launchers launch it, down to its machine code."""

import pytest
import torch
from cases import Case
from compiled import accesses, compiling, operations, resources
from parity import backward, forward
from pools import Case as Pool

from snnkern.backends import forget
from snnkern.backends import triton as backend
from snnkern.backends.triton import device
from snnkern.charges import IF, LIF, Affine, Synaptic
from snnkern.fires import Binary, Burst, SignedMemory
from snnkern.neurons import Neuron
from snnkern.resets import Delayed, Hard, Soft
from snnkern.surrogates import Sigmoid

DTYPES = F32, F16, BF16 = torch.float32, torch.float16, torch.bfloat16
WIDE = ('load_dwordx4', 'store_dwordx4')
HEAVY = Neuron(LIF(1.5, 0.1), Burst(0.7, 5, real_units=True), Hard(-0.1), Sigmoid())
STATES = Neuron(Synaptic(0.8, decay=0.7), SignedMemory(0.7, 5, real_units=True), Soft())
LEAKY = Neuron(Affine(0.9, 0.7), Binary(strict=True), Delayed())
PLAIN = [Case(Neuron(), dtype, T, 4096) for dtype in DTYPES for T in (4, 16)]
LARGE = [Case(n, dtype, 40, 4096, v0=True, state=True) for n in (HEAVY, STATES) for dtype in DTYPES]
CASES = [*PLAIN, LARGE[0], *(pytest.param(case, marks=pytest.mark.slow) for case in LARGE[1:])]
ROWS = [Case(LEAKY, dtype, 20, 4096, v0=True, state=True, v_seq=True, rows='each') for dtype in (F32, BF16)]


@pytest.fixture
def made(monkeypatch):
    """The kernels that a test compiles; none of them needs scratch memory or spills a register."""
    monkeypatch.setattr(device, 'DEVICES', ('cuda', 'cpu'))
    forget()
    with compiling('hip') as found:
        yield found
    forget()
    assert found
    for kernel in found:
        assert kernel.asm['hsaco'].startswith(b'\x7fELF')
        assert '.amdgcn_target "amdgcn-amd-amdhsa--gfx942"' in kernel.asm['amdgcn']
        used = resources(kernel)
        none = ('private_segment_fixed_size', 'vgpr_spill_count', 'sgpr_spill_count')
        assert [used[name] for name in none] == [0, 0, 0], kernel.name
        assert used['vgpr_count'] + used['agpr_count'] <= 256, kernel.name  # two waves of each SIMD at least


def narrow(kernel):
    """Accesses of other than 16 bytes."""
    return {name for name in accesses(kernel) if not name.endswith(WIDE)}


@pytest.mark.parametrize('case', CASES, ids=str)
def test_multistep(made, case):
    x, state = case.inputs()
    backward(backend, case, x, state, forward(backend, case, x, state)[4])
    assert [kernel.name for kernel in made] == ['forward', 'backward']
    for kernel in made:
        assert accesses(kernel)
        assert not narrow(kernel), kernel.name


@pytest.mark.slow
@pytest.mark.parametrize('case', ROWS, ids=str)
def test_coefficients(made, case):
    """Only coefficients are read by 4 bytes; a thread's vectors of half precision are as many as its v, which are 4."""
    x, state = case.inputs()
    backward(backend, case, x, state, forward(backend, case, x, state)[4])
    assert narrow(made[0]) <= {'buffer_load_dword', 'buffer_load_dwordx2', 'buffer_store_dwordx2'}


def test_not_aligned(made):
    case = Case(Neuron(), T=16, N=4097)
    x, _ = case.inputs()
    backward(backend, case, x, None, forward(backend, case, x, None)[4])


def test_no_contraction(made):
    """h - s * theta stays two operations."""
    case = Case(Neuron(IF(), Binary(0.7), Soft()), N=4096)
    forward(backend, case, *case.inputs())
    found = operations(made[0])
    assert {'v_pk_add_f32', 'v_add_f32_e32', 'v_sub_f32_e32'} & found.keys()
    assert not [name for name in found if 'fma' in name or '_mac_' in name or '_mad_' in name]


@pytest.mark.parametrize('dtype', DTYPES)
def test_moments_and_poisson(made, dtype):
    backend.moments(torch.zeros(20, 2, 4, 16).to(dtype), 2)
    backend.poisson(torch.zeros(4, 4096, dtype=dtype), 6, 1, 0)
    for kernel in made:
        assert not narrow(kernel), kernel.name


@pytest.mark.parametrize('dtype', DTYPES)
@pytest.mark.parametrize('kind', ['bits', 'counts', 'signed'])
def test_pack(made, dtype, kind):
    data = backend.pack_spikes(torch.zeros(4096, dtype=dtype), kind, 0.7, True)
    backend.unpack_spikes(data, kind, 0.7, 4096, dtype)
    assert [kernel.name.partition('_')[0] for kernel in made] == ['pack', 'unpack']


@pytest.mark.parametrize('window', [(2,), (4, 3, 2, 1, True)], ids=['small', 'large'])
@pytest.mark.parametrize('mode', ['lateral', 'spike_max', 'plain'])
def test_pool(made, mode, window):
    Pool(mode, window, (3, 1, 2, 7, 8), BF16, state=mode != 'plain').run('triton')
    expected = {'windows', 'count'} if window == (2,) else {'one_step', 'count'}
    assert {kernel.name for kernel in made} == {'gather', *(expected if mode != 'plain' else ['one_step'])}
