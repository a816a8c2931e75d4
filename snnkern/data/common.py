"""What all data sets share: the error, the images as tensors, and their loaders."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from snnkern._archives import archive

# What no file's content is to blame for.
PASSED = (NameError, ImportError, PermissionError)
Bytes = npt.NDArray[np.uint8]


class DataError(RuntimeError):
    """A data set is missing, broken or not what it should be."""


class Images(Protocol):
    """Images that stay packed until they are asked for: a uint8 tensor [N, C, H, W], or files read on demand."""

    @property
    def shape(self) -> Sequence[int]:
        """[N, C, H, W]."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Tensor:
        """The images of a slice or an index tensor, uint8 [B, C, H, W]."""
        ...


class ImageSet(NamedTuple):
    """Images and what they show, packed in bytes.

    name: 'mnist', 'cifar10', 'lucchi' or 'imagefolder'. x_train, x_test: uint8 [N, C, H, W], tensors or files
    read when indexed. y_train, y_test: labels int64 [N], or masks uint8 [N, 1, H, W] of 0 and 1. classes:
    names of the labels; of masks the foreground's. mean, std: of each channel, for pixels in 0..1.
    source: one line that says which data these are.
    """

    name: str
    x_train: Images
    y_train: Tensor
    x_test: Images
    y_test: Tensor
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str

    def normalise(self, x: Tensor) -> Tensor:
        """Bytes [B, C, H, W] as float32 (x / 255 - mean) / std, channels last in memory."""
        mean, std = torch.tensor(self.mean).view(-1, 1, 1), torch.tensor(self.std).view(-1, 1, 1)
        return ((x.float() / 255 - mean) / std).contiguous(memory_format=torch.channels_last)

    def loader(self, split: str = 'test', batch: int = 100, count: int | None = None) -> 'Batches':
        """An iterable of (normalised images, targets) in their order, that can be run through again.

        split: 'train' or 'test'. batch: images at a time. count: only the first so many. Raises ValueError
        for another split or a number below 1. Example: `for x, y in dataset('mnist').loader(batch=500): ...`.
        """
        if split not in ('train', 'test'):
            raise ValueError(f"split: expected 'train' or 'test', got {split!r}")
        for key, value in (('batch', batch), ('count', count)):
            if value is not None and value < 1:
                raise ValueError(f'{key}: expected at least 1, got {value}')
        x, y = (self.x_train, self.y_train) if split == 'train' else (self.x_test, self.y_test)
        return Batches(self, x, y, batch, min(len(x), count or len(x)))


class Batches:
    """(normalised images, targets) of a set in their order; made by ImageSet.loader."""

    def __init__(self, images: ImageSet, x: Images, y: Tensor, batch: int, count: int) -> None:
        self.images, self.x, self.y, self.batch, self.count = images, x, y, batch, count

    def __len__(self) -> int:
        return -(-self.count // self.batch)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start in range(0, self.count, self.batch):
            part = slice(start, min(start + self.batch, self.count))
            yield self.images.normalise(self.x[part]), self.y[part]


def first_line(error: Exception) -> str:
    """The first line of an error's text, or its kind where it has none."""
    return next(iter(str(error).splitlines()), type(error).__name__)


@contextlib.contextmanager
def reading(said: str, kind: type[DataError] = DataError) -> Iterator[None]:
    """Where whatever a broken file raises becomes `kind`: said, and the reason in brackets.

    Parsers of other packages raise what a broken file makes them stumble upon: of zipfile, numpy and Pillow some
    twenty kinds are known. DataErrors pass, and so do errors that are no file's: of the code, of packages that are
    missing, of permissions. Where memory ends, either may be why, which is said.

    Example: `with reading(f'{path} is broken'): ...`.
    """
    try:
        yield
    except (DataError, *PASSED):
        raise
    except MemoryError as error:
        raise kind(f'{said}, or there is too little memory ({first_line(error)})') from error
    except Exception as error:
        raise kind(f'{said} ({first_line(error)})') from error


def numpy_arrays(path: str | Path, names: Sequence[str]) -> list[Any]:
    """These arrays of an archive .npz. Raises what numpy, zipfile and zlib raise, to be used where `reading` is."""
    arrays = []
    with archive(path) as members:
        for name in names:
            with members.open(f'{name}.npy') as file:  # numpy reads as much as it needs
                arrays.append(np.lib.format.read_array(file, allow_pickle=False))
    return arrays


def inside(name: str, where: str) -> str:
    """The name of a file below a folder as a list has it; DataError, naming the place, if it leads out of there."""
    path = PurePath(name)
    if path.is_absolute() or '..' in path.parts or '\0' in name:
        raise DataError(f'{where}: {name!r} is no file below its folder')
    return name


def folder(root: str | Path, name: str) -> Path:
    """root as a path that exists; raises DataError, naming the data set, where it does not."""
    path = Path(root).expanduser()
    if not path.exists():
        raise DataError(f'no {name} in {path}: there is no such file or folder')
    return path
