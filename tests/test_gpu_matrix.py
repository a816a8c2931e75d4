"""Every GPU kernel x dtype x size x layout x architecture, against the reference to the bit and in float64.

Half of the rows run with warps in a random order, and all with checks of races, bounds and reads of what nobody wrote
(emulator.py).
"""

from importlib.util import find_spec
from itertools import combinations, cycle, islice
from random import Random

import emulator
import gpucases
import pytest
import torch
from gpucases import FAMILIES, LAYOUTS

ptxsim = emulator.load()
DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# Nothing, one; vectors of 4 and 8 +- 1; a warp +- 1; more than one block, and such a number that is odd.
SIZES = (0, 1, 3, 4, 5, 7, 8, 9, 31, 33, 1031, 1288)
BUILT = (75, 90)  # the emulator's library holds PTX of these
ARCHITECTURES = (75, 80, 90, 100, 120)
SEEDS = (None, 1)
EXHAUSTIVE = (pytest.mark.slow, pytest.mark.exhaustive)


def rows(architectures):
    """Every size of every family, with architectures, dtypes, layouts and orders shuffled."""
    random, axes = Random(0), (architectures, DTYPES, LAYOUTS, SEEDS)
    for family in FAMILIES:
        columns = [list(islice(cycle(axis), len(SIZES))) for axis in axes]
        for column in columns:
            random.shuffle(column)
        yield from ((family, *row) for row in zip(SIZES, *columns, strict=True))


def name(value):
    return str(value).removeprefix('torch.').replace(' ', '_')


def marked(found, often, in_ci):
    """Rows as parameters; often, in_ci: one of how many runs by default, and in CI. Families begin at different ones."""
    for i, row in enumerate(found):
        turn = i + i // len(SIZES)
        marks = () if turn % often == 0 else pytest.mark.slow if turn % in_ci == 0 else EXHAUSTIVE
        yield pytest.param(row[2], row, id='-'.join(map(name, row)), marks=marks)


CUDA = list(marked(rows(BUILT), 4, 1))
TRITON = list(marked(rows(ARCHITECTURES), 40, 10))


def test_rows_hold_every_pair():
    """Of any two of family, architecture, dtype, size, layout and order."""
    for archs in (BUILT, ARCHITECTURES):
        found = list(rows(archs))
        axes = FAMILIES, SIZES, archs, DTYPES, LAYOUTS, SEEDS
        for i, j in combinations(range(len(axes)), 2):
            missing = {(a, b) for a in axes[i] for b in axes[j]} - {(row[i], row[j]) for row in found}
            assert not missing


@pytest.mark.skipif(find_spec('snnkern._cuda') is None, reason='snnkern._cuda is not built (no nvcc)')
@pytest.mark.parametrize(('gpu', 'row'), CUDA, indirect=['gpu'])
def test_cuda(gpu, row, monkeypatch):
    family, size, _, dtype, order, seed = row
    monkeypatch.setattr(gpu, 'seed', seed)
    gpucases.check('native', family, dtype, size, order)
    assert bool(gpu.runs) == (size > 0)


@pytest.mark.parametrize(('driver', 'row'), TRITON, indirect=['driver'])
def test_triton(driver, row):
    pytest.importorskip('triton')
    family, size, arch, dtype, order, driver.seed = row
    gpucases.check('triton', family, dtype, size, order)
    assert bool(driver.runs) == (size > 0)
    assert all(f'.target sm_{arch}' in compiled.asm['ptx'] for compiled, _ in driver.runs)
