"""What predicted masks of several classes score."""

import math
from typing import Any

from torch import Tensor

from snnkern._checks import whole


class Scores:
    """Scores of predicted masks, of the pixels of all images together, added up batch by batch.

    `compute` gives, each in 0..1: miou, the mean over classes of intersection / union; dice, the mean over classes of
    2 intersection / (prediction + truth), the F1 score; pixel_accuracy, right pixels / pixels; iou, a list by class.
    Means are over the classes that occur, in truth or prediction, among the pixels that count: a class that is only
    predicted has 0, one that is in neither is left out of the means, and None in the list. (Dice "micro", over all
    classes at once, is the pixel accuracy, where each pixel has one class.)

    num_classes: K. ignore: the label in the truth of pixels that do not count, none of 0..K-1; None: all count. In
    `compute`, scores are of all processes of torch.distributed together, which must all call it. Raises ValueError for
    other numbers, ImportError, naming the extra, without torchmetrics.

    Source: torchmetrics' MulticlassJaccardIndex and MulticlassF1Score (macro), MulticlassAccuracy (micro).
    Example: `scores = Scores(11, ignore=11); scores.update(out, y); scores.compute()['miou']`.
    """

    def __init__(self, num_classes: int, ignore: int | None = None) -> None:
        try:
            from torchmetrics import MetricCollection, classification
        except ImportError:
            raise ImportError("segmentation needs torchmetrics: pip install 'snnkern[segmentation]'") from None
        whole('num_classes', num_classes, at_least=2)
        if ignore is not None and 0 <= ignore < num_classes:
            raise ValueError(f'ignore: expected a label that is none of the {num_classes} classes, got {ignore}')
        self.num_classes, self.ignore = num_classes, ignore
        options: dict[str, Any] = {'num_classes': num_classes, 'ignore_index': ignore, 'validate_args': False}
        self.metrics = MetricCollection(
            {
                'miou': classification.MulticlassJaccardIndex(average='macro', **options),
                'iou': classification.MulticlassJaccardIndex(average=None, zero_division=math.nan, **options),
                'dice': classification.MulticlassF1Score(average='macro', **options),
                'pixel_accuracy': classification.MulticlassAccuracy(average='micro', **options),
            }
        )

    def reset(self) -> None:
        """Forget all images."""
        self.metrics.reset()

    def update(self, out: Tensor, y: Tensor) -> None:
        """Add images: out, scores of the classes [B, K, H, W] or labels [B, H, W]; y, true labels [B, H, W].

        Raises ValueError for other shapes and for labels that are no class's and not ignore.
        """
        shape = (len(y), self.num_classes, *y.shape[1:])
        if y.dim() != 3 or tuple(out.shape) not in (shape, tuple(y.shape)):
            raise ValueError(f'out: expected shape {shape} or labels {tuple(y.shape)}, got {tuple(out.shape)}')
        found = out.argmax(1) if out.dim() == 4 else out
        for name, labels in (('out', found), ('y', y)):
            known = (labels >= 0) & (labels < self.num_classes)
            if name == 'y' and self.ignore is not None:
                known |= labels == self.ignore
            if not bool(known.all()):
                raise ValueError(f'{name}: label {int(labels[~known][0])} is none of the {self.num_classes} classes')
        self.metrics.to(y.device).update(found, y)

    def compute(self) -> dict[str, Any]:
        """All scores of what was seen. Raises ValueError if no pixel counted."""
        scores = self.metrics.compute()
        iou = [None if math.isnan(value) else value for value in scores.pop('iou').tolist()]
        if not any(value is not None for value in iou):
            raise ValueError(f'no scores: none of the pixels has a label other than {self.ignore}')
        return {name: float(scores[name]) for name in ('miou', 'dice', 'pixel_accuracy')} | {'iou': iou}
