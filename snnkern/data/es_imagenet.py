"""ES-ImageNet: the photographs of ImageNet as events of eight small movements."""

from os.path import splitext
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from snnkern.data.common import DataError, first_line, folder, inside, numpy_arrays, reading
from snnkern.data.events import EventSplit, Framing, OnDemand, Recording, sample_set
from snnkern.data.samples import SampleSet

STEPS = 8
LONGEST = 254  # side of a photograph that was scaled
BORDER, SIDE = 16, 224  # what is cut from each side of the 256 x 256 pixels, and what stays
CLASSES = 1000


class _Sample(NamedTuple):
    file: str  # of a million samples a Path each would take seconds
    label: int
    height: int
    width: int


def es_imagenet(
    root: str | Path, T: int = STEPS, *, size: int | None = None, shift: int = 0, flip: bool = False
) -> SampleSet:
    """ES-ImageNet: 1.26 million photographs of 1,000 classes as events, frames [B, 8, 2, 224, 224] of 0 and 1.

    root: a folder with train/, val/, trainlabel.txt and vallabel.txt. A line of these is: file (below train or val),
    label, height and width of the scaled photograph, whose longer side is 254. A file .npz holds `pos` and `neg`, the
    events that are on and off, uint8 rows [N] of row, column and step (1 to 8); they are centred in 256 x 256 pixels,
    of which the inner 224 x 224 are used. A batch reads its files. T: 8, which is what the set has. size, shift, flip:
    see `snnkern.data.events.Framing`.

    Raises DataError if files are missing or broken, naming the line or file, ValueError for another T or a bad option.
    Source: Lin et al., Front. Neurosci. 15:726582, 2021; github.com/lyh983012/ES-imagenet-master.
    Example: `es_imagenet('ES-imagenet-0.18', size=112).train.batch([0, 1])`.
    """
    if T != STEPS:
        raise ValueError(f'T: ES-ImageNet has {STEPS} frames, got {T}')
    framing = Framing(T, 1, size, shift, flip)
    path = folder(root, 'ES-ImageNet')
    train, test = (_split(path, part, framing) for part in ('train', 'val'))
    classes = tuple(f'class{n}' for n in range(CLASSES))
    return sample_set('es-imagenet', train, test, classes, f'ES-ImageNet in {path.resolve().name}')


def _split(path: Path, part: str, framing: Framing) -> EventSplit:
    listing = path / f'{part}label.txt'
    try:
        lines = listing.read_text().splitlines()
    except (OSError, ValueError) as error:
        expected = 'train/, val/, trainlabel.txt and vallabel.txt of the unpacked ES-imagenet-0.18'
        raise DataError(f'no ES-ImageNet in {path}: expected {expected} ({first_line(error)})') from error
    below = str(path / part)
    samples = [_sample(below, line, listing, n) for n, line in enumerate(lines, 1) if line.strip()]
    if not samples:
        raise DataError(f'{listing} lists no samples')
    labels = torch.tensor([sample.label for sample in samples])
    return EventSplit(OnDemand(samples, _recording), labels, (SIDE, SIDE), framing)


def _sample(path: str, line: str, listing: Path, number: int) -> _Sample:
    where = f'{listing}, line {number}'
    try:
        name, label, height, width = line.rsplit(maxsplit=3)
        sizes = int(label), int(height), int(width)
    except ValueError:
        raise DataError(f'{where}: expected file, label, height and width, got {line!r}') from None
    found = _Sample(f'{path}/{splitext(inside(name, where))[0]}.npz', *sizes)
    if not (0 <= found.label < CLASSES and 0 < found.height <= LONGEST and 0 < found.width <= LONGEST):
        raise DataError(f'{where}: expected a label below {CLASSES} and sides up to {LONGEST}, got {line!r}')
    return found


def _recording(sample: _Sample) -> Recording:
    with reading(f'{sample.file} is missing, broken or not of ES-ImageNet'):
        parts = [part.astype(np.int64) for part in numpy_arrays(sample.file, ('neg', 'pos'))]
        rows = np.concatenate([np.insert(part, 3, p, axis=1) for p, part in enumerate(parts)])
        row, column, step, p = rows[np.argsort(rows[:, 2], kind='stable')].T
        row, column = row + (LONGEST - sample.height) // 2 - BORDER, column + (LONGEST - sample.width) // 2 - BORDER
        if not len(step) or step[0] < 1 or step[-1] > STEPS:
            raise ValueError(f'expected events of the steps 1 to {STEPS}')
    inside = (row >= 0) & (row < SIDE) & (column >= 0) & (column < SIDE)
    return Recording(((p * SIDE + row) * SIDE + column)[inside], step[inside] - 1)
