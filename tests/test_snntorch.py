"""snnTorch as oracle: its Leaky, Synaptic and Lapicque give the same spikes, potentials and gradients.

Equal to the bit, since the order of operations is the same. Two of its resets are not ours, and the tests say
where they part: reset_delay=False while a potential stays above its threshold after a reset, and "zero" of Synaptic
and Lapicque, which also drops the input of the step after a spike.
"""

import math

import pytest
import torch
from oracles import KINDS, Run, check, currents, fused, loop, module, potentials

from snnkern import Affine, ATan, Binary, Delayed, FastSigmoid, Hard, Neuron, NoReset, Sigmoid, Soft, nn
from snnkern.presets import NEURONS

snn = pytest.importorskip('snntorch', reason='snnTorch is not installed: no oracle')
surrogate = pytest.importorskip('snntorch.surrogate')


def stepped(layer, variables=1):
    """The layer as a function of one step that keeps its states."""
    states = [None] * variables

    def step(x):
        s, *states[:] = layer(x, *states)
        return s, states[-1]

    return step


def leaky(x, beta, v_threshold=1.0, reset='subtract', delay=True, learn=True, spike_grad=None):
    """snnTorch's run. A membrane "zero" keeps is the one before the reset; ours is the one after it."""
    layer = snn.Leaky(beta, v_threshold, spike_grad, learn_beta=learn, learn_threshold=learn,
                      reset_mechanism=reset, reset_delay=delay)  # fmt: skip
    result = loop(stepped(layer), x, *([layer.beta, layer.threshold] if learn else []))
    if reset == 'zero' and delay:
        result.v = result.v * (1 - result.s.detach())
    return result


def ours(x, beta, v_threshold=1.0, reset='subtract', delay=True, **options):
    layer = nn.Leaky(beta, v_threshold, reset=reset, reset_delay=delay, learn_beta=True, learn_threshold=True,
                     store_v_seq=True, **options)  # fmt: skip
    return module(layer, x, layer.a, layer.v_threshold)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize(('reset', 'delay'), [('subtract', True), ('zero', True), ('zero', False), ('none', True)])
@pytest.mark.parametrize(('beta', 'v_threshold'), [(0.9, 1.0), (0.5, 0.7)])
def test_leaky(kind, reset, delay, beta, v_threshold):
    x = currents(kind, gain=0.7)
    check(ours(x, beta, v_threshold, reset, delay), leaky(x, beta, v_threshold, reset, delay))


@pytest.mark.parametrize('reset', ['subtract', 'zero'])
def test_a_beta_and_a_threshold_per_neuron(reset):
    beta, v_threshold = torch.rand(10), torch.rand(10) + 0.5
    x = currents('normal', 300, 10)
    check(ours(x, beta, v_threshold, reset), leaky(x, beta.clone(), v_threshold.clone(), reset))


def test_a_beta_beyond_one_is_clamped_and_learns_nothing():
    x = currents('normal', 1000)
    theirs, found = leaky(x, 1.2), ours(x, 1.2)
    for run in (theirs, found):
        assert torch.autograd.grad(run.s.sum(), run.inputs[1], retain_graph=True)[0] == 0
        run.inputs = run.inputs[0], run.inputs[2]
    check(found, theirs)


def test_an_undelayed_subtraction():
    """Equal, the gradient through the reset included, where no potential is above the threshold after a reset.

    Where one is, snnTorch compares v - v_threshold in the next step, and gives v_threshold back if that is too low.
    """
    x = currents('normal', gain=0.8)
    found, theirs = ours(x, 0.9, delay=False), leaky(x, 0.9, delay=False)
    calm = ((found.v <= 1).all(0) & (theirs.v <= 1).all(0)).nonzero()[:, 0]
    assert 0.1 < len(calm) / x.shape[1] < 0.95
    assert (found.s != theirs.s).any()
    quiet = x.detach()[:, calm].clone().requires_grad_()
    check(ours(quiet, 0.9, delay=False), leaky(quiet, 0.9, delay=False))


