"""NIR exchange with other libraries: they run our graphs, we run theirs, and the spikes are the same.

Their own readers and writers are the oracle. Each needs its own nir: sinabs 3.1 at most 1.0.4, snnTorch 1.0 and
SpikingJelly 2.0 at least 1.0.6 and 1.0.7, with nirtorch 2.0.5 and 2.6; what does not fit together is skipped.
"""

import inspect
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn as tnn

from snnkern import IF, Binary, Bounded, MultiSpike, Neuron, Soft, nn, resets
from snnkern.adapters._nir_layers import OverSteps

nir = pytest.importorskip('nir', reason='nir is not installed')
nirtorch = pytest.importorskip('nirtorch', reason='nirtorch is not installed')
from snnkern.adapters.nir import from_nir, to_nir  # noqa: E402

ROOT = Path(__file__).parents[1]
WEIGHTS = ROOT.parent / 'shared' / 'data' / 'pretrained_weights.zip'
pytestmark = pytest.mark.filterwarnings('ignore')  # nirtorch's, of its own functions
T, B = 20, 3
NEW = 'v_reset' in inspect.signature(nir.IF).parameters
recent = pytest.mark.skipif(
    not NEW or 'type_check' not in inspect.signature(nirtorch.torch_to_nir).parameters,
    reason='SpikingJelly and snnTorch need a nir with v_reset (1.0.7) and nirtorch 2.6',
)
