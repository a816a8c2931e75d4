"""The Poisson encoder's GPU kernels, by the PTX emulator: the reference's spikes, whatever the layout."""

from importlib.util import find_spec

import emulator
import pytest
import torch

from snnkern import encode
from snnkern.testing import assert_spikes_equal

ptxsim = emulator.load()
if find_spec('snnkern._cuda') is None:
    pytest.skip('snnkern._cuda is not built (no nvcc)', allow_module_level=True)

DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# dtype, shape, T, seed, offset: whole vectors, tails, several blocks, counters beyond 32 bits.
CASES = [
    (torch.float32, (1, 1), 1, 0, 0),
    (torch.float32, (3, 7), 5, 2**32 + 9, 2**31),
    (torch.float32, (2, 4, 5, 6), 8, 2**63 - 1, 2**40),
    (torch.float32, (2, 512), 6, 1, 0),
    (torch.float16, (5, 3), 4, 3, 1),
    (torch.float16, (2, 8, 3, 3), 7, 2**40, 2**33),
    (torch.bfloat16, (1, 1031), 3, 17, 5),
    (torch.bfloat16, (4, 16), 13, 2**62, 0),
]


def check(backend, dtype, shape, T, seed, offset):
    x = torch.rand(shape).to(dtype)
    for y in [x, *([x.to(memory_format=torch.channels_last)] if len(shape) == 4 else [])]:
        found = encode.poisson(y, T, seed, offset, backend=backend)
        assert_spikes_equal(found, encode.poisson(y, T, seed, offset, backend='reference'))
        assert found[0].stride() == y.stride()


@pytest.mark.parametrize('gpu', [75, 90], indirect=True)
@pytest.mark.parametrize('case', CASES, ids=str)
def test_cuda(gpu, case):
    check('native', *case)
    assert len(gpu.runs) == 1 + (len(case[1]) == 4)


@pytest.mark.parametrize('driver', [75, 90], indirect=True)
@pytest.mark.parametrize('case', CASES, ids=str)
def test_triton(driver, case):
    pytest.importorskip('triton')
    check('triton', *case)
    assert len(driver.runs) == 1 + (len(case[1]) == 4)


def test_unaligned_cuda(gpu):
    memory = torch.rand(65)
    assert_spikes_equal(encode.poisson(memory[1:].view(2, 32), 5), encode.poisson(memory[1:].view(2, 32).clone(), 5))


def test_unaligned_triton(driver):
    memory = torch.rand(65)
    found = encode.poisson(memory[1:].view(2, 32), 5, backend='triton')
    assert_spikes_equal(found, encode.poisson(memory[1:].view(2, 32), 5, backend='reference'))


@pytest.mark.parametrize('dtype', DTYPES[:2], ids=str)
def test_traffic_cuda(gpu, dtype):
    """Spikes are written once, 16 bytes at a time, x is read once for each group of four steps at most."""
    encode.poisson(torch.rand(4, 512).to(dtype), 8)
    moved = gpu.runs[-1].traffic()
    assert moved.min_width == 16
    assert moved.store == 8 * 4 * 512 * dtype.itemsize
    assert moved.load <= 2 * 4 * 512 * dtype.itemsize


@pytest.mark.parametrize('dtype', DTYPES[:2], ids=str)
def test_machine_code_triton(driver, dtype):
    x = torch.rand(4, 8, 4, 4).to(dtype)
    for y in (x, x.to(memory_format=torch.channels_last)):
        encode.poisson(y, 6, backend='triton')
        facts = emulator.facts(driver.runs[-1][0].asm['cubin'])
        assert (facts.spills, facts.stack, facts.local) == (0, 0, 0)
        assert facts.stores.keys() == {'128'}


def test_few_variants_triton(driver):
    """T, seed, offset and sizes compile nothing new."""
    for T, seed, offset in ((1, 0, 0), (1, 1, 1), (16, 16, 16), (5, 3, 4)):
        encode.poisson(torch.rand(2, 4 * T), T, seed, offset, backend='triton')
    assert len({compiled.hash for compiled, _ in driver.runs}) == 1
