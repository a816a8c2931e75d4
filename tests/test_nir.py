"""NIR exchange: what goes out comes back with the same spikes, and the numbers are those of the standard."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn as tnn

import snnkern
from snnkern import LIF, Affine, Binary, Hard, Neuron, Sigmoid, Soft, nn
from snnkern.adapters.nir.layers import OverSteps

nir = pytest.importorskip('nir', reason='nir is not installed')
from snnkern.adapters.nir import from_nir, read, to_nir, write  # noqa: E402

T, B = 12, 3


def there_and_back(net, x, tmp_path, **how):
    """The network after it was a file."""
    write(to_nir(net, x, **how), tmp_path / 'net.nir')
    return from_nir(tmp_path / 'net.nir')


def strong(net):
    """The network with weights that make it spike."""
    for layer in net.modules():
        if isinstance(layer, tnn.Linear | tnn.Conv2d | tnn.Conv1d):
            tnn.init.normal_(layer.weight, 0.4, 1.5)
    return net


def same(net, x, tmp_path, **how):
    """Assert that a network survives; returns what it became."""
    twin = there_and_back(net, x, tmp_path, **how)
    nn.reset(net)
    with torch.no_grad():
        expected, found = net.eval()(x), twin(x)
    assert 0.01 < (expected != 0).float().mean() < 0.99
    assert torch.equal(found, expected)
    return twin


THETAS = torch.linspace(0.5, 1.5, 6)
NEURONS = {
    'IF': lambda: nn.IF(),
    'IF, soft': lambda: nn.IF(0.7, None),
    'LIF': lambda: nn.LIF(3.0, surrogate=Sigmoid(4.0)),
    'LIF, input not decayed': lambda: nn.LIF(3.0, False),
    'LIF, v_reset': lambda: nn.LIF(2.0, v_reset=-0.3),
    'ParametricLIF': lambda: nn.ParametricLIF(3.0),
    'BiasLIF': lambda: nn.BiasLIF(2.0, 0.2),
    'Leaky, delayed': lambda: nn.Leaky(0.9),
    'Leaky, per channel': lambda: nn.Leaky(torch.linspace(0.3, 0.95, 6), THETAS, learn_beta=True, reset='zero'),
    'Leaky, tokens': lambda: nn.Leaky(0.5, THETAS, channel_dim=-1),
    'Synaptic': lambda: nn.Synaptic(0.7, 0.8),
    'Affine': lambda: nn.Neuron(Neuron(Affine(0.6, 0.7, 0.1), Binary(0.9, strict=True), Soft())),
    'Affine, a = 1': lambda: nn.Neuron(Neuron(Affine(1.0, 0.3), Binary(0.9), Soft())),
    'Burst of one': lambda: nn.Burst(0.9, 1),
    'real units': lambda: nn.Neuron(Neuron(LIF(2.0), Binary(0.8, real_units=True), Soft(True))),
}


@pytest.mark.parametrize('name', NEURONS)
def test_neurons_return(name, tmp_path) -> None:
    net = strong(tnn.Sequential(tnn.Linear(5, 6), NEURONS[name](), tnn.Linear(6, 6, bias=False), NEURONS[name]()))
    twin = same(net, torch.rand(T, B, 5), tmp_path)
    assert twin.get_submodule('1').neuron == net[1].neuron, 'with surrogate and reset'
    again = to_nir(twin, torch.rand(T, B, 5))
    first = read(tmp_path / 'net.nir').nodes['1']
    assert all(np.array_equal(getattr(first, k), v) for k, v in vars(again.nodes['1']).items() if k in ('tau', 'r'))


class Branches(tnn.Module):
    """Time folded and unfolded, a shortcut, BatchNorm, groups, a reshape."""

    def __init__(self) -> None:
        super().__init__()
        self.first = tnn.Conv2d(2, 4, 3, padding='same', bias=False)
        self.neuron = nn.LIF(2.0)
        self.second = tnn.Conv2d(4, 4, (3, 1), padding=(1, 0), groups=2)
        self.sew = nn.IF(v_reset=None, connect='sew')
        self.pool, self.mean = nn.AvgPool2d(2), tnn.AvgPool2d(2, divisor_override=1)
        self.last = nn.IF(v_threshold=0.5)

    def forward(self, x):
        T, B = x.shape[:2]
        x = self.neuron(self.first(x.flatten(0, 1)).unflatten(0, (T, B)))
        y = self.sew(self.second(x.flatten(0, 1)).view(T, B, 4, 6, 4) + x, x)
        y = self.pool(y) + self.mean(x.flatten(0, 1)).unflatten(0, (T, B))
        return self.last(y.flatten(2))


def test_branches_return(tmp_path) -> None:
    net = strong(Branches())
    same(net, torch.rand(T, B, 2, 6, 4), tmp_path)
    edges = read(tmp_path / 'net.nir').edges
    assert {a for a, b in edges if b == 'pool'} == {'sew', 'neuron'}, 'a shortcut is two edges into one node'
    kinds = {type(node).__name__ for node in read(tmp_path / 'net.nir').nodes.values()}
    assert kinds == {'Input', 'Output', 'Conv2d', 'LIF', 'IF', 'AvgPool2d', 'SumPool2d', 'Flatten'}


class Membranes(tnn.Module):
    """An MS shortcut: the sum goes on to the next layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = tnn.Linear(4, 4), tnn.Linear(4, 4), tnn.Linear(4, 4)
        self.one, self.two = nn.IF(connect='ms'), nn.LIF(connect='ms')

    def forward(self, x):
        first = self.a(x)
        s, total = self.one(self.b(x), first)
        s, total = self.two(self.c(s), total)
        return s


