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
    Case('lateral', (4, 2, 2, 1, True), (3, 1, 8, 7, 4), F16, last=True, state=True, scale=0.5),
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


@pytest.mark.parametrize(('dtype', 'last'), [(F32, False), (F32, True), (F16, True)], ids=str)
@pytest.mark.parametrize('mode', ['lateral', 'spike_max'])
def test_bytes_of_tiles(gpu, mode, dtype, last):
    """2x2, stride 2: x and outputs once, backward x and both gradients once, and one step of counts each way."""
    case = Case(mode, TWO, (5, 2, 8, 4, 8), dtype, last)
    check(case, 'native')
    forth, back = (run.traffic() for run in gpu.runs)
    x, counts = case.input().nbytes, 4 * case.input()[0].numel()
    assert (forth.load, forth.store) == (x, x // 4 + counts)
    assert (back.load, back.store) == (x + x // 4 + counts, x)
    assert min(forth.min_width, back.min_width) == (16 if last else 4)


def test_bytes_of_overlapping_windows(gpu):
    """Backward: a byte for each output and step between its two kernels."""
    case = Case('lateral', THREE, (4, 1, 2, 8, 8))
    check(case, 'native')
    winners, gather = (run.traffic() for run in gpu.runs[-2:])
    x = case.input()
    which = x[..., ::2, ::2].numel()
    assert winners.store == which
    assert (gather.load, gather.store) == (which * 4 * 5, x.nbytes)  # a window is in four tiles


def test_results_are_the_same_every_time(gpu):
    case = Case('lateral', THREE, (3, 2, 3, 7, 6), state=True)
    for once, again in zip(case.run('native'), case.run('native'), strict=True):
        assert (once == again).all()
