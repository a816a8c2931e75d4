"""NIR exchange with other libraries: they run our graphs, we run theirs, and the spikes are the same.

Their own readers and writers are the oracle. Each needs its own nir: sinabs 3.1 at most 1.0.4, snnTorch 1.0 and
SpikingJelly 2.0 at least 1.0.6 and 1.0.7, with nirtorch 2.0.5 and 2.6; what does not fit together is skipped.
"""

import inspect
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn as tnn

from snnkern import IF, Binary, Bounded, MultiSpike, Neuron, Soft, nn
from snnkern.adapters.nir.layers import OverSteps

nir = pytest.importorskip('nir', reason='nir is not installed')
nirtorch = pytest.importorskip('nirtorch', reason='nirtorch is not installed')
from snnkern.adapters.nir import from_nir, to_nir  # noqa: E402

ROOT = Path(__file__).parents[1]
WEIGHTS = ROOT.parent / 'shared' / 'data' / 'pretrained_weights.zip'
pytestmark = pytest.mark.filterwarnings('ignore')  # nirtorch's, of its own functions
T, B = 20, 3
NEW = 'v_reset' in inspect.signature(nir.IF).parameters
recent = pytest.mark.skipif(
    not NEW or 'type_check' not in inspect.signature(nirtorch.torch_to_nir).parameters,
    reason='SpikingJelly and snnTorch need a nir with v_reset (1.0.7) and nirtorch 2.6',
)


def net_of(make, width=16):
    """Two layers of neurons that spike."""
    net = tnn.Sequential(tnn.Linear(8, width), make(), tnn.Linear(width, 4), make())
    for layer in net[0], net[2]:
        tnn.init.normal_(layer.weight, 0.2, 0.6)
    return net


def looped(net, x):
    """A network of one step with a state, over all steps."""
    outs, state = [], None
    for step in x:
        out, state = net(step) if state is None else net(step, state)
        outs.append(out)
    return torch.stack(outs)


def spike_alike(found, expected):
    """Assert equal spikes, of which there are some."""
    assert 0.01 < (expected != 0).float().mean() < 0.99
    assert torch.equal(found, expected)


@pytest.fixture
def sinabs():
    if NEW:
        pytest.skip('sinabs 3.1 needs nir <= 1.0.4')
    pytest.importorskip('sinabs', reason='sinabs is not installed')
    return pytest.importorskip('sinabs.nir')


def squeezed(net, x):
    """sinabs' networks take [B * T, ...]."""
    out = net(x.transpose(0, 1).flatten(0, 1))
    out = out[0] if isinstance(out, tuple) else out
    return out.unflatten(0, (B, T)).transpose(0, 1)


def test_sinabs_runs_ours(sinabs) -> None:
    """sinabs takes any IF as one that bounds v at -v_threshold, and counts thresholds."""
    neuron = Neuron(IF(), MultiSpike(), Bounded(-1.0))
    net = tnn.Sequential(OverSteps(tnn.Conv2d(2, 4, 3)), nn.Neuron(Neuron(IF(), Binary(), Soft())),
                         OverSteps(tnn.AvgPool2d(2, divisor_override=1)), tnn.Flatten(2), tnn.Linear(36, 10),
                         nn.Neuron(Neuron(IF(), Binary(), Soft())))  # fmt: skip
    tnn.init.normal_(net[0].layer.weight, 0.0, 0.5)
    graph = to_nir(net, torch.randn(T, B, 2, 8, 8), dt=1.0, portable=True)
    net[1], net[5] = nn.Neuron(neuron), nn.Neuron(neuron)
    x = torch.randn(T, B, 2, 8, 8)
    spike_alike(squeezed(sinabs.from_nir(graph, batch_size=B), x), net(x))


@pytest.mark.parametrize('kind', ['IAFSqueeze', 'LIFSqueeze', 'ExpLeakSqueeze'])
def test_ours_runs_sinabs(sinabs, kind) -> None:
    layers = pytest.importorskip('sinabs.layers')
    options = {} if kind == 'IAFSqueeze' else {'tau_mem': 10.0, 'norm_input': False}

    def make():
        return getattr(layers, kind)(batch_size=B, **options)

    net = tnn.Sequential(tnn.Conv2d(2, 4, 3), make(), layers.SumPool2d(2), tnn.Flatten(), tnn.Linear(36, 10), make())
    tnn.init.normal_(net[0].weight, 0.0, 0.5)
    x = torch.randn(T, B, 2, 8, 8)
    squeezed(net, x)
    graph = sinabs.to_nir(net, x.transpose(0, 1).flatten(0, 1))
    expected = squeezed(sinabs.from_nir(graph, batch_size=B), x)
    found = from_nir(graph, like='sinabs')(x)
    assert expected.count_nonzero()
    assert torch.equal(found, expected)


@pytest.mark.skipif(not WEIGHTS.exists(), reason='the trained networks of ../shared are not there')
def test_the_mnist_graph_of_sinabs(sinabs, tmp_path, monkeypatch) -> None:
    """The program of the study on a few digits: the same counts as sinabs to the last spike."""
    import importlib
    import json

    monkeypatch.syspath_prepend(ROOT)
    study = importlib.import_module('benchmarks.nir_mnist')
    with zipfile.ZipFile(WEIGHTS) as archive:
        path = archive.extract('mnist_cnn_sinabs/scnn_mnist.nir', tmp_path)
    nmnist = WEIGHTS.with_name('nmnist_small.npz')
    words = ['--graph', path, '--images', '40', '--batch', '20', '--saccades', '1', '--json', str(tmp_path / 'r.json')]
    assert study.main(words) == 0
    (result,) = json.loads((tmp_path / 'r.json').read_text())['results'].values()
    assert result['rows'][study.LIKE]['same counts, %'] == 100.0
    assert all(row['percent'] > 75 for row in result['rows'].values())
    frames, labels = next(study.recordings(nmnist, 5, 10.0))
    assert frames.shape[1:] == (5, 2, 34, 34)
    assert (study.ours(path, like='sinabs')(len(labels))(frames).argmax(1) == labels).sum() >= 4


