"""COCO: photographs, whose outlined things of twenty classes are painted into masks of VOC's classes."""

import contextlib
import io
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from snnkern._checks import whole
from snnkern.data.augmentation import Change
from snnkern.data.common import DataError, first_line, inside, reading
from snnkern.data.samples import SampleSet
from snnkern.data.segmentation import CorruptError, File, listed, opened, rgb, sample_set, sound, tree
from snnkern.data.voc import CLASSES, IGNORE

# The categories of COCO that are VOC's classes, in VOC's order.
CATEGORIES = (0, 5, 2, 16, 9, 44, 6, 3, 17, 62, 21, 67, 18, 19, 4, 1, 64, 20, 63, 7, 72)
LABELS = {category: label for label, category in enumerate(CATEGORIES) if label}
PARTS = ('train2017', 'val2017')
ARCHIVE_PART = 'val2017'
LONGEST = 1 << 15
SOURCE = 'train2017.zip, val2017.zip and annotations_trainval2017.zip from https://cocodataset.org/#download'


class CocoPicture(NamedTuple):
    """An image of a COCO data set, coco being pycocotools' index of its annotations."""

    image_file: File
    coco: Any
    number: int

    def __str__(self) -> str:
        return str(self.image_file)

    def image(self) -> Tensor:
        """See Picture."""
        return rgb(self.image_file)

    def mask(self) -> Tensor:
        """See Picture: where things overlap, the one that is annotated first is seen."""
        mask = np.zeros(_size(self.coco.imgs[self.number]), np.uint8)
        for thing in self._things():
            mask[(mask == 0) & self._of(thing, self._pixels)] = LABELS[thing['category_id']]
        return torch.from_numpy(mask)

    def labelled(self) -> int:
        """Pixels that are not background, without painting them."""
        tools = _mask_tools()
        outlines = [self._of(thing, self._outline) for thing in self._things()]
        return int(tools.area(tools.merge(outlines))) if outlines else 0

    def _things(self) -> list[dict[str, Any]]:
        return [thing for thing in self.coco.imgToAnns.get(self.number, ()) if thing['category_id'] in LABELS]

    def _outline(self, thing: dict[str, Any]) -> dict[str, Any]:
        width, height = _size(self.coco.imgs[self.number])[::-1]
        most = 2 * max(width, height)
        polygons = thing['segmentation'] if isinstance(thing['segmentation'], list) else []
        if not all(-most <= float(corner) <= most for polygon in polygons for corner in polygon):
            raise ValueError('its corners are far outside of the image')  # the longer a line, the longer it is drawn
        outline = self.coco.annToRLE(thing)
        if tuple(outline['size']) != _size(self.coco.imgs[self.number]):
            raise ValueError(f'of an image of {outline["size"]}')
        _mask_tools().area(outline)  # raises where it is none
        return outline

    def _pixels(self, thing: dict[str, Any]) -> npt.NDArray[np.bool_]:
        with warnings.catch_warnings():  # pycocotools 2.0.11 converts arrays in a way that numpy 2 deprecates
            warnings.simplefilter('ignore', DeprecationWarning)
            return _mask_tools().decode(self._outline(thing)) > 0

    def _of(self, thing: dict[str, Any], read: Callable[[dict[str, Any]], Any]) -> Any:
        try:
            return read(thing)
        except Exception as error:  # pycocotools raises Exception itself
            raise CorruptError(f'{self}: annotation {thing["id"]} is no outline ({first_line(error)})') from error


def coco(
    root: str | Path,
    size: Sequence[int] = (480, 480),
    augment: str | Change = 'full',
    min_pixels: int = 1001,
    corrupt: str = 'stop',
) -> SampleSet:
    """COCO 2017 with masks of VOC's 20 classes and background, made of its outlined things by pycocotools.

    Things of other categories are background; where things overlap, the one that is annotated first is seen.

    root: a folder with train2017/, val2017/ (to test) and annotations/instances_{train,val}2017.json; or an archive,
    or a folder that holds one archive coco*.zip, with images/val2017/ID.jpg and outlines in
    instance_segmentation/labels/val2017/ID.txt: a line a thing, its category in COCO's numbers and its polygon, x and y
    in units of width and height. Of every four images of an archive, in the order of names, the last is to test;
    images without outlines are left out. size, augment, corrupt: as of `snnkern.data.voc.voc2012`. min_pixels: images
    with fewer pixels of things are left out, for which all outlines are read (of the whole set, a minute); 0: none.

    Raises DataError, naming the file or what to download, if files are missing or broken, or without pycocotools, and
    ValueError for bad options.

    Source: Lin et al., ECCV 2014; masks as the segmentation SNN that this library covers makes them, after GluonCV.
    Example: `x, y = coco('data', size=(240, 240)).train.batch([0, 1], seed=0)`.
    """
    whole('min_pixels', min_pixels, at_least=0)
    place = tree(root, 'COCO', 'annotations')
    parts = _archive(place, corrupt) if place.is_file() else [_official(place, name) for name in PARTS]
    if min_pixels:
        parts = [[picture for picture in part if _shows(picture, min_pixels, corrupt)] for part in parts]
    source = 'COCO 2017' + (f' ({place.name}, every fourth image to test)' if place.is_file() else '')
    return sample_set('coco', parts, CLASSES, IGNORE, source, size, augment, corrupt)


