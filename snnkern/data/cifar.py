"""CIFAR-10 from torchvision's folder or from lossless mosaics."""

import io
import re
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from snnkern._archives import archive, unpacked
from snnkern.data.common import Bytes, DataError, ImageSet, first_line, folder, reading

CLASSES = ('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck')
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
ROWS, COLUMNS, SIDE = 25, 40, 32
TRAIN_PARTS, TEST_PARTS = 'cifar10_data_batch_*.zip', 'cifar10_test_*.zip'


def cifar10(root: str | Path) -> ImageSet:
    """CIFAR-10: colour images [N, 3, 32, 32] of ten classes, with ImageNet's mean and deviation.

    root: a folder of one of two forms. torchvision's: it holds `cifar-10-batches-py` (or is it), 50,000 images
    to train and 10,000 to test. Mosaics: it holds archives `cifar10_data_batch_N.zip` (the training images,
    any number of them) and `cifar10_test_*.zip`; an archive holds images_0.webp, images_1.webp, ...
    (or .png), each 25 rows of 40 tiles of 32 x 32 pixels, the images row by row, and labels.npy, their labels
    as uint8. Raises DataError if the files are missing or broken, or if torchvision is needed and not
    installed.

    Source: Krizhevsky, Learning multiple layers of features from tiny images, 2009; the mean and deviation
    are those of the published CIFAR ResNet weights.
    Example: `cifar10('data').x_test.shape`.
    """
    path = folder(root, 'CIFAR-10')
    train, test = sorted(path.glob(TRAIN_PARTS)), sorted(path.glob(TEST_PARTS))
    if train and test:
        arrays = [part for files in (train, test) for part in _mosaics(files)]
        kind = 'lossless mosaics'
    else:
        arrays, kind = _torchvision(path), "torchvision's batches"
    x_train, x_test = (_channels_first(x) for x in (arrays[0], arrays[2]))
    y_train, y_test = (torch.from_numpy(y).long() for y in (arrays[1], arrays[3]))
    source = f'CIFAR-10 ({kind}), {len(x_train):,} / {len(x_test):,}'
    return ImageSet('cifar10', x_train, y_train, x_test, y_test, CLASSES, IMAGENET_MEAN, IMAGENET_STD, source)


def _channels_first(x: Bytes) -> Tensor:
    return torch.from_numpy(x).permute(0, 3, 1, 2)


def _mosaics(files: list[Path]) -> tuple[Bytes, Bytes]:
    parts = [_mosaic(file) for file in files]
    return np.concatenate([x for x, _ in parts]), np.concatenate([y for _, y in parts])


def _mosaic(path: Path) -> tuple[Bytes, Bytes]:
    """Images [N, 32, 32, 3] and labels [N] of one archive."""
    from PIL import Image

    with reading(f'{path} is broken or no CIFAR-10 mosaic'), archive(path) as members:
        names = [name for name in members.namelist() if re.fullmatch(r'images_\d+\.(webp|png)', name)]
        names.sort(key=lambda name: int(name.split('.')[0].removeprefix('images_')))
        tiles = [_tiles(Image.open(io.BytesIO(unpacked(members, name))).convert('RGB')) for name in names]
        y = np.load(io.BytesIO(unpacked(members, 'labels.npy')), allow_pickle=False)
    x = np.concatenate(tiles) if tiles else np.empty((0, SIDE, SIDE, 3), np.uint8)
    if not (len(x) and y.dtype == np.uint8 and y.shape == (len(x),) and y.max() < len(CLASSES)):
        raise DataError(f'{path} holds no CIFAR-10 images: {len(x)} images, labels {y.dtype} {y.shape}')
    return x, y


def _tiles(mosaic: object) -> Bytes:
    pixels = np.asarray(mosaic).reshape(ROWS, SIDE, COLUMNS, SIDE, 3)
    return pixels.transpose(0, 2, 1, 3, 4).reshape(-1, SIDE, SIDE, 3)


def _torchvision(path: Path) -> list[Bytes]:
    try:
        from torchvision.datasets import CIFAR10
    except ImportError:
        raise DataError("CIFAR-10 needs torchvision: pip install 'snnkern[vision]'") from None
    root = path.parent if path.name == CIFAR10.base_folder else path
    try:
        parts = [CIFAR10(str(root), train=train) for train in (True, False)]
    except (OSError, RuntimeError, ValueError, EOFError, KeyError) as error:
        expected = f"torchvision's {CIFAR10.base_folder} or mosaics {TRAIN_PARTS} and {TEST_PARTS}"
        raise DataError(f'no CIFAR-10 in {path}: expected {expected} ({first_line(error)})') from error
    return [array for part in parts for array in (part.data, np.asarray(part.targets, np.uint8))]
