"""Stateless layers over time: all T steps in one call, as one large batch."""

from typing import Any

from torch import Tensor, nn

from snnkern import _arguments as arguments

__all__ = ['SeqToANNContainer']


class SeqToANNContainer(nn.Sequential):
    """Layers without state run on all steps at once: [T, B, ...] becomes [T * B, ...] and comes back as [T, B, ...].

    Takes modules as torch.nn.Sequential does. A constant input, the same step in memory T times (`encode.direct`), is
    computed once, and the output is such an input again, for neurons read it once, too; dropout and the like must not
    stand in one container with what comes before the first neuron, since all steps would drop the same.
    Raises ValueError for x without [T, B]. Source: SpikingJelly's container of this name.
    Example: `SeqToANNContainer(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16))(x)`.
    """

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)

    def forward(self, x: Tensor) -> Tensor:
        """y [T, B, ...] of x [T, B, ...]."""
        if x.dim() < 2:
            raise ValueError(f'x must be [T, B, ...], got shape {tuple(x.shape)}')
        if arguments.repeated(x):
            out = super().forward(x[0])
            return out.unsqueeze(0).expand(len(x), *out.shape)
        return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])