def _mask_tools() -> Any:
    from pycocotools import mask  # type: ignore[import-untyped]

    return mask


def _size(image: dict[str, Any]) -> tuple[int, int]:
    size = image['height'], image['width']
    if not all(type(side) is int and 0 < side <= LONGEST for side in size):
        raise ValueError(f'expected height and width of 1 to {LONGEST}, got {size}')
    return size


def _shows(picture: CocoPicture, min_pixels: int, corrupt: str) -> bool:
    try:
        return picture.labelled() >= min_pixels
    except CorruptError:
        if corrupt == 'stop':
            raise
        return True  # sample_set names it and leaves it out


def _index(source: Path | dict[str, Any]) -> Any:
    """pycocotools' index of annotations in a JSON file or as the content of one."""
    try:
        from pycocotools.coco import COCO  # type: ignore[import-untyped]
    except ImportError:
        raise DataError("COCO needs pycocotools: pip install 'snnkern[segmentation]'") from None
    with contextlib.redirect_stdout(io.StringIO()):  # it talks
        if isinstance(source, Path):
            return COCO(str(source))
        index = COCO()
        index.dataset = source
        index.createIndex()
    return index


def _official(root: Path, name: str) -> list[CocoPicture]:
    file = root / 'annotations' / f'instances_{name}.json'
    if not file.exists():
        raise DataError(f'no COCO in {root}: there is no {file}, unpack {SOURCE} there')
    with reading(f'{file} is broken or holds no COCO annotations'):
        index = _index(file)
        found = {number: image['file_name'] for number, image in sorted(index.imgs.items()) if _size(image)}
        names = {number: inside(image, f'{file}, image {number}') for number, image in found.items()}
    if not names:
        raise DataError(f'{file} lists no images')
    if not (root / name).is_dir():
        raise DataError(f'no COCO in {root}: there is no {root / name}, unpack {SOURCE} there')
    return [CocoPicture(File(root / name / image), index, number) for number, image in names.items()]


class Outlined(NamedTuple):
    """An image of an archive, its polygons, and its place among the images."""

    image_file: File
    polygons: File
    number: int

    def content(self) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """The image and its things, as COCO's annotations say it; CorruptError where a file cannot be read."""
        width, height = opened(self.image_file).size
        things = []
        for i, line in enumerate(self.polygons.read().decode('utf-8', 'replace').splitlines(), 1):
            try:
                category, *corners = line.split()
                polygon = np.array(corners, np.float64).reshape(-1, 2) * (width, height)
                if len(polygon) < 3:
                    raise ValueError(f'{len(polygon)} corners')
                outline = {'category_id': int(category), 'segmentation': [polygon.ravel().tolist()], 'iscrowd': 0}
            except ValueError as error:
                raise CorruptError(
                    f'{self.polygons}, line {i}: no category and polygon ({first_line(error)})'
                ) from error
            things.append({'id': 1_000_000 * self.number + i, 'image_id': self.number, **outline})
        return {'id': self.number, 'height': height, 'width': width}, things


def _archive(path: Path, corrupt: str) -> list[list[CocoPicture]]:
    """Pictures to train and to test on, by annotations in COCO's form, made of the polygons."""
    images = listed(path, f'images/{ARCHIVE_PART}')
    polygons = listed(path, f'instance_segmentation/labels/{ARCHIVE_PART}', ('.txt',))
    items = [Outlined(images[stem], polygons[stem], i) for i, stem in enumerate(images) if stem in polygons]
    if not items:
        expected = f'images/{ARCHIVE_PART}/ID.jpg and instance_segmentation/labels/{ARCHIVE_PART}/ID.txt'
        raise DataError(f'no COCO in {path}: expected {expected}')
    contents: dict[Outlined, tuple[dict[str, Any], list[dict[str, Any]]]] = {}

    def look(item: Outlined) -> None:
        contents[item] = item.content()

    sound(items, look, corrupt)
    things = [thing for _, found in contents.values() for thing in found]
    categories = [{'id': category, 'name': CLASSES[label]} for category, label in LABELS.items()]
    index = _index(
        {'images': [image for image, _ in contents.values()], 'annotations': things, 'categories': categories}
    )
    parts: list[list[CocoPicture]] = [[], []]
    for item in contents:
        parts[item.number % 4 == 3].append(CocoPicture(item.image_file, index, item.number))
    return parts
