"""The specification in plain torch: what every other backend must compute, on any device and dtype."""

import torch

from snnkern.backends.reference.encode import poisson
from snnkern.backends.reference.moments import moments
from snnkern.backends.reference.multistep import Trace, multistep_bwd, multistep_fwd, run
from snnkern.backends.reference.pack import pack_spikes, unpack_spikes
from snnkern.backends.reference.pool import lateral_pool2d

__all__ = [
    'Trace',
    'lateral_pool2d',
    'moments',
    'multistep_bwd',
    'multistep_fwd',
    'notes',
    'pack_spikes',
    'poisson',
    'refusal',
    'run',
    'unpack_spikes',
]


def refusal(op: str, device: torch.device, dtype: torch.dtype) -> str | None:
    """Why this backend cannot run an op; never."""
    return None


def notes() -> list[str]:
    """What `explain()` adds."""
    return ['lateral_pool2d: its gradient is computed by the reference on every backend']
