"""N-MNIST: twenty recordings that come with the package (see NOTICE), an archive, or the full set in tonic's folder."""

from pathlib import Path

import numpy as np
import torch

from snnkern._checks import whole
from snnkern.data.common import DataError, folder, numpy_arrays, reading
from snnkern.data.event_files import event_array
from snnkern.data.events import EventSplit, Framing, Packed, from_files, recording, sample_set
from snnkern.data.samples import SampleSet

SHIPPED = Path(__file__).with_name('nmnist_20.npz')
ARCHIVE = 'nmnist_small.npz'
SENSOR = (34, 34)
CLASSES = tuple('0123456789')
KEYS = ('x', 'y', 't', 'p', 'offsets', 'labels')


def nmnist(
    root: str | Path | None = None,
    T: int = 8,
    *,
    size: int | None = None,
    time_window: int | None = None,
    denoise: int = 0,
    shift: int = 0,
) -> SampleSet:
    """N-MNIST: MNIST's digits before a moving event camera, frames [B, T, 2, 34, 34] of counts of events.

    root: where it is. An archive .npz, or a folder with nmnist_small.npz: arrays train_x, train_y, train_p, train_t
    (microseconds) of all events, train_offsets [N + 1], where each recording begins, and train_labels [N]; the same
    with test_. Or tonic's folder, or the one above it: NMNIST/Train/0/*.bin to NMNIST/Test/9/*.bin (60,000 and 10,000;
    1.5 GB of memory), which `tonic.datasets.NMNIST(root)` downloads. None: ten recordings to train and ten to test
    that come with the package, one a class.

    T, time_window, size, shift: see `snnkern.data.events.Framing`; the recordings last about 0.31 s. denoise:
    microseconds within which a neighbouring pixel must have fired for an event to stay, 10,000 as a rule; 0: all stay.
    The events stay packed in memory, frames are made batch by batch.

    Raises DataError if files are missing or broken, TypeError or ValueError for a bad option.
    Source: Orchard et al., Front. Neurosci. 9:437, 2015. Example: `nmnist('data', T=8, size=28).train.batch([0])`.
    """
    framing = Framing(T, time_window, size, shift)
    whole('denoise', denoise, at_least=0)
    path = SHIPPED if root is None else folder(root, 'N-MNIST')
    if path.is_dir() and (path / ARCHIVE).is_file():
        path = path / ARCHIVE
    read = _tonic if path.is_dir() else _archive
    train, test = (read(path, split, framing, denoise) for split in ('train', 'test'))
    shipped = 'N-MNIST recordings shipped with snnkern'
    return sample_set('nmnist', train, test, CLASSES, shipped if root is None else f'N-MNIST in {path.resolve().name}')


def _archive(path: Path, split: str, framing: Framing, denoise: int) -> EventSplit:
    with reading(f'{path} is broken or no N-MNIST archive'):
        x, y, t, p, offsets, labels = numpy_arrays(path, [f'{split}_{key}' for key in KEYS])
        if not (offsets[0] == 0 and offsets[-1] == len(x) and len(offsets) == len(labels) + 1):
            raise ValueError(f'{split}_offsets, {split}_labels and events do not fit together')
        if labels.max() >= len(CLASSES) or p.max() > 1:
            raise ValueError(f'{split} has labels above 9 or polarities above 1')
        cuts = [slice(*offsets[n : n + 2]) for n in range(len(labels))]
        events = event_array(x, y, t, p)
        packed = Packed.of(recording(events[cut], SENSOR, denoise) for cut in cuts)
    return EventSplit(packed, torch.from_numpy(labels.astype(np.int64)), SENSOR, framing)


def _tonic(path: Path, split: str, framing: Framing, denoise: int) -> EventSplit:
    root = path / 'NMNIST' if (path / 'NMNIST').is_dir() else path
    files = sorted(root.glob(f'{split.title()}/[0-9]/*.bin'))
    if not files:
        raise DataError(
            f'no N-MNIST in {path}: expected {ARCHIVE}, or NMNIST/Train/0 to NMNIST/Test/9 with .bin files, '
            f"which tonic.datasets.NMNIST('{path}') downloads"
        )
    return from_files(files, [int(file.parent.name) for file in files], SENSOR, framing, denoise=denoise)
