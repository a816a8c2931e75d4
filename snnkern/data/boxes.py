"""Images in files and the boxes of the things in them: what all detection sets share."""

import contextlib
import math
import mmap
import warnings
from array import array
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snnkern._archives import archive, unpacked
from snnkern.data.augmentation import Size, transforms
from snnkern.data.box_augmentation import BoxChange, augmentation, finished
from snnkern.data.common import DataError, reading
from snnkern.data.samples import SampleSet
from snnkern.data.segmentation import CorruptError, File, drawing, pair, rgb, sound

SLACK = 0.005
CACHED_BYTES = 512 * 2**20


class BoxPicture(NamedTuple):
    """An image and its boxes.

    boxes: float32 [n, 6], rows (label, x1, y1, x2, y2, crowd), corners as shares 0..1 of width and height. size:
    (width, height) that the labels were made for, which the image must have; None: not known.
    """

    image_file: File
    boxes: Tensor
    size: tuple[int, int] | None = None

    def __str__(self) -> str:
        return str(self.image_file)

    def image(self) -> Tensor:
        """uint8 [3, H, W]; CorruptError where it cannot be read or has another size than its labels say."""
        image = rgb(self.image_file)
        height, width = image.shape[1:]
        if self.size not in (None, (width, height)):
            said = ' x '.join(map(str, self.size or ()))
            raise CorruptError(f'{self}: the image is {width} x {height}, its labels are for {said}')
        return image


class Labels:
    """The boxes of label files as they are read: checked, and those without area dropped and counted.

    classes: names of the labels. source: where they are from, for messages. Raises ValueError where they are not names,
    all different. Example: `Labels(('cat',)).row('a.txt, line 1', 0, [0, 0, 0.5, 1])`.
    """

    def __init__(self, classes: Sequence[str], source: str = 'classes') -> None:
        names = () if isinstance(classes, str) else tuple(classes)
        if not names or len(set(names)) < len(names) or not all(isinstance(name, str) for name in names):
            got = repr(classes) if isinstance(classes, str) else ', '.join(map(repr, names)) or 'none'
            raise ValueError(f'{source}: expected names, all different, got {got}')
        self.classes, self.source = names, source
        self.dropped: list[str] = []

    def number(self, where: str, name: str | None) -> int:
        """The label of a class's name; DataError, naming the place, for an unknown one."""
        if name not in self.classes:
            raise DataError(f'{where}: class {name!r}, known are {", ".join(self.classes)}')
        return self.classes.index(name)

    def row(
        self,
        where: str,
        label: int,
        corners: Sequence[float],
        crowd: bool = False,
        size: tuple[int, int] | None = None,
    ) -> list[list[float]]:
        """The row of a box (see BoxPicture) in a list, which is empty where the box has no area.

        where: file and line, for messages. corners: x1, y1, x2, y2, in pixels of an image of size (width, height), or
        None: as shares of it. Corners outside by rounding, up to a pixel or half a percent, are moved to the border.
        Raises DataError for a label that is no class's, corners farther outside or in the wrong order.
        """
        if not 0 <= label < len(self.classes):
            raise DataError(f'{where}: class {label}, known are 0 to {len(self.classes) - 1} ({self.source})')
        (width, height), (x1, y1, x2, y2) = size or (1, 1), corners
        if x1 > x2 or y1 > y2:
            raise DataError(f'{where}: {_said(corners)} has a right or lower corner before its left or upper one')
        across, down = (max(1.0, SLACK * width), max(1.0, SLACK * height)) if size else (SLACK, SLACK)
        if min(x1 + across, y1 + down, width + across - x2, height + down - y2) < 0:
            image = f'{width} x {height}' if size else 'shares 0 to 1 of width and height'
            raise DataError(f'{where}: {_said(corners)} is outside of its image, {image}')
        shares = (x1 / width, y1 / height, x2 / width, y2 / height)
        # In float32, where a narrow box may have no area.
        x1, y1, x2, y2 = array('f', [min(max(share, 0.0), 1.0) for share in shares])
        if x1 < x2 and y1 < y2:
            return [[label, x1, y1, x2, y2, crowd]]
        self.dropped.append(where)
        return []

    def warn(self, name: str) -> None:
        """Say in one warning how many boxes of the set of that name were dropped, if any, and the first ones."""
        if self.dropped:
            more = f' and {len(self.dropped) - 3} more' if len(self.dropped) > 3 else ''
            first = '; '.join(self.dropped[:3])
            boxes = 'box' if len(self.dropped) == 1 else 'boxes'
            warnings.warn(f'{name}: dropped {len(self.dropped)} {boxes} without area: {first}{more}', stacklevel=4)


def _said(corners: Sequence[float]) -> str:
    return 'the box ' + ' '.join(f'{corner:.6g}' for corner in corners)


def numbers(where: str, words: Sequence[Any]) -> list[float]:
    """The words of one box as numbers; DataError, naming the place, where one is none, or is not finite."""
    try:
        found = [float(word) for word in words]
    except (TypeError, ValueError):
        found = [math.nan]
    if not all(map(math.isfinite, found)):
        raise DataError(f'{where}: expected numbers, got {", ".join(map(str, words))}')
    return found


def rows_of(rows: Iterable[Sequence[float]]) -> Tensor:
    """Rows of boxes as float32 [n, 6], n being 0 for none."""
    return torch.tensor(list(rows), dtype=torch.float32).reshape(-1, 6)


