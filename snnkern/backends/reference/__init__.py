"""The specification in plain torch: what every other backend must compute, on any device and dtype."""

import torch

from snnkern.backends.reference.multistep import Trace, multistep_bwd, multistep_fwd, run
from snnkern.backends.reference.pool import pool2d_bwd, pool2d_fwd

__all__ = ['Trace', 'multistep_bwd', 'multistep_fwd', 'pool2d_bwd', 'pool2d_fwd', 'refusal', 'run']


def refusal(op: str, device: torch.device, dtype: torch.dtype) -> str | None:
    """Why this backend cannot run an op; never."""
    return None
