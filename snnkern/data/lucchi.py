"""Lucchi (EPFL hippocampus): electron microscope slices and masks of mitochondria."""

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from snnkern._archives import archive, unpacked
from snnkern.data.common import Bytes, DataError, ImageSet, folder, reading

VOLUMES = {'train': ('training.tif', 'training_groundtruth.tif'), 'test': ('testing.tif', 'testing_groundtruth.tif')}
Tree = Path | zipfile.Path


def lucchi(root: str | Path) -> ImageSet:
    """Grey slices [N, 1, H, W] and masks [N, 1, H, W] of 0 and 1 (mitochondria); mean and deviation 0.5.

    root: one of two forms. The original volumes: a folder with training.tif, training_groundtruth.tif,
    testing.tif and testing_groundtruth.tif, a slice a page. Slices: a folder, an archive, or a folder that
    holds one archive lucchi*.zip, with train/ and test/, each with image_III.png and mask_III.png (III is the
    slice's number; a mask is 0 and one other value). Slices are 768 x 1024 pixels of 5 nm in the published
    set; other sizes are taken as they are. Raises DataError if files are missing or broken, or do not fit
    together.

    Source: Lucchi et al., IEEE TMI 2012; masks of Lucchi++ by Casser et al., arXiv 1812.06024.
    Example: `lucchi('data/lucchi').x_test.shape`.
    """
    path = folder(root, 'Lucchi')
    read = _volume if (path / VOLUMES['train'][0]).exists() else _slices
    arrays: list[Tensor] = []
    for split in VOLUMES:
        with reading(f'no Lucchi slices in {path}, {split}'):
            arrays += _checked(*read(path, split), f'{path}, {split}')
    x_train, y_train, x_test, y_test = arrays
    source = f'Lucchi in {path.resolve().name}, {len(x_train)} / {len(x_test)} slices'
    return ImageSet('lucchi', x_train, y_train, x_test, y_test, ('mitochondria',), (0.5,), (0.5,), source)


def _volume(root: Path, split: str) -> tuple[list[Bytes], list[Bytes]]:
    from PIL import Image, ImageSequence

    parts = []
    for name in VOLUMES[split]:
        with Image.open(root / name) as file:
            parts.append([np.asarray(page.convert('L')) for page in ImageSequence.Iterator(file)])
    return parts[0], parts[1]


def _slices(root: Path, split: str) -> tuple[list[Bytes], list[Bytes]]:
    tree = _tree(root) / split
    names = sorted(item.name for item in tree.iterdir()) if tree.is_dir() else []
    numbers = [match[1] for name in names if (match := re.fullmatch(r'image_(\d+)\.png', name))]
    if not numbers:
        raise ValueError(f'expected {split}/image_III.png or {VOLUMES[split][0]}')
    images, masks = ([_png(tree / f'{kind}_{number}.png') for number in numbers] for kind in ('image', 'mask'))
    return images, masks


def _tree(root: Path) -> Tree:
    archives = [root] if root.is_file() else sorted(root.glob('lucchi*.zip'))
    if (root / 'train').is_dir() or not archives:
        return root
    if len(archives) > 1:
        raise ValueError(f'{len(archives)} archives, name the one to read')
    return zipfile.Path(archive(archives[0]))


def _png(path: Tree) -> Bytes:
    from PIL import Image

    content = unpacked(path.root, path.at) if isinstance(path, zipfile.Path) else path.read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert('L'))


def _checked(images: list[Bytes], masks: list[Bytes], where: str) -> tuple[Tensor, Tensor]:
    """Images and masks as tensors [N, 1, H, W]; raises DataError unless they are of one size and match."""
    shapes = {part.shape for part in (*images, *masks)}
    if len(images) != len(masks) or len(shapes) != 1:
        raise DataError(f'{where}: {len(images)} images and {len(masks)} masks of sizes {sorted(shapes)} do not match')
    x, y = (torch.from_numpy(np.stack(part)).unsqueeze(1) for part in (images, masks))
    if len(values := y.unique()) > 2:
        raise DataError(f'{where}: a mask is 0 and one other value, these have {len(values)} values')
    return x, (y > 0).to(torch.uint8)
