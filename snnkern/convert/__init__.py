"""From a trained network to a spiking one: trace, fold, calibrate, replace, tune.

`snnkern.convert(model, calibration)` (the package is callable: it is `convert`, too) returns an `SNN` that runs all
T steps layer by layer; `snnkern.convert.recipes` holds the ways to choose neurons and thresholds; `SNN.simulator()` is
the same network as the classic loop over time steps.
"""

import sys
from types import ModuleType
from typing import Any

from snnkern.convert import recipes
from snnkern.convert.activations import Activation
from snnkern.convert.converter import convert
from snnkern.convert.energy import Energy
from snnkern.convert.evaluate import min_max
from snnkern.convert.graph import ConversionError
from snnkern.convert.network import SNN
from snnkern.convert.qcfs import QCFS, use_qcfs
from snnkern.convert.recipe import Recipe
from snnkern.convert.replace import Entry
from snnkern.convert.report import Report
from snnkern.convert.results import Confident, Evaluation
from snnkern.convert.simulator import Simulator
from snnkern.convert.timing import Stopwatch

__all__ = [
    'QCFS',
    'SNN',
    'Activation',
    'Confident',
    'ConversionError',
    'Energy',
    'Entry',
    'Evaluation',
    'Recipe',
    'Report',
    'Simulator',
    'Stopwatch',
    'convert',
    'min_max',
    'recipes',
    'use_qcfs',
]


class _Package(ModuleType):
    """This package, which is the function too: `snnkern.convert(model, calibration)`."""

    def __call__(self, *args: Any, **kwargs: Any) -> SNN:
        return convert(*args, **kwargs)


sys.modules[__name__].__class__ = _Package
