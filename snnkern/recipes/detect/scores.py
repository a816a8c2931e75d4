"""What detected boxes score: COCO's average precision."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnkern.models.boxes import MOST, Detections, Head, detect

NEEDS = "detection needs torchmetrics and faster-coco-eval: pip install 'snnkern[detection]'"
# As pycocotools has them: torchmetrics' own come from float32, and a recall of exactly .1 would miss its place.
OVERLAPS = np.linspace(0.5, 0.95, 10).tolist()
RECALLS = np.linspace(0, 1, 101).tolist()


class Scores:
    """Average precision of detected boxes, of all images together, added up batch by batch.

    `compute` gives, each in 0..1: ap50, the mean over classes of the average precision (101 recalls) of boxes that
    overlap the truth by an IoU of .5; ap, the mean over the IoUs .5, .55, ... .95, too ("AP50:95"); ap50_by_class, a
    dictionary by the class' name. Classes of which there is no true box are left out. A detection on a box marked as a
    crowd (VOC: difficult) is neither right nor wrong. Up to 300 boxes of an image and class count.

    head: of the network (`net.head`), which reads its maps. classes: names of the labels. score, iou: of boxes that are
    found at all, and of the suppression of others, see `snnkern.models.boxes.detect`. In `compute`, scores are of all
    processes of torch.distributed together, which must all call it. Raises ImportError, naming the extra, without
    torchmetrics or faster-coco-eval.

    Source: COCO's evaluation (Lin et al., ECCV 2014), by torchmetrics' MeanAveragePrecision and faster-coco-eval.
    Example: `snn.evaluate(loader, (8, 32), metric=Scores(net.head, data.classes), ann=net).metric[32]['ap50']`.
    """

    def __init__(self, head: Head, classes: Sequence[str], score: float = 0.01, iou: float = 0.45) -> None:
        try:
            import faster_coco_eval  # noqa: F401 (torchmetrics names another one where it is missing)
            from torchmetrics.detection import MeanAveragePrecision
        except ImportError:
            raise ImportError(NEEDS) from None
        for name, value in (('score', score), ('iou', iou)):
            if not 0 <= value <= 1:
                raise ValueError(f'{name}: expected a number in 0..1, got {value!r}')
        self.head, self.classes, self.score, self.iou = head, tuple(classes), score, iou
        self.make = MeanAveragePrecision
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self.found: list[dict[str, Tensor]] = []
        self.truth: list[dict[str, Tensor]] = []

    def update(self, maps: Tensor, y: Tensor) -> None:
        """See raw maps of the network [B, C, h, w] and true boxes [B, M, 6]: label (< 0: none), corners, crowd."""
        self.add(detect(self.head, maps, self.score, self.iou, MOST), y)

    def add(self, found: Sequence[Detections], y: Tensor) -> None:
        """See boxes that were found in each image, and the true ones [B, M, 6].

        Raises ValueError for other shapes and for a label that is no class's.
        """
        if y.dim() != 3 or y.shape[2] != 6 or len(y) != len(found):
            raise ValueError(f'y: expected true boxes of shape [{len(found)}, M, 6], got {list(y.shape)}')
        largest = max((int(part.max()) for part in (y[..., 0], *(f.labels for f in found)) if part.numel()), default=-1)
        if largest >= len(self.classes):
            raise ValueError(f'y: label {largest} is none of the {len(self.classes)} classes')
        for one, rows in zip(found, y.detach().cpu().float(), strict=True):
            boxes, scores, labels = (part.detach().cpu() for part in one)
            self.found.append({'boxes': boxes.float(), 'scores': scores.float(), 'labels': labels.long()})
            true = rows[rows[:, 0] >= 0]
            crowd = true[:, 5].long()
            self.truth.append({'boxes': true[:, 1:5], 'labels': true[:, 0].long(), 'iscrowd': crowd})

    def compute(self) -> dict[str, Any]:
        """All scores of what was seen. Raises ValueError if there was no true box that counts."""
        metric = self.make(
            iou_thresholds=OVERLAPS,
            rec_thresholds=RECALLS,
            max_detection_thresholds=[1, 10, MOST],
            extended_summary=True,
            backend='faster_coco_eval',
            sync_on_compute=False,
        )
        metric.update(gathered(self.found), gathered(self.truth))
        result = metric.compute()
        # [IoU, recall, class, area, most]: of .5, all areas, all boxes; -1 where a class does not occur.
        by_class = result['precision'][0, :, :, 0, -1].mean(0)
        ap50 = {self.classes[k]: float(p) for k, p in zip(result['classes'].flatten(), by_class, strict=True) if p >= 0}
        if not ap50:
            raise ValueError('no scores: none of the images has a true box that counts')
        return {'ap50': float(result['map_50']), 'ap': float(result['map']), 'ap50_by_class': ap50}


def gathered(rows: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    """The images of all processes, in the order of their ranks."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return rows
    parts: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(parts, rows)
    return [row for part in parts for row in part]
