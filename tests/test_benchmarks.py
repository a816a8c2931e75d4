"""The smaller benchmarks still run; how fast anything is, is not tested. The suite: tests/test_bench*.py."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch):
    """Imports a module of `benchmarks`, which is no installed package."""
    monkeypatch.syspath_prepend(ROOT)
    return lambda name: importlib.import_module(f'benchmarks.{name}')


def test_overhead(part) -> None:
    overhead = part('overhead')
    assert overhead.PROMISED in overhead.measure(2, overhead.layers())


def test_coefficients(part, monkeypatch) -> None:
    coefficients = part('coefficients')
    monkeypatch.setattr(coefficients, 'SHAPE', (2, 3, 4, 5))
    for timings in coefficients.measure(rounds=2).values():
        assert [timings[form].median > 0 for form in coefficients.FORMS] == [True] * 3


def test_one_case_through_pytest_benchmark() -> None:
    pytest.importorskip('pytest_benchmark')
    one = 'benchmarks/test_speed.py::test_speed[lif-forward-T16-N64-float32-snnkern native]'
    command = [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', '--benchmark-disable', one]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert '1 passed' in done.stdout, done.stdout[-2000:] + done.stderr[-2000:]


def test_pools(part) -> None:
    pools = part('pools')
    for row in pools.measure(rounds=1, sizes=((2, 1, 3, 8, 8),)):
        assert pools.ratios(row['timings']).keys() == set(pools.POOLS) - {pools.LOOP}
