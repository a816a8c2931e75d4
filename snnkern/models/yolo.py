"""The head of YOLOv2: anchors, what its maps say, its loss."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnkern._checks import whole
from snnkern.models.boxes import corners, fits, shape_iou, vision_ops, within

LARGEST = 4.0  # exponent of a box's size over its anchor's, in either direction
REPEATS = 0.6  # overlap above which a candidate beside the chosen one is not called wrong
BOX, CHOSEN, OTHERS = 5.0, 1.0, 1.0  # weights of the loss


class YoloHead(nn.Module):
    """Reads maps [B, A * (5 + K), h, w]: of each cell and anchor t_x, t_y, t_w, t_h, t_o and K classes.

    With cell (column, row) and anchor (a_w, a_h), in shares of the image:
    x = (sigmoid(t_x) + column) / w, y likewise, width = a_w * exp(t_w), height likewise (exponents are cut at 4 and -4,
    so that no box is infinite or empty); the score of a class is sigmoid(t_o) times its softmax.

    num_classes: K. anchors: their number, or their sizes [A, 2] in shares of the image. A number gives squares of
    growing size until `fit` or a state_dict says more; `anchors` is a buffer. given: whether sizes were given, which
    training then keeps. Raises ValueError for sizes that are no such and K < 1. Source: Redmon and Farhadi, CVPR 2017
    (arXiv 1612.08242). Example: `boxes, scores = YoloHead(20).decode(maps)`.
    """

    anchors: Tensor

    def __init__(self, num_classes: int, anchors: int | Sequence[Sequence[float]] = 5) -> None:
        super().__init__()
        whole('num_classes', num_classes)
        self.given = not isinstance(anchors, int)
        self.num_classes = num_classes
        self.register_buffer('anchors', _sizes(anchors))

    @property
    def channels(self) -> int:
        """Of the maps."""
        return len(self.anchors) * (5 + self.num_classes)

    def fit(self, sizes: Tensor) -> None:
        """Choose anchors for boxes of these sizes [N, 2], in shares of the image (`anchors_of`)."""
        self.anchors.copy_(anchors_of(sizes, len(self.anchors)))

    def decode(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes [B, A * h * w, 4], corners in shares of the image, and scores [B, A * h * w, K]."""
        boxes, objects, classes = self._read(maps)
        scores = objects.sigmoid().unsqueeze(-1) * classes.softmax(-1)
        return boxes.flatten(1, 3), scores.flatten(1, 3)

    def loss(self, maps: Tensor, y: Tensor) -> Tensor:
        """How far maps are from targets y [B, M, 6], rows of label, x1, y1, x2, y2, crowd; label < 0: no row. A scalar.

        Each box is asked of the cell that its centre lies in and of the anchor nearest to its shape: 5 (1 - CIoU), the
        cross-entropy of its class, and that t_o says the IoU reached. All other candidates shall say 0, but for those
        that overlap any box by more than 0.6, or lie within a crowd by as much of their area. Crowds are asked of none.
        Sums are divided by the number of boxes.

        As published but for three things: squares of coordinates are the complete IoU (Zheng et al., AAAI 2020),
        squares of classes and objects are cross-entropies, and t_o has one weight everywhere.
        """
        boxes, objects, classes = self._read(maps.float())
        image, row, anchor, column, wanted, labels = self._asked(y, maps.shape[2:])
        count = max(1, len(labels))
        at = image, anchor, row, column
        overlap = vision_ops().complete_box_iou_loss(boxes[at], wanted, reduction='none')
        reached = vision_ops().box_iou(boxes[at].detach(), wanted).diagonal()
        target, weight = torch.zeros_like(objects), self._weights(boxes.detach(), y)
        target[at], weight[at] = reached, CHOSEN
        sure = F.binary_cross_entropy_with_logits(objects, target, weight, reduction='sum')
        named = F.cross_entropy(classes[at], labels, reduction='sum')
        return (BOX * overlap.sum() + sure + named) / count

    def _read(self, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Boxes [B, A, h, w, 4], objects [B, A, h, w] and classes [B, A, h, w, K], the latter two before sigmoid."""
        fits(self, maps)
        height, width = maps.shape[2:]
        t = maps.unflatten(1, (len(self.anchors), -1)).movedim(2, -1)
        rows, columns = (torch.arange(n, device=maps.device, dtype=maps.dtype) for n in (height, width))
        cells = torch.stack(torch.meshgrid(columns, rows, indexing='xy'), -1)
        centres = (t[..., :2].sigmoid() + cells) / torch.tensor([width, height], device=maps.device)
        sizes = self.anchors.view(-1, 1, 1, 2) * t[..., 2:4].clamp(-LARGEST, LARGEST).exp()
        return corners(centres, sizes), t[..., 4], t[..., 5:]

    def _asked(self, y: Tensor, size: Sequence[int]) -> tuple[Tensor, ...]:
        """Of each box that is trained on: image, row, anchor, column; its corners [n, 4] and label."""
        image, place = ((y[..., 0] >= 0) & (y[..., 5] == 0)).nonzero(as_tuple=True)
        rows = y[image, place]
        boxes = rows[:, 1:5]
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        column, row = ((middle[:, i] * n).long().clamp(0, n - 1) for i, n in ((0, size[1]), (1, size[0])))
        anchor = shape_iou(boxes[:, 2:] - boxes[:, :2], self.anchors).argmax(1)
        return image, row, anchor, column, boxes, rows[:, 0].long()

    def _weights(self, boxes: Tensor, y: Tensor) -> Tensor:
        """[B, A, h, w]: 0 where a candidate overlaps a box of its image, or lies in a crowd, by more than REPEATS."""
        near = []
        for candidates, rows in zip(boxes.flatten(1, 3), y, strict=True):
            things, crowds = (rows[(rows[:, 0] >= 0) & (rows[:, 5] == kind), 1:5] for kind in (0, 1))
            overlap = vision_ops().box_iou(candidates, things)
            near.append((overlap > REPEATS).any(1) | (within(candidates, crowds) > REPEATS).any(1))
        return OTHERS * (~torch.stack(near)).to(boxes.dtype).view(boxes.shape[:-1])


def _sizes(anchors: int | Sequence[Sequence[float]]) -> Tensor:
    """Anchors [A, 2]; squares for a number of them."""
    if isinstance(anchors, int):
        whole('anchors', anchors)
        return torch.linspace(0, 1, anchors + 2)[1:-1, None].expand(-1, 2).clone()
    try:
        sizes = torch.tensor(anchors, dtype=torch.float32)
        sound = sizes.dim() == 2 and sizes.shape[1] == 2 and bool(((sizes > 0) & sizes.isfinite()).all())
    except (ValueError, TypeError):
        sound = False
    if not sound:
        raise ValueError(f'anchors: expected rows of positive width and height, got {anchors!r}')
    return sizes


def anchors_of(sizes: Tensor, count: int, rounds: int = 100) -> Tensor:
    """Anchors [count, 2] for boxes of sizes [N, 2], by k-means under the distance 1 - IoU, the smallest first.

    Begins with quantiles of the areas, so that nothing is random. Raises ValueError for fewer boxes than anchors and
    for sizes that are not positive. Source: Redmon and Farhadi, CVPR 2017. Example: `anchors_of(torch.rand(99, 2), 5)`.
    """
    if len(sizes) < count:
        raise ValueError(f'anchors: expected at least {count} boxes to choose them from, got {len(sizes)}')
    if not bool((sizes > 0).all()):
        raise ValueError('sizes must be positive, got boxes without area')
    ordered = sizes[sizes.prod(1).argsort()].double()
    edges = [math.floor(i * len(ordered) / count) for i in range(count + 1)]
    chosen = torch.stack([ordered[a:b].mean(0) for a, b in pairwise(edges)])
    nearest = None
    for _ in range(rounds):
        found = shape_iou(ordered, chosen).argmax(1)
        if nearest is not None and bool((found == nearest).all()):
            break
        nearest = found
        kept = [ordered[found == k] for k in range(count)]
        chosen = torch.stack([own.mean(0) if len(own) else old for own, old in zip(kept, chosen, strict=True)])
    return chosen[chosen.prod(1).argsort()].float()
