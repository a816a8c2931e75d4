"""Modules: layers of neurons that carry their state, pools, and `reset`."""

from snnkern.nn.neuron import IF, LIF, Neuron
from snnkern.nn.pool import LateralPool2d
from snnkern.nn.state import reset

__all__ = ['IF', 'LIF', 'LateralPool2d', 'Neuron', 'reset']
