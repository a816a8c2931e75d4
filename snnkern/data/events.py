"""Recordings of events as frames to train on: packed, cut into frames batch by batch."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from snnkern._checks import whole
from snnkern.data.common import reading
from snnkern.data.event_files import Events, read_events
from snnkern.data.samples import SampleSet, generator

Numbers = npt.NDArray[np.integer]


class Recording(NamedTuple):
    """Events in the order of time. cells: (p * H + y) * W + x, [N]. times: microseconds since it began, [N]."""

    cells: Numbers
    times: Numbers


class Recordings(Protocol):
    """Recordings in memory, or read when indexed."""

    def __len__(self) -> int: ...

    def __getitem__(self, n: int, /) -> Recording: ...


class Packed:
    """Recordings one behind the other in memory: 6 bytes an event (8 on sensors of more than 32,768 pixels).

    cells, times: of all recordings, [N]. offsets: where each begins and the last ends, [number + 1].
    Example: `Packed.of(recordings)[0].cells`.
    """

    def __init__(self, cells: Numbers, times: Numbers, offsets: Numbers) -> None:
        self.cells, self.times, self.offsets = cells, times, offsets

    @classmethod
    def of(cls, recordings: Iterable[Recording]) -> 'Packed':
        """These recordings, one behind the other."""
        parts = [Recording(_small(r.cells), r.times.astype(np.uint32)) for r in recordings]
        offsets = np.cumsum([0, *(len(part.cells) for part in parts)])
        return cls(np.concatenate([r.cells for r in parts]), np.concatenate([r.times for r in parts]), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, n: int) -> Recording:
        part = slice(self.offsets[n], self.offsets[n + 1])
        return Recording(self.cells[part], self.times[part])


class OnDemand:
    """Recordings that are read when indexed. items: one for each, a file as a rule. read: makes a recording of it."""

    def __init__(self, items: Sequence[Any], read: Callable[[Any], Recording]) -> None:
        self.items, self.read = items, read

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, n: int) -> Recording:
        return self.read(self.items[n])


@dataclass(frozen=True)
class Framing:
    """How recordings become frames.

    T: frames of a recording. time_window: microseconds of a frame, what comes after T of them is left out; None: T
    equal parts of the recording (what is left by whole microseconds is left out). size: pixels of a side after
    bilinear resizing; None: the sensor's own. shift: augmentation, up to so many pixels in each direction, zeros come
    in. flip: augmentation, left and right are exchanged for half of the samples.

    Raises TypeError or ValueError, naming the argument, for a bad value. Example: `Framing(T=8, size=28, shift=2)`.
    Source: tonic.transforms.ToFrame (n_time_bins, time_window).
    """

    T: int = 8
    time_window: int | None = None
    size: int | None = None
    shift: int = 0
    flip: bool = False

    def __post_init__(self) -> None:
        whole('T', self.T)
        for name in ('time_window', 'size'):
            if getattr(self, name) is not None:
                whole(name, getattr(self, name))
        whole('shift', self.shift, at_least=0)
        if not isinstance(self.flip, bool):
            raise TypeError(f'flip must be True or False, got {self.flip!r}')


class EventSplit:
    """Labelled recordings as a split whose batches are frames: counts of events, float32 [B, T, 2, H, W].

    recordings: packed, or read on demand. labels: int64 [N]. sensor: its height and width. framing: how they become
    frames; augmentation is drawn by seed and sample. Channel 0 counts events that are off, channel 1 those that are on.
    Example: `EventSplit(Packed.of(r), labels, (34, 34), Framing(T=8)).batch([0, 1])[0].shape`.
    """

    def __init__(self, recordings: Recordings, labels: Tensor, sensor: tuple[int, int], framing: Framing) -> None:
        self.recordings, self.labels, self.sensor, self.framing = recordings, labels, sensor, framing

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(T, 2, H, W) of a sample."""
        size = self.framing.size
        return (self.framing.T, 2, *(self.sensor if size is None else (size, size)))

    def __len__(self) -> int:
        return len(self.recordings)

    def batch(self, index: Sequence[int], seed: int | None = None) -> tuple[Tensor, Tensor]:
        """See snnkern.data.samples.Split."""
        how = self.framing
        chosen = torch.as_tensor(index)
        numbers = chosen.tolist()
        x = frames([self.recordings[n] for n in numbers], how.T, self.sensor, how.time_window)
        if seed is not None and (how.shift or how.flip):
            x = torch.stack([_moved(part, how, generator(seed, n)) for part, n in zip(x, numbers, strict=True)])
        if x.shape[1:] != self.shape:
            x = F.interpolate(x.flatten(0, 1), self.shape[2:], mode='bilinear', align_corners=True)
        return x.view(-1, *self.shape), self.labels[chosen]


