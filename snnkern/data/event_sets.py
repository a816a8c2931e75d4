"""Data sets of event cameras of 128 x 128 pixels, in tonic's folders: CIFAR10-DVS and DVS-Gesture."""

import re
from pathlib import Path

import numpy as np

from snnkern.data.cifar import CLASSES
from snnkern.data.common import DataError, folder
from snnkern.data.event_files import Events, event_array
from snnkern.data.events import EventSplit, Framing, from_files, sample_set
from snnkern.data.samples import SampleSet

SENSOR = (128, 128)
GESTURES = (
    'hand clapping',
    'right hand wave',
    'left hand wave',
    'right arm clockwise',
    'right arm counter-clockwise',
    'left arm clockwise',
    'left arm counter-clockwise',
    'arm roll',
    'air drums',
    'air guitar',
    'other gestures',
)


def cifar10_dvs(
    root: str | Path,
    T: int = 10,
    *,
    size: int | None = 48,
    time_window: int | None = None,
    denoise: int = 0,
    shift: int = 0,
    flip: bool = False,
    memory: bool = False,
) -> SampleSet:
    """CIFAR10-DVS: 10,000 images of CIFAR-10 moved before an event camera, frames [B, T, 2, 48, 48] of counts.

    root: tonic's folder CIFAR10DVS, or the one above it, with airplane/*.aedat4 to truck/*.aedat4, which
    `tonic.datasets.CIFAR10DVS(root)` downloads. The set has no split of its own: of each class, in the order of the
    numbers in the files' names, the first nine tenths train and the last tenth tests. T, time_window, size, shift,
    flip: see `snnkern.data.events.Framing`. denoise: see `nmnist`. memory: True: all events stay packed in memory
    (6 bytes an event, some 2 billion); False: a batch reads its files.

    Raises DataError if files are missing or broken or the package aedat is not installed, TypeError or ValueError for
    a bad option.
    Source: Li et al., Front. Neurosci. 11:309, 2017. Example: `cifar10_dvs('data', T=10).train.batch([0, 1])`.
    """
    framing = Framing(T, time_window, size, shift, flip)
    path = _inside(root, 'CIFAR10DVS')
    parts: tuple[list[Path], list[Path]] = [], []
    for name in CLASSES:
        files = sorted(path.glob(f'**/{name}/*.aedat4'), key=_number)
        if len(files) < 2:
            raise DataError(
                f'no CIFAR10-DVS in {path}: expected {CLASSES[0]}/*.aedat4 to {CLASSES[-1]}/*.aedat4, found '
                f"{len(files)} in {name}; tonic.datasets.CIFAR10DVS('{path}') downloads them"
            )
        tests = max(len(files) // 10, 1)
        parts[0].extend(files[:-tests])
        parts[1].extend(files[-tests:])
    train, test = (
        from_files(
            files, [CLASSES.index(f.parent.name) for f in files], SENSOR, framing, denoise=denoise, memory=memory
        )
        for files in parts
    )
    return sample_set('cifar10-dvs', train, test, CLASSES, f'CIFAR10-DVS in {path.resolve().name}, 9:1 of each class')


def dvs_gesture(
    root: str | Path,
    T: int = 16,
    *,
    size: int | None = None,
    time_window: int | None = None,
    denoise: int = 0,
    shift: int = 0,
    memory: bool = False,
) -> SampleSet:
    """DVS-Gesture: 11 gestures of 29 people, 1,077 recordings to train and 264 to test, frames [B, T, 2, 128, 128].

    root: tonic's folder DVSGesture, or the one above it, with ibmGestureTrain/userNN_LIGHT/K.npy and
    ibmGestureTest/..., which `tonic.datasets.DVSGesture(root)` downloads; K is the label, a file holds rows of x, y,
    polarity and milliseconds. The split is the original one, by people. T, time_window, size, shift: see
    `snnkern.data.events.Framing`. denoise: see `nmnist`. memory: True: all events stay packed in memory (about 3 GB);
    False: a batch reads its files.

    Raises DataError if files are missing or broken, TypeError or ValueError for a bad option.
    Source: Amir et al., CVPR 2017. Example: `dvs_gesture('data', T=16, size=64).test.batch([0])`.
    """
    framing = Framing(T, time_window, size, shift)
    path = _inside(root, 'DVSGesture')
    train, test = (_gestures(path, part, framing, denoise, memory) for part in ('Train', 'Test'))
    return sample_set('dvs-gesture', train, test, GESTURES, f'DVS-Gesture in {path.resolve().name}')


def _inside(root: str | Path, name: str) -> Path:
    path = folder(root, name)
    return path / name if (path / name).is_dir() else path


def _number(file: Path) -> tuple[int, str]:
    """What files are sorted by: the last number in the name."""
    numbers = re.findall(r'\d+', file.stem)
    return int(numbers[-1]) if numbers else 0, file.name


def _gestures(path: Path, part: str, framing: Framing, denoise: int, memory: bool) -> EventSplit:
    folders = sorted((path / f'ibmGesture{part}').glob('user*'))
    files = [file for user in folders for file in sorted(user.glob('*.npy'), key=_number)]
    if not files:
        raise DataError(
            f'no DVS-Gesture in {path}: expected ibmGesture{part}/user*/K.npy, '
            f"which tonic.datasets.DVSGesture('{path}') downloads"
        )
    labels = [_number(file)[0] for file in files]
    if (most := max(labels)) >= len(GESTURES):
        raise DataError(f'{files[labels.index(most)]} has the label {most}, expected 0 to {len(GESTURES) - 1}')
    return from_files(files, labels, SENSOR, framing, denoise=denoise, memory=memory, read=_gesture)


def _gesture(file: Path) -> Events:
    rows = np.load(file, allow_pickle=False)
    if rows.ndim != 2 or rows.shape[1] != 4:
        raise ValueError(f'expected rows of x, y, polarity and milliseconds, got {rows.shape}')
    x, y, p, milliseconds = rows.T.astype(np.int64)
    return event_array(x, y, milliseconds * 1000, p)
