"""The benchmark of `accelerate` runs on small inputs and its clock is right; how fast anything is, is not tested."""

import importlib
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from time import perf_counter, sleep

import pytest
import torch
from torch import nn

ROOT = Path(__file__).parents[1]
NAP = 0.02


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch):
    """Imports a module of `benchmarks`, which is no installed package."""
    monkeypatch.syspath_prepend(ROOT)
    return lambda name: importlib.import_module(f'benchmarks.{name}')


def tiny(T):
    """Convolution, BatchNorm, LIF and pool of SpikingJelly, twice."""
    layer, neuron = (importlib.import_module(f'spikingjelly.activation_based.{name}') for name in ('layer', 'neuron'))
    m = {'step_mode': 'm'}

    def block(a, b):
        conv = layer.Conv2d(a, b, 3, padding=1, **m)
        return conv, layer.BatchNorm2d(b, **m), neuron.LIFNode(**m), layer.MaxPool2d(2, 2, **m)

    return nn.Sequential(*block(3, 8), *block(8, 8), nn.Flatten(2), layer.Linear(32, 10, **m))


@pytest.fixture
def net(part):
    pytest.importorskip('spikingjelly', reason='SpikingJelly is not installed')
    nets = part('adapters_nets')
    return nets.Net('tiny', 'spikingjelly', 'a small one', 3, 4, (3, 8, 8), tiny, nets.shown)


class Nap(torch.autograd.Function):
    """x + state, slowly."""

    @staticmethod
    def forward(ctx, x, state):
        sleep(NAP)
        return x + state

    @staticmethod
    def backward(ctx, grad):
        sleep(NAP)
        return grad, grad


class Slow(nn.Module):
    """Keeps a state over calls, as neurons do."""

    state = torch.zeros(())

    def forward(self, x):
        self.state = Nap.apply(x, self.state)
        return self.state


def test_clock_counts_what_is_within(part) -> None:
    """A loop over steps whose states are connected; another module of the same duration does not count."""
    clock, inner, outer = part('adapters_clock').Clock(), Slow(), Slow()
    nested = nn.Sequential(inner)
    x, steps = torch.ones(3, requires_grad=True), 3
    start = perf_counter()
    with clock.on([inner, nested]):
        sum(outer(nested(outer(x) * 2)) for _ in range(steps)).sum().backward()
    whole = perf_counter() - start
    assert 'forward' not in vars(inner)
    assert whole >= 6 * steps * NAP
    for seconds in (clock.forward, clock.backward):
        assert steps * NAP <= seconds < 0.5 * whole


def test_clock_changes_no_results(part, net) -> None:
    adapters, x = part('adapters'), net.input()
    form = adapters.form(net, adapters.AFTER)
    expected = adapters.results(form, x)
    form = adapters.form(net, adapters.AFTER)
    with part('adapters_clock').Clock().on(form.modules()):
        found = adapters.results(form, x)
    assert adapters.compared(found, expected) == {'outputs': 0, 'gradients': 0}


def test_measure(part, net) -> None:
    adapters = part('adapters')
    before, after = (adapters.form(net, name) for name in (adapters.BEFORE, adapters.AFTER))
    assert before.timed == after.timed
    assert len(after.timed) == 6  # neurons, BatchNorms, pools
    assert not any(isinstance(m, adapters.Fused) for m in before.model.modules())
    found = json.loads(json.dumps(adapters.measure(net, rounds=1)))
    assert found['failed'] == {}
    assert found['distances'][adapters.APART]['outputs'] == 0
    for timings in found['times'].values():
        assert set(timings) == {adapters.BEFORE, adapters.AFTER}
        for timing in timings.values():
            assert sum(timing['modules'].values()) > 0  # of another call than the total: other programs may slow one
            assert timing['total']['median'] > 0
    peaks = adapters.peaks(net, adapters.AFTER)
    assert all(peak is None or peak > 0 for peak in peaks.values())


def test_wrong_is_not_timed(part, net, monkeypatch) -> None:
    adapters = part('adapters')
    broken = replace(net, unroll=lambda model, T: (nn.Sequential(model, nn.ReLU()), net.run(T)))
    monkeypatch.setattr(adapters, 'find_spec', lambda name: True)
    distances, failed = adapters.check(broken, broken.input())
    assert set(distances) == {adapters.APART, adapters.AFTER, adapters.UNROLLED}
    assert set(failed) == {adapters.UNROLLED}
    assert adapters.wrong({'outputs': float('nan')})


def test_tables(part) -> None:
    table = part('adapters_table')
    timings = {
        name: {'total': {'median': ms / 1e3}, 'modules': {'forward': ms / 4e3, 'backward': 0.0}}
        for name, ms in ((table.BEFORE, 12.0), (table.AFTER, 8.0), (table.UNROLLED, 2.0))
    }
    peaks = {name: dict.fromkeys(table.DIRECTIONS, 3 << 20) for name in timings}
    about = {'library': 'some', 'note': 'net', 'T': 4, 'batch': 2}
    equal = {table.AFTER: {'outputs': 0.0, 'gradients': 1e-7}}
    given = {'changed': 2, 'left': ['fc'], 'distances': equal, 'failed': {}, 'peaks': peaks}
    nets = {
        'one': about | given | {'times': dict.fromkeys(table.DIRECTIONS, timings)},
        'two': about | {'skipped': 'some is not installed'},
    }
    document = {'about': {'cpu': 'a', 'threads': 1, 'torch': '2'}, 'rounds': 3, 'nets': nets}
    lines = table.markdown(document).splitlines()
    assert len({line.count('|') for line in lines[:6]}) == 1
    assert '| inference | 12.0 | 8.0 | 1.50x | 3.0 | 2.0 | 1.50x | 3.0 | 3.0 | 1.00x |' in lines[2]
    assert '| training step, unrolled | 12.0 | 2.0 | 6.00x |' in lines[5]
    assert 'outputs equal, gradients 1e-07 apart; left as they were: fc' in lines[8]
    assert lines[9].endswith('not measured, some is not installed')
    assert len(table.table(document)[2]) == 4


def test_unknown_net(part, capsys) -> None:
    with pytest.raises(SystemExit):
        part('adapters').parse(['--nets', 'vgg11_bn,lenet'])
    assert 'unknown lenet, known are sew_resnet18' in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.exhaustive
def test_command_line(tmp_path: Path) -> None:
    """Networks in processes of their own, one of them in three forms."""
    out = tmp_path / 'adapters.json'
    words = ['--quick', '--rounds', '1', '--nets', 'tutorial6,mnist_cnn', '--json', str(out)]
    command = [sys.executable, '-m', 'benchmarks.adapters', *words]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True, timeout=900)
    document = json.loads(out.read_text())
    for name, found in document['nets'].items():
        reason = found.get('skipped', '')
        assert 'fails' not in reason, f'{name}: {reason}'
        assert reason or found['peaks'].keys() == found['times']['inference'].keys()
    command = [sys.executable, '-m', 'benchmarks.adapters', '--table', str(out)]
    shown = subprocess.run(command, check=True, cwd=ROOT, capture_output=True, text=True, timeout=60).stdout
    assert shown.startswith('| network |')
