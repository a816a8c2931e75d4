"""SpikingJelly's nodes before and after `accelerate`: equal to the bit, gradients within tolerance."""

import pytest
import torch
from accelerated import check
from torch import nn

import snnkern.adapters as adapters
from snnkern.testing import assert_spikes_equal

spikingjelly = pytest.importorskip('spikingjelly', reason='SpikingJelly is not installed')
neuron = pytest.importorskip('spikingjelly.activation_based.neuron')
layer = pytest.importorskip('spikingjelly.activation_based.layer')
surrogate = pytest.importorskip('spikingjelly.activation_based.surrogate')
functional = pytest.importorskip('spikingjelly.activation_based.functional')

NODES = {
    'IF': lambda **k: neuron.IFNode(0.7, **k),
    'IF soft, ATan': lambda **k: neuron.IFNode(1.3, None, surrogate.ATan(3.0), **k),
    'LIF': lambda **k: neuron.LIFNode(3.0, **k),
    'LIF undecayed, detached': lambda **k: neuron.LIFNode(1.7, False, 0.9, None, detach_reset=True, **k),
    'LIF undecayed, to 0.2': lambda **k: neuron.LIFNode(1.7, False, 0.9, 0.2, **k),
    'PLIF': lambda **k: neuron.ParametricLIFNode(3.0, **k),
    'PLIF undecayed, soft': lambda **k: neuron.ParametricLIFNode(1.5, False, 1.0, None, **k),
    'half threshold': lambda **k: neuron.HalfThresholdIFNode(0.8, **k),
    'ternary IF': lambda **k: neuron.TernaryIFNode(**k),
    'ternary LIF': lambda **k: neuron.TernaryLIFNode(2.5, v_reset=None, **k),
    'I-LIF': lambda **k: neuron.ILIFNode(**k),
    'CUBA': lambda **k: configured(neuron.CUBALIFNode(), **k),
}
SHAPES = (
    surrogate.SoftSign(2.0),
    surrogate.SuperSpike(1.0),
    surrogate.Erf(2.0),
    surrogate.PiecewiseExp(1.0),
    surrogate.PiecewiseQuadratic(1.0),
    surrogate.LeakyKReLU(0.1, 0.7),
    surrogate.Rect(1.0),
    surrogate.DeterministicPass(),
)


def configured(node, **options):
    for name, value in options.items():
        setattr(node, name, value)
    return node