def test_membrane_shortcuts_return(tmp_path) -> None:
    same(strong(Membranes()), torch.rand(T, B, 4), tmp_path)


def test_single_steps_go_out(tmp_path) -> None:
    net = strong(tnn.Sequential(tnn.Conv1d(2, 3, 3), nn.LIF(step_mode='s'), tnn.Flatten(), nn.IF(step_mode='s')))
    x = torch.rand(T, B, 2, 8)
    twin = there_and_back(net, x[0], tmp_path)
    nn.reset(net)
    assert torch.equal(twin(x), torch.stack([net(step) for step in x]))


def test_batch_norm_is_folded(tmp_path) -> None:
    net = tnn.Sequential(OverSteps(tnn.Sequential(tnn.Conv2d(2, 3, 3), tnn.BatchNorm2d(3), tnn.Dropout())))
    x = torch.randn(T, B, 2, 5, 5)
    net(x)
    inner = net.eval()[0].layer
    whole = tnn.Sequential(*inner)
    twin = from_nir(to_nir(Folding(whole), x))
    assert 'BatchNorm2d' not in str(twin)
    torch.testing.assert_close(twin(x), net(x))


class Folding(tnn.Module):
    """A network of one step over all of them."""

    def __init__(self, net) -> None:
        super().__init__()
        self.net = net

    def forward(self, x):
        return self.net(x.flatten(0, 1)).unflatten(0, (T, B))


def test_numbers_of_the_standard() -> None:
    layers = [nn.LIF(4.0, False, v_reset=-0.5), nn.Leaky(0.75, 2.0), nn.IF(3.0), nn.Synaptic(0.5, 0.75)]
    graph = to_nir(tnn.Sequential(*layers), torch.rand(T, B, 2), dt=0.5)
    lif, leaky, plain, cuba = (graph.nodes[str(i)] for i in range(4))
    expected = {'tau': 2.0, 'r': 4.0, 'v_leak': -0.5, 'v_threshold': 1.0}
    assert {k: getattr(lif, k).tolist() for k in expected} == {k: [v] * 2 for k, v in expected.items()}
    assert (leaky.tau[0], leaky.r[0], leaky.v_threshold[0]) == (2.0, 4.0, 2.0)
    assert (plain.r[0], plain.v_threshold[0]) == (2.0, 3.0)
    assert (cuba.tau_syn[0], cuba.w_in[0], cuba.tau_mem[0], cuba.r[0]) == (1.0, 2.0, 2.0, 4.0)


def graph_of(*nodes):
    """A chain of nodes."""
    names = [str(i) for i in range(len(nodes))]
    shape = np.array([2])
    every = {'input': nir.Input(shape), **dict(zip(names, nodes, strict=True)), 'output': nir.Output(shape)}
    return nir.NIRGraph(every, list(zip(['input', *names], [*names, 'output'], strict=True)))


def full(*values):
    return np.array(values, np.float32)


def test_foreign_neurons_follow_the_equations() -> None:
    """One Euler step, strict; several numbers in a layer; r = 1 of an IF is one step."""
    x = torch.rand(T, B, 2)
    tau, r, leak, theta = full(2e-4, 4e-4), full(1.0, 3.0), full(0.0, 0.1), full(0.6, 0.4)
    net = from_nir(graph_of(nir.LIF(tau=tau, r=r, v_leak=leak, v_threshold=theta)), reset='soft')
    v, spikes = torch.zeros(B, 2), []
    k = torch.tensor(1e-4 / tau)
    for step in x:
        v = v + (torch.tensor(leak) - v + torch.tensor(r) * step) * k
        spikes.append((v > torch.tensor(theta)).float())
        v = v - spikes[-1] * torch.tensor(theta)
    assert torch.stack(spikes).mean() > 0.05
    assert torch.equal(net(x), torch.stack(spikes))
    plain = from_nir(graph_of(nir.IF(r=full(1, 1), v_threshold=full(1, 1))), reset='hard')
    assert plain.get_submodule('0').neuron == Neuron(snnkern.IF(), Binary(1.0, strict=True), Hard())


