"""Images and masks in files as samples: what all segmentation sets share."""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from snnkern._archives import archive, unpacked
from snnkern._checks import whole
from snnkern.data.augmentation import Change, Fit, Size, augmentation, same, transforms
from snnkern.data.cifar import IMAGENET_MEAN, IMAGENET_STD
from snnkern.data.common import DataError, folder, reading
from snnkern.data.samples import SampleSet, generator

IMAGES = ('.png', '.webp', '.jpg', '.jpeg', '.bmp')


class CorruptError(DataError):
    """An image or a mask that cannot be read."""


class File(NamedTuple):
    """A file, or a member of a zip archive. The archive is opened for each read, so that processes may share it."""

    path: Path
    member: str = ''

    def __str__(self) -> str:
        return f'{self.path}/{self.member}' if self.member else str(self.path)

    def read(self) -> bytes:
        """What is in it."""
        if not self.member:
            return self.path.read_bytes()
        with archive(self.path) as members:
            return unpacked(members, self.member)


class Picture(Protocol):
    """One image and what it shows, read when asked for; CorruptError where a file is broken."""

    def image(self) -> Tensor:
        """uint8 [3, H, W]."""
        ...

    def mask(self) -> Tensor:
        """Labels, uint8 [H, W]."""
        ...


class FilePicture(NamedTuple):
    """An image and the mask of the same size, a grey or palette image of class numbers."""

    image_file: File
    mask_file: File

    def __str__(self) -> str:
        return str(self.mask_file)

    def image(self) -> Tensor:
        """See Picture."""
        return rgb(self.image_file)

    def mask(self) -> Tensor:
        """See Picture."""
        picture = opened(self.mask_file)
        if picture.mode not in ('L', 'P'):
            raise CorruptError(f'{self.mask_file}: a mask holds class numbers, grey or palette, not {picture.mode}')
        return torch.from_numpy(np.array(picture))


def opened(file: File) -> Any:
    """The file as a PIL image, decoded; CorruptError, naming the file, where that fails."""
    from PIL import Image

    with reading(f'{file} is broken or no picture', CorruptError):
        picture = Image.open(io.BytesIO(file.read()))
        picture.load()
    return picture


def rgb(file: File) -> Tensor:
    """The picture in a file, uint8 [3, H, W]; CorruptError where it cannot be read."""
    return torch.from_numpy(np.array(opened(file).convert('RGB'))).permute(2, 0, 1)


def tree(root: str | Path, name: str, inside: str) -> Path:
    """The folder that holds `inside`, or else the one archive NAME*.zip that it is or holds; see `listed`.

    name: of the data set, in messages and (in small letters) of the archive. Raises DataError where there is neither.
    """
    path = folder(root, name)
    if path.is_file() or (path / inside).is_dir():
        return path
    found = sorted(path.glob(f'{name.lower()}*.zip'))
    if len(found) > 1:
        raise DataError(f'{path} holds {len(found)} archives of {name}, name the one to read')
    return found[0] if found else path


def listed(root: Path, part: str, endings: Sequence[str] = IMAGES) -> dict[str, File]:
    """Files of one folder of a folder or archive, by name without ending; DataError where two share it, for a broken
    archive."""
    if root.is_dir():
        files = [File(path) for path in (root / part).glob('*')]
    else:
        with reading(f'{root} is broken or no zip archive'), archive(root) as members:
            files = [File(root, name) for name in members.namelist() if str(Path(name).parent) == part]
    names = ((Path(file.member or file.path), file) for file in files)
    found: dict[str, File] = {}
    for path, file in sorted(names):
        if path.suffix.lower() in endings:
            if path.stem in found:
                raise DataError(f'{found[path.stem]} and {file} have one name: which is meant?')
            found[path.stem] = file
    return found


class MaskSplit:
    """Images and masks as a `snnkern.data.samples.Split`: x float32 [B, 3, H, W] in 0..1, y int64 [B, H, W].

    pictures: what to read. num_classes: labels are below it. ignore: the label of pixels that do not count. fit: makes
    image and mask the size of a sample. change: does so for augmentation, drawing from torch's default generator,
    which is seeded for each sample and restored after it (not while other threads draw from it); None: fit.
    A batch raises CorruptError where a file cannot be read, and DataError for a label that is no class's, or where
    samples are of several sizes.
    """

    def __init__(
        self, pictures: Sequence[Picture], num_classes: int, ignore: int, fit: Change, change: Change | None = None
    ) -> None:
        self.pictures, self.num_classes, self.ignore = list(pictures), num_classes, ignore
        self.fit, self.change = fit, change

    def __len__(self) -> int:
        return len(self.pictures)

    def batch(self, index: Sequence[int], seed: int | None = None) -> tuple[Tensor, Tensor]:
        """See Split."""
        samples = [self._sample(int(n), seed) for n in index]
        sizes = {tuple(mask.shape) for _, mask in samples}
        if len(sizes) > 1:
            raise DataError(f'size: pictures of the sizes {sorted(sizes)} need one (height, width) to be fitted to')
        x, y = (torch.stack(part) for part in zip(*samples, strict=True))
        return x.float() / 255, y.long()

    def _sample(self, n: int, seed: int | None) -> tuple[Tensor, Tensor]:
        _, tv_tensors = transforms()
        image, mask = read(self.pictures[n], self.num_classes, self.ignore)
        pair = tv_tensors.Image(image), tv_tensors.Mask(mask)
        if seed is None or self.change is None:
            image, mask = self.fit(*pair)
        else:
            with drawing(seed, n):
                image, mask = self.change(*pair)
        return image.as_subclass(Tensor), mask.as_subclass(Tensor)


