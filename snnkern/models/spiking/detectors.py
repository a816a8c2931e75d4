"""Detectors of images as networks over time, so that they train as spiking ones do: each step is a batch of its own."""

from typing import Any

from torch import Tensor

from snnkern.models import tiny_yolo
from snnkern.models.boxes import whole_cells


class TinyYolo(tiny_yolo.TinyYolo):
    """Tiny-YOLO on every step: maps [T, B, C, h, w] of images [T, B, in_channels, H, W].

    size: of the images, multiples of 32, or ValueError. Other arguments are those of `models.TinyYolo`, whose weights
    have the same names. It does not spike; with T = 1 this is the training of the network to convert.
    Example: `TinyYolo(3, (416, 416), 20, width=8)(encode.direct(images, 1))[0]`.
    """

    def __init__(self, in_channels: int, size: tuple[int, int], num_classes: int, **options: Any) -> None:
        super().__init__(in_channels, num_classes, **options)
        whole_cells(self, size)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])
