"""Modules: layers of neurons that carry their state, pools, and `reset`."""

from snnkern.nn.difference import LocalDifference2d
from snnkern.nn.fold import SeqToANNContainer
from snnkern.nn.layers import IF, LIF, BiasLIF, DoubleSidePLIF, ParametricLIF
from snnkern.nn.layerwise import LayerWiseConv2d, LayerWiseLinear
from snnkern.nn.neuron import Neuron
from snnkern.nn.norm import TEP, BatchNormNeuron
from snnkern.nn.plastic import Plastic
from snnkern.nn.pool import AvgPool2d, LateralPool2d, MaxPool2d, SpikeMaxPool2d
from snnkern.nn.rates import Rates
from snnkern.nn.special import AdaptiveLIF, Burst, IntegerLIF, Leaky, SignedIF, Synaptic
from snnkern.nn.spike_conv import SpikeConv2d, spike_convolutions
from snnkern.nn.state import reset

__all__ = [
    'IF',
    'LIF',
    'TEP',
    'AdaptiveLIF',
    'AvgPool2d',
    'BatchNormNeuron',
    'BiasLIF',
    'Burst',
    'DoubleSidePLIF',
    'IntegerLIF',
    'LateralPool2d',
    'LayerWiseConv2d',
    'LayerWiseLinear',
    'Leaky',
    'LocalDifference2d',
    'MaxPool2d',
    'Neuron',
    'ParametricLIF',
    'Plastic',
    'Rates',
    'SeqToANNContainer',
    'SignedIF',
    'SpikeConv2d',
    'SpikeMaxPool2d',
    'Synaptic',
    'reset',
    'spike_convolutions',
]
