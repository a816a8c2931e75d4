"""Pictures of masks: classes in colour over the image, with a legend."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from snnkern.convert.plots import GREY, INK
from snnkern.data.camvid import CLASSES as CAMVID_CLASSES
from snnkern.recipes.direct.masks import Scores
from snnkern.recipes.files import write

# SegNet's, whose classes CamVid's are here.
CAMVID = (
    (128, 128, 128),
    (128, 0, 0),
    (192, 192, 128),
    (128, 64, 128),
    (60, 40, 222),
    (128, 128, 0),
    (192, 128, 128),
    (64, 64, 128),
    (64, 0, 128),
    (64, 64, 0),
    (0, 128, 192),
)
UNCOUNTED = (255, 255, 255)
ALPHA = 0.65
SIDE, GAP, DPI = 3.2, 0.3, 120  # inches of a picture and of a line of text
BACKGROUND = 'background'
Colour = tuple[int, int, int]


def palette(classes: Sequence[str]) -> list[Colour]:
    """A colour for each class: CamVid's own, else VOC's, in which any number of classes have one.

    Example: `palette(('background', 'cat'))  # [(0, 0, 0), (128, 0, 0)]`. Source: VOC's devkit, VOClabelcolormap.
    """
    return list(CAMVID) if tuple(classes) == CAMVID_CLASSES else [_voc(label) for label in range(len(classes))]


def _voc(label: int) -> Colour:
    """Of each three bits of the number, the lowest first, one goes to red, green and blue, from their highest bit."""
    red, green, blue = (sum((label >> 3 * i + part & 1) << 7 - i for i in range(8)) for part in range(3))
    return red, green, blue


def overlay(image: Tensor, mask: Tensor, classes: Sequence[str]) -> Tensor:
    """The classes of a mask in their colours, blended over the image, which is grey: uint8 [3, H, W].

    image: [C, H, W] in 0..1, one or three channels. mask: labels [H, W]; those that are no class's are white.
    classes: names; a class "background" has no colour. Raises ValueError where sizes differ.
    Example: `overlay(x[0], out[0].argmax(0), data.classes)`.
    """
    from torchvision.utils import draw_segmentation_masks

    if image.dim() != 3 or image.shape[1:] != mask.shape:
        raise ValueError(f'mask: expected shape {tuple(image.shape[1:])} as the image, got {tuple(mask.shape)}')
    grey = (255 * image.detach().cpu().clamp(0, 1)).round().mean(0, keepdim=True).to(torch.uint8).expand(3, -1, -1)
    mask = mask.detach().cpu()
    coloured = [(label, colour) for label, colour in enumerate(palette(classes)) if classes[label] != BACKGROUND]
    chosen = [mask == label for label, _ in coloured] + [(mask < 0) | (mask >= len(classes))]
    colours = [colour for _, colour in coloured] + [UNCOUNTED]
    return draw_segmentation_masks(grey, torch.stack(chosen), alpha=ALPHA, colors=colours)


def draw(
    images: Tensor, truth: Tensor | None, found: Tensor | Mapping[str, Tensor], classes: Sequence[str], path: Path
) -> None:
    """Draw images, true masks and predictions side by side, a row an image, into a PNG file, with a legend below.

    images: [N, C, H, W] in 0..1. truth: labels [N, H, W]; those that are no class's do not count; None: no such column.
    found: predicted labels [N, H, W], or several of them by their titles. classes: names. Above a prediction stands its
    mIoU, over the classes of that image. Raises ValueError where shapes differ.
    Example: `draw(x, y, {'ReLU': a, 'spiking, T = 4': b}, data.classes, Path('masks.png'))`.
    """
    columns = {'prediction': found} if isinstance(found, Tensor) else dict(found)
    shown = columns if truth is None else {'truth': truth, **columns}
    rows, (height, width) = len(images), images.shape[2:]
    for title, masks in shown.items():
        if tuple(masks.shape) != (rows, height, width):
            raise ValueError(f'{title}: expected masks of shape {(rows, height, width)}, got {tuple(masks.shape)}')
    patches = _legend(shown.values(), classes)
    across = 2 * (1 + len(shown))
    lines = -(-len(patches) // across) + (1 if truth is None else rows)
    size = SIDE * (1 + len(shown)), SIDE * height / width * rows + GAP * lines
    figure = Figure(figsize=size, dpi=DPI, layout='constrained')
    grid = figure.subplots(rows, 1 + len(shown), squeeze=False)
    for i, axes in enumerate(grid):
        _show(axes[0], images[i].detach().cpu().expand(3, -1, -1), '' if i else 'image')
        for ax, (name, masks) in zip(axes[1:], shown.items(), strict=True):
            heading = [] if i else [name]
            if truth is not None and name != 'truth':
                heading.append(_score(masks[i], truth[i], len(classes)))
            _show(ax, overlay(images[i], masks[i], classes), ', '.join(heading))
    if patches:
        figure.legend(handles=patches, loc='outside lower center', ncols=across, frameon=False, labelcolor=INK)
    write(path, lambda file: figure.savefig(file, format='png'))


def _show(ax: Axes, picture: Tensor, title: str) -> None:
    ax.imshow(picture.movedim(0, -1).numpy(), vmin=0, vmax=1)
    ax.set_axis_off()
    ax.set_title(title, color=INK, fontsize=11)


def _score(found: Tensor, truth: Tensor, num_classes: int) -> str:
    """The mIoU of one image, where any of its pixels count."""
    known = (truth >= 0) & (truth < num_classes)
    if not bool(known.any()):
        return 'nothing counts'
    scores = Scores(num_classes, ignore=-1)
    scores.update(found[None], truth.where(known, -1)[None])
    return f'mIoU {scores.compute()["miou"]:.2f}'


def _legend(masks: Iterable[Tensor], classes: Sequence[str]) -> list[Patch]:
    """A patch of each class that is seen, and of pixels that do not count."""
    labels = {int(label) for mask in masks for label in mask.unique()}
    colours = dict(enumerate(zip(classes, palette(classes), strict=True)))
    named = [pair for label, pair in colours.items() if label in labels and pair[0] != BACKGROUND]
    if labels - colours.keys():
        named.append(('not counted', UNCOUNTED))
    return [Patch(facecolor=(r / 255, g / 255, b / 255), edgecolor=GREY, label=name) for name, (r, g, b) in named]
