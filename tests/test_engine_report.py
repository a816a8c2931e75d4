"""What an engine says of itself."""

import json

import pytest
import torch
from planned import T, compiled, images, made, plan

from snnkern.backends.events import Axis, Layer, Slot, Synapse, pack
from snnkern.engine.choice import Cost
from snnkern.engine.density import Work, work
from snnkern.engine.engine import Engine


@pytest.fixture(scope='module')
def engine() -> Engine:
    return made(plan(), 'auto')


def test_work_is_counted_by_hand() -> None:
    """A spike in a corner of 3 x 3 reaches 4 outputs, one in the middle 9."""
    slots = [Slot('a', 'counts', 2, 3, 3), Slot('b', 'currents', 5, 3, 3)]
    side = Axis(3, 3, 3, 1, 1)
    counts = torch.zeros(4, 1, 2, 3, 3)
    counts[0, 0, 0, 0, 0], counts[3, 0, 1, 1, 1] = 2, -1
    layer = Layer('layer', 1, (Synapse(0, torch.randn(5, 2, 3, 3), side, side),))
    found = work(layer, slots, {0: pack(counts)}, 4)
    macs = 4 * 2 * 5 * (4 * 4 + 4 * 6 + 9)
    assert found == Work(2, 3, 5 * (2 * 4 + 9), macs, 5 * (4 + 9))
    assert found.density == pytest.approx(65 / macs)
    doubled = found + found
    assert (doubled.events, doubled.density) == (4, found.density)


def test_work_of_some_channels() -> None:
    """Channels that a synapse does not read cause nothing."""
    slots = [Slot('a', 'counts', 4), Slot('b', 'currents', 6)]
    layer = Layer('layer', 1, (Synapse(0, torch.randn(6, 1, 1, 1), Axis(1, 1), Axis(1, 1), groups=2, first=1),))
    counts = torch.ones(1, 2, 4, 1, 1)
    assert work(layer, slots, {0: pack(counts)}, 1) == Work(4, 4, 6, 6, 6)


def test_report_names_all_steps(engine: Engine) -> None:
    report = engine.report()
    assert [part.name for part in report.parts] == ['stem', 'first', 'second', 'pool', 'out']
    assert [part.kind for part in report.parts] == ['stem', 'layer', 'layer', 'pool', 'layer']
    second = report.parts[2]
    assert second.density is not None
    assert 0 < second.density < 1
    assert second.events <= second.spikes
    assert second.macs == T * 20 * 6 * (4 * 4 + 4 * 6 * 6 + 36 * 9)
    assert report.synops == sum(part.synops for part in report.parts)
    assert report.milliseconds == pytest.approx(sum(part.milliseconds for part in report.parts))
    assert all(part.milliseconds > 0 for part in report.parts)
    assert json.loads(report.to_json())['parts'][2]['synops'] == second.synops
    text = str(report)
    assert all(name in text for name in ('second', 'SynOps', 'density', '8 of 8 steps'))


def test_silence_causes_less_work(engine: Engine) -> None:
    found = engine.report(torch.zeros(2, 3, 8, 8))
    assert found.images == 2
    assert found.parts[2].synops < engine.report(images(2)).parts[2].synops / 2


@compiled
def test_times_are_predicted() -> None:
    """By costs that are known: of twice as many images twice the time."""
    cost = Cost(2, dense=9.0, silent={1: 1e-3, 8: 1e-3}, full={1: 0.1, 8: 0.0})
    made = made_with(cost)
    parts = {part.name: part for part in made.report(images(4)).parts}
    assert parts['second'].predicted == pytest.approx(2.0)
    assert parts['first'].predicted is None
    assert all(part.predicted is None for part in parts.values() if part.kind != 'layer')


def made_with(cost: Cost) -> Engine:
    engine = made(plan(), 'events')
    costs = [cost if known else None for known in engine.choices.costs[1]]
    engine.choices.use({2: costs}, engine.choices.shares)
    return engine


@compiled
def test_explain(engine: Engine) -> None:
    text = engine.explain()
    assert '3 layers of neurons and 1 pools for T = 8' in text
    assert 'native code on 1 threads' in text


def test_explain_without_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('snnkern.engine.runner.native', lambda: (None, 'nobody compiled them'))
    engine = made(plan())
    assert 'all of them run in torch: nobody compiled them' in engine.explain()
    x = images(2)
    torch.testing.assert_close(engine(x), made(plan(), 'dense')(x), rtol=1e-4, atol=1e-4)
    assert {part.way for part in engine.report().parts} == {'once', 'torch'}
