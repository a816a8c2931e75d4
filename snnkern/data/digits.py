"""MNIST: 10,000 digits that come with the package (see NOTICE), or the full set from files."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from snnkern.data.common import Bytes, DataError, ImageSet, first_line, numpy_arrays, reading

SHIPPED = Path(__file__).with_name('mnist_10k.npz')
ARCHIVE = 'mnist.npz'
SIDE = 28
FASHION = ('t-shirt', 'trousers', 'pullover', 'dress', 'coat', 'sandal', 'shirt', 'sneaker', 'bag', 'ankle boot')


class Mnist(NamedTuple):
    """Handwritten digits: images [N, 28, 28], 0 (paper) to 255 (ink), and labels [N], 0 to 9; all uint8.

    source: one line that says which digits these are.
    """

    x_train: Bytes
    y_train: Bytes
    x_test: Bytes
    y_test: Bytes
    source: str


def mnist(root: str | Path | None = None, download: bool = False) -> Mnist:
    """The shipped digits (8,000 to train, 2,000 to test), or the full MNIST (60,000 and 10,000).

    root: where the full set is: Keras' mnist.npz (arrays x_train, y_train, x_test, y_test) or a folder that
    holds it, or a folder of torchvision's MNIST (the one that holds `MNIST/raw`); None: the shipped digits,
    which need numpy only. download: let torchvision fetch the full set into root (None: `data`). Raises
    DataError if the files are missing or broken, or if torchvision is needed and not installed.

    Source: MNIST, LeCun and Cortes; the split of the shipped digits is described in NOTICE.
    Example: `digits = mnist(); digits.x_train.shape  # (8000, 28, 28)`.
    """
    if root is None and not download:
        return _shipped(SHIPPED)
    path = Path('data' if root is None else root).expanduser()
    archive = path if path.suffix == '.npz' else path / ARCHIVE
    if archive.is_file() and not download:
        return _archive(archive)
    return _torchvision(path, download)


def fashion_mnist(root: str | Path) -> Mnist:
    """Fashion-MNIST, ten kinds of clothes in MNIST's form: 60,000 and 10,000 images.

    root: a folder of torchvision's FashionMNIST (the one that holds `FashionMNIST/raw`), or an archive .npz with
    MNIST's arrays. Raises DataError, saying what to download, if the files are missing or broken.
    Source: Xiao, Rasul, Vollgraf, arXiv 1708.07747. Example: `fashion_mnist('data').x_test.shape`.
    """
    path = Path(root).expanduser()
    return _archive(path) if path.suffix == '.npz' else _torchvision(path, False, 'FashionMNIST')


def mnist_images(root: str | Path | None = None) -> ImageSet:
    """The digits of `mnist(root)` as [N, 1, 32, 32], framed by two pixels of paper; mean 0, deviation 1.

    Example: `mnist_images().x_test.shape  # [2000, 1, 32, 32]`.
    """
    digits = mnist(root)
    x_train, x_test = (F.pad(torch.from_numpy(x).unsqueeze(1), (2, 2, 2, 2)) for x in (digits.x_train, digits.x_test))
    y_train, y_test = (torch.from_numpy(y).long() for y in (digits.y_train, digits.y_test))
    classes = tuple('0123456789')
    return ImageSet('mnist', x_train, y_train, x_test, y_test, classes, (0.0,), (1.0,), digits.source)


def _read(path: Path) -> list[Bytes]:
    return numpy_arrays(path, Mnist._fields[:-1])


def _shipped(path: Path) -> Mnist:
    if not path.exists():
        raise DataError(f'the shipped digits are missing: no file {path}; reinstall snnkern')
    with reading(f'the shipped digits are broken: reinstall snnkern, {path}'):
        arrays = _read(path)
    return _checked(arrays, 'the 10,000 MNIST test digits shipped with snnkern, 8,000 / 2,000', path)


def _archive(path: Path) -> Mnist:
    with reading(f'{path} is broken or no MNIST archive'):
        arrays = _read(path)
    return _checked(arrays, f'MNIST in {path.name}, {len(arrays[0]):,} / {len(arrays[2]):,}', path)


def _torchvision(root: Path, download: bool, name: str = 'MNIST') -> Mnist:
    try:
        from torchvision import datasets
    except ImportError:
        raise DataError(f"the full {name} needs torchvision: pip install 'snnkern[vision]'") from None
    try:
        parts = [getattr(datasets, name)(str(root), train=train, download=download) for train in (True, False)]
    except (OSError, RuntimeError, ValueError, AssertionError) as error:
        fetch = '--download fetches it' if name == 'MNIST' else f'torchvision.datasets.{name}(..., download=True) does'
        hint = '' if download else f'; {fetch}'
        raise DataError(f'no full {name} in {root} ({first_line(error)}){hint}') from error
    arrays = [np.asarray(a, dtype=np.uint8) for part in parts for a in (part.data, part.targets)]
    return _checked(arrays, f'{name} in {root}, 60,000 / 10,000', root)


def _checked(arrays: list[Bytes], source: str, path: Path) -> Mnist:
    """The arrays as digits; raises DataError unless shapes, dtypes and labels fit."""
    for x, y in (arrays[:2], arrays[2:]):
        images = x.dtype == np.uint8 and x.shape == (len(x), SIDE, SIDE) and len(x) > 0
        if not (images and y.dtype == np.uint8 and y.shape == (len(x),) and y.max() <= 9):
            raise DataError(f'{path} holds no MNIST digits: {x.dtype} {x.shape}, {y.dtype} {y.shape}')
    x_train, y_train, x_test, y_test = arrays
    return Mnist(x_train, y_train, x_test, y_test, source)
