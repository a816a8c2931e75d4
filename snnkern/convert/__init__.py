"""From a trained ReLU network to a spiking one: trace, fold, calibrate, replace.

`convert(model, calibration)` returns an `SNN` that runs all T steps layer by layer; `SNN.simulator()` is the
same network as the classic loop over time steps.
"""

from snnkern.convert.converter import convert
from snnkern.convert.graph import ConversionError
from snnkern.convert.network import SNN, Site
from snnkern.convert.simulator import Simulator
from snnkern.convert.timing import Stopwatch

__all__ = ['SNN', 'ConversionError', 'Simulator', 'Site', 'Stopwatch', 'convert']
