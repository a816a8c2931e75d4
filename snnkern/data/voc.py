"""Pascal VOC 2012: photographs of twenty classes of things, and background."""

from collections.abc import Sequence
from pathlib import Path

from snnkern.data.augmentation import Change, transforms
from snnkern.data.common import DataError, first_line, folder
from snnkern.data.samples import SampleSet
from snnkern.data.segmentation import File, FilePicture, sample_set

# fmt: off
CLASSES = (
    'background', 'aeroplane', 'bicycle', 'bird', 'boat', 'bottle', 'bus', 'car', 'cat',
    'chair', 'cow', 'diningtable', 'dog', 'horse', 'motorbike', 'person',
    'pottedplant', 'sheep', 'sofa', 'train', 'tvmonitor',
)
# fmt: on
IGNORE = 255
INSIDE = Path('VOCdevkit', 'VOC2012')
SOURCE = 'VOCtrainval_11-May-2012.tar from http://host.robots.ox.ac.uk/pascal/VOC/voc2012/'


def voc2012(
    root: str | Path, size: Sequence[int] = (480, 480), augment: str | Change = 'full', corrupt: str = 'stop'
) -> SampleSet:
    """The segmentation part of Pascal VOC 2012: 1,464 images to train, 1,449 (val) to test, 255 does not count.

    root: the folder that VOCtrainval_11-May-2012.tar was unpacked in (it holds VOCdevkit/VOC2012, or is that folder or
    the one above). size: (H, W) of samples; of test pictures the middle, as large as possible. augment: of training
    samples, "light", "full", "none" or a transform, see `snnkern.data.augmentation`. corrupt: 'stop' with the name of
    a file that cannot be read, or 'skip' such files, with a warning; all are read once for that.

    Raises DataError, naming the file or what to download, if files are missing or broken or hold an unknown label, and
    ValueError for bad options.

    Source: Everingham et al., IJCV 111(1), 2015; read by torchvision.datasets.VOCSegmentation.
    Example: `x, y = voc2012('data').train.batch([0, 1], seed=0)`.
    """
    path = folder(root, 'VOC 2012')
    for part in reversed(INSIDE.parts):
        path = path.parent if path.name == part else path
    parts = [_part(path, name) for name in ('train', 'val')]
    return sample_set('voc2012', parts, CLASSES, IGNORE, 'Pascal VOC 2012', size, augment, corrupt)


def _part(root: Path, name: str) -> list[FilePicture]:
    transforms()
    from torchvision.datasets import VOCSegmentation

    try:
        part = VOCSegmentation(str(root), year='2012', image_set=name, download=False)
    except (OSError, RuntimeError) as error:
        expected = f'unpack {SOURCE} there, so that it holds {INSIDE}'
        raise DataError(f'no VOC 2012 in {root}: {expected} ({first_line(error)})') from error
    files = zip(part.images, part.targets, strict=True)
    return [FilePicture(File(Path(image)), File(Path(mask))) for image, mask in files]
