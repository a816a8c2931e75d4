"""The CUDA kernels of the pools, run by the PTX emulator."""

from importlib.util import find_spec

import emulator
import pytest
from pools import BF16, F16, F32, Case, check

if find_spec('snnkern._cuda') is None:
    pytest.skip('snnkern._cuda is not built (no nvcc)', allow_module_level=True)
emulator.load()

TWO, THREE, WIDE, LARGE = (2,), (3, 2, 1), ((2, 3), (1, 2), (1, 0), (2, 1), True), (4, 3, 2, 1, True)
CASES = [
    Case('lateral', TWO, (3, 2, 3, 4, 6)),
    Case('lateral', TWO, (3, 1, 8, 4, 6), F16, last=True, state=True, scale=0.5),
    Case('lateral', TWO, (2, 2, 4, 5, 6), last=True, state=True, scale=0.7),
    Case('lateral', THREE, (3, 2, 3, 7, 6), BF16, state=True),
    Case('lateral', THREE, (2, 1, 4, 6, 7), last=True),
    Case('lateral', (3,), (2, 1, 3, 6, 6), state=True),
    Case('lateral', WIDE, (3, 2, 3, 6, 5), F16),
    Case('lateral', LARGE, (3, 1, 2, 7, 8), state=True, scale=0.7),
    Case('lateral', (17,), (2, 1, 2, 17, 18), F32, state=True),
    Case('spike_max', TWO, (3, 2, 3, 4, 6), F16, state=True),
    Case('spike_max', TWO, (3, 1, 4, 4, 6), last=True),
    Case('spike_max', THREE, (3, 1, 8, 6, 5), BF16, last=True),
    Case('spike_max', LARGE, (3, 1, 4, 7, 8), last=True, state=True),
    Case('plain', TWO, (2, 2, 3, 5, 6)),
    Case('plain', THREE, (2, 1, 8, 6, 5), F16, last=True),
    Case('plain', LARGE, (2, 2, 3, 7, 8), BF16),
]


@pytest.mark.parametrize(
    ('gpu', 'case'), [((75, 90)[i % 2], case) for i, case in enumerate(CASES)], indirect=['gpu'], ids=str
)
def test_case(gpu, case):
    check(case, 'native')
    assert gpu.runs
    assert all(run.races == [] for run in gpu.runs)
