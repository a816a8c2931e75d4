"""NIR exchange: forwards that edges cannot say, nodes edited after export, metadata that are damaged."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn as tnn

import snnkern
from snnkern import Hard, Neuron, PiecewiseExp, nn

nir = pytest.importorskip('nir', reason='nir is not installed')
from snnkern.adapters.nir import from_nir, to_nir, write  # noqa: E402
from snnkern.adapters.nir.extras import has_v_reset  # noqa: E402
from snnkern.adapters.nir.layers import Placed  # noqa: E402

T, B = 8, 2
X = torch.rand(T, B, 4, generator=torch.Generator().manual_seed(0)) * 3


class Net(tnn.Module):
    """A forward that is a function of the module and x."""

    def __init__(self, function) -> None:
        super().__init__()
        self.fc, self.fc_2, self.function = tnn.Linear(4, 4), tnn.Linear(4, 4), function
        self.one, self.two, self.three = nn.IF(), nn.IF(), nn.IF()
        for weight in (self.fc.weight, self.fc_2.weight):
            tnn.init.uniform_(weight, 0, 1)

    def forward(self, x):
        return self.function(self, x)


def test_sums_with_a_factor_are_refused() -> None:
    for function in (
        lambda net, x: net.one(torch.add(net.fc(x), net.fc_2(x), alpha=-0.5)),
        lambda net, x: net.one(net.fc(x).add(net.fc_2(x), alpha=2)),
    ):
        with pytest.raises(ValueError, match=r'add.*, alpha = (-0\.5|2) has no node in NIR'):
            to_nir(Net(function), X)


def test_a_neuron_called_twice_is_refused() -> None:
    for function in (lambda net, x: net.one(net.fc(net.one(x))), lambda net, x: net.one(net.fc(x)) + net.one(x)):
        with pytest.raises(ValueError, match=r'layer one is called twice: .* the state of the first'):
            to_nir(Net(function), X)


def test_a_layer_called_twice_leaves_the_names_of_others() -> None:
    net = Net(lambda net, x: net.three(net.fc_2(net.two(net.fc(net.one(net.fc(x)))))))
    graph = to_nir(net, X)
    assert [name for name in graph.nodes if name.startswith('fc')] == ['fc', 'fc_2', 'fc_2_2']
    expected = net(X)
    assert 0 < expected.mean() < 1
    assert torch.equal(from_nir(graph)(X), expected)


def imitated(monkeypatch) -> None:
    """An IF with v_reset, as since nir 1.0.5."""
    if has_v_reset(nir.IF):
        return

    @dataclasses.dataclass(eq=False)
    class IF(nir.IF):
        v_reset: np.ndarray | None = None

    monkeypatch.setattr(nir, 'IF', IF)


def test_an_edited_v_reset_outweighs_metadata(monkeypatch) -> None:
    imitated(monkeypatch)
    neuron = Neuron(snnkern.IF(), snnkern.Binary(), Hard(-0.3), snnkern.Sigmoid(4.0))
    graph = to_nir(tnn.Sequential(nn.Neuron(neuron)), X)
    assert from_nir(graph).get_submodule('0').neuron == neuron
    graph.nodes['0'].v_reset = np.full(4, -5, np.float32)
    assert from_nir(graph).get_submodule('0').neuron.reset == Hard(-5.0)


def pruned(node, count):
    for name, value in vars(node).items():
        if isinstance(value, np.ndarray):
            setattr(node, name, value[:count])
    return node


def graph_of(layer):
    graph = to_nir(tnn.Sequential(layer), X)
    return graph, graph.nodes['0']


def test_a_pruned_node_is_what_its_numbers_say() -> None:
    theta = torch.tensor([0.5, 0.7, 0.9, 1.1])
    graph, node = graph_of(nn.Neuron(Neuron(snnkern.LIF(2.0)), tensors={'v_threshold': theta}))
    pruned(node, 3)
    for door in ('input', 'output'):
        graph.nodes[door] = type(graph.nodes[door])(np.array([3]))
    layer = from_nir(graph).get_submodule('0')
    assert layer.neuron.charge == snnkern.LIF(2.0)
    assert torch.equal(layer.coefficients()['v_threshold'].detach(), theta[:3])


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'snnkern': 'IF() Nope(1.0) Soft(0.0) ATan(2.0)'}, "must be as snnkern writes them: unknown fire 'Nope'"),
        ({'snnkern': 'IF(0.0, 1.0) Binary(1.0) Soft(0.0) ATan(2.0)'}, 'charge IF must have the values of c, got'),
        ({'axis': 'x'}, 'its metadata must be as snnkern writes them: .*int'),
        ({'axis': -3}, 'axis must be -1 or more, got -3'),
        ({'dt': 0.0}, 'dt must be > 0'),
        ({'of_v_threshold': 'high'}, 'metadata must be as snnkern writes them'),
        ({'v0': np.zeros(3)}, r'v0 of its metadata must be finite and fit \(4,\), got shape \(3,\)'),
        ({'v0': np.full(4, np.nan)}, r'v0 of its metadata must be finite and fit \(4,\), got shape \(4,\)'),
    ],
)  # fmt: skip
def test_damaged_metadata_are_told(changes, words) -> None:
    graph, node = graph_of(nn.IF())
    node.metadata = {**node.metadata, **changes}
    with pytest.raises(ValueError, match=rf'node 0 \(IF\): .*{words}'):
        from_nir(graph)


def test_metadata_of_an_older_version_are_read() -> None:
    graph, node = graph_of(Placed(Neuron(surrogate=PiecewiseExp(2.0)), {}, v0=torch.full((4,), 0.25)))
    assert 'PiecewiseExp(2.0, 1.0)' in node.metadata['snnkern']
    node.metadata = {**node.metadata, 'snnkern': node.metadata['snnkern'].replace('Exp(2.0, 1.0)', 'Exp(2.0)')}
    layer = from_nir(graph).get_submodule('0')
    assert layer.neuron.surrogate == PiecewiseExp(2.0)
    assert layer.v0.tolist() == [0.25] * 4


def test_a_float64_model_comes_back_in_float32() -> None:
    net = from_nir(to_nir(tnn.Sequential(tnn.Linear(4, 3), nn.IF()).double(), X.double()))
    assert {p.dtype for p in net.parameters()} == {torch.float32}
    assert net(X).dtype == torch.float32


def test_a_folder_is_no_file(tmp_path) -> None:
    graph, _ = graph_of(nn.IF())
    with pytest.raises(IsADirectoryError, match='path must be a file, got the folder'):
        write(graph, tmp_path)
    assert not list(tmp_path.iterdir())