def from_files(
    files: Sequence[Path],
    labels: Sequence[int],
    sensor: tuple[int, int],
    framing: Framing,
    *,
    denoise: int = 0,
    memory: bool = True,
    read: Callable[[Path], Events] = read_events,
) -> EventSplit:
    """A split of files of one recording each.

    files, labels: [N]. sensor: its height and width. denoise: see `recording`. memory: True: read now and packed;
    False: read by each batch. read: makes events of a file. Raises TypeError or ValueError for a bad denoise, and
    DataError, naming the file, for one that is broken or does not fit the sensor.
    Example: `from_files(sorted(Path('0').glob('*.bin')), [0] * 10, (34, 34), Framing(T=8))`.
    """
    whole('denoise', denoise, at_least=0)

    def one(file: Path) -> Recording:
        with reading(f'{file} is broken or of another data set'):
            return recording(read(file), sensor, denoise)

    lazy = OnDemand(files, one)
    kept = Packed.of(lazy[n] for n in range(len(lazy))) if memory else lazy
    return EventSplit(kept, torch.tensor(labels), sensor, framing)


def sample_set(name: str, train: EventSplit, test: EventSplit, classes: tuple[str, ...], source: str) -> SampleSet:
    """Two splits as a set; the numbers of their recordings are added to source."""
    return SampleSet(name, train, test, classes, train.shape, f'{source}, {len(train):,} / {len(test):,}')


def frames(recordings: Sequence[Recording], T: int, sensor: tuple[int, int], time_window: int | None = None) -> Tensor:
    """Counts of events in T frames of each recording, float32 [B, T, 2, H, W].

    sensor: height and width. time_window: microseconds of a frame; None: a T-th of the recording, rounded down.
    Source: the same numbers as tonic.transforms.ToFrame, which makes one recording at a time.
    Example: `frames([recording], 8, (34, 34)).sum()`.
    """
    size = 2 * sensor[0] * sensor[1]
    parts = []
    for b, (cells, times) in enumerate(recordings):
        step = time_window or max(int(times[-1]) // T, 1)
        edges = np.searchsorted(times, np.arange(T + 1, dtype=np.int64) * step)
        first = np.repeat((b * T + np.arange(T)) * size, np.diff(edges))
        parts.append(first + cells[edges[0] : edges[-1]])
    cells_of_all = torch.from_numpy(np.concatenate(parts))
    counts = torch.zeros(len(recordings) * T * size).scatter_add_(0, cells_of_all, torch.ones(len(cells_of_all)))
    return counts.view(len(recordings), T, 2, *sensor)


def recording(events: Events, sensor: tuple[int, int], denoise: int = 0) -> Recording:
    """Events (see `snnkern.data.read_events`) of a sensor of this height and width as a recording.

    They are put in the order of time where they are not. denoise: see `denoised`; 0: all events stay. Raises ValueError
    if events lie outside the sensor, or if none are left. Example: `recording(read_events(path), (34, 34))`.
    """
    height, width = sensor
    if len(events) and not (_within(events['x'], width) and _within(events['y'], height)):
        raise ValueError(f'it has events outside of the {width} x {height} pixels of its sensor')
    if (np.diff(events['t']) < 0).any():
        events = events[np.argsort(events['t'], kind='stable')]
    if denoise:
        events = denoised(events, denoise)
    if not len(events):
        raise ValueError('no events are left')
    cells = (events['p'].astype(np.int64) * height + events['y']) * width + events['x']
    return Recording(cells, events['t'] - events['t'][0])


def denoised(events: Events, time: int) -> Events:
    """The events that follow another one, in one of the four pixels beside them, in less than `time` microseconds.

    events: in the order of time; of the first `time` microseconds (if t begins at 0) all stay.
    Source: the same events as tonic.transforms.Denoise keeps, whose pixels have all fired at t = 0.
    Example: `denoised(read_events('sample_nmnist.bin'), 10_000)`.
    """
    n, t, order = len(events), events['t'], np.arange(len(events))
    width = int(events['x'].max()) + 3  # a column on each side, so that no neighbour is in another row
    pixel = (events['y'].astype(np.int64) + 1) * width + events['x'] + 1
    keys = np.sort(pixel * n + order)
    kept = t < time
    for step in (-1, 1, -width, width):
        before = keys[np.maximum(np.searchsorted(keys, (pixel + step) * n + order) - 1, 0)]
        kept |= (before // n == pixel + step) & (before % n < order) & (t[before % n] + time > t)
    return events[kept]


def _within(places: Numbers, size: int) -> bool:
    return bool(places.min() >= 0 and places.max() < size)


def _small(cells: Numbers) -> Numbers:
    return cells.astype(np.uint16 if cells.max(initial=0) < 2**16 else np.uint32)


def _moved(x: Tensor, how: Framing, random: torch.Generator) -> Tensor:
    """Frames [T, 2, H, W] shifted, with zeros coming in, and flipped."""
    down, right = torch.randint(-how.shift, how.shift + 1, (2,), generator=random).tolist()
    if how.flip and torch.rand((), generator=random) < 0.5:
        x = x.flip(-1)
    return F.pad(x, (right, -right, down, -down))
