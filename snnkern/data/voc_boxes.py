"""Pascal VOC's boxes, and the blood cells of BCCD, which come in VOC's layout."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from snnkern.data.box_augmentation import BoxChange
from snnkern.data.boxes import BoxPicture, Labels, box_set, numbers, rows_of, texts
from snnkern.data.common import DataError, first_line, folder
from snnkern.data.samples import SampleSet
from snnkern.data.segmentation import File, listed, tree
from snnkern.data.voc import CLASSES

CELLS = ('RBC', 'WBC', 'Platelets')
BCCD = 'BCCD'
PARTS = ('train', 'val', 'trainval', 'test')
CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')
LAYOUT = 'Annotations/ID.xml, JPEGImages/ID.jpg and ImageSets/Main/{train,val,trainval,test}.txt'


def bccd(
    root: str | Path,
    size: Sequence[int] = (416, 416),
    augment: str | BoxChange = 'cells',
    train: str = 'train',
    corrupt: str = 'stop',
    cache: bool = True,
) -> SampleSet:
    """BCCD: 364 microscope images of blood, with boxes of red and white cells and platelets.

    root: the folder BCCD (with Annotations, JPEGImages and ImageSets/Main), the one above it, an archive bccd*.zip of
    it, or a folder that holds one. size: (H, W) that images are scaled to. augment: of training samples, "light",
    "cells" (which turns cells upside down too), "none" or a transform, see `snnkern.data.box_augmentation`. train: the
    part to train on, 'train' (205 images) or 'trainval' (292); 'test' (72) is to test. corrupt: 'stop' with the name of
    an image that cannot be read, or 'skip' such images, with a warning; all are read once for that. cache: keep scaled
    images in memory after they were read first, if all take at most 512 MB (they take 144 here).

    Corners are taken as they are, over width and height: the files count pixels from 0 and from 1, and end at the
    width. Two boxes, of BloodImage_00343 (train) and _00338 (val), have no area; such are dropped, with a warning.

    Raises DataError, naming the file and the object in it, if files are missing or broken or a box is not in its image
    or of another class, and ValueError for bad options.

    Source: github.com/Shenggan/BCCD_Dataset (MIT).
    Example: `x, y = bccd('data').train.batch([0, 1], seed=0)`.
    """
    if train not in ('train', 'trainval'):
        raise ValueError(f"train: expected 'train' or 'trainval', got {train!r}")
    place = tree(root, BCCD, 'Annotations')
    inside = f'{BCCD}/' if listed(place, f'{BCCD}/Annotations', ('.xml',)) else ''
    labels = Labels(CELLS)
    parts = voc_parts(place, inside, (train, 'test'), labels, first=0)
    source = f'{BCCD} ({place.name})' if place.is_file() else BCCD
    return box_set('bccd', parts, labels, source, size, augment, corrupt, cache)


def voc_boxes(
    root: str | Path,
    size: Sequence[int] = (416, 416),
    augment: str | BoxChange = 'light',
    classes: Sequence[str] = CLASSES[1:],
    train: str = 'train',
    test: str = 'val',
    corrupt: str = 'stop',
    cache: bool = True,
) -> SampleSet:
    """Boxes in the layout of Pascal VOC, of VOC 2007, 2012 or own images.

    root: a folder with Annotations/ID.xml, JPEGImages/ID.jpg and ImageSets/Main/{train,val,trainval,test}.txt, or one
    that holds VOCdevkit/VOC2007 or another year in this layout. classes: their names, the labels' order; VOC's twenty.
    train, test: the parts to train and to test on, each 'train', 'val', 'trainval' or 'test'. size, augment, corrupt,
    cache: as of `bccd`. Objects that are marked "difficult" get crowd 1.

    As in VOC's devkit the corners are pixels that belong to the box and count from 1: a box covers xmin - 1 to xmax of
    the width. Corners up to a pixel or half a percent outside are moved to the border, boxes without area dropped.

    Raises DataError, naming the file and the object in it, if files are missing or broken or a box is not in its image
    or of another class, and ValueError for bad options.

    Source: Everingham et al., IJCV 111(1), 2015.
    Example: `x, y = voc_boxes('data', classes=('cat', 'dog')).train.batch([0, 1], seed=0)`.
    """
    for key, value in (('train', train), ('test', test)):
        if value not in PARTS:
            raise ValueError(f'{key}: expected one of {", ".join(PARTS)}, got {value!r}')
    labels = Labels(classes)
    parts = voc_parts(_home(root), '', (train, test), labels, first=1)
    return box_set('voc-boxes', parts, labels, 'Pascal VOC boxes', size, augment, corrupt, cache)


def _home(root: str | Path) -> Path:
    """The folder with Annotations: root, or one below it or its VOCdevkit."""
    path = folder(root, 'VOC')
    if (path / 'Annotations').is_dir():
        return path
    found = sorted({inner.parent for place in (path, path / 'VOCdevkit') for inner in place.glob('VOC*/Annotations')})
    if not found:
        raise DataError(f'no VOC in {path}: expected {LAYOUT}, or VOCdevkit/VOCyear with these')
    if len(found) > 1:
        raise DataError(f'{path} holds {", ".join(home.name for home in found)}, name the one to read')
    return found[0]


def voc_parts(place: Path, inside: str, names: Sequence[str], labels: Labels, first: int) -> list[list[BoxPicture]]:
    """The pictures of parts of a folder or archive in VOC's layout.

    inside: the folder in it that has the layout, with a slash, or ''. first: the number of the first pixel in boxes
    whose last pixel belongs to them, so that xmin - first is the left border. Raises DataError, see `voc_boxes`.
    """
    images = listed(place, f'{inside}JPEGImages')
    annotations = listed(place, f'{inside}Annotations', ('.xml',))
    lists = listed(place, f'{inside}ImageSets/Main', ('.txt',))
    parts = []
    for name in names:
        if name not in lists:
            raise DataError(f'{place}: there is no {inside}ImageSets/Main/{name}.txt, expected {LAYOUT}')
        lines = texts([lists[name]])[0].decode('utf-8', 'replace').splitlines()
        stems = [line.split()[0] for line in lines if line.strip()]
        if not stems:
            raise DataError(f'{lists[name]} names no pictures')
        for stem in stems:
            for part, known in (('JPEGImages', images), ('Annotations', annotations)):
                if stem not in known:
                    raise DataError(f'{lists[name]}: {stem} is not in {part}')
        files = [annotations[stem] for stem in stems]
        read = zip(stems, files, texts(files), strict=True)
        parts.append([_picture(images[stem], file, content, labels, first) for stem, file, content in read])
    return parts


def _picture(image: File, file: File, content: bytes, labels: Labels, first: int) -> BoxPicture:
    root = _parsed(file, content)
    sides = numbers(f'{file}, size', [root.findtext(f'size/{side}') for side in ('width', 'height')])
    width, height = map(int, sides)
    if min(width, height) < 1:
        raise DataError(f'{file}, size: expected width and height above 0, got {width} x {height}')
    rows = []
    for i, thing in enumerate(root.findall('object'), 1):
        where = f'{file}, object {i}'
        label = labels.number(where, (thing.findtext('name') or '').strip())
        *low, right, lower = numbers(where, [thing.findtext(f'bndbox/{corner}') for corner in CORNERS])
        crowd = bool(numbers(where, [thing.findtext('difficult') or 0])[0])
        corners = [low[0] - first, low[1] - first, right, lower]
        rows += labels.row(where, label, corners, crowd, (width, height))
    return BoxPicture(image, rows_of(rows), (width, height))


def _parsed(file: File, content: bytes) -> ElementTree.Element:
    if b'<!DOCTYPE' in content.replace(b'\0', b''):  # without the zeros of UTF-16
        raise DataError(f'{file}: a document type, which may define entities without end, is not read')
    try:
        return ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DataError(f'{file} is broken or no XML ({first_line(error)})') from error
