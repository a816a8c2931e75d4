"""The benchmark of the event engine times what is right, and its arithmetic is; how fast anything is, is not tested."""

import importlib
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file

from snnkern.models import build

ROOT = Path(__file__).parents[1]
IMAGES = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch):
    """Imports a module of `benchmarks`, which is no installed package."""
    monkeypatch.syspath_prepend(ROOT)
    return lambda name: importlib.import_module(f'benchmarks.{name}')


@pytest.fixture
def net():
    torch.manual_seed(0)
    return build('resnet20', width=4).eval()


@pytest.fixture
def data(net):
    """Images whose classes are what the network says."""
    batches = [(IMAGES, net(IMAGES).argmax(1))]
    return SimpleNamespace(batches=batches, tests=batches, calibration=IMAGES)


def test_passes_are_the_network(part, net) -> None:
    calls = part('engine_nets').passes(net, IMAGES)
    assert len(calls) == 4
    for call in calls.values():
        torch.testing.assert_close(call(), net(IMAGES), rtol=1e-3, atol=1e-4)


def test_weights_say_how_wide_vgg_is(part, tmp_path) -> None:
    nets = part('engine_nets')
    net = nets.vgg11(4).eval()
    save_file(net.state_dict(), tmp_path / 'vgg.safetensors')
    found = nets.trained('vgg11', tmp_path / 'vgg.safetensors')
    assert torch.equal(found(IMAGES), net(IMAGES))
    assert nets.title('vgg11', found) == 'VGG-11 of width 4'
    assert nets.title('lenet5', build('lenet5')) == 'LeNet-5'


def test_networks_are_measured(part, net, data, tmp_path, monkeypatch) -> None:
    calls, main = part('engine_calls'), part('engine')
    monkeypatch.setattr(calls, 'SEARCH', (1, 2))
    monkeypatch.setattr(calls, 'LEAST', 1)
    found = calls.prepare(net, data, [2], tmp_path)
    assert found['ANN'] == 100
    assert found['images'] == 8
    assert 2 in found['by T']
    assert all(of['passed'] and of['SNN'] == of['engine'] for of in found['by T'].values())
    timed = calls.speed(net, data, [(2, 1), (2, 3)], tmp_path, 0.0)
    assert timed['cases'].keys() == {'2, 1', '2, 3'}
    titles = {calls.ENGINE, calls.LAYERS, calls.LOOP}
    assert all(
        titles | ({*dict(calls.SPIKINGJELLY)} if not timed['skipped'] else set()) < {*of}
        for of in timed['cases'].values()
    )
    rows = main.verdicts(timed['cases'], 2, [2])
    assert [row['rival'] for row in rows if row['case'] == '2, 1'][-1] == 'ANN'
    tables = part('engine_tables')
    shown = (
        tables.accuracy({'network': 'tiny', **found}),
        tables.speed('tiny', {**timed, 'about': {'threads': 1}, 'load': 0.0}),
    )
    for _, head, cells in (*shown, tables.targets(rows)):
        assert {len(row) for row in cells} == {len(head)}


def test_wrong_answers_do_not_pass(part, net, data, monkeypatch) -> None:
    calls = part('engine_calls')
    snn = part('engine_cases').convert(net, IMAGES, timesteps=2)
    honest = calls.engine.compile

    def wrong(*args):
        compiled = honest(*args)
        return SimpleNamespace(predict=lambda x: -compiled.predict(x), report=compiled.report)

    assert calls.gate(snn, data, 2)['passed']
    monkeypatch.setattr(calls.engine, 'compile', wrong)
    found = calls.gate(snn, data, 2)
    assert not found['passed']
    assert found['equal'] < 50
    assert found['SNN'] > found['engine']


def test_verdicts(part) -> None:
    main = part('engine')
    of = lambda median: {'median': median, 'least': median, 'cpu': median}  # noqa: E731
    seconds = {'engine': of(1.0), main.LOOP: of(5.1), main.SJ_STEPS: of(9.0), main.SJ_MANY: of(3.9), 'ANN': of(0.6)}
    cases = {'8, 1': seconds | {'ANN folded': of(0.9)}, '8, 50': seconds | {main.LOOP: of(2.0)}, '4, 1': seconds}
    found = {(row['case'], row['rival']): (row['median'], row['met']) for row in main.verdicts(cases, 8, [8])}
    assert found == {
        ('8, 1', 'loop'): (5.1, True),
        ('8, 1', 'SpikingJelly'): (3.9, False),
        ('8, 1', 'ANN'): (1.0 / 0.6, False),
        ('8, 50', 'loop'): (2.0, False),
    }
    smallest = main.verdicts({'4, 1': seconds | {'ANN': of(0.8)}}, 4, [8])
    assert [(row['rival'], row['met']) for row in smallest] == [('ANN', True)]


