"""From what a detector answers to boxes: the best class of each cell, without boxes that repeat others."""

from collections.abc import Sequence
from types import ModuleType
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

MOST = 300  # boxes of an image


class Detections(NamedTuple):
    """What was found in one image, the surest first.

    boxes: [n, 4], corners x1, y1, x2, y2 as shares 0..1 of width and height. scores: [n]. labels: int64 [n].
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class Head(Protocol):
    """How the maps [B, channels, h, w] of a detector are read."""

    @property
    def channels(self) -> int:
        """Of the maps."""
        ...

    def decode(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes [B, N, 4], corners as shares of the image, and scores of each class [B, N, K]."""
        ...


def head_of(net: nn.Module) -> Any:
    """The head of a detector; None of other networks, whose `head`, if they have one, reads no boxes."""
    head = getattr(net, 'head', None)
    return head if hasattr(head, 'decode') else None


@torch.no_grad()
def detect(head: Head, maps: Tensor, score: float = 0.01, iou: float = 0.45, most: int = MOST) -> list[Detections]:
    """The boxes of each image in a batch of maps [B, channels, h, w].

    Every candidate has its best class; of those above `score`, boxes that overlap a surer one of the same class by more
    than `iou` are left out (non-maximum suppression), and at most `most` remain. Raises ValueError for maps that are
    not the head's, ImportError, naming the extra, without torchvision.
    Example: `boxes, scores, labels = detect(net.head, net(image[None]), score=0.3)[0]`.
    """
    ops = vision_ops()
    fits(head, maps)
    found = []
    for boxes, scores in zip(*head.decode(maps.float()), strict=True):
        best, labels = scores.max(1)
        likely = best > score
        boxes, best, labels = boxes[likely].clamp(0, 1), best[likely], labels[likely]
        kept = ops.batched_nms(boxes, best, labels, iou)[:most]
        found.append(Detections(boxes[kept], best[kept], labels[kept]))
    return found


def fits(head: Head, maps: Tensor) -> None:
    """Raise ValueError unless maps are of this head."""
    if maps.dim() != 4 or maps.shape[1] != head.channels:
        raise ValueError(f'maps: expected [B, {head.channels}, h, w], got {tuple(maps.shape)}')


def whole_cells(net: nn.Module, size: Sequence[int]) -> None:
    """Raise ValueError unless images of that height and width make whole cells of a detector's maps."""
    stride: Any = getattr(net, 'stride', 1) if head_of(net) is not None else 1
    if any(side % stride for side in size):
        raise ValueError(f'size: expected multiples of {stride}, got {tuple(size)}')


def corners(centres: Tensor, sizes: Tensor) -> Tensor:
    """Boxes [..., 4] by their corners, of centres and sizes [..., 2]."""
    return torch.cat([centres - sizes / 2, centres + sizes / 2], -1)


def shape_iou(a: Tensor, b: Tensor) -> Tensor:
    """How far boxes of sizes a [N, 2] and b [M, 2] cover each other with one centre: [N, M]."""
    common = torch.minimum(a[:, None], b).prod(-1)
    return common / (a.prod(-1)[:, None] + b.prod(-1) - common)


def within(a: Tensor, b: Tensor) -> Tensor:
    """Which share of the area of boxes a [N, 4] lies in boxes b [M, 4]: [N, M]."""
    sides = torch.minimum(a[:, None, 2:], b[:, 2:]) - torch.maximum(a[:, None, :2], b[:, :2])
    return sides.clamp(min=0).prod(-1) / (a[:, 2:] - a[:, :2]).prod(-1)[:, None]


def vision_ops() -> ModuleType:
    """torchvision.ops; ImportError, naming the extra, without torchvision."""
    try:
        from torchvision import ops
    except ImportError:
        raise ImportError("detection needs torchvision: pip install 'snnkern[detection]'") from None
    return ops
