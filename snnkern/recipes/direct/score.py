"""What is measured on the test split after an epoch."""

from collections.abc import Iterable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from snnkern.data.samples import SampleSet, kind_of
from snnkern.models.boxes import head_of
from snnkern.nn import reset
from snnkern.recipes.direct.objective import Inputs, fitted
from snnkern.recipes.direct.plan import Part


class Scores(Protocol):
    """Sums over batches, then numbers by name, the first of which is the one to look at."""

    def update(self, out: Tensor, y: Tensor) -> None:
        """See outputs [B, K, ...] and labels [B, ...]."""
        ...

    def compute(self) -> dict[str, Any]:
        """Of all that was seen, by all processes."""
        ...


class Accuracy:
    """Percent of labels [B] that are the largest of outputs [B, K]. fabric: sums over processes."""

    def __init__(self, fabric: Any = None) -> None:
        self.fabric, self.right, self.seen = fabric, 0, 0

    def update(self, out: Tensor, y: Tensor) -> None:
        """See outputs and labels."""
        self.right += int((out.argmax(1) == y).sum())
        self.seen += len(y)

    def compute(self) -> dict[str, float]:
        """{'accuracy': percent}."""
        sums = torch.tensor([self.right, self.seen])
        if self.fabric is not None:
            sums = self.fabric.all_reduce(self.fabric.to_device(sums), reduce_op='sum')
        right, seen = sums.tolist()
        return {'accuracy': round(100 * right / seen, 4)}


def scores_of(data: SampleSet, net: nn.Module, fabric: Any = None) -> Scores:
    """The scores that a set's targets ask for: accuracy, or those of masks, or those of boxes by the network's head."""
    targets = data.targets
    if targets == 'labels':
        return Accuracy(fabric)
    if targets == 'boxes':
        from snnkern.recipes.detect.scores import Scores as BoxScores

        boxes: Scores = BoxScores(head_of(net), data.classes)
        return boxes
    from snnkern.recipes.direct.masks import Scores as MaskScores

    found = MaskScores(len(data.classes), data.ignore)
    if fabric is not None:
        found.metrics.to(fabric.device)
    return found


@torch.no_grad()
def evaluate(net: nn.Module, parts: Iterable[Part], inputs: Inputs, scores: Scores, fabric: Any) -> dict[str, Any]:
    """The scores of a network on batches; its mode is afterwards what it was."""
    training = net.training
    net.eval()
    try:
        for part in parts:
            x, y = fabric.to_device((part.x, part.y))
            reset(net)
            with fabric.autocast():
                mean = net(inputs(x, part.offset, test=True)).float().mean(0)
            scores.update(fitted(mean, y) if kind_of(y) == 'masks' else mean, y)
        return scores.compute()
    finally:
        reset(net)
        net.train(training)
