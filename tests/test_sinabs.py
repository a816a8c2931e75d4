"""sinabs as oracle: IAF, LIF, ExpLeak and ALIF give the same spikes, potentials and gradients.

Equal to the bit. ALIF subtracts the raised threshold, `Adaptive` the resting one: with a reset to
0 both are the same.
"""

import math
from dataclasses import replace

import pytest
import torch
from oracles import KINDS, Run, check, currents, fused, potentials

from snnkern import (
    IF,
    Adaptive,
    Affine,
    Binary,
    Bounded,
    Erf,
    Hard,
    MultiSpike,
    Neuron,
    NoReset,
    PiecewiseExp,
    Soft,
    Synaptic,
    Window,
)
from snnkern.functional import multistep
from snnkern.presets import NEURONS
from snnkern.testing import assert_spikes_equal

layers = pytest.importorskip('sinabs.layers', reason='sinabs is not installed: no oracle')
activation = pytest.importorskip('sinabs.activation')

TAU = 5.0


def batched(layer, x):
    """sinabs' run on x [T, N]: it takes [batch, T, ...]."""
    return Run(layer(x.unsqueeze(0))[0], layer.recordings['v_mem'][0], (x,))


def pair(tau, norm_input, fire, spike_fn, surrogates, v_min=None):
    """Their layer and our neuron: alpha = exp(-1 / tau), computed there in float32."""
    own, other = surrogates
    given = {'spike_threshold': torch.tensor(fire.v_threshold), 'spike_fn': spike_fn, 'surrogate_grad_fn': other}
    given['min_v_mem'] = v_min
    reset = Soft() if v_min is None else Bounded(v_min)
    if tau is None:
        return layers.IAF(**given, record_states=True), Neuron(IF(), fire, reset, own)
    layer = layers.LIF(tau, norm_input=norm_input, **given, record_states=True)
    alpha = layer.alpha_mem_calculated.detach()
    charge = Affine(alpha.item(), (1 - alpha).item() if norm_input else 1.0)
    return layer, Neuron(charge, fire, reset, own)


def exponential(v_threshold):
    return PiecewiseExp(2 / v_threshold, 2.0), activation.SingleExponential()


CHARGES = [(None, False, 1), (TAU, True, 4), (TAU, False, 1)]


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('v_threshold', [1.0, 0.7])
@pytest.mark.parametrize(('tau', 'norm_input', 'gain'), CHARGES)
def test_single_spikes(kind, v_threshold, tau, norm_input, gain):
    surrogates = exponential(v_threshold)
    layer, neuron = pair(tau, norm_input, Binary(v_threshold), activation.SingleSpike, surrogates)
    x = currents(kind, gain=gain)
    check(fused(neuron, x), batched(layer, x))


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('v_threshold', [1.0, 0.7])
@pytest.mark.parametrize(('tau', 'norm_input', 'gain'), CHARGES)
def test_several_spikes(kind, v_threshold, tau, norm_input, gain):
    surrogates = exponential(v_threshold)
    layer, neuron = pair(tau, norm_input, MultiSpike(v_threshold), activation.MultiSpike, surrogates)
    x = currents(kind, gain=gain)
    theirs = batched(layer, x)
    assert theirs.s.max() >= 2
    check(fused(neuron, x), theirs)


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('v_min', [-1.0, -0.3, 0.2])
@pytest.mark.parametrize(('tau', 'norm_input', 'gain'), CHARGES)
def test_lower_bounds(kind, v_min, tau, norm_input, gain):
    layer, neuron = pair(tau, norm_input, MultiSpike(), activation.MultiSpike, exponential(1.0), v_min)
    x = currents(kind, gain=gain)
    with torch.no_grad():
        x -= 0.7 * gain
    theirs = batched(layer, x)
    assert 0.05 < (theirs.v == v_min).float().mean() < 0.9
    check(fused(neuron, x), theirs)


@pytest.mark.parametrize(
    'surrogates',
    [
        (Erf(math.sqrt(2)), activation.Gaussian(sigma=0.5)),
        (Window(-1.0, 1e30), activation.Heaviside(window=1.0)),
    ],
)
def test_surrogates(surrogates):
    layer, neuron = pair(TAU, False, Binary(), activation.SingleSpike, surrogates)
    x = currents('normal', 1000)
    check(fused(neuron, x), batched(layer, x))