def test_networks_are_named(part, capsys) -> None:
    main = part('engine')
    assert main.parse(['--net', 'lenet5=a', '--net', 'vgg11=b']).net == ['lenet5=a', 'vgg11=b']
    for word in ('lenet5', 'lenet5=', 'vgg12=a'):
        with pytest.raises(SystemExit):
            main.parse(['--net', word])
        assert f'got {word}' in capsys.readouterr().err


def test_yolo(part, monkeypatch) -> None:
    pytest.importorskip('torchvision')
    calls = part('engine_calls')
    monkeypatch.setattr(calls, 'LEAST', 1)
    found = calls.yolo([2], 2, 64, 0.0)
    assert found['apart'][2] < 1e-3
    assert {calls.ENGINE, calls.LAYERS, calls.LOOP, 'ANN'} < {*found['cases']['2, 1']}


def test_density(part) -> None:
    density = part('engine_density')
    found = density.curve(8, 8, 1, 1)
    assert [point['density'] for point in found['points']] == [*density.DENSITIES]
    assert all(point['measured'] > 0 and point['foreseen'] > 0 for point in found['points'])
    _, head, rows = density.table([found], 1)
    assert {len(row) for row in rows} == {len(head)}
    assert density.spikes(0.2, 16, 32).float().mean().item() == pytest.approx(0.2, abs=0.01)


def test_density_of_equal_time(part) -> None:
    points = [{'density': 0.1, 'measured': 1.0}, {'density': 0.2, 'measured': 3.0}, {'density': 0.4, 'measured': 4.0}]
    equal = part('engine_density').equal
    assert equal(points, 2.0) == pytest.approx(0.15)
    assert equal(points, 3.5) == pytest.approx(0.3)
    assert equal(points, 5.0) is None


def test_layers_by_events_and_dense_are_the_same(part) -> None:
    """The layer that is timed by events gives the spikes of the dense one that it is compared with."""
    density = part('engine_density')
    subject = density.Subject(8, 8, 1)
    call, _, _ = subject.events(density.SEEN)
    memory = call.args[1]
    subject.states[0].zero_()
    call()
    found = density.unpack(memory[1], density.T).flatten(0, 1)
    assert found.sum() > 0
    assert (found != subject.dense()().flatten(0, 1)).float().mean() < 0.01


@pytest.fixture
def step(part, monkeypatch):
    """A training step of a small VGG-9, in place of one on CIFAR-10."""
    training, nets = part('engine_training'), part('training_nets')
    net = next(net for net in nets.nets(quick=True) if net.name == 'vgg9')
    monkeypatch.setattr(training, 'learn', lambda net, *_: training.Step(net, nets.OURS))
    return net


def test_training_step(part, step) -> None:
    training = part('engine_training')
    before = torch.get_num_threads()
    found = training.measured(step, '', 0, 1, 1)
    torch.set_num_threads(before)
    assert len(found['layers']) == 6
    assert len(found['ran']) == 7
    assert all(0 < layer['densities'][1] <= layer['densities'][4] < 1 for layer in found['layers'].values())
    json.dumps(found)
    title, head, rows = training.table(found, 1)
    assert f'{found["step"] / found["step by events"]:.2f}x, ' in title
    assert {len(row) for row in rows} == {len(head)}


def test_results_by_events_are_compared(part, step, monkeypatch) -> None:
    training = part('engine_training')
    learnt = training.learn(step)
    layer = training.Convolution(*next(iter(training.spiking_inputs(learnt).values())), step.T)
    layer.check()
    layer.packed.words.zero_()
    with pytest.raises(AssertionError, match='of their norm apart'):
        layer.check()
    monkeypatch.setattr(training, 'spike_convolutions', lambda net: torch.nn.init.ones_(next(net.parameters())))
    with pytest.raises(AssertionError, match='gradients of a step are'):
        training.by_events(step, learnt)


def test_cases_of_the_suite(part, monkeypatch) -> None:
    measure, networks, cases = part('measure'), part('networks'), part('engine_cases')
    case = next(case for case in networks.cases('quick') if case.op == 'engine lenet5')
    result = measure.measure(case, rounds=1)
    assert result.failed == {}
    assert {cases.ENGINE, cases.NATIVE, cases.LOOP} <= {*result.timings}
    monkeypatch.setattr(cases.engine, 'compile', lambda snn, x, T: lambda x: torch.zeros(len(x), 10))
    result = measure.measure(case, rounds=1)
    assert 'of their norm apart' in result.failed[cases.ENGINE]
    assert cases.ENGINE not in result.timings
