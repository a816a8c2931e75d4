"""The Triton backend: any GPU that Triton knows, no compiler needed. device.py: where it runs."""

from snnkern.backends.triton.device import refusal
from snnkern.backends.triton.encode import poisson
from snnkern.backends.triton.moments import moments
from snnkern.backends.triton.multistep import multistep_bwd, multistep_fwd
from snnkern.backends.triton.pack import pack_spikes, unpack_spikes
from snnkern.backends.triton.pool import pool2d_bwd, pool2d_fwd

__all__ = [
    'moments',
    'multistep_bwd',
    'multistep_fwd',
    'pack_spikes',
    'poisson',
    'pool2d_bwd',
    'pool2d_fwd',
    'refusal',
    'unpack_spikes',
]
