"""The benchmarks still run, their gate closes, and their arithmetic is right; how fast anything is, is not tested."""

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

ROOT = Path(__file__).parents[1]


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch):
    """Imports a module of `benchmarks`, which is no installed package."""
    monkeypatch.syspath_prepend(ROOT)
    return lambda name: importlib.import_module(f'benchmarks.{name}')


@pytest.fixture
def case(part):
    """A small one, forward and backward."""
    registry: ModuleType = part('registry')
    return registry.Case('lif', 4, 256, torch.float32, registry.BOTH)


def test_measure(part, case) -> None:
    registry, run = part('registry'), part('run')
    providers = [p for p in registry.PROVIDERS if not p.compiled]
    result = run.measure(case, providers, rounds=2)
    assert result.failed == {}
    assert {*result.timings, *result.skipped} == {*(p.name for p in providers), registry.COPY}
    assert all(t.least <= t.low <= t.median <= t.high for t in result.timings.values())
    assert all(row['peak_bytes'] is None or row['peak_bytes'] < 2**30 for row in result.rows())
    part('report').show(part('report').case_table(result))


def test_wrong_is_not_timed(part, case) -> None:
    registry, run = part('registry'), part('run')
    wrong = registry.Provider('wrong', lambda: lambda x: registry.torch_loop(x) * 0.5)
    absent = registry.Provider('absent', lambda: None, needs=('no_such_module',))
    result = run.measure(case, [wrong, absent], rounds=1)
    assert 'values differ' in result.failed['wrong']
    assert result.skipped == {'absent': 'no_such_module is not installed'}
    assert set(result.timings) == {registry.COPY}


def test_targets_beside_measured(part) -> None:
    registry, report, timing = part('registry'), part('report'), part('timing')
    case = registry.Case('lif', 16, 1 << 18, torch.float32, registry.FORWARD)
    seconds = {registry.NATIVE: 1.0, registry.SJ: 15.0, registry.SJ_COMPILED: 1.4, registry.COPY: 0.7}
    result = report.Result(case, {name: timing.summary([(s, s)]) for name, s in seconds.items()})
    met = {v['rival']: v['met'] for v in report.verdicts([result])}
    assert met == {registry.SJ: True, registry.SJ_COMPILED: False, registry.COPY: True}
    assert len(report.target_table([result])[2]) == 3


def test_traffic(part, case) -> None:
    assert case.traffic == 4 * 256 * 4 * 5


def test_environment_is_pinned(part, monkeypatch: pytest.MonkeyPatch) -> None:
    run = part('run')
    monkeypatch.setenv('MALLOC_ARENA_MAX', '1')
    assert not {k for k in run.pinned_environment(run.parse([])) if k.startswith('MALLOC_')}
    assert run.pinned_environment(run.parse(['--allocator', 'tuned']))['MALLOC_MMAP_THRESHOLD_']


def test_overhead(part) -> None:
    overhead = part('overhead')
    assert overhead.PROMISED in overhead.measure(rounds=2)


def test_coefficients(part, monkeypatch) -> None:
    coefficients = part('coefficients')
    monkeypatch.setattr(coefficients, 'SHAPE', (2, 3, 4, 5))
    for timings in coefficients.measure(rounds=2).values():
        assert [timings[form].median > 0 for form in coefficients.FORMS] == [True] * 3


def test_pools(part) -> None:
    pools = part('pools')
    for row in pools.measure(rounds=1, sizes=((2, 1, 3, 8, 8),)):
        assert pools.ratios(row['timings']).keys() == set(pools.POOLS) - {pools.LOOP}


def test_command_line(tmp_path: Path) -> None:
    out = tmp_path / 'speed.json'
    words = ['--quick', '--rounds', '1', '--filter', 'forward-T16-N16384', '--providers', 'native', '--json', str(out)]
    command = [sys.executable, '-m', 'benchmarks.run', *words]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True, timeout=300)
    document = json.loads(out.read_text())
    assert document['about']['allocator'] == 'default'
    assert document['cases'][0]['rows'][0]['provider'] == 'snnkern native'
