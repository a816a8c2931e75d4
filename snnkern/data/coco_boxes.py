"""COCO's boxes, of its JSON files or of an archive of its validation images with YOLO's text files."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from snnkern.data.box_augmentation import BoxChange
from snnkern.data.boxes import BoxPicture, Labels, box_set, numbers, rows_of
from snnkern.data.coco import ARCHIVE_PART, PARTS, SOURCE
from snnkern.data.common import DataError, inside, reading
from snnkern.data.samples import SampleSet
from snnkern.data.segmentation import File, tree
from snnkern.data.yolo_boxes import yolo_part

# fmt: off
CLASSES = (
    'person', 'bicycle', 'car', 'motorcycle', 'airplane', 'bus', 'train', 'truck', 'boat', 'traffic light',
    'fire hydrant', 'stop sign', 'parking meter', 'bench', 'bird', 'cat', 'dog', 'horse', 'sheep', 'cow',
    'elephant', 'bear', 'zebra', 'giraffe', 'backpack', 'umbrella', 'handbag', 'tie', 'suitcase', 'frisbee',
    'skis', 'snowboard', 'sports ball', 'kite', 'baseball bat', 'baseball glove', 'skateboard', 'surfboard',
    'tennis racket', 'bottle', 'wine glass', 'cup', 'fork', 'knife', 'spoon', 'bowl', 'banana', 'apple', 'sandwich',
    'orange', 'broccoli', 'carrot', 'hot dog', 'pizza', 'donut', 'cake', 'chair', 'couch', 'potted plant', 'bed',
    'dining table', 'toilet', 'tv', 'laptop', 'mouse', 'remote', 'keyboard', 'cell phone', 'microwave', 'oven',
    'toaster', 'sink', 'refrigerator', 'book', 'clock', 'vase', 'scissors', 'teddy bear', 'hair drier', 'toothbrush',
)
# fmt: on
ARCHIVE_LABELS = f'object_detection/labels/{ARCHIVE_PART}'


def coco_boxes(
    root: str | Path,
    size: Sequence[int] = (416, 416),
    augment: str | BoxChange = 'light',
    held_out: bool = False,
    corrupt: str = 'stop',
    cache: bool = True,
) -> SampleSet:
    """COCO 2017 with the boxes of its 80 classes, or other images with annotations in its form.

    root: a folder with train2017/, val2017/ (to test) and annotations/instances_{train,val}2017.json, whose categories,
    in order of their ids, are the classes; or an archive, or a folder that holds one archive coco*.zip, with
    images/val2017/ID.jpg and YOLO's lines of the 80 classes in object_detection/labels/val2017/ID.txt. held_out: of an
    archive, train on all but every fourth image, in the order of names, and test on these; without it all its images
    are to train and to test, as a network trained on COCO is evaluated on all. size, augment, corrupt, cache: as of
    `snnkern.data.voc_boxes.bccd`. Boxes of crowds ("iscrowd") get crowd 1.

    Corners up to a pixel or half a percent outside are moved to the border, boxes without area dropped, with a warning.

    Raises DataError, naming the file and the annotation or line, if files are missing or broken or a box is not in its
    image or of another class, and ValueError for bad options.

    Source: Lin et al., ECCV 2014.
    Example: `x, y = coco_boxes('data', size=(352, 352)).test.batch([0, 1])`.
    """
    if not isinstance(held_out, bool):
        raise ValueError(f'held_out: expected true or false, got {held_out!r}')
    place = tree(root, 'COCO', 'annotations')
    if place.is_file():
        labels = Labels(CLASSES)
        parts, source = _archive(place, labels, held_out)
    else:
        contents = [_content(place, name) for name in PARTS]
        categories = _categories(place, contents)
        labels = Labels([name for _, name in categories], f'{_file(place, PARTS[0])}, categories')
        numbered = {number: label for label, (number, _) in enumerate(categories)}
        parts = [_official(place, *item, labels, numbered) for item in zip(PARTS, contents, strict=True)]
        source = 'COCO boxes'
    return box_set('coco-boxes', parts, labels, source, size, augment, corrupt, cache)


def _archive(place: Path, labels: Labels, held_out: bool) -> tuple[list[list[BoxPicture]], str]:
    images = f'images/{ARCHIVE_PART}'
    pictures = yolo_part(place, images, ARCHIVE_LABELS, labels)
    if not pictures:
        raise DataError(f'no COCO in {place}: expected {images}/ID.jpg and {ARCHIVE_LABELS}/ID.txt')
    if not held_out:
        return [pictures, pictures], f'COCO boxes ({place.name}, all images to train and to test)'
    train = [picture for i, picture in enumerate(pictures) if i % 4 != 3]
    return [train, pictures[3::4]], f'COCO boxes ({place.name}, every fourth image to test)'


def _file(root: Path, name: str) -> Path:
    return root / 'annotations' / f'instances_{name}.json'


def _content(root: Path, name: str) -> dict[str, list[dict[str, Any]]]:
    """The three lists of an annotation file, whose items have what is read of them, sorted by id."""
    file = _file(root, name)
    wanted = {
        'images': ('id', 'file_name', 'width', 'height'),
        'categories': ('id', 'name'),
        'annotations': ('id', 'image_id', 'category_id', 'bbox'),
    }
    if not file.exists():
        raise DataError(f'no COCO in {root}: there is no {file}, unpack {SOURCE} there')
    with reading(f'{file} is broken or holds no COCO annotations'):
        content = json.loads(file.read_bytes())
        lists = {key: sorted(content[key], key=lambda item: int(item['id'])) for key in wanted}
    for key, items in lists.items():
        for item in items:
            lacking = [field for field in wanted[key] if field not in item]
            if lacking:
                raise DataError(f'{file}, {key} {item["id"]}: there is no {lacking[0]}')
            odd = [field for field in wanted[key] if field.endswith('id') and not isinstance(item[field], int | str)]
            if odd:
                raise DataError(f'{file}, {key} {item["id"]}: {odd[0]} is {item[odd[0]]!r}, expected a number')
            if item.get('iscrowd', 0) not in (0, 1):
                raise DataError(f'{file}, {key} {item["id"]}: iscrowd is {item["iscrowd"]!r}, expected 0 or 1')
        twice = [a['id'] for a, b in pairwise(items) if a['id'] == b['id']]
        if twice:
            raise DataError(f'{file}, {key}: two have the id {twice[0]}')
    return lists


def _categories(root: Path, contents: Sequence[dict[str, list[dict[str, Any]]]]) -> list[tuple[int, str]]:
    """(id, name) of the classes in order of id, which both parts must have."""
    train, test = ([(item['id'], str(item['name'])) for item in content['categories']] for content in contents)
    if train != test or not train:
        files = ' and '.join(str(_file(root, name)) for name in PARTS)
        raise DataError(f'{files}: expected the same categories in both, got {len(train)} and {len(test)}')
    return train


def _official(
    root: Path, name: str, content: dict[str, list[dict[str, Any]]], labels: Labels, numbered: dict[int, int]
) -> list[BoxPicture]:
    file = _file(root, name)
    if content['images'] and not (root / name).is_dir():
        raise DataError(f'no COCO in {root}: there is no {root / name}, unpack {SOURCE} there')
    sizes = {}
    for image in content['images']:
        where = f'{file}, image {image["id"]}'
        width, height = map(int, numbers(where, (image['width'], image['height'])))
        if min(width, height) < 1:
            raise DataError(f'{where}: expected width and height above 0, got {width} x {height}')
        sizes[image['id']] = width, height
    rows: dict[int, list[list[float]]] = {number: [] for number in sizes}
    for thing in content['annotations']:
        where, image = f'{file}, annotation {thing["id"]}', thing['image_id']
        if image not in sizes:
            raise DataError(f'{where}: image {image}, which is none of the file')
        if thing['category_id'] not in numbered:
            raise DataError(f'{where}: category {thing["category_id"]}, known are {", ".join(map(str, numbered))}')
        if not isinstance(thing['bbox'], list) or len(thing['bbox']) != 4:
            raise DataError(f'{where}: expected a bbox of x, y, width and height, got {thing["bbox"]!r}')
        x, y, w, h = numbers(where, thing['bbox'])
        label, crowd = numbered[thing['category_id']], bool(thing.get('iscrowd', 0))
        rows[image] += labels.row(where, label, (x, y, x + w, y + h), crowd, sizes[image])
    images = {}
    for image in content['images']:
        path = inside(str(image['file_name']), f'{file}, image {image["id"]}')
        images[image['id']] = File(root / name / path)
    return [BoxPicture(images[number], rows_of(rows[number]), sizes[number]) for number in sizes]
