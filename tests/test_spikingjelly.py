"""SpikingJelly 2.0 as oracle: its nodes give the same spikes, potentials and gradients, equal to the bit.

ILIFNode (in multi-step mode) and OTTTLIFNode have another order of operations, v * (1 - 1 / tau) + x.
"""

import pytest
import torch
from cases import pairwise
from oracles import KINDS, Run, fused, loop, module, potentials
from oracles import check as compare

from snnkern import (
    IF,
    LIF,
    Affine,
    ATan,
    Binary,
    Hard,
    Integer,
    Neuron,
    NoReset,
    Rectangle,
    Sigmoid,
    SignedMemory,
    Soft,
    Synaptic,
    Ternary,
    nn,
)
from snnkern.presets import NEURONS
from snnkern.testing import TOLERANCES, assert_grads_close, assert_spikes_equal

spikingjelly = pytest.importorskip('spikingjelly', reason='SpikingJelly is not installed: no oracle')
neuron = pytest.importorskip('spikingjelly.activation_based.neuron')
surrogate = pytest.importorskip('spikingjelly.activation_based.surrogate')

SURROGATES = {
    'atan': (ATan(2.0), lambda: surrogate.ATan(2.0)),
    'sigmoid': (Sigmoid(4.0), lambda: surrogate.Sigmoid(4.0)),
}
TAUS = (1.5, 2.0, 3.0, 10.0, 100 / 3)
RESETS = (0.0, None, -0.2, 0.3)
THRESHOLDS = (1.0, 0.7)
ROWS = pairwise(TAUS, (True, False), RESETS, THRESHOLDS, (False, True), tuple(SURROGATES), ('grid', 'normal'))
IF_ROWS = pairwise(RESETS, THRESHOLDS, (False, True), tuple(SURROGATES), ('grid', 'normal'))


def currents(kind, T=16, N=20_000, gain=1):
    x = torch.randint(-5, 22, (T, N)) / 10 if kind == 'grid' else torch.randn(T, N) + 0.5
    return (x * gain).requires_grad_()


def run(module, x, upstream):
    """Spikes, last potential and gradient of one call."""
    s = module(x)
    (grad,) = torch.autograd.grad(s, x, upstream)
    return s.detach(), module.v.detach(), grad


def both(ours, theirs, kind):
    divisor = theirs.tau if getattr(theirs, 'decay_input', False) else 1
    x = currents(kind, gain=max(1, round(divisor / 3)))  # a long tau must spike, too
    upstream = torch.randn_like(x)
    return run(ours, x, upstream), run(theirs, x, upstream), x


def check(ours, theirs, kind):
    actual, expected, _ = both(ours, theirs, kind)
    assert_spikes_equal(actual[0], expected[0])
    assert_spikes_equal(actual[1], expected[1])
    assert_grads_close(actual[2], expected[2])
    assert 0.02 < expected[0].mean() < 0.95


@pytest.mark.parametrize(
    ('tau', 'decay_input', 'v_reset', 'v_threshold', 'detach_reset', 'shape', 'kind'),
    ROWS,
)
def test_lif(tau, decay_input, v_reset, v_threshold, detach_reset, shape, kind):
    own, other = SURROGATES[shape]
    arguments = (tau, decay_input, v_threshold, v_reset)
    theirs = neuron.LIFNode(*arguments, other(), detach_reset, step_mode='m')
    check(nn.LIF(*arguments, own, detach_reset), theirs, kind)


@pytest.mark.parametrize(('v_reset', 'v_threshold', 'detach_reset', 'shape', 'kind'), IF_ROWS)
def test_if(v_reset, v_threshold, detach_reset, shape, kind):
    own, other = SURROGATES[shape]
    theirs = neuron.IFNode(v_threshold, v_reset, other(), detach_reset, step_mode='m')
    check(nn.IF(v_threshold, v_reset, own, detach_reset), theirs, kind)


def test_state_over_calls():
    """Three calls without reset, then one after it."""
    ours, theirs = nn.LIF(3.0, v_reset=-0.1), neuron.LIFNode(3.0, v_reset=-0.1, step_mode='m')
    for _ in range(2):
        for _ in range(3):
            x = currents('grid', 5, 300).detach()
            with torch.no_grad():
                assert_spikes_equal(ours(x), theirs(x))
        ours.reset()
        theirs.reset()


def test_single_steps_are_the_same_recurrence():
    theirs = neuron.LIFNode(2.0, step_mode='s')
    x = currents('grid', 12, 1000).detach()
    with torch.no_grad():
        assert_spikes_equal(nn.LIF(2.0)(x), torch.stack([theirs(step) for step in x]))


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('v_reset', RESETS)
@pytest.mark.parametrize('decay_input', [True, False])
def test_plif(kind, v_reset, decay_input):
    """Traces of the potential and the gradient of w, too."""
    arguments = (1.7, decay_input, 0.7, v_reset)
    theirs = neuron.ParametricLIFNode(*arguments, surrogate.ATan(2.0), step_mode='m', store_v_seq=True)
    ours = nn.ParametricLIF(*arguments, ATan(2.0), store_v_seq=True)
    x = currents(kind, N=2000)
    compare(module(ours, x, ours.w), module(theirs, x, theirs.w))


def test_plif_detached_and_by_single_steps():
    theirs = neuron.ParametricLIFNode(3.0, detach_reset=True, step_mode='s')
    ours = nn.ParametricLIF(3.0, surrogate=Sigmoid(4.0), detach_reset=True, step_mode='s')
    x = currents('grid', N=2000)

    def run(layer):
        return loop(lambda step: (layer(step), layer.v), x, layer.w)

    compare(run(ours), run(theirs))


