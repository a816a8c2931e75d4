"""Segmentation: what masks score, and pictures of where they are right."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from snnkern.recipes.images import soft_dice

LEVEL = 0.5
HIT, FALSE, MISSED = (0.13, 0.62, 0.33), (0.85, 0.28, 0.06), (0.09, 0.41, 0.67)


def with_sigmoid(net: nn.Module) -> nn.Module:
    """A segmenter of logits that gives probabilities; converted, its sigmoid reads the mean logit.

    Example: `convert(with_sigmoid(build('unet')), x)`.
    """
    return nn.Sequential(net, nn.Sigmoid()).train(net.training)


class Scores:
    """Scores of predicted masks, summed batch by batch; a metric for `SNN.evaluate`.

    soft_dice: of probabilities, mean over images. hard_dice: the same of masks. jaccard, f1, pixel_accuracy: of all
    pixels together, by torchmetrics. Masks are what lies above 0.5. read: what probabilities are made with from the
    outputs; None: they are the outputs. Raises ImportError, naming the extra, without torchmetrics.

    Example: `snn.evaluate(loader, timesteps=(4, 8), metric=Scores()).metric[8]['soft_dice']`.
    """

    def __init__(self, read: Callable[[Tensor], Tensor] | None = None) -> None:
        try:
            from torchmetrics import classification
        except ImportError:
            raise ImportError("segmentation needs torchmetrics: pip install 'snnkern[vision]'") from None
        self.read = read
        self.pixels: dict[str, Any] = {
            'jaccard': classification.BinaryJaccardIndex(LEVEL),
            'f1': classification.BinaryF1Score(LEVEL),
            'pixel_accuracy': classification.BinaryAccuracy(LEVEL),
        }
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self.soft = self.hard = 0.0
        self.images = 0
        for metric in self.pixels.values():
            metric.reset()

    def update(self, out: Tensor, y: Tensor) -> None:
        """See outputs and masks of 0 and 1, both [B, 1, H, W]."""
        p = out.float() if self.read is None else self.read(out.float())
        self.soft += float(soft_dice(p, y).sum())
        self.hard += float(soft_dice((p > LEVEL).float(), y).sum())
        self.images += len(y)
        for metric in self.pixels.values():
            metric.update(p, y.long())

    def compute(self) -> dict[str, float]:
        """All scores of what was seen, in 0..1."""
        pixels = {name: float(metric.compute()) for name, metric in self.pixels.items()}
        return {'soft_dice': self.soft / self.images, 'hard_dice': self.hard / self.images, **pixels}


def overlay(image: Tensor, mask: Tensor, truth: Tensor) -> Tensor:
    """[H, W, 3] of an image [H, W] in 0..1: hits green, false pixels orange, missed ones blue."""
    picture = image[..., None].repeat(1, 1, 3) * 0.9
    for where, colour in ((mask & truth, HIT), (mask & ~truth, FALSE), (~mask & truth, MISSED)):
        picture[where] = 0.45 * picture[where] + 0.55 * torch.tensor(colour)
    return picture


def draw(images: Tensor, truth: Tensor, found: Mapping[str, Tensor], path: Path) -> None:
    """Draw images and binarised masks side by side, a row an image, into a PNG file.

    images: [N, 1, H, W] in 0..1. truth: masks of 0 and 1 of that shape. found: probabilities of that shape by their
    title. Example: `draw(x, y, {'ANN': p, 'SNN, T = 8': q}, Path('overlay.png'))`.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    rows, (height, width) = len(images), images.shape[2:]
    columns = 2 + len(found)
    figure = Figure(figsize=(2.3 * columns, 2.3 * rows * height / width + 0.9), dpi=120, layout='constrained')
    grid = figure.subplots(rows, columns, squeeze=False)
    for i in range(rows):
        image, true = images[i, 0], truth[i, 0] > 0
        pictures = {'image': image[..., None].repeat(1, 1, 3), 'ground truth': overlay(image, true, true)}
        for title, p in found.items():
            mask, dice = p[i, 0] > LEVEL, float(soft_dice((p[i : i + 1] > LEVEL).float(), truth[i : i + 1]))
            pictures[f'{title}\n' + f'Dice {dice:.3f}'] = overlay(image, mask, true)
        for ax, (title, picture) in zip(grid[i], pictures.items(), strict=True):
            ax.imshow(picture.numpy(), vmin=0, vmax=1)
            ax.set_axis_off()
            ax.set_title(title, fontsize=10)
    names = {'found': HIT, 'wrongly found': FALSE, 'missed': MISSED}
    patches = [Patch(color=colour, label=name) for name, colour in names.items()]
    figure.legend(handles=patches, loc='outside lower center', ncols=3, frameon=False)
    figure.savefig(path, format='png')
