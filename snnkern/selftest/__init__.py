"""Whether the kernels are right on this machine: every op against the reference, on the user's own device.

`snnkern selftest` runs it (docs/selftest.md); `run(Settings('cuda'))` does from Python. The line of a failure in the
report, `from snnkern import *; from snnkern.selftest import *; check(...)`, runs that one case again.
"""

from math import nan

import torch

from snnkern.selftest.calls import BatchNorm, Layout, Moments, Pack, Poisson, Saved
from snnkern.selftest.cases import Case
from snnkern.selftest.device import DeviceCase
from snnkern.selftest.parity import Recurrence
from snnkern.selftest.pools import PoolCase
from snnkern.selftest.run import Settings, check, run

# The words that the repr of a case is written in, beside those of snnkern.
__all__ = [
    'BatchNorm',
    'Case',
    'DeviceCase',
    'Layout',
    'Moments',
    'Pack',
    'Poisson',
    'PoolCase',
    'Recurrence',
    'Saved',
    'Settings',
    'check',
    'nan',
    'run',
    'torch',
]
