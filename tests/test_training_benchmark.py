"""The benchmark of training steps compares equal networks, and its tables are right; how fast any is, is not tested."""

import importlib
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from snnkern import nn

ROOT = Path(__file__).parents[1]
NAMES = 'mlp', 'mnist-conv', 'vgg9'


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch):
    """Imports a module of `benchmarks`, which is no installed package."""
    monkeypatch.syspath_prepend(ROOT)
    return lambda name: importlib.import_module(f'benchmarks.{name}')


@pytest.fixture
def net(part, request):
    return next(net for net in part('training_nets').nets(quick=True) if net.name == request.param)


def gradients(training, nets, net, provider, x):
    step = training.Step(net, provider)
    loss = step.loss(x)
    loss.backward()
    step.reset()
    return loss.item(), [m.weight.grad for m in nets.weighted(step.net)]


@pytest.mark.parametrize('net', NAMES, indirect=True)
def test_rivals_are_the_same_network(part, net) -> None:
    """Losses, and with SpikingJelly, whose reset has a gradient as ours has, all gradients."""
    training, nets = part('training'), part('training_nets')
    found = training.differences(net, training.installed())
    assert all(apart <= training.FLIPS for apart in found.values()), found
    assert found[nets.OURS] == found[nets.PACKED] == 0
    x = nets.encoder(net, nets.OURS)(net.images()[0])
    loss, ours = gradients(training, nets, net, nets.OURS, x)
    assert abs(loss - math.log(nets.CLASSES)) > 1e-4  # silence would give this
    assert all(g.norm() > 0 for g in ours)
    if nets.SJ in found:
        _, theirs = gradients(training, nets, net, nets.SJ, x)
        for a, b in zip(ours, theirs, strict=True):
            assert (a - b).norm() <= 0.01 * b.norm()


@pytest.mark.parametrize('net', NAMES, indirect=True)
def test_other_neurons_are_seen(part, net, monkeypatch) -> None:
    """A rival whose neurons are silent, or of another time constant, is not timed."""
    training, nets = part('training'), part('training_nets')
    if nets.SJ not in training.installed():
        pytest.skip('spikingjelly is not installed')
    made = training.make

    def other(v_threshold: float, tau: float):
        def make(net, provider):
            found = made(net, provider)
            for module in found.modules():
                if provider == nets.SJ and hasattr(module, 'v_threshold'):
                    module.v_threshold, module.tau = v_threshold * module.v_threshold, tau * module.tau
            return found

        return make

    for change in ((1e9, 1.0), (1.0, 1.5)):
        monkeypatch.setattr(training, 'make', other(*change))
        assert training.differences(net, (nets.OURS, nets.SJ))[nets.SJ] > training.FLIPS


def test_same_network_in_words(part) -> None:
    """As many layers with weights in each full size, and as many neurons."""
    nets = part('training_nets')
    for net in nets.nets():
        if net.model == 'vgg9':
            net = replace(net, options={'width': 4}, layers=nets.vgg9(4, 32))
        ours, words = net.ours(), [layer for layer in net.layers if layer.sizes]
        weights = [tuple(m.weight.shape[:2])[::-1] for m in nets.weighted(ours)]
        assert weights == [layer.sizes[:1] if layer.kind == 'norm' else layer.sizes for layer in words]
        neurons = [m for m in ours.modules() if isinstance(m, nn.Neuron)]
        assert len(neurons) == sum(layer.kind == 'neuron' for layer in net.layers)


@pytest.mark.parametrize('tau', [2.0, 4.0])
def test_snntorch_loop_is_the_neuron(part, tau) -> None:
    """Its charge lacks 1 / tau; up to spikes that flip by rounding."""
    pytest.importorskip('snntorch')
    x = 3 * torch.randn(20, 50, 30)
    expected = nn.LIF(tau)(x)
    found = part('training_nets').LeakyLoop(tau)(x / tau)
    assert expected.mean() > 0.05
    assert (found != expected).float().mean() < 1e-3


