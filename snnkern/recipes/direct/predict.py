"""What a trained spiking network says of pictures and recordings: `snnkern predict`."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnkern.data import DataError, read_events
from snnkern.data.common import first_line
from snnkern.nn import reset
from snnkern.recipes import files
from snnkern.recipes.direct.objective import Inputs, fitted
from snnkern.recipes.direct.saved import Trained

PICTURES = ('.png', '.jpg', '.jpeg', '.webp', '.bmp', '.tif', '.tiff')
RECORDINGS = ('.bin', '.aedat4', '.dat', '.mat', '.raw')
Tell = Callable[[str, float], None]


def framed(path: Path, shape: tuple[int, ...], time_window: int | None, denoise: int) -> Tensor:
    """A recording as frames [T, 2, H, W]: those of its data set, whose sensor it must fit."""
    from snnkern.data.events import EventSplit, Framing, Packed, recording

    T, _, height, width = shape
    try:
        packed = Packed.of([recording(read_events(path), (height, width), denoise)])
    except ValueError as error:
        raise DataError(f'{path}: {error}') from error
    return EventSplit(packed, torch.zeros(1, dtype=torch.int64), (height, width), Framing(T, time_window)).batch([0])[
        0
    ][0]


def found(paths: Sequence[Path], suffixes: Sequence[str]) -> list[Path]:
    """The files of these kinds among paths and directly in folders, by name; raises DataError where there is none."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(item for item in path.iterdir() if item.suffix.lower() in suffixes)
        elif path.is_file():
            files.append(path)
        else:
            raise DataError(f'no file or folder {path}')
    if not files:
        raise DataError(f'no files in {", ".join(map(str, paths))} that end in {", ".join(suffixes)}')
    return files


def picture(path: Path, shape: Sequence[int]) -> Tensor:
    """A picture as [C, H, W] in 0..1 of that shape; grey where C is 1. Raises DataError where it is none."""
    from PIL import Image

    channels, height, width = shape
    try:
        with Image.open(path) as image:
            scaled = image.convert('L' if channels == 1 else 'RGB').resize((width, height), Image.Resampling.BILINEAR)
    except (OSError, ValueError) as error:
        raise DataError(f'{path} is broken or no picture ({first_line(error)})') from error
    return torch.from_numpy(np.array(scaled)).view(height, width, channels).permute(2, 0, 1).float() / 255


def sample(path: Path, trained: Trained) -> Tensor:
    """A file as one x of the network's data set: a picture, or the frames of a recording."""
    shape = tuple(trained.facts['shape'])
    if len(shape) == 3:
        return picture(path, shape)
    options = trained.config.data_options
    return framed(path, shape, options.get('time_window'), options.get('denoise', 0))


def predict(trained: Trained, paths: Sequence[Path], out: Path | None, skip: bool, tell: Tell) -> list[dict[str, Any]]:
    """A row for each file: its class and probability, or the share of each class in its mask.

    trained: see `saved.load`. paths: files or folders. out: where overlays of masks go, as NAME.png; needed by
    segmenters. skip: leave out files that are broken, with their error in their row, instead of raising DataError.
    Example: `predict(load('runs/segment'), [Path('photos')], Path('overlays'), False, print)`.
    """
    chosen = found(paths, PICTURES if len(trained.facts['shape']) == 3 else RECORDINGS)
    rows = []
    for i, path in enumerate(chosen):
        tell(f'{path.name}', i / len(chosen))
        try:
            x = sample(path, trained)
        except DataError as error:
            if not skip:
                raise
            rows.append({'file': str(path), 'error': str(error)})
            continue
        logits = answer(trained, x.unsqueeze(0), offset=i)
        rows.append({'file': str(path), **told(trained, logits[0], x, path, out)})
    return rows


@torch.no_grad()
def answer(trained: Trained, x: Tensor, offset: int = 0) -> Tensor:
    """The mean output over time, [B, K, ...], of samples as their data set gives them."""
    facts, net = trained.facts, trained.net
    reset(net)
    seq = Inputs(trained.config, tuple(facts['mean']), tuple(facts['std']))(x, offset, test=True)
    try:
        return net(seq).float().mean(0)
    finally:
        reset(net)


def told(trained: Trained, logits: Tensor, x: Tensor, path: Path, out: Path | None) -> dict[str, Any]:
    """What one answer says, as JSON; a mask is drawn over its picture."""
    classes = trained.facts['classes']
    if logits.dim() == 1:
        p = logits.softmax(0)
        return {'class': classes[int(p.argmax())], 'probability': round(float(p.max()), 4)}
    from PIL import Image

    from snnkern.recipes.direct import overlays

    if out is None:
        raise ValueError('out: a segmenter draws overlays and needs a folder, got none')
    mask = fitted(logits.unsqueeze(0), torch.empty(1, *x.shape[1:]))[0].argmax(0)
    drawn = Image.fromarray(overlays.overlay(x, mask, classes).permute(1, 2, 0).numpy())
    files.write(out / f'{path.stem}.png', drawn.save)
    shares = {name: round(float((mask == k).float().mean()), 4) for k, name in enumerate(classes)}
    return {'overlay': str(out / f'{path.stem}.png'), 'shares': {name: s for name, s in shares.items() if s}}


def table(rows: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """File and answer of each row, as text."""
    for row in rows:
        if 'error' in row:
            said = f'skipped: {row["error"]}'
        elif 'class' in row:
            said = f'{row["class"]} ({100 * row["probability"]:.1f} %)'
        else:
            shares = sorted(row['shares'].items(), key=lambda item: -item[1])
            said = ', '.join(f'{name} {100 * share:.0f} %' for name, share in shares[:5])
        yield Path(row['file']).name, said
