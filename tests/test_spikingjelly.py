"""SpikingJelly 2.0 as oracle: its own LIFNode and IFNode give the same spikes, potentials and gradients.

One configuration has another order of operations there: with decay_input=False and v_reset 0 or None,
SpikingJelly computes v * (1 - 1 / tau) + x, we v - v / tau + x as for every other v_reset.
"""

import pytest
import torch
from cases import pairwise

from snnkern import ATan, Sigmoid, nn
from snnkern.backends import reference
from snnkern.testing import TOLERANCES, assert_first_flip, assert_grads_close, assert_spikes_equal

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
    [row for row in ROWS if row[1] or row[2]],
)
def test_lif(tau, decay_input, v_reset, v_threshold, detach_reset, shape, kind):
    own, other = SURROGATES[shape]
    arguments = (tau, decay_input, v_threshold, v_reset)
    theirs = neuron.LIFNode(*arguments, other(), detach_reset, step_mode='m')
    check(nn.LIF(*arguments, own, detach_reset), theirs, kind)


@pytest.mark.parametrize(
    ('tau', 'decay_input', 'v_reset', 'v_threshold', 'detach_reset', 'shape', 'kind'),
    [row for row in ROWS if not (row[1] or row[2])],
)
def test_lif_of_another_order(tau, decay_input, v_reset, v_threshold, detach_reset, shape, kind):
    """Equal up to each neuron's first flip, which lies within rounding errors of the threshold."""
    own, other = SURROGATES[shape]
    arguments = (tau, decay_input, v_threshold, v_reset)
    ours = nn.LIF(*arguments, own, detach_reset)
    theirs = neuron.LIFNode(*arguments, other(), detach_reset, step_mode='m')
    actual, expected, x = both(ours, theirs, kind)
    h = reference.run(x.detach(), None, ours.neuron, len(x)).h
    assert_first_flip(expected[0], actual[0], h, v_threshold)
    same = (actual[0] == expected[0]).all(0)
    torch.testing.assert_close(actual[1][same], expected[1][same], rtol=1e-5, atol=1e-5)
    assert_grads_close(actual[2][:, same], expected[2][:, same])


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


def test_the_tolerance_of_flips_is_small():
    assert TOLERANCES[torch.float32].flips <= 1e-3