def currents(T=9, N=500):
    return torch.randn(T, 4, N // 4) * 1.2 + 0.6


def steps(net, x):
    """A call, another one that goes on, and the state."""
    functional.reset_net(net)
    first, second = net(x), net(x.flip(0))
    return first, second, [m for m in net._memories.values() if isinstance(m, torch.Tensor)]


def once(net, x):
    functional.reset_net(net)
    return net(x)


@pytest.mark.parametrize('name', NODES)
def test_nodes_run_all_steps(name):
    theirs = NODES[name](step_mode='m')
    ours = adapters.accelerate(theirs)
    assert [row.fused for row in adapters.explain(ours).rows] == [True]
    s, *_ = check(theirs, ours, steps, currents())
    assert 0.02 < s.abs().mean() < 3.9


@pytest.mark.parametrize('name', NODES)
def test_nodes_run_single_steps_and_store_potentials(name):
    theirs = NODES[name](step_mode='s', store_v_seq=True)

    def loop(net, x):
        functional.reset_net(net)
        return torch.stack([net(step) for step in x]), net.v_seq

    check(theirs, adapters.accelerate(theirs), loop, currents(5))


@pytest.mark.parametrize('name', NODES)
def test_stored_potentials_of_all_steps(name):
    theirs = NODES[name](step_mode='m', store_v_seq=True)
    check(theirs, adapters.accelerate(theirs), lambda net, x: (once(net, x), net.v_seq), currents())


@pytest.mark.parametrize('function', SHAPES, ids=lambda f: type(f).__name__)
def test_surrogates(function):
    theirs = neuron.LIFNode(2.0, surrogate_function=function, step_mode='m')
    ours = adapters.accelerate(theirs)
    assert ours.refusal() is None
    check(theirs, ours, once, currents())


@pytest.mark.parametrize(
    'options', [{'surrogate_function': surrogate.S2NN()}, {'surrogate_function': surrogate.Sigmoid(spiking=False)}]
)
def test_what_has_no_kernel_stays_and_is_named(options):
    theirs = neuron.LIFNode(2.0, step_mode='m', **options)
    with pytest.warns(UserWarning, match=r'stay as they were .*: the model'):
        ours = adapters.accelerate(theirs)
    (row,) = adapters.explain(ours).rows
    assert not row.fused
    assert 'surrogate_function' in row.how
    check(theirs, ours, once, currents())


def test_unknown_nodes_and_subclasses_stay():
    class Own(neuron.LIFNode):
        def neuronal_charge(self, x):
            self.v = self.v + 2 * x

    net = nn.Sequential(neuron.LIFNode(), neuron.QIFNode(), Own())
    with pytest.warns(UserWarning, match='1, 2'):
        ours = adapters.accelerate(net)
    assert [type(m) is type(n) for m, n in zip(ours, net, strict=True)] == [False, True, True]
    hows = [row.how for row in adapters.explain(ours).rows if isinstance(ours[int(row.name[0])], neuron.BaseNode)]
    assert hows == ['fused', 'left: no kernel for QIFNode', 'left: a subclass of LIFNode, which may do something else']
    assert all('not accelerated' in row.how or 'left' in row.how for row in adapters.explain(net).rows)


def test_attributes_count_at_the_next_call():
    theirs = neuron.LIFNode(2.0, step_mode='m')
    ours = adapters.accelerate(theirs)
    for node in (theirs, ours):
        node.v_threshold, node.tau, node.v_reset, node.surrogate_function = 0.4, 3.0, None, surrogate.ATan(1.5)
    check(theirs, ours, once, currents())


def test_another_batch_starts_anew():
    theirs = neuron.LIFNode(2.0, v_reset=0.1, step_mode='m')
    ours = adapters.accelerate(theirs)
    for net in (theirs, ours):
        net(torch.rand(3, 7))
    x = currents()
    assert_spikes_equal(ours(x), theirs(x))


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_runs_fused_and_keeps_a_float_state(dtype):
    ours = adapters.accelerate(neuron.LIFNode(2.0, step_mode='m'))
    x = currents().to(dtype)
    s = ours(x)
    assert s.dtype == dtype
    assert ours.v.dtype == torch.float32
    exact = neuron.LIFNode(2.0, step_mode='m')
    assert_spikes_equal(s.float(), exact(x.float()))


def test_functional_calls_with_explicit_states():
    from spikingjelly.activation_based import base

    theirs = nn.Sequential(layer.Linear(20, 30), neuron.LIFNode(), layer.Linear(30, 5), neuron.IFNode())
    functional.set_step_mode(theirs, 'm')
    ours = adapters.accelerate(theirs)
    x = torch.rand(6, 3, 20) * 3
    found = []
    for net in (theirs, ours):
        (s,), states = base.to_functional_forward(net)((x,), (0.0, 0.0))
        (again,), _ = base.to_functional_forward(net)((x,), states)
        found.append((s, again, *states))
    for a, b in zip(*found, strict=True):
        assert_spikes_equal(a, b)


def test_monitors_reset_and_detach():
    from spikingjelly.activation_based import monitor

    net = nn.Sequential(layer.Linear(20, 30), neuron.LIFNode(step_mode='m'))
    ours = adapters.accelerate(net)
    records = []
    for n in (net, ours):
        watch = monitor.OutputMonitor(n, instance=neuron.LIFNode)
        y = n(torch.ones(4, 2, 20))
        records.append(watch.records[0])
        functional.detach_net(n)
        assert n[1].v.grad_fn is None
        functional.reset_net(n)
        assert n[1].v == 0.0
        watch.remove_hooks()
        assert y.shape == (4, 2, 30)
    assert_spikes_equal(*records)


def test_an_input_that_is_changed_in_place_is_named():
    ours = adapters.accelerate(nn.Sequential(layer.Linear(5, 6), neuron.LIFNode(step_mode='m')))
    y = ours[0](torch.rand(3, 2, 5))
    s = ours[1](y)
    y += 1
    with pytest.raises(RuntimeError, match=r'the input of 1 \(LIFNode\) was changed in place after the call; backward'):
        s.sum().backward()