@pytest.fixture
def norse():
    return pytest.importorskip('norse.torch', reason='Norse is not installed')


@pytest.mark.parametrize('make', [nn.IF, lambda: nn.LIF(2.0)], ids=['IF', 'LIF'])
def test_norse_runs_ours(norse, make) -> None:
    net, x = net_of(make), torch.rand(T, B, 8) * 9
    graph = to_nir(net, x, dt=1e-3)
    spike_alike(looped(norse.from_nir(graph, ignore_warnings=True, dt=1e-3), x), net(x))


@pytest.mark.parametrize('kind', ['IAFCell', 'LIFBoxCell', 'LIBoxCell'])
def test_ours_runs_norse(norse, kind) -> None:
    """Norse writes tau = dt / tau_mem_inv, which is dt times its time constant: dt ** 2 makes it a step of dt."""
    make = getattr(norse, kind)
    net, x = norse.SequentialState(*net_of(lambda: make())), torch.rand(T, B, 8) * 9
    expected = looped(net, x).detach()
    graph = norse.to_nir(net, x[0])
    found = from_nir(graph, like='norse', dt=None if kind == 'IAFCell' else 1e-6)(x).detach()
    if kind == 'LIBoxCell':
        torch.testing.assert_close(found, expected)
    else:
        spike_alike(found, expected)


@pytest.fixture
def jelly():
    pytest.importorskip('spikingjelly', reason='SpikingJelly is not installed')
    for name in ('functional', 'layer', 'neuron', 'nir_exchange'):
        pytest.importorskip(f'spikingjelly.activation_based.{name}')
    return sys.modules['spikingjelly.activation_based']


OURS = {
    'IF': nn.IF,
    'LIF': lambda: nn.LIF(2.0),
    'LIF, v_reset': lambda: nn.LIF(2.0, v_reset=-0.5),
    'LIF, input not decayed': lambda: nn.LIF(3.0, False),
    'ParametricLIF': lambda: nn.ParametricLIF(2.0),
}


@recent
@pytest.mark.parametrize('name', OURS)
def test_spikingjelly_runs_ours(jelly, name) -> None:
    net, x = net_of(OURS[name]), torch.rand(T, B, 8) * 9
    theirs = jelly.nir_exchange.import_from_nir(to_nir(net, x), step_mode='m')
    spike_alike(theirs(x)[0], net(x))


THEIRS = {
    'IFNode': {},
    'LIFNode': {'tau': 3.0, 'decay_input': False},
    'ParametricLIFNode': {'init_tau': 2.0},
    'CUBALIFNode': {'c_decay': 0.5, 'v_decay': 0.8},
}


@recent
@pytest.mark.parametrize('kind', THEIRS)
def test_ours_runs_spikingjelly(jelly, kind) -> None:
    net, x = (
        net_of(lambda: getattr(jelly.neuron, kind)(**THEIRS[kind])),
        torch.rand(T, B, 8) * (1 if kind.startswith('CUBA') else 9),
    )
    net[0], net[2] = (jelly.layer.Linear(*layer.weight.shape[::-1]) for layer in (net[0], net[2]))
    for layer in net[0], net[2]:
        tnn.init.normal_(layer.weight, 0.2, 0.6)
    jelly.functional.set_step_mode(net, 'm')
    graph = jelly.nir_exchange.export_to_nir(net, x)
    jelly.functional.reset_net(net)
    spike_alike(from_nir(graph, like='spikingjelly')(x), net(x))


SNNTORCH = {'Leaky': (0.9,), 'Synaptic': (0.9, 0.8)}


@pytest.fixture
def snntorch():
    pytest.importorskip('snntorch', reason='snnTorch is not installed')
    for name in ('export_nir', 'import_nir'):
        pytest.importorskip(f'snntorch.{name}')
    return sys.modules['snntorch']


@pytest.mark.parametrize('kind', SNNTORCH)
def test_snntorch_runs_ours(snntorch, kind) -> None:
    net, x = net_of(lambda: getattr(nn, kind)(*SNNTORCH[kind], reset='zero', reset_delay=False)), torch.rand(T, B, 8)
    theirs = snntorch.import_nir.import_from_nir(to_nir(net, x))
    spike_alike(looped(theirs, x), net(x))


@recent
@pytest.mark.parametrize('kind', SNNTORCH)
def test_ours_runs_snntorch(snntorch, kind) -> None:
    """A beta and a threshold for each neuron: from others, its writer makes graphs that newer nir refuses."""
    options = {'threshold': torch.ones(16), 'reset_mechanism': 'zero', 'reset_delay': False, 'init_hidden': True}
    numbers = [torch.full((16,), n) for n in SNNTORCH[kind]]
    net, x = tnn.Sequential(tnn.Linear(8, 16), getattr(snntorch, kind)(*numbers, **options)), torch.rand(T, B, 8)
    tnn.init.normal_(net[0].weight, 0.2, 0.6)
    expected = torch.stack([net(step) for step in x])
    graph = snntorch.export_nir.export_to_nir(net, x[0], ignore_dims=[0])
    spike_alike(from_nir(graph, like='snntorch')(x), expected)
