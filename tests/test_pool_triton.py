"""The Triton kernels of the pools, compiled for real targets and run by the PTX emulator."""

import emulator
import pytest
from pools import BF16, F16, F32, Case, check

pytest.importorskip('triton')
emulator.load()

TWO, THREE, LARGE = (2,), (3, 2, 1), (4, 3, 2, 1, True)
CASES = [
    Case('lateral', TWO, (3, 2, 3, 4, 6), F16),
    Case('lateral', TWO, (3, 2, 4, 5, 6), last=True, state=True, scale=0.7),
    Case('lateral', THREE, (3, 2, 3, 7, 6), BF16, state=True),
    Case('lateral', ((2, 3), (1, 2), (1, 0), (2, 1), True), (3, 2, 3, 6, 5), F16),
    Case('lateral', LARGE, (3, 1, 2, 7, 8), state=True, scale=0.7),
    Case('spike_max', TWO, (3, 2, 3, 4, 6), F16, state=True),
    Case('spike_max', THREE, (3, 2, 8, 6, 5), BF16, last=True),
    Case('spike_max', LARGE, (3, 2, 4, 7, 8), last=True, state=True),
    Case('plain', THREE, (2, 2, 8, 6, 5), F16, last=True),
    Case('plain', (17,), (2, 1, 2, 17, 18), F32),
]


# Compilers are slow: one of each kind always.
OFTEN = (0, 2, 4, 6, 8)
TURNS = [
    pytest.param((75, 90)[i // 2 % 2], case, id=str(case), marks=() if i in OFTEN else pytest.mark.slow)
    for i, case in enumerate(CASES)
]


@pytest.mark.parametrize(('driver', 'case'), TURNS, indirect=['driver'])
def test_case(driver, case):
    check(case, 'triton')
    assert driver.runs
    for compiled, _ in driver.runs:
        facts = emulator.facts(compiled.asm['cubin'])
        assert (facts.spills, facts.stack, facts.local) == (0, 0, 0)


@pytest.mark.parametrize('case', [CASES[1], CASES[7]], ids=str)
def test_indices_of_64_bits(driver, case, monkeypatch):
    """Those of more than 2^31 cells, on few."""
    from snnkern.backends.triton import pool

    check(case, 'triton')
    narrow = {compiled.hash for compiled, _ in driver.runs}
    driver.runs.clear()
    monkeypatch.setattr(pool, 'NARROW', 0)
    check(case, 'triton')
    wide = [compiled for compiled, _ in driver.runs if compiled.hash not in narrow]
    assert {compiled.metadata.name for compiled in wide} >= {'gather'}
    assert all('.u64' in compiled.asm['ptx'] for compiled in wide)
