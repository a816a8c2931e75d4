"""snnkern: fused kernels for spiking neural networks. One call runs all T time steps of a layer.

`snnkern.functional` holds the stateless ops, `snnkern.nn` the modules, `Neuron` and its parts describe any
neuron as data; `explain()` says which backend runs what.
"""

from snnkern import functional, nn
from snnkern.backends import explain, use_backend
from snnkern.fires import Binary, Burst
from snnkern.neurons import IF, LIF, Neuron
from snnkern.resets import Hard, Soft
from snnkern.surrogates import ATan, Rectangle, Sigmoid, Triangle

__version__ = '0.1.0'

__all__ = [
    'IF',
    'LIF',
    'ATan',
    'Binary',
    'Burst',
    'Hard',
    'Neuron',
    'Rectangle',
    'Sigmoid',
    'Soft',
    'Triangle',
    '__version__',
    'explain',
    'functional',
    'nn',
    'use_backend',
]
