"""Networks of spiking neurons that are trained directly, [T, B, C, H, W] to [T, B, K]."""

from snnkern.models.spiking.registry import SPIKING, build

__all__ = ['SPIKING', 'build']
