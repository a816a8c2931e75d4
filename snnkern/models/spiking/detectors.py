"""Detectors of images as networks over time, so that they train as spiking ones do: each step is a batch of its own."""

from typing import Any

from torch import Tensor

from snnkern.models import tiny_yolo


class TinyYolo(tiny_yolo.TinyYolo):
    """Tiny-YOLO on every step: maps [T, B, C, h, w] of images [T, B, in_channels, H, W].

    size: of the images, multiples of 32, or ValueError. Other arguments are those of `models.TinyYolo`, whose weights
    have the same names. It does not spike; with T = 1 this is the training of the network to convert.
    Example: `TinyYolo(3, (416, 416), 20, width=8)(encode.direct(images, 1))[0]`.
    """

    def __init__(self, in_channels: int, size: tuple[int, int], num_classes: int, **options: Any) -> None:
        if any(side % tiny_yolo.STRIDE for side in size):
            raise ValueError(f'size: expected multiples of {tiny_yolo.STRIDE}, got {size}')
        super().__init__(in_channels, num_classes, **options)

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        return super().forward(x.flatten(0, 1)).unflatten(0, x.shape[:2])
