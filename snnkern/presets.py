"""Neurons of the literature and of other libraries, by name, as data: `presets.NEURONS['braincog.LIFNode']`.

Each is the neuron that the source computes with its default numbers, surrogate and detached reset included. Tests
run those of the libraries against the libraries. What else they do (learned numbers, initial states, noise) is said
in docs/neurons.md.
"""

from snnkern.charges import IF, LIF, PLIF, Affine, Synaptic
from snnkern.fires import Adaptive, Binary, Burst, Integer, MultiSpike, Signed, SignedMemory, Ternary
from snnkern.neurons import Neuron
from snnkern.resets import Delayed, Hard, NoReset, Soft
from snnkern.surrogates import ATan, PiecewiseExp, Rectangle, Sigmoid, SuperSpike, Triangle

__all__ = ['NEURONS']

_GATED = Hard(detach=True)  # BrainCog: to 0, whatever v_reset says, and detached
_ABOVE = Binary(0.5, strict=True)
_ONE = Binary(1.0, strict=True)

NEURONS: dict[str, Neuron] = {
    'spikingjelly.IFNode': Neuron(IF(), Binary(), Hard(), Sigmoid(4.0)),
    'spikingjelly.LIFNode': Neuron(LIF(2.0), Binary(), Hard(), Sigmoid(4.0)),
    'spikingjelly.ParametricLIFNode': Neuron(PLIF(0.5), Binary(), Hard(), Sigmoid(4.0)),
    'snntorch.Leaky': Neuron(Affine(0.9), _ONE, Delayed(True), ATan(2.0)),
    'snntorch.Leaky(zero)': Neuron(Affine(0.9), _ONE, Hard(detach=True), ATan(2.0)),
    'snntorch.Synaptic': Neuron(Synaptic(0.8, decay=0.9), _ONE, Delayed(True), ATan(2.0)),
    'norse.LIF': Neuron(Synaptic(0.9, 0.1, decay=0.8), _ONE, Hard(), SuperSpike(1.0)),
    'sinabs.IAF': Neuron(IF(), MultiSpike(), Soft(), PiecewiseExp(2.0, 2.0)),
    'sinabs.LIF': Neuron(Affine(0.9, 0.1), MultiSpike(), Soft(), PiecewiseExp(2.0, 2.0)),
    'braincog.IFNode': Neuron(IF(), _ABOVE, _GATED, ATan(2.0)),
    'braincog.LIFNode': Neuron(LIF(2.0), _ABOVE, _GATED, Triangle(2.0)),
    'braincog.BiasLIFNode': Neuron(LIF(2.0, c=0.1), _ONE, _GATED, ATan(2.0)),
    'braincog.PLIFNode': Neuron(PLIF(0.5), _ONE, _GATED, ATan(2.0)),
    'braincog.BiasPLIFNode': Neuron(PLIF(0.5, c=0.1), _ONE, _GATED, ATan(2.0)),
    'braincog.DoubleSidePLIFNode': Neuron(PLIF(0.5), Ternary(0.5, strict=True), _GATED, ATan(2.0)),
    'braincog.DoubleSidePLIFNode(sign)': Neuron(
        PLIF(0.5), Signed(0.5, 1, False, 1.0, 1.0, strict=True), _GATED, ATan(2.0)
    ),
    'braincog.LIFSTDPNode': Neuron(Affine(2.0), _ONE, _GATED, ATan(2.0)),
    'braincog.OnlineLIFNode': Neuron(LIF(2.0), _ABOVE, Hard(0.0, True, detach_v=True), Triangle(2.0)),
    'braincog.SNode': Neuron(IF(), Burst(1.0, 5), Soft()),
    'wu2022.hybrid': Neuron(Affine(0.4), Binary(0.35, strict=True), Soft(), Rectangle(2.0)),
    'bellec2018.ALIF': Neuron(LIF(20.0, decay_input=False), Adaptive(1.0, 0.2, 0.97), Soft()),
    'spiking-yolo': Neuron(IF(), Signed.leaky(0.1, real_units=True), Soft()),
    'snm': Neuron(IF(), SignedMemory(1.0, 1, False, -1.0), Soft()),
    'fast-snn': Neuron(IF(), SignedMemory(1.0, 1, False, -1e-3), Soft()),
    'signed-burst': Neuron(IF(), SignedMemory(1.0, 15, True), Soft()),
    'i-lif': Neuron(LIF(4 / 3, decay_input=False), Integer(1.0, 4), Soft(), Rectangle(2.0)),
    'li': Neuron(LIF(2.0), Binary(), NoReset()),
}