def test_at_most_some_spikes():
    layer, neuron = pair(None, False, MultiSpike(1.0, 3), activation.MaxSpike(3), exponential(1.0))
    x = currents('grid', gain=2)
    theirs = batched(layer, x)
    assert theirs.s.max() == 3
    check(fused(neuron, x), theirs)


def test_reset_to_zero():
    """MembraneReset, through which no gradient flows."""
    x = currents('normal')
    layer = layers.LIF(TAU, norm_input=False, reset_fn=activation.MembraneReset(), spike_fn=activation.SingleSpike,
                       surrogate_grad_fn=exponential(1.0)[1], record_states=True)  # fmt: skip
    neuron = Neuron(Affine(math.exp(-1 / TAU)), Binary(), Hard(detach=True), PiecewiseExp(2.0, 2.0))
    check(fused(neuron, x), batched(layer, x))


def test_presets():
    """The numbers of LIF as it computes them: 1 - 0.9 is not 0.1 in float32."""
    lif = layers.LIF(-1 / math.log(0.9))
    alpha = lif.alpha_mem_calculated.detach()
    charge = Affine(alpha.item(), (1 - alpha).item())
    assert (charge.a, charge.b) == pytest.approx((0.9, 0.1))
    pairs = (layers.IAF(), NEURONS['sinabs.IAF'], 3), (lif, replace(NEURONS['sinabs.LIF'], charge=charge), 12)
    for layer, neuron, gain in pairs:
        x = currents('grid', gain=gain)
        s = layer(x.unsqueeze(0))[0]
        assert s.max() > 1
        check(replace(fused(neuron, x), v=None), Run(s, None, (x,)))


def test_squeezed_layout_and_state():
    """[B * T, C] there is [T, B, C] here, transposed; two calls."""
    layer = layers.IAFSqueeze(batch_size=10)
    v = None
    for _ in range(2):
        x = currents('grid', 10, 20, T=6).detach()
        s = layer(x.transpose(0, 1).flatten(0, 1)).detach().view(10, 6, 20).transpose(0, 1)
        found, v = multistep(x, NEURONS['sinabs.IAF'], v0=v, return_state=True)
        assert_spikes_equal(found, s.contiguous())
    assert s.max() >= 2


def test_exp_leak_is_the_trace_of_a_neuron_without_reset():
    layer = layers.ExpLeak(TAU, norm_input=True)
    alpha = layer.alpha_mem_calculated.detach()
    x = currents('normal').detach()
    _, v = multistep(x, Neuron(Affine(alpha.item(), (1 - alpha).item()), Binary(), NoReset()), return_v_seq=True)
    assert_spikes_equal(v, layer(x.unsqueeze(0))[0].detach())


def test_a_synaptic_current():
    """It decays before it charges: our current is theirs over alpha_syn."""
    layer = layers.LIF(TAU, tau_syn=3.0, spike_fn=activation.SingleSpike, surrogate_grad_fn=exponential(1.0)[1],
                       record_states=True)  # fmt: skip
    a, decay = layer.alpha_mem_calculated.item(), layer.alpha_syn_calculated.item()
    neuron = Neuron(Synaptic(a, (1 - a) * decay, decay=decay), Binary(), Soft(), PiecewiseExp(2.0, 2.0))
    x = currents('normal', gain=3)
    check(fused(neuron, x), batched(layer, x), potentials(neuron, x))


@pytest.mark.parametrize('scale', [0.5, 1.8])
def test_alif(scale):
    """Its adaptation b is m * (1 - rho); no gradient flows through it there. (Its recordings are of the next step.)"""
    layer = layers.ALIF(TAU, 20.0, adapt_scale=scale, reset_fn=activation.MembraneReset(), norm_input=False)
    alpha, rho = layer.alpha_mem_calculated.item(), layer.alpha_adapt_calculated.item()
    neuron = Neuron(Affine(alpha), Adaptive(1.0, scale * (1 - rho), rho), Hard(), PiecewiseExp(2.0, 2.0))
    x = currents('normal').detach()
    s, states = multistep(x, neuron, return_state=True)
    theirs = layer(x.unsqueeze(0))[0].detach()
    assert 0.05 < theirs.mean() < multistep(x, Neuron(Affine(alpha), Binary(), Hard())).mean() - 0.005
    same = (s == theirs).all(0)
    assert (~same).float().mean() < 1e-3
    torch.testing.assert_close(states[0][same], layer.v_mem[0, same].detach(), rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(states[1][same] * (1 - rho), layer.b[0, same].detach(), rtol=1e-5, atol=2e-6)
