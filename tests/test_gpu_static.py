"""Facts of the machine code that nvcc made for every architecture: no GPU and no emulation needed."""

import os
import re
from functools import lru_cache
from importlib.util import find_spec

import emulator
import pytest

RARE = (pytest.mark.slow, pytest.mark.exhaustive)
ARCHITECTURES = ('sm_75', 'sm_90', 'sm_120', *(pytest.param(arch, marks=RARE) for arch in ('sm_80', 'sm_100')))
FOUND = find_spec('snnkern._cuda')
if FOUND is None:
    pytest.skip('snnkern._cuda is not built (no nvcc)', allow_module_level=True)
ptxsim = emulator.load()


@lru_cache
def everything(arch):
    facts = ptxsim.sass_facts(FOUND.origin, arch)
    if not facts and not os.environ.get('CI'):  # SNNKERN_CUDA_ARCHS, or an older nvcc
        pytest.skip(f'snnkern._cuda holds no code for {arch}')
    return facts


def kernels(arch, pattern=r'\d(forward|backward|moments)I'):
    return {name: fact for name, fact in everything(arch).items() if re.search(pattern, name)}


@pytest.mark.parametrize('arch', ARCHITECTURES)
def test_no_spills_no_stack(arch):
    """2 directions x with or without coefficients x 5 charges, and moments, x 4 or 2 bytes x 2 widths: all variables in
    registers."""
    facts = kernels(arch)
    assert len(facts) == 84
    for name, fact in facts.items():
        assert (fact.spills, fact.stack, fact.local) == (0, 0, 0), name


@pytest.mark.parametrize('arch', ARCHITECTURES)
def test_vectors_move_128_bits(arch):
    """Kernels for aligned input touch global memory by 16 bytes only; three blocks of 128 threads fit or more."""
    wide = {name: fact for name, fact in kernels(arch).items() if re.search(r'Li[48]ELb0E', name)}
    assert len(wide) == 20
    for name, fact in wide.items():
        assert fact.loads.keys() == fact.stores.keys() == {'128'}, name
        assert fact.registers <= (168 if 'backwardINS0_4HalfE' in name else 128), name


@pytest.mark.parametrize('arch', ARCHITECTURES)
def test_common_neurons(arch):
    """4 or 2 bytes x 6 charges x 2 resets x 2 directions, and forward of converted neurons: by 16 bytes, and lean."""
    found = kernels(arch, r'quick_(for|back)wardI')
    assert len(found) == 50
    for name, fact in found.items():
        assert (fact.spills, fact.stack, fact.local) == (0, 0, 0), name
        assert fact.loads.keys() == fact.stores.keys() == {'128'}, name
        assert fact.registers <= 72, name
    assert max(fact.registers for name, fact in found.items() if 'forwardIf' in name) <= 64


@pytest.mark.parametrize('arch', ARCHITECTURES)
def test_vectors_with_coefficients(arch):
    """Only the coefficients are read by 4 bytes, where neighbours do not have neighbouring ones."""
    wide = {name: fact for name, fact in kernels(arch).items() if re.search(r'Li[48]ELb1E', name)}
    assert len(wide) == 20
    for name, fact in wide.items():
        assert fact.loads.keys() == {'32', '128'}, name
        assert fact.stores.keys() == {'128'}, name


@pytest.mark.parametrize('arch', ARCHITECTURES)
def test_threads_of_forward(arch):
    """The stream of a residual, which most calls do not have, leaves five blocks of 128 threads on an SM or more."""
    wide = {name: fact for name, fact in kernels(arch).items() if re.search(r'forwardI.*Li[48]ELb0E', name)}
    assert len(wide) == 10
    for name, fact in wide.items():
        assert fact.registers <= (80 if 'fLi4E' in name else 96), name


@pytest.mark.parametrize('arch', ARCHITECTURES)
def test_moments_move_128_bits(arch):
    wide = {name: fact for name, fact in kernels(arch).items() if re.search(r'momentsI.*Li[48]E', name)}
    assert len(wide) == 2
    for name, fact in wide.items():
        assert fact.loads.keys() == fact.stores.keys() == {'128'}, name
        assert fact.registers <= 64, name


@pytest.mark.parametrize('arch', ARCHITECTURES)
def test_packing(arch):
    """There and back x 4 or 2 bytes x aligned or not x bits or counts; the aligned ones move x by 16 bytes."""
    facts = kernels(arch, r'\d(un)?pack_spikesI')
    assert len(facts) == 16
    for name, fact in facts.items():
        assert (fact.spills, fact.stack, fact.local) == (0, 0, 0), name
        if 'Lb1E' in name.partition('_spikesI')[2][:6]:
            assert '128' in (fact.stores if 'unpack' in name else fact.loads), name


@pytest.mark.parametrize('arch', ARCHITECTURES)
def test_pools(arch):
    """4 or 2 bytes x 2 widths x forward and winners of 4 or 9 cells, backward, steps, gathers of 3 kinds, counts."""
    found = kernels(arch, r'\dpool_[a-z_]+I')
    assert len(found) == 44
    for name, fact in found.items():
        assert (fact.spills, fact.stack, fact.local) == (0, 0, 0), name


@pytest.mark.parametrize('arch', ARCHITECTURES)
def test_poisson(arch):
    """4 or 2 bytes x 2 widths; vectors are stored by 16 bytes."""
    found = kernels(arch, r'poisson_kernelI')
    assert len(found) == 4
    for name, fact in found.items():
        assert (fact.spills, fact.stack, fact.local) == (0, 0, 0), name
        if re.search('Li[48]E', name):
            assert fact.loads.keys() == fact.stores.keys() == {'128'}, name
            assert fact.registers <= 128, name