def texts(files: Iterable[File]) -> list[bytes]:
    """What is in the files, an archive of many being opened once; DataError, naming the file, for a broken one."""
    found, archives = [], {}
    with contextlib.ExitStack() as stack:
        for file in files:
            with reading(f'{file} cannot be read'):
                if not file.member:
                    found.append(file.read())
                    continue
                if file.path not in archives:
                    archives[file.path] = stack.enter_context(archive(file.path))
                found.append(unpacked(archives[file.path], file.member))
    return found


class Kept:
    """Images of one size that were read before, in memory that processes forked later share; pickled, it is empty.

    count, size: of the images, uint8 [3, H, W]. Memory is taken as images come.
    """

    def __init__(self, count: int, size: Size) -> None:
        self.count, self.size = count, size
        shape = (count, 3, *size)
        memory = torch.frombuffer(mmap.mmap(-1, count + math.prod(shape)), dtype=torch.uint8)
        self.known, self.images = memory[:count], memory[count:].view(shape)

    def __reduce__(self) -> tuple[type['Kept'], tuple[int, Size]]:
        return Kept, (self.count, self.size)

    def image(self, n: int, read: Callable[[], Tensor]) -> Tensor:
        """Image n, which is read if it is not known."""
        if not self.known[n]:
            self.images[n] = read()
            self.known[n] = 1  # last, since others may look
        return self.images[n]


class BoxSplit:
    """Images and boxes as a `snnkern.data.samples.Split`: x float32 [B, 3, H, W] in 0..1, y float32 [B, M, 6].

    Rows of y are (label, x1, y1, x2, y2, crowd), corners as shares 0..1; M is the largest number of boxes of an image
    of the batch, at least 1, and rows with label -1 fill up. crowd 1: neither trained on nor counted.

    pictures: what to read. size: (H, W) that images are scaled to, both sides for themselves. change: augmentation,
    see `snnkern.data.box_augmentation`, which draws from torch's default generator, seeded for each sample and restored
    after it (not while other threads draw from it); None: none. cache: keep scaled images in memory, 3 H W bytes each,
    which loading processes share where they are forked. A batch raises CorruptError where a file cannot be read.
    Example: `BoxSplit(pictures, (416, 416)).batch([0, 1])[1].shape`.
    """

    def __init__(
        self, pictures: Sequence[BoxPicture], size: Size, change: BoxChange | None = None, cache: bool = False
    ) -> None:
        self.pictures, self.size, self.change = list(pictures), size, change
        self.cache = Kept(len(pictures), size) if cache else None

    def __len__(self) -> int:
        return len(self.pictures)

    def boxes(self, n: int) -> Tensor:
        """Boxes of sample n without augmentation, float32 [n, 6]; its image is not read."""
        return self.pictures[n].boxes

    def name(self, n: int) -> str:
        """The name of sample n's image file, without its folder."""
        file = self.pictures[n].image_file
        return (file.member or file.path.name).rpartition('/')[2]

    def batch(self, index: Sequence[int], seed: int | None = None) -> tuple[Tensor, Tensor]:
        """See Split."""
        images, rows = zip(*(self._sample(int(n), seed) for n in index), strict=True)
        y = torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=-1.0)
        return torch.stack(images), y if y.shape[1] else y.new_full((len(rows), 1, 6), -1.0)

    def _image(self, n: int) -> Tensor:
        return self._read(n) if self.cache is None else self.cache.image(n, partial(self._read, n))

    def _read(self, n: int) -> Tensor:
        v2, _ = transforms()
        # Scaled with channels last, changed with channels first: each is faster so.
        image: Tensor = v2.functional.resize(self.pictures[n].image(), self.size, antialias=True).contiguous()
        return image

    def _sample(self, n: int, seed: int | None) -> tuple[Tensor, Tensor]:
        image, rows = self._image(n), self.boxes(n)
        if seed is not None and self.change is not None:
            with drawing(seed, n):
                image, rows = finished(self.change, image, rows)
        return image if image.is_floating_point() else image.float().div_(255), rows


def box_set(
    name: str,
    parts: Sequence[Sequence[BoxPicture]],
    labels: Labels,
    source: str,
    size: Sequence[int],
    augment: str | BoxChange,
    corrupt: str,
    cache: bool,
) -> SampleSet:
    """A set of pictures with boxes to train and to test on, whose x stay in 0..1 (no mean, no deviation).

    parts: the pictures of the two. labels: what read their boxes; its dropped ones are said in a warning. size: (H, W)
    of samples. augment: see `snnkern.data.box_augmentation`. corrupt: see `snnkern.data.segmentation.sound`; 'skip'
    reads all images once. cache: keep scaled images in memory, if all of them take at most 512 MB.
    Raises ValueError for bad options, DataError where a part has no pictures or no boxes.
    """
    height, width = pair(size)
    if not isinstance(cache, bool):
        raise ValueError(f'cache: expected true or false, got {cache!r}')
    change = augmentation(augment)
    labels.warn(name)
    train, test = parts if corrupt == 'stop' else (sound(part, BoxPicture.image, corrupt) for part in parts)
    for part, pictures in (('train', train), ('test', test)):
        if not pictures:
            raise DataError(f'{source}: no pictures in its {part} part')
        if not any((picture.boxes[:, 5] == 0).any() for picture in pictures):
            count = f'{part} part of {len(pictures):,} pictures: {pictures[0]}, ...'
            raise DataError(f'{source}: no boxes that count in its {count}')
    kept = cache and (len(train) + len(test)) * 3 * height * width <= CACHED_BYTES
    splits = BoxSplit(train, (height, width), change, kept), BoxSplit(test, (height, width), None, kept)
    line = f'{source}, {len(train):,} / {len(test):,} images, {height} x {width}'
    return SampleSet(name, *splits, labels.classes, (3, height, width), line)