@pytest.mark.parametrize(
    ('own', 'other'),
    [
        (ATan(2.0), lambda: surrogate.atan(2.0)),
        (FastSigmoid(25.0), lambda: surrogate.fast_sigmoid(25)),
        (Sigmoid(5.0), lambda: surrogate.sigmoid(5)),  # its own slope, 25, gives inf / inf at h < -3
    ],
)
def test_surrogates(own, other):
    x = currents('normal', 1000)
    check(ours(x, 0.9, surrogate=own), leaky(x, 0.9, spike_grad=other()))


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('reset', ['subtract', 'none'])
def test_synaptic(kind, reset):
    x = currents(kind, gain=0.2)
    own = nn.Synaptic(0.9, 0.8, reset=reset, store_v_seq=True)
    check(module(own, x), loop(stepped(snn.Synaptic(0.9, 0.8, reset_mechanism=reset), 2), x))


def test_synaptic_to_zero_drops_an_input_there():
    """There the potential is 0 one step after a spike, whatever comes in; up to the first spike it is ours."""
    x = currents('normal', gain=0.3)
    found = module(nn.Synaptic(0.9, 0.8, reset='zero', store_v_seq=True), x)
    theirs = loop(stepped(snn.Synaptic(0.9, 0.8, reset_mechanism='zero'), 2), x)
    assert (theirs.v[1:][theirs.s[:-1] == 1] == 0).all()
    silent = theirs.s.cumsum(0) == 0
    assert 0.1 < silent.float().mean() < 0.9
    assert torch.equal(found.v[silent], theirs.v[silent])


@pytest.mark.parametrize(('reset', 'own'), [('subtract', Delayed(True)), ('none', NoReset())])
def test_lapicque(reset, own):
    layer = snn.Lapicque(R=1.0, C=5.0, time_step=1.0, reset_mechanism=reset)
    a, b = float(1 - 1 / (layer.R * layer.C)), float(1 / (layer.R * layer.C))
    x = currents('normal', gain=3)
    check(fused(Neuron(Affine(a, b), Binary(strict=True), own, ATan(2.0)), x), loop(stepped(layer), x))


def test_a_convolution_is_a_neuron_without_reset():
    """StateLeaky: exp(-t / tau) with tau = 1 / (1 - beta), by a convolution over T."""
    layer = pytest.importorskip('snntorch._neurons.stateleaky').StateLeaky(0.9, channels=50, output=True)
    x = currents('normal', 40, 50, gain=0.3)
    neuron = Neuron(Affine(math.exp(-1 / layer.tau.item())), Binary(strict=True), NoReset(), ATan(2.0))
    check(fused(neuron, x), Run(*(out.contiguous() for out in layer(x)), (x,)), potentials(neuron, x))


@pytest.mark.parametrize(
    ('name', 'layer', 'variables'),
    [
        ('snntorch.Leaky', lambda: snn.Leaky(0.9), 1),
        ('snntorch.Leaky(zero)', lambda: snn.Leaky(0.9, reset_mechanism='zero'), 1),
        ('snntorch.Synaptic', lambda: snn.Synaptic(0.9, 0.8), 2),
    ],
)
def test_presets(name, layer, variables):
    x = currents('grid', gain=0.4)
    found, theirs = fused(NEURONS[name], x), loop(stepped(layer(), variables), x)
    if 'zero' in name:
        theirs.v = theirs.v * (1 - theirs.s.detach())
    check(found, theirs)


def test_the_reset_is_differentiated_only_without_delay():
    """What nn.Leaky makes of reset and reset_delay."""
    parts = {(r, d): nn.Leaky(reset=r, reset_delay=d).neuron.reset for r in ('subtract', 'zero') for d in (True, False)}
    assert parts == {
        ('subtract', True): Delayed(True),
        ('subtract', False): Soft(),
        ('zero', True): Hard(0.0, True),
        ('zero', False): Hard(),
    }


def test_state_over_calls():
    own, step = nn.Leaky(0.9), stepped(snn.Leaky(0.9))
    with torch.no_grad():
        for _ in range(3):
            x = currents('grid', 500, T=5).detach()
            assert torch.equal(own(x), loop(step, x).s)