@contextlib.contextmanager
def drawing(seed: int, n: int) -> Iterator[None]:
    """Where torch's default generator is the one of sample n under that seed; it is restored after it."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(generator(seed, n).initial_seed())
        yield


def read(picture: Picture, num_classes: int, ignore: int) -> tuple[Tensor, Tensor]:
    """Image and mask; CorruptError if they cannot be read or differ in size, DataError for an unknown label."""
    image, mask = picture.image(), picture.mask()
    if image.shape[1:] != mask.shape:
        sizes = (' x '.join(map(str, size)) for size in (image.shape[1:], mask.shape))
        raise CorruptError('{}: the image is {}, the mask {}'.format(picture, *sizes))
    labels = mask.flatten().bincount(minlength=num_classes).nonzero().flatten().tolist()
    unknown = [label for label in labels if label >= num_classes and label != ignore]
    if unknown:
        raise DataError(f'{picture}: label {unknown[0]}, known are 0 to {num_classes - 1} and {ignore} (not counted)')
    return image, mask


def sound(pictures: Sequence[Any], check: Callable[[Any], object], corrupt: str) -> list[Any]:
    """The pictures that check does not refuse with a CorruptError.

    corrupt: 'stop': raise what check raises; 'skip': leave those out, with one warning that names them. Raises
    ValueError for another word. Example: `sound(pictures, Picture.image, 'skip')`.
    """
    if corrupt not in ('stop', 'skip'):
        raise ValueError(f"corrupt: expected 'stop' or 'skip', got {corrupt!r}")
    kept, refused = [], []
    for picture in pictures:
        try:
            check(picture)
            kept.append(picture)
        except CorruptError as error:
            if corrupt == 'stop':
                raise
            refused.append(str(error))
    if refused:
        more = f' and {len(refused) - 3} more' if len(refused) > 3 else ''
        warnings.warn(f'skipped {len(refused)} of {len(pictures)}: {"; ".join(refused[:3])}{more}', stacklevel=3)
    return kept


def sample_set(
    name: str,
    parts: Iterable[Sequence[Picture]],
    classes: tuple[str, ...],
    ignore: int,
    source: str,
    size: Sequence[int] | None,
    augment: str | Change,
    corrupt: str,
    fitted: Callable[[Size], Change] = Fit,
) -> SampleSet:
    """A set of pictures to train and to test on, with ImageNet's mean and deviation.

    parts: the pictures of the two. size: (H, W) of samples; None: that of the first picture. augment: see
    `snnkern.data.augmentation`. corrupt: see `sound`; 'skip' reads all pictures once. fitted: Fit or Resize, how a
    picture comes to that size without augmentation. Raises ValueError for bad options, DataError where nothing is left.
    """
    check = partial(read, num_classes=len(classes), ignore=ignore)
    train, test = parts if corrupt == 'stop' else (sound(part, check, corrupt) for part in parts)
    for part, pictures in (('train', train), ('test', test)):
        if not pictures:
            raise DataError(f'{source}: no pictures in its {part} part')
    height, width = check(train[0])[1].shape if size is None else pair(size)
    fit = same if size is None else fitted((height, width))
    change = augmentation(augment, (height, width), ignore)
    splits = MaskSplit(train, len(classes), ignore, fit, change), MaskSplit(test, len(classes), ignore, fit)
    line = f'{source}, {len(train):,} / {len(test):,} images, {height} x {width}'
    return SampleSet(name, *splits, classes, (3, height, width), line, IMAGENET_MEAN, IMAGENET_STD, ignore)


def pair(size: Sequence[int]) -> Size:
    """size as (height, width); ValueError or TypeError where it is none."""
    if isinstance(size, str | int) or len(size) != 2:
        raise ValueError(f'size: expected (height, width), got {size!r}')
    for side in size:
        whole('size', side)
    return int(size[0]), int(size[1])
