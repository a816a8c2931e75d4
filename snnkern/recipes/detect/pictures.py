"""Pictures of boxes, and of average precision against time steps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter
from torch import Tensor

from snnkern.convert.plots import DPI, INK, tidy
from snnkern.models.boxes import Detections
from snnkern.recipes.files import write

PALETTE = 'tab10'  # matplotlib's; of more classes than it has colours, several have the same
SIDE = 3.6  # inches of a picture
LINES, LETTERS = 200, 28  # sizes of a picture are so many times those of its lines and letters
LEGEND = 10  # classes at most; boxes of more have names on them
Score = Mapping[str, Any]


def colour(k: int) -> tuple[int, int, int]:
    """The colour of a class, 0 to 255."""
    colours = matplotlib.colormaps[PALETTE].colors  # type: ignore[attr-defined]
    red, green, blue = (round(255 * float(part)) for part in colours[k % len(colours)])
    return red, green, blue


def share(rgb: tuple[int, int, int]) -> tuple[float, float, float]:
    """A colour as matplotlib takes it."""
    red, green, blue = rgb
    return red / 255, green / 255, blue / 255


def boxed(image: Tensor, found: Detections, classes: Sequence[str], scores: bool = True) -> Tensor:
    """The image with boxes in the colours of their classes, the surest in front, uint8 [3, H, W].

    image: uint8 [3, H, W], of any size. scores: write class and score on each box; else its class, where there are more
    than a legend holds. Raises ImportError, naming the extra, without torchvision.
    Example: `boxed(image, detect(net.head, net(x))[0], data.classes)`.
    """
    try:
        from torchvision.utils import draw_bounding_boxes
    except ImportError:
        raise ImportError("pictures of boxes need torchvision: pip install 'snnkern[detection]'") from None
    if not len(found.boxes):
        return image
    size = max(image.shape[1:])
    boxes = pixels(found.boxes, image.shape[2], image.shape[1]).flip(0)
    labels = found.labels.flip(0).tolist()
    names = [classes[k] for k in labels]
    if scores:
        names = [f'{name} {p:.2f}' for name, p in zip(names, found.scores.flip(0).tolist(), strict=True)]
    said = scores or len(classes) > LEGEND
    return draw_bounding_boxes(
        image,
        boxes,
        names if said else None,
        [colour(k) for k in labels],
        width=max(2, round(size / LINES)),
        font=str(Path(matplotlib.get_data_path()) / 'fonts/ttf/DejaVuSans.ttf') if said else None,
        font_size=max(10, round(size / LETTERS)) if said else None,
    )


def pixels(boxes: Tensor, width: int, height: int) -> Tensor:
    """Corners [N, 4] in pixels, of corners in shares of an image of that size."""
    return boxes * torch.tensor([width, height, width, height])


def side_by_side(rows: Sequence[Mapping[str, Tensor]], classes: Sequence[str], path: Path) -> None:
    """Draw pictures uint8 [3, H, W] into a PNG file, a row an image, under their titles, with the classes' colours."""
    titles = list(rows[0])
    shapes = [next(iter(row.values())).shape for row in rows]
    heights = [SIDE * shape[1] / shape[2] for shape in shapes]
    figure = Figure(figsize=(SIDE * len(titles), sum(heights) + 0.8), dpi=120, layout='constrained')
    grid = figure.subplots(len(rows), len(titles), squeeze=False, height_ratios=heights)
    for i, (axes, row) in enumerate(zip(grid, rows, strict=True)):
        for ax, title in zip(axes, titles, strict=True):
            ax.imshow(row[title].movedim(0, -1).numpy())
            ax.set_axis_off()
            ax.set_title('' if i else title, color=INK, fontsize=11)
    if len(classes) <= LEGEND:
        patches = [Patch(color=share(colour(k)), label=name) for k, name in enumerate(classes)]
        figure.legend(handles=patches, loc='outside lower center', ncols=min(5, len(classes)), frameon=False)
    write(path, lambda p: figure.savefig(p, format='png'))


def curves(
    points: Mapping[str, Mapping[int, Mapping[str, float]]], ann: Mapping[str, float] | None, path: Path
) -> None:
    """Draw AP50 and AP50:95 against the number of steps, a line for each conversion, into a PNG file.

    points: scores by T, by the conversion's name. ann: the ANN's scores, as a dashed line.
    """
    figure = Figure(figsize=(11, 4.8), dpi=DPI, layout='constrained')
    for ax, (key, title) in zip(figure.subplots(1, 2), (('ap50', 'AP50'), ('ap', 'AP50:95')), strict=True):
        if ann is not None:
            ax.axhline(ann[key], color=INK, lw=1.5, ls='--', label=f'ANN  {ann[key]:.3f}')
        for k, (name, row) in enumerate(points.items()):
            steps = sorted(row)
            last = f'{name}  {row[steps[-1]][key]:.3f}'
            ax.plot(
                steps,
                [row[T][key] for T in steps],
                color=share(colour(k)),
                lw=2,
                marker='o',
                ms=5,
                label=last,
            )
        ax.set_xscale('log', base=2)
        ax.set_xticks(sorted({T for row in points.values() for T in row}))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda T, _: f'{T:g}'))
        ax.set_ylim(bottom=0)
        ax.set(xlabel='time steps T', ylabel=f'{title} of test images')
        ax.grid(axis='y', color='#dde3e8')
        ax.legend(
            loc='upper center', bbox_to_anchor=(0.5, -0.16), fontsize=11, frameon=False
        )  # lines are anywhere above
        tidy(ax)
    write(path, lambda p: figure.savefig(p, format='png'))
