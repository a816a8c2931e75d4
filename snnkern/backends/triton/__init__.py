"""The Triton backend: any GPU that Triton knows, no compiler needed. device.py: where it runs."""

from snnkern.backends.triton.device import refusal
from snnkern.backends.triton.multistep import multistep_bwd, multistep_fwd
from snnkern.backends.triton.pool import pool2d_bwd, pool2d_fwd

__all__ = ['multistep_bwd', 'multistep_fwd', 'pool2d_bwd', 'pool2d_fwd', 'refusal']
