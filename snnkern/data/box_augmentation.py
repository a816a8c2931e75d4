"""Changes of an image and its boxes together, made of torchvision's transforms."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snnkern.data.augmentation import transforms
from snnkern.data.cifar import IMAGENET_MEAN

Sample = dict[str, Any]
BoxChange = Callable[[Sample], Sample]


class Strength(NamedTuple):
    """scale: range of the zoom. shift: farther than the border, in shares of a side. upright: things have an up."""

    scale: tuple[float, float]
    shift: float
    upright: bool


STRENGTHS = {'light': Strength((0.75, 1.33), 0.1, True), 'cells': Strength((0.75, 1.33), 0.1, False)}
COLOUR = 0.25
LEFT = 0.3


def augmentation(augment: str | BoxChange) -> BoxChange | None:
    """What changes training samples, drawing from torch's default generator.

    augment: "light": flip half of them left to right, zoom by .75 to 1.33 with the ratio kept and shift by up to a
    tenth more than the zoom leaves room for (missing pixels have ImageNet's mean colour), brightness, contrast and
    saturation times .75 to 1.25. "cells": flip upside down as well, for things that have no up. "none": None. Else a
    transform of torchvision v2 as it is: it gets {"image": uint8 [3, H, W], "boxes": [n, 4], "labels": [n, 2]}, image
    and boxes being tv_tensors and labels (label, crowd), and may make the image floats 0..1. Raises ValueError for
    another word, DataError without torchvision. Example: `augmentation('light')`.
    """
    v2, _ = transforms()
    if not isinstance(augment, str):
        if not callable(augment):
            raise ValueError(f'augment: expected a word or a transform, got {augment!r}')
        return augment
    if augment == 'none':
        return None
    if augment not in STRENGTHS:
        raise ValueError(f'augment: expected one of {", ".join(STRENGTHS)}, none, got {augment!r}')
    scale, shift, upright = STRENGTHS[augment]
    flips = [v2.RandomHorizontalFlip(0.5)] + ([] if upright else [v2.RandomVerticalFlip(0.5)])
    # The zoom is fastest in bytes, colours in floats: 2.0 ms an image of 416 x 416 against 3.8 in bytes.
    colours = [v2.ToDtype(torch.float32, scale=True), v2.ColorJitter(COLOUR, COLOUR, COLOUR)]
    change: BoxChange = v2.Compose([Zoom(scale, shift), *flips, *colours])
    return change


class Zoom:
    """A window of the image, of its ratio, scaled to its size; boxes with their centre outside it are dropped.

    scale: range of the factor, drawn evenly in its logarithm; below 1 the window is larger than the image and missing
    pixels have the mean colour. shift: how much farther than needed the window may lie outside, in shares of a side.
    least: boxes with a smaller share of their area inside are dropped as well.
    Example: `Zoom((0.5, 2.0))({'image': image, 'boxes': boxes, 'labels': labels})`.
    """

    def __init__(self, scale: tuple[float, float], shift: float = 0.0, least: float = LEFT) -> None:
        self.scale, self.shift, self.least = scale, shift, least

    def __call__(self, sample: Sample) -> Sample:
        v2, tv_tensors = transforms()
        height, width = sample['image'].shape[-2:]
        factor, *places = torch.rand(3).tolist()
        low, high = map(math.log, self.scale)
        zoom = math.exp(low + factor * (high - low))
        sides = [max(1, round(side / zoom)) for side in (height, width)]
        starts = [self._start(*of) for of in zip((height, width), sides, places, strict=True)]
        (top, left), (h, w) = starts, sides
        boxes, labels = sample['boxes'], sample['labels']
        kept = inside(boxes.as_subclass(Tensor), (left, top, left + w, top + h), self.least)
        boxes, labels = tv_tensors.wrap(boxes[kept], like=boxes), labels[kept]
        margins = [max(0, -left), max(0, -top), max(0, left + w - width), max(0, top + h - height)]
        colour = list(IMAGENET_MEAN)
        if not sample['image'].is_floating_point():
            colour = [round(255 * mean) for mean in colour]
        for step in (
            lambda x: v2.functional.pad(x, margins, fill=colour),
            lambda x: v2.functional.crop(x, top + margins[1], left + margins[0], h, w),
            lambda x: v2.functional.resize(x, [height, width], antialias=True),
        ):
            sample, boxes = sample | {'image': step(sample['image'])}, step(boxes)
        return sample | {'boxes': boxes, 'labels': labels}

    def _start(self, side: int, window: int, place: float) -> int:
        low, high = sorted((0, side - window))
        more = self.shift * side
        return round(low - more + place * (high - low + 2 * more))


def inside(boxes: Tensor, window: tuple[int, int, int, int], least: float) -> Tensor:
    """Whether boxes [n, 4] (x1, y1, x2, y2) have their centre and a share `least` of their area in the window."""
    limits = torch.tensor(window, dtype=boxes.dtype)
    low, high = limits[:2], limits[2:]
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    seen = (torch.minimum(boxes[:, 2:], high) - torch.maximum(boxes[:, :2], low)).clamp(min=0).prod(1)
    whole = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    return ((centre > low) & (centre < high)).all(1) & (seen >= least * whole)


def finished(change: BoxChange, image: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Image uint8 [3, H, W] and rows of boxes (label, x1, y1, x2, y2, crowd) after a change, in the same size.

    The image is in bytes or, where the change makes it so, in floats 0..1. Boxes are cut at the border, and those under
    a pixel in width or height are dropped.
    """
    v2, tv_tensors = transforms()
    height, width = image.shape[-2:]
    scale = torch.tensor([width, height, width, height], dtype=torch.float32)
    boxes = tv_tensors.BoundingBoxes(rows[:, 1:5] * scale, format='XYXY', canvas_size=(height, width))
    sample = change({'image': tv_tensors.Image(image.clone()), 'boxes': boxes, 'labels': rows[:, [0, 5]]})
    ends = (v2.Resize((height, width), antialias=True), v2.ClampBoundingBoxes(), v2.SanitizeBoundingBoxes(min_size=1.0))
    sample = v2.Compose(ends)(sample)
    corners = (sample['boxes'].as_subclass(Tensor) / scale).clamp(0, 1)
    label, crowd = sample['labels'].unbind(1)
    return sample['image'].as_subclass(Tensor), torch.cat([label[:, None], corners, crowd[:, None]], 1)