def test_weights_of_plif_go_both_ways():
    theirs, ours = neuron.ParametricLIFNode(5.0), nn.ParametricLIF(3.0)
    assert theirs.state_dict().keys() == ours.state_dict().keys() == {'w'}
    ours.load_state_dict(theirs.state_dict())
    assert torch.equal(ours.w, theirs.w)
    theirs.load_state_dict(nn.ParametricLIF(2.5).state_dict())
    assert 1 / theirs.w.sigmoid().item() == pytest.approx(2.5)


@pytest.mark.parametrize('v_reset', [0.0, None])
def test_traces_of_lif_and_if(v_reset):
    for theirs, ours in (
        (neuron.LIFNode(2.5, v_reset=v_reset, step_mode='m', store_v_seq=True), nn.LIF(2.5, v_reset=v_reset)),
        (neuron.IFNode(v_reset=v_reset, step_mode='m', store_v_seq=True), nn.IF(v_reset=v_reset)),
    ):
        preset = NEURONS[f'spikingjelly.{type(theirs).__name__}']
        assert (preset.fire, preset.surrogate) == (ours.neuron.fire, Sigmoid(theirs.surrogate_function.alpha))
        ours = nn.Neuron(Neuron(*ours.neuron.parts[:3], preset.surrogate), store_v_seq=True)
        x = currents('grid', N=2000)
        compare(module(ours, x), module(theirs, x))


SIGMOID = Sigmoid(4.0)
RELATIVES = {
    'TernaryIFNode': ({}, Neuron(IF(), Ternary(), Hard(), SIGMOID), 1),
    'TernaryIFNode soft': ({'v_reset': None}, Neuron(IF(), Ternary(), Soft(), SIGMOID), 1),
    'TernaryLIFNode': ({}, Neuron(LIF(2.0), Ternary(), Hard(), SIGMOID), 2),
    'CUBALIFNode': (
        {'c_decay': 0.5, 'v_decay': 0.75, 'surrogate_function': surrogate.Sigmoid(4.0)},
        Neuron(Synaptic(0.75, decay=0.5), Binary(0.5), Hard(), SIGMOID),
        0.2,
    ),
}


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('name', RELATIVES)
def test_relatives(kind, name):
    arguments, own, gain = RELATIVES[name]
    theirs = getattr(neuron, name.split()[0])(**arguments)
    theirs.step_mode, theirs.store_v_seq = 'm', True
    x = currents(kind, N=2000, gain=gain)
    compare(fused(own, x), module(theirs, x))


def test_half_a_threshold_to_start_with():
    theirs = neuron.HalfThresholdIFNode(0.8, step_mode='m', store_v_seq=True)
    x = currents('grid', N=2000)
    compare(fused(Neuron(IF(), Binary(0.8), Soft(), SIGMOID), x, v0=0.4), module(theirs, x))


def test_ilif():
    """Of another order of operations (decay * v + x)."""
    theirs = neuron.ILIFNode(step_mode='m', store_v_seq=True)
    own = Neuron(LIF(4 / 3, decay_input=False), Integer(1.0, 4), Soft(), Rectangle(2.0))
    assert own == NEURONS['i-lif']
    x = currents('normal', N=2000, gain=1.5)
    ours, result = fused(own, x), module(theirs, x)
    assert result.s.max() == 4
    compare(ours, result, potentials(own, x) - 0.5)  # its levels lie at k - 0.5


def test_a_count_that_is_taken_back():
    """STBIFNode while its running sum is below pos_max; forward only, it has no gradient."""
    theirs = neuron.STBIFNode(1.0, level=1024, step_mode='m')
    x = currents('normal', N=2000).detach() - 0.4
    s = theirs(x)
    assert s.min() == -1
    assert s.max() == 1
    assert_spikes_equal(fused(Neuron(IF(), SignedMemory(1.0), Soft()), x, v0=0.5).s, s)


def test_online_learning():
    """SLTTLIFNode: no gradient through time. OTTTLIFNode is the same neuron of another order, with a trace."""
    theirs = neuron.SLTTLIFNode(2.0)
    own = Neuron(LIF(2.0), Binary(), Hard(detach=True, detach_v=True), SIGMOID)
    x = currents('grid', N=2000)
    compare(fused(own, x), loop(lambda step: (theirs(step), theirs.v), x))
    theirs = neuron.OTTTLIFNode(2.0)
    own = Neuron(LIF(2.0, decay_input=False), Binary(), Soft(detach=True, detach_v=True), SIGMOID)
    x = currents('normal', N=2000)
    compare(fused(own, x), loop(lambda step: (theirs(step)[0], theirs.v), x), potentials(own, x))


def test_parallel_neurons_are_a_matmul_and_a_threshold():
    psn = neuron.PSN(16)
    torch.nn.init.constant_(psn.bias, -0.3)
    x = currents('normal', N=2000)
    h = torch.addmm(psn.bias, psn.weight, x)
    own, theirs = fused(Neuron(Affine(0.0), Binary(0.0), NoReset(), ATan(2.0)), h), psn(x)
    compare(Run(own.s, None, (x, psn.weight)), Run(theirs, None, (x, psn.weight)))


def test_an_offset_is_a_potential_to_start_from():
    theirs = neuron.ActivationAwareIFNode(0.8, 0.25, step_mode='m')
    x = currents('normal', N=2000)
    own = Neuron(IF(), Binary(0.8), Soft(), SIGMOID)
    compare(fused(own, x, v0=0.25), Run(theirs(x), None, (x,)), potentials(own, x, 0.25), 0.8)


def test_the_tolerance_of_flips_is_small():
    assert TOLERANCES[torch.float32].flips <= 1e-3