def test_integrators_give_their_potential(tmp_path) -> None:
    x = torch.rand(T, B, 2)
    graph = graph_of(nir.LI(tau=full(2e-4, 2e-4), r=full(1, 1), v_leak=full(0, 0)), nir.I(r=full(1, 1)))
    net = from_nir(graph)
    v, total, expected = torch.zeros(B, 2), torch.zeros(B, 2), []
    for step in x:
        v = v + (step - v) / 2
        total = total + v
        expected.append(total)
    assert torch.equal(net(x), torch.stack(expected))
    assert {type(n).__name__ for n in to_nir(net, x).nodes.values()} == {'Input', 'LI', 'I', 'Output'}
    nn.reset(net)
    assert torch.equal(there_and_back(net, x, tmp_path)(x), torch.stack(expected))


def test_thresholds_of_each_neuron() -> None:
    theta = torch.rand(2, 3, 3) + 0.2
    every = {'input': nir.Input(np.array(theta.shape)), 'n': nir.IF(r=np.ones((2, 3, 3)), v_threshold=theta.numpy()),
             'output': nir.Output(np.array(theta.shape))}  # fmt: skip
    net = from_nir(nir.NIRGraph(every, [('input', 'n'), ('n', 'output')]), reset='soft')
    x = torch.rand(T, B, 2, 3, 3)
    v, expected = torch.zeros(B, 2, 3, 3), []
    for step in x:
        v = v + step
        expected.append((v > theta).float())
        v = v - expected[-1] * theta
    assert torch.equal(net(x), torch.stack(expected))
    again = from_nir(to_nir(net, x))
    assert torch.equal(again(x), torch.stack(expected))


def test_graphs_within_graphs() -> None:
    inner = graph_of(nir.Linear(np.eye(2, dtype=np.float32)), nir.Scale(full(2, 3)))
    every = {'input': nir.Input(np.array([2])), 'in': inner, 'output': nir.Output(np.array([2]))}
    outer = graph_of(nir.Scale(full(1, 1)))
    outer.nodes, outer.edges = every, [('input', 'in'), ('in', 'output')]
    net = from_nir(outer)
    assert torch.equal(net(torch.ones(T, B, 2)), torch.tensor([2.0, 3.0]).expand(T, B, 2))


def test_changed_numbers_outweigh_metadata() -> None:
    graph = to_nir(tnn.Sequential(nn.LIF(2.0, surrogate=Sigmoid(4.0))), torch.rand(T, B, 2))
    assert from_nir(graph).get_submodule('0').neuron.surrogate == Sigmoid(4.0)
    graph.nodes['0'].v_threshold = full(0.25, 0.25)
    neuron = from_nir(graph).get_submodule('0').neuron
    assert neuron.fire == Binary(0.25, strict=True)
    assert from_nir(graph, surrogate=Sigmoid(2.0)).get_submodule('0').neuron.surrogate == Sigmoid(2.0)


def test_a_repeated_step_is_computed_once() -> None:
    net = from_nir(to_nir(strong(tnn.Sequential(tnn.Linear(5, 6), nn.LIF(), tnn.Linear(6, 2))), torch.rand(T, B, 5)))
    x = torch.rand(B, 5)
    expected = net(x.repeat(T, 1, 1))
    nn.reset(net)
    seen = []
    net.get_submodule('0').layer.register_forward_pre_hook(lambda layer, given: seen.append(given[0].shape))
    assert torch.equal(net(x.expand(T, B, 5)), expected)
    assert seen == [x.shape]


def test_neurons_that_are_refused() -> None:
    x = torch.rand(T, B, 2)
    refused = {
        'fire SignedMemory': nn.SignedIF(),
        'fire Burst': nn.Burst(1.0, 3),
        'without a reset': nn.Leaky(reset='none'),
        'constant current': nn.Neuron(Neuron(snnkern.IF(0.1), Binary(), Hard())),
        '0 to 1 of itself': nn.Neuron(Neuron(Affine(2.0), Binary(), Hard())),
        'is more than a neuron': nn.BatchNormNeuron(2, replace(Neuron(), reset=Hard())),
        'both states': nn.Synaptic(0.9, 1.0),
    }
    for words, layer in refused.items():
        with pytest.raises(ValueError, match=f'layer 0 cannot be said in NIR: .*{words}'):
            to_nir(tnn.Sequential(layer), x)