@pytest.mark.parametrize('net', NAMES, indirect=True)
def test_steps_train(part, net) -> None:
    training, nets = part('training'), part('training_nets')
    for provider in training.installed():
        step = training.Step(net, provider)
        weights = [m.weight for m in nets.weighted(step.net)]  # a bias before BatchNorm has no gradient
        before = [w.detach().clone() for w in weights]
        losses = [step() for _ in range(3)]
        assert all(map(math.isfinite, losses))
        assert not any(torch.equal(w, old) for w, old in zip(weights, before, strict=True))
        neurons = [m for m in step.net.modules() if isinstance(m, nn.Neuron)]
        assert bool(neurons) == (provider in (nets.OURS, nets.PACKED))
        assert all(m.state is None for m in neurons)


@pytest.mark.parametrize('net', ['mlp'], indirect=True)
def test_who_differs_is_not_timed(part, net, monkeypatch) -> None:
    training, nets = part('training'), part('training_nets')
    monkeypatch.setattr(training, 'installed', lambda: [nets.OURS, nets.PACKED, nets.BOUND])
    found = training.times(net, rounds=1)
    assert set(found['times']) == {nets.OURS, nets.PACKED, nets.BOUND}
    monkeypatch.setattr(training, 'differences', lambda net, providers: {nets.OURS: 0.0, nets.PACKED: 0.5})
    assert set(training.times(net, rounds=1)['times']) == {nets.OURS, nets.BOUND}
    monkeypatch.setattr(training, 'differences', lambda net, providers: {nets.OURS: 0.0, nets.PACKED: math.nan})
    assert set(training.times(net, rounds=1)['times']) == {nets.OURS, nets.BOUND}
    peak = training.memory(net, nets.OURS)['peak']
    assert peak is None or peak >= 0


def test_tables_and_targets(part) -> None:
    training, nets = part('training'), part('training_nets')
    seconds = {nets.OURS: 1.0, nets.PACKED: 1.25, nets.SJ: 2.0, nets.BOUND: 0.5}
    times = {name: {'median': s, 'least': s, 'cpu': 2 * s} for name, s in seconds.items()}
    peaks = {
        name: {'peak': mib << 20, 'peak, mapped': 10 << 20} for name, mib in zip(seconds, (5, 2, 10), strict=False)
    }
    given = {'batch': 8, 'differences': {nets.OURS: 0.0, nets.SJ: 1e-4}, 'times': times, 'peaks': peaks}
    document = {
        'about': {'threads': 1},
        'nets': {'mlp': given, 'vgg9': {**given, 'times': {nets.OURS: times[nets.OURS]}}},
    }
    found = training.verdicts(document)
    assert [v['met'] for v in found] == [True, True, False, True, False]
    assert (found[0]['median'], found[0]['bound'], found[1]['median'], found[3]['median']) == (2.0, 4.0, 0.5, 0.2)
    (_, head, rows), (_, wanted, verdicts) = training.tables(document)
    assert len(rows) == 5
    assert {len(row) for row in rows} == {len(head)}
    assert {len(row) for row in verdicts} == {len(wanted)}
    assert rows[0][:3] == ['mlp', nets.OURS, '8.0']


def test_unknown_net(part, capsys) -> None:
    with pytest.raises(SystemExit):
        part('training').parse(['--nets', 'mlp,lenet'])
    assert 'unknown lenet, known are mlp' in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.exhaustive
def test_command_line(tmp_path: Path) -> None:
    """One network in processes of its own."""
    out = tmp_path / 'training.json'
    words = ['--quick', '--rounds', '1', '--nets', 'mnist-conv', '--json', str(out)]
    command = [sys.executable, '-m', 'benchmarks.training', *words]
    subprocess.run(command, check=True, cwd=ROOT, capture_output=True, timeout=600)
    document = json.loads(out.read_text())['1']
    assert document['about']['threads'] == 1
    assert document['nets']['mnist-conv']['peaks'].keys() < document['nets']['mnist-conv']['times'].keys()
