"""snnkern: fused kernels for spiking neural networks. One call runs all T time steps of a layer.

`snnkern.functional` holds the stateless ops, `snnkern.nn` the modules, `Neuron` and its parts describe any neuron as
data, `snnkern.encode` makes spikes of static data, `snnkern.convert(model, calibration)` a spiking network of a trained
one; `explain()` says which backend runs what.
"""

from snnkern import convert, encode, functional, nn, presets
from snnkern.backends import explain, use_backend
from snnkern.charges import IF, LIF, PLIF, Affine, Synaptic
from snnkern.fires import Adaptive, Binary, Burst, Integer, MultiSpike, Signed, SignedMemory, Ternary
from snnkern.neurons import Neuron
from snnkern.ops.saved import compress_saved_spikes
from snnkern.resets import Bounded, Delayed, Hard, NoReset, Soft
from snnkern.surrogates import (
    STE,
    ATan,
    Custom,
    Erf,
    FastSigmoid,
    LeakyReLU,
    PiecewiseExp,
    Rectangle,
    Sigmoid,
    SoftSign,
    SuperSpike,
    Triangle,
    Window,
)

__version__ = '0.1.0'

__all__ = [
    'IF',
    'LIF',
    'PLIF',
    'STE',
    'ATan',
    'Adaptive',
    'Affine',
    'Binary',
    'Bounded',
    'Burst',
    'Custom',
    'Delayed',
    'Erf',
    'FastSigmoid',
    'Hard',
    'Integer',
    'LeakyReLU',
    'MultiSpike',
    'Neuron',
    'NoReset',
    'PiecewiseExp',
    'Rectangle',
    'Sigmoid',
    'Signed',
    'SignedMemory',
    'Soft',
    'SoftSign',
    'SuperSpike',
    'Synaptic',
    'Ternary',
    'Triangle',
    'Window',
    '__version__',
    'compress_saved_spikes',
    'convert',
    'encode',
    'explain',
    'functional',
    'nn',
    'presets',
    'use_backend',
]
