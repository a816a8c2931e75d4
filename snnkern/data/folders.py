"""Folders of pictures, a subfolder for each class, read when they are asked for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnkern.data.cifar import IMAGENET_MEAN, IMAGENET_STD
from snnkern.data.common import DataError, ImageSet, first_line, folder, reading


class FolderImages:
    """Pictures in files as uint8 [N, 3, size, size], read when indexed by a slice or an index tensor.

    files: the paths. size: pixels of a side; the shorter side of a picture is scaled to it, the middle is kept.
    Raises DataError where a file is no picture. Example: `FolderImages(['a.png'], 32)[:1].shape`.
    """

    def __init__(self, files: Sequence[str], size: int) -> None:
        self.files, self.size = list(files), size
        self.shape = (len(self.files), 3, size, size)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: Any, /) -> Tensor:
        chosen = self.files[index] if isinstance(index, slice) else [self.files[i] for i in torch.as_tensor(index)]
        return torch.stack([self._picture(path) for path in chosen])

    def _picture(self, path: str) -> Tensor:
        from PIL import Image, ImageOps

        with reading(f'{path} is broken or no picture'), Image.open(path) as image:
            fitted = ImageOps.fit(image.convert('RGB'), (self.size, self.size), Image.Resampling.BILINEAR)
        return torch.from_numpy(np.array(fitted)).permute(2, 0, 1)


def imagefolder(root: str | Path, size: int = 224) -> ImageSet:
    """Pictures in root/train/CLASS and root/test/CLASS (or root/val/CLASS), with ImageNet's mean and deviation.

    size: pixels of a side after scaling and cutting to a square. The files are read batch by batch. Raises
    DataError if folders or pictures are missing, if the two parts have different classes, or if torchvision,
    which lists the files, is not installed.
    Example: `imagefolder('pictures', 32).classes`.
    """
    path = folder(root, 'image folder')
    try:
        from torchvision.datasets import ImageFolder
    except ImportError:
        raise DataError("imagefolder needs torchvision: pip install 'snnkern[vision]'") from None
    test = next((name for name in ('test', 'val') if (path / name).is_dir()), 'test')
    try:
        parts = [ImageFolder(str(path / name)) for name in ('train', test)]
    except OSError as error:
        raise DataError(f'no pictures in {path}/train and {path}/{test} ({first_line(error)})') from error
    if parts[0].classes != parts[1].classes:
        raise DataError(f'{path}: train has the classes {parts[0].classes}, {test} has {parts[1].classes}')
    x_train, x_test = (FolderImages([file for file, _ in part.samples], size) for part in parts)
    y_train, y_test = (torch.tensor(part.targets) for part in parts)
    source = f'pictures in {path.resolve().name}, {len(x_train):,} / {len(x_test):,}, {size} x {size}'
    classes = tuple(parts[0].classes)
    return ImageSet('imagefolder', x_train, y_train, x_test, y_test, classes, IMAGENET_MEAN, IMAGENET_STD, source)
