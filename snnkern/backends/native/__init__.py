"""The compiled kernels of csrc, and the only Python that sees addresses. device.py: where they run."""

from snnkern.backends.native.device import DEVICES, DTYPES, Device, notes, refusal
from snnkern.backends.native.encode import poisson
from snnkern.backends.native.moments import add_line, adds_lines, moments
from snnkern.backends.native.multistep import multistep_bwd, multistep_fwd
from snnkern.backends.native.pack import pack_spikes, unpack_spikes
from snnkern.backends.native.pool import pool2d_bwd, pool2d_fwd

__all__ = [
    'DEVICES',
    'DTYPES',
    'Device',
    'add_line',
    'adds_lines',
    'moments',
    'multistep_bwd',
    'multistep_fwd',
    'notes',
    'pack_spikes',
    'poisson',
    'pool2d_bwd',
    'pool2d_fwd',
    'refusal',
    'unpack_spikes',
]
