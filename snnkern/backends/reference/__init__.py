"""The specification in plain torch: what every other backend must compute, on any device and dtype."""

import torch

from snnkern.backends.reference.encode import poisson
from snnkern.backends.reference.moments import moments
from snnkern.backends.reference.multistep import Trace, multistep_bwd, multistep_fwd, run
from snnkern.backends.reference.pack import pack_spikes, unpack_spikes
from snnkern.backends.reference.pool import pool2d_bwd, pool2d_fwd

__all__ = [
    'Trace',
    'moments',
    'multistep_bwd',
    'multistep_fwd',
    'pack_spikes',
    'poisson',
    'pool2d_bwd',
    'pool2d_fwd',
    'refusal',
    'run',
    'unpack_spikes',
]


def refusal(op: str, device: torch.device, dtype: torch.dtype) -> str | None:
    """Why this backend cannot run an op; never."""
    return None
