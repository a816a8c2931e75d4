"""NIR exchange of converted networks, what `portable` does, files, and errors."""

import math
import pickle
import sys
from copy import deepcopy
from itertools import pairwise

import numpy as np
import pytest
import torch
from converted import fixed
from torch import nn as tnn

import snnkern
from snnkern import Affine, Binary, Neuron, nn
from snnkern.convert import SNN

nir = pytest.importorskip('nir', reason='nir is not installed')
from snnkern.adapters.nir import from_nir, read, to_nir, write  # noqa: E402

T = 6
X = torch.rand(5, 2, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(tnn.Module):
    """Convolution, BatchNorm, a shortcut, a pool."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = tnn.Conv2d(2, 4, 3, padding=1, bias=False), tnn.BatchNorm2d(4)
        self.second, self.pool, self.last = tnn.Conv2d(4, 4, 3, padding=1), tnn.AvgPool2d(2), tnn.Linear(64, 5)

    def forward(self, x):
        x = self.norm(self.first(x)).relu()
        x = (self.second(x) + x).relu()
        return self.last(self.pool(x).flatten(1))


def chain():
    return tnn.Sequential(
        tnn.Conv2d(2, 4, 3), tnn.ReLU(), tnn.Conv2d(4, 4, 3, groups=2), tnn.ReLU(),
        tnn.AvgPool2d(2), tnn.Flatten(), tnn.Linear(16, 8), tnn.ReLU(), tnn.Linear(8, 5),
    )  # fmt: skip


def converted(recipe, net=None, **options) -> SNN:
    return snnkern.convert((net or Net()).eval(), X, recipe=recipe, timesteps=T, **options)


@torch.no_grad()
def mean(net, x):
    return net(x.expand(T, *x.shape)).sum(0) / T


@pytest.mark.parametrize('recipe', ['plain_if', 'layerwise', 'channelwise', 'mse', 'spiking_yolo'])
def test_converted_networks_return(recipe, tmp_path) -> None:
    """Thetas in real units, per channel too, and v before the first step; bit for bit."""
    snn = converted(recipe)
    write(to_nir(snn, X), tmp_path / 'net.nir')
    net = from_nir(tmp_path / 'net.nir')
    with torch.no_grad():
        assert torch.equal(mean(net, X), snn(X, T))
    nn.reset(net)
    again = from_nir(to_nir(net, X.expand(T, *X.shape)))
    nn.reset(net)
    assert torch.equal(mean(again, X), mean(net, X))


def test_converted_networks_that_nir_cannot_say() -> None:
    refused = {'default': 'SignedMemory', 'ijcai22': 'Burst', 'srp': 'ResidualMask', 'cos': 'OffsetSpikes'}
    for recipe, words in refused.items():
        with pytest.raises(ValueError, match=f'layer neuron_0 cannot be said in NIR: .*{words}'):
            to_nir(converted(recipe), X)
    pooled = tnn.Sequential(tnn.Conv2d(2, 3, 3), tnn.ReLU(), tnn.MaxPool2d(2))
    with pytest.raises(ValueError, match=r'module pool_0 \(LateralPool\) has no node in NIR'):
        to_nir(converted('plain_if', pooled), X)
    with pytest.raises(ValueError, match='converted without a trace'):
        to_nir(converted('plain_if', chain(), modules='auto'), X)


def test_portable_folds_thresholds(monkeypatch) -> None:
    monkeypatch.setattr('snnkern.adapters.nir.export.has_v_reset', lambda made: False)  # the NIR of soft resets
    snn = converted(fixed(0.5, 1), chain())  # a power of two, so that products are exact
    graph = to_nir(snn, X, portable=True)
    assert not [node for node in graph.nodes.values() if isinstance(node, nir.Scale)]
    for node in graph.nodes.values():
        if isinstance(node, nir.IF):
            node.metadata = {}
    net = from_nir(graph, like='spikingjelly', reset='soft')
    assert torch.equal(mean(net, X), snn(X, T).detach())


def test_portable_tells_what_only_metadata_say(monkeypatch) -> None:
    with pytest.raises(ValueError, match='potential of its own; only metadata can, which portable=True forbids'):
        to_nir(converted('channelwise', chain()), X, portable=True)
    with pytest.raises(ValueError, match='a step later'):
        to_nir(tnn.Sequential(nn.Leaky()), torch.rand(T, 2, 3), portable=True)
    monkeypatch.setattr('snnkern.adapters.nir.export.has_v_reset', lambda made: False)
    with pytest.raises(ValueError, match=r'spikes of layer neuron_0 are worth its threshold.* neuron_1 reads a sum'):
        to_nir(converted('plain_if'), X, portable=True)
    monkeypatch.setattr('snnkern.adapters.nir.export.has_v_reset', lambda made: True)
    with pytest.raises(ValueError, match='resets by subtraction, and NIR since'):
        to_nir(converted('plain_if'), X, portable=True)


def test_portable_folds_channels_through_pools() -> None:
    theta = torch.tensor([0.5, 2.0])
    neuron = Neuron(Affine(1.0), Binary(1.0, real_units=True), snnkern.Hard())

    def layer():
        return nn.Neuron(neuron, tensors={'v_threshold': theta})

    class Folded(tnn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.pool = layer(), layer(), nn.AvgPool2d(2)
            self.conv, self.last = tnn.Conv2d(2, 2, 1, groups=2), tnn.Linear(8, 3)

        def forward(self, x):
            x = self.b(self.conv(self.a(x).flatten(0, 1)).unflatten(0, (T, 5)))
            return self.last(self.pool(x).flatten(2))

    net, x = Folded(), torch.rand(T, 5, 2, 4, 4)
    graph = to_nir(net, x, portable=True)
    twin = from_nir(graph)
    assert 'Scale' not in {type(node).__name__ for node in graph.nodes.values()}
    torch.testing.assert_close(twin(x), net(x))


def test_imported_networks_copy_and_train() -> None:
    net = from_nir(to_nir(converted('plain_if'), X))
    expected = mean(net, X)
    for twin in (deepcopy(net), pickle.loads(pickle.dumps(net))):
        nn.reset(twin)
        assert torch.equal(mean(twin, X), expected)
    nn.reset(net)
    net.train()(X.expand(T, *X.shape)).sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


def test_files_are_whole(tmp_path, monkeypatch) -> None:
    path = tmp_path / 'net.nir'
    graph = to_nir(tnn.Sequential(nn.LIF()), torch.rand(T, 2, 3))
    write(graph, path)
    before = path.read_bytes()

    def broken(to, graph):
        to.write_bytes(b'half')
        raise OSError('disk full')

    monkeypatch.setattr(nir, 'write', broken)
    with pytest.raises(OSError, match='disk full'):
        write(graph, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_files_that_cannot_be_read(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match='must be a NIR file'):
        from_nir(tmp_path / 'missing.nir')
    with pytest.raises(FileNotFoundError, match='folder that exists'):
        write(to_nir(tnn.Sequential(nn.LIF()), torch.rand(T, 2, 3)), tmp_path / 'missing' / 'net.nir')
    corrupt = tmp_path / 'corrupt.nir'
    corrupt.write_bytes(b'no HDF5')
    with pytest.raises(ValueError, match=r'corrupt\.nir is no NIR graph that nir [\d.]+ reads'):
        read(corrupt)
    whole = tmp_path / 'net.nir'
    write(to_nir(tnn.Sequential(nn.LIF()), torch.rand(T, 2, 3)), whole)
    whole.write_bytes(whole.read_bytes()[:-600])
    with pytest.raises(ValueError, match='is no NIR graph'):
        read(whole)


def ends(**between):
    """A graph with a chain of these nodes."""
    names = ['input', *between, 'output']
    edges = list(pairwise(names))
    return nir.NIRGraph({'input': nir.Input(np.array([2])), **between, 'output': nir.Output(np.array([2]))}, edges)


def full(value=1.0):
    return np.full(2, value, np.float32)


def test_graphs_that_cannot_be_read() -> None:
    cases = {
        'node n is a Delay, which is not supported; these are: .*LIF': ends(n=nir.Delay(full())),
        'v_threshold of node n must be finite': ends(n=nir.IF(r=full(), v_threshold=full(np.nan))),
        r'node n \(LIF\): tau must be at least one step, dt = 0.0001, got 1e-06': ends(
            n=nir.LIF(tau=full(1e-6), r=full(), v_leak=full(0), v_threshold=full())
        ),
    }
    for words, graph in cases.items():
        with pytest.raises(ValueError, match=words):
            from_nir(graph)
    graph = ends(n=nir.Scale(full()), m=nir.Scale(full()))
    for edges, words in {
        (('input', 'n'), ('n', 'm'), ('m', 'n'), ('n', 'output')): r'recurrent \((n -> m -> n|m -> n -> m)\)',
        (('input', 'n'), ('n', 'output')): 'node m reads nothing',
        (('input', 'n'), ('n', 'x')): 'edge n -> x leads to a node',
    }.items():
        graph.edges = list(edges)
        with pytest.raises(ValueError, match=words):
            from_nir(graph)
    graph.nodes['other'] = nir.Input(np.array([2]))
    graph.edges = [('input', 'n'), ('other', 'm'), ('n', 'output'), ('m', 'output')]
    with pytest.raises(ValueError, match='one Input, got 2'):
        from_nir(graph)


def test_without_nir(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, 'nir', None)
    with pytest.raises(ImportError, match=r"NIR exchange needs nir: pip install 'snnkern\[adapters\]'"):
        from_nir('net.nir')


def test_arguments_that_do_not_fit() -> None:
    net, x = tnn.Sequential(tnn.Linear(3, 2), nn.LIF()), torch.rand(T, 2, 3)
    graph = to_nir(net, x)
    for given, words in {
        (('like', 'brian'),): 'like must be one of nir, spikingjelly, snntorch, norse, sinabs',
        (('reset', 'both'),): "reset must be 'soft', 'hard' or None",
        (('dt', 0.0),): 'dt must be > 0',
        (('v_min', math.nan),): 'v_min must be finite',
        (('v_min', -1.0), ('reset', 'hard')): 'v_min must come with a soft reset',
    }.items():
        with pytest.raises(ValueError, match=words):
            from_nir(graph, **dict(given))
    with pytest.raises(TypeError, match=r'graph must be a nir\.NIRGraph or a path, got dict'):
        from_nir({})
    with pytest.raises(ValueError, match=r'steps of shape \(3,\), got \(6, 2, 4\)'):
        from_nir(graph)(torch.rand(T, 2, 4))
    with pytest.raises(ValueError, match=r'sample must be an input of the model, got shape \(6, 2, 4\)'):
        to_nir(net, torch.rand(T, 2, 4))
    with pytest.raises(ValueError, match=r'sample must be \[T, B, \.\.\.\], got shape \(3,\)'):
        to_nir(net, torch.rand(3))
    with pytest.raises(TypeError, match='sample must be a tensor'):
        to_nir(net, [1.0])
    with pytest.raises(TypeError, match=r'model must be a torch\.nn\.Module'):
        to_nir(graph, x)


def test_models_that_cannot_be_written() -> None:
    x = torch.rand(T, 2, 3)
    bad = tnn.Linear(3, 3)
    with torch.no_grad():
        bad.weight[0, 0] = math.nan
    cases = {
        'weight of node 0 must be finite, got NaN': tnn.Sequential(bad),
        r'module 0 \(Tanh\) has no node in NIR; known are Linear': tnn.Sequential(tnn.Tanh()),
        '0 reshapes .* mix them with time and batch': tnn.Sequential(tnn.Flatten()),
        'one step_mode': tnn.Sequential(nn.LIF(), nn.LIF(step_mode='s')),
        'torch.fx cannot trace Function': Function(lambda layer, x: x if x.sum() > 0 else -x),
        'added to itself': Function(lambda layer, x: layer(x + x)),
        'call mul .* has no node in NIR': Function(lambda layer, x: x * layer(x)),
    }
    for words, model in cases.items():
        with pytest.raises(ValueError, match=words):
            to_nir(model, x)


class Function(tnn.Module):
    """A forward that is a function of a layer of neurons and x."""

    def __init__(self, function) -> None:
        super().__init__()
        self.layer, self.function = nn.LIF(), function

    def forward(self, x):
        return self.function(self.layer, x)
