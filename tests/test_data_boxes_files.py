"""Boxes in COCO's and YOLO's files: tiny sets in each layout, and errors that name the file and the line."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from snnkern.data import DataError
from snnkern.data.boxes import Labels, texts
from snnkern.data.coco_boxes import CLASSES, coco_boxes
from snnkern.data.segmentation import File
from snnkern.data.sets import samples
from snnkern.data.yolo_boxes import yolo

pytest.importorskip('torchvision')

SHARED = Path(__file__).parents[2] / 'shared' / 'data'
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason='no ../shared/data')
H, W = 40, 80
SIZE = {'size': (H, W), 'augment': 'none'}


def picture(path, level=99):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((H, W, 3), level, np.uint8)).save(path)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.fixture
def lines(tmp_path):
    """YOLO's layout: a (two boxes) and b (no text file) to train, a (one box) to test."""
    for name in ('train/a', 'train/b', 'val/a'):
        picture(tmp_path / 'images' / f'{name}.png')
    write(tmp_path / 'labels' / 'train' / 'a.txt', '1 .5 .5 1 .5\n\n0 0.25 0.25 0.1 0.5\n')
    write(tmp_path / 'labels' / 'val' / 'a.txt', '0 .4995 .5 1.004 1\n')
    write(tmp_path / 'classes.txt', 'cat\ndog\n')
    return tmp_path


def test_yolo(lines):
    data = samples(f'yolo:{lines}', **SIZE)
    assert data.classes == ('cat', 'dog')
    assert (len(data.train), len(data.test)) == (2, 1)
    expected = torch.tensor([[1, 0, 0.25, 1, 0.75, 0], [0, 0.2, 0, 0.3, 0.5, 0]])
    assert torch.allclose(data.train.boxes(0), expected)
    assert data.train.boxes(1).shape == (0, 6)
    assert data.test.boxes(0).tolist() == [[0, 0, 0, 1, 1, 0]]  # rounded out of the image by .25 %
    assert yolo(lines, classes=['x', 'y', 'z']).classes == ('x', 'y', 'z')
    with zipfile.ZipFile(lines / 'all.zip', 'w') as archive:
        for path in (path for path in lines.rglob('*') if path.suffix in ('.png', '.txt')):
            archive.write(path, path.relative_to(lines))
    packed = yolo(lines / 'all.zip', **SIZE)
    for a, b in zip(packed.train.batch([0, 1]), data.train.batch([0, 1]), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    ('line', 'said'),
    [
        ('2 .5 .5 .1 .1', 'class 2, known are 0 to 1'),
        ('-1 .5 .5 .1 .1', 'class -1, known are 0 to 1'),
        ('0.5 .5 .5 .1 .1', r'class 0\.5, expected a whole number'),
        ('0 .5 .5 .1', 'expected "class cx cy width height", got \'0 .5 .5 .1\''),
        ('0 .5 .5 wide .1', 'expected numbers, got 0, .5, .5, wide, .1'),
        ('0 .5 nan .1 .1', 'expected numbers, got 0, .5, nan, .1, .1'),
        ('inf .5 .5 .1 .1', 'expected numbers, got inf'),
        ('0 .99 .5 .1 .1', 'the box 0.94 0.45 1.04 0.55 is outside of its image, shares 0 to 1'),
        ('0 .5 .5 -.1 .1', 'the box 0.55 0.45 0.45 0.55 has a right or lower corner before'),
        ('0 40 20 8 8', 'the box 36 16 44 24 is outside of its image'),
    ],
)
def test_yolo_lines_that_are_broken(lines, line, said):
    write(lines / 'labels' / 'train' / 'a.txt', f'0 .5 .5 .1 .1\n{line}\n')
    with pytest.raises(DataError, match=rf'labels/train/a\.txt, line 2: {said}'):
        yolo(lines)


def test_boxes_without_area(lines):
    write(
        lines / 'labels' / 'train' / 'a.txt',
        '0 .5 .5 0 .1\n1 .5 .5 .1 0\n1 .5 .5 .1 .1\n0 .5 .5 1e-9 .1\n0 1.002 .5 .001 1',
    )
    with pytest.warns(
        UserWarning, match=r'yolo: dropped 4 boxes without .*a\.txt, line 1; .*line 2; .*line 4 and 1 more'
    ):
        assert yolo(lines).train.boxes(0).shape == (1, 6)


def test_missing_yolo(lines):
    write(lines / 'classes.txt', '\n')
    with pytest.raises(DataError, match=r'classes\.txt: expected names, all different, got none'):
        yolo(lines)
    (lines / 'classes.txt').unlink()
    with pytest.raises(DataError, match=r'there is no classes\.txt, and no option classes'):
        yolo(lines)
    (lines / 'labels' / 'val' / 'a.txt').unlink()
    with pytest.raises(DataError, match='no boxes that count in its test part of 1 pictures'):
        yolo(lines, classes=('cat', 'dog'))
    (lines / 'images' / 'val' / 'a.png').unlink()
    with pytest.raises(DataError, match=r'no pictures in images/val, expected images/\{train,val\}/NAME\.jpg'):
        yolo(lines, classes=('cat', 'dog'))
    write(lines / 'classes.txt', 'cat\ncat\n')
    with pytest.raises(DataError, match=r"classes\.txt: expected names, all different, got 'cat', 'cat'"):
        yolo(lines)
    for classes in ('cat', [], [3], ('a', 'a')):
        with pytest.raises(ValueError, match='classes: expected names, all different, got '):
            yolo(lines, classes=classes)
    with pytest.raises(DataError, match=r'no YOLO images in .*gone: there is no such file'):
        yolo(lines / 'gone')


def test_file_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match=r'gone\.txt cannot be read \('):
        texts([File(tmp_path / 'gone.txt')])
    (tmp_path / 'a.zip').write_bytes(b'nothing')
    with pytest.raises(DataError, match=r'a\.zip/b\.txt cannot be read \(File is not a zip'):
        texts([File(tmp_path / 'a.zip', 'b.txt')])


def test_corners_within_rounding():
    labels = Labels(('cat',))
    assert labels.row('here', 0, (-1, -1, 100, 9), size=(99, 8)) == [[0, 0, 0, 1, 1, False]]
    assert labels.row('here', 0, (-5, 0, 1000, 9), size=(1000, 9))[0][1] == 0
    with pytest.raises(DataError, match=r'here: the box -5\.1 0 1000 9 is outside of its image, 1000 x 9'):
        labels.row('here', 0, (-5.1, 0, 1000, 9), size=(1000, 9))


@needs_shared
def test_published_coco():
    data = coco_boxes(SHARED, size=(44, 44))
    assert data.source == 'COCO boxes (coco_val128.zip, all images to train and to test), 128 / 128 images, 44 x 44'
    assert len(data.classes) == 80
    assert sum(len(data.test.boxes(n)) for n in range(128)) == 898
    assert data.test.name(0) == '000000000139.jpg'
    assert data.test.batch([0, 1])[1].shape == (2, 20, 6)
    with zipfile.ZipFile(SHARED / 'coco_val128.zip') as archive:
        names = archive.read('object_detection/config.yaml').decode().split('names:')[1].splitlines()
    assert [name.split(': ')[1] for name in names if ': ' in name] == list(CLASSES)
    held = samples(f'coco-boxes:{SHARED}', held_out=True, size=(44, 44))
    assert (len(held.train), len(held.test)) == (96, 32)
    assert {held.train.name(n) for n in range(96)}.isdisjoint(held.test.name(n) for n in range(32))


@pytest.fixture
def official(tmp_path):
    """COCO's layout: image 7 with a dog and a crowd of cats, image 8 with nothing; ids are out of order."""
    content = {
        'images': [{'id': n, 'file_name': f'{n:012}.jpg', 'height': H, 'width': W} for n in (8, 7)],
        'annotations': [
            {'id': 2, 'image_id': 7, 'category_id': 17, 'bbox': [40, 0, 40.4, 10], 'iscrowd': 1},
            {'id': 1, 'image_id': 7, 'category_id': 18, 'bbox': [8, 10, 16, 20], 'iscrowd': 0},
        ],
        'categories': [{'id': 18, 'name': 'dog'}, {'id': 17, 'name': 'cat'}],
    }
    for part in ('train2017', 'val2017'):
        write(tmp_path / 'annotations' / f'instances_{part}.json', json.dumps(content))
        for n in (7, 8):
            picture(tmp_path / part / f'{n:012}.jpg', 10 * n)
    return tmp_path


def test_coco(official):
    data = coco_boxes(official, **SIZE)
    assert (data.source, data.classes) == ('COCO boxes, 2 / 2 images, 40 x 80', ('cat', 'dog'))
    x, y = data.test.batch([0, 1])
    assert torch.allclose(y[0], torch.tensor([[1, 0.1, 0.25, 0.3, 0.75, 0], [0, 0.5, 0, 1, 0.25, 1]]))
    assert y[1, :, 0].tolist() == [-1, -1]
    assert (255 * x[:, 0, 0, 0]).round().tolist() == [70, 80]


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        ({'category_id': 3}, 'annotation 2: category 3, known are 17, 18'),
        ({'image_id': 5}, 'annotation 2: image 5, which is none of the file'),
        ({'bbox': [70, 0, 20, 10]}, 'annotation 2: the box 70 0 90 10 is outside of its image, 80 x 40'),
        ({'bbox': [70, 0, -20, 10]}, 'annotation 2: the box 70 0 50 10 has a right or lower'),
        ({'bbox': [float('nan'), 0, 20, 10]}, 'annotation 2: expected numbers, got nan, 0, 20, 10'),
        ({'bbox': [None, 0, 20, 10]}, 'annotation 2: expected numbers, got None'),
        ({'bbox': [0, 20, 10]}, r'annotation 2: expected a bbox of x, y, width and height, got \[0, 20, 10\]'),
    ],
)
def test_annotations_that_are_broken(official, change, said):
    file = official / 'annotations' / 'instances_val2017.json'
    content = json.loads(file.read_text())
    content['annotations'][0] |= change
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=rf'instances_val2017\.json, {said}'):
        coco_boxes(official)


def test_json_that_is_broken(official):
    file = official / 'annotations' / 'instances_train2017.json'
    content = json.loads(file.read_text())
    for text in (
        '{',
        '[]',
        '{"images": []}',
        '{"images": [{}]}',
        '{"images": [3], "categories": [], "annotations": []}',
    ):
        file.write_text(text)
        with pytest.raises(DataError, match=r'instances_train2017\.json is broken or holds no COCO annotations'):
            coco_boxes(official)
    for key, change, said in (
        ('images', {'width': 0}, 'image 8: expected width and height above 0, got 0 x 40'),
        ('images', {'width': 'x'}, 'image 8: expected numbers, got x, 40'),
        ('annotations', {'image_id': [7]}, r'annotations 2: image_id is \[7\], expected a number'),
        ('categories', {'name': 'cow'}, 'expected the same categories in both, got 2 and 2'),
        ('annotations', {'iscrowd': '0'}, "annotations 2: iscrowd is '0', expected 0 or 1"),
        ('annotations', {'id': 1}, 'annotations: two have the id 1'),
    ):
        items = [content[key][0] | change, *content[key][1:]]
        file.write_text(json.dumps(content | {key: items}))
        with pytest.raises(DataError, match=said):
            coco_boxes(official)
    del content['annotations'][0]['bbox']
    file.write_text(json.dumps(content))
    with pytest.raises(DataError, match=r'train2017\.json, annotations 2: there is no bbox'):
        coco_boxes(official)


def test_missing_coco(official, tmp_path):
    (official / 'val2017').rename(official / 'elsewhere')
    with pytest.raises(DataError, match=r'there is no .*val2017, unpack train2017\.zip, val2017\.zip and annotations_'):
        coco_boxes(official)
    (official / 'annotations' / 'instances_val2017.json').unlink()
    with pytest.raises(DataError, match=r'there is no .*instances_val2017\.json, unpack'):
        coco_boxes(official)
    with pytest.raises(ValueError, match='held_out: expected true or false, got 4'):
        coco_boxes(official, held_out=4)
    with zipfile.ZipFile(tmp_path / 'coco.zip', 'w') as archive:
        archive.writestr('readme', '')
    with pytest.raises(
        DataError, match=r'no COCO in .*coco\.zip: expected images/val2017/ID\.jpg and object_detection'
    ):
        coco_boxes(tmp_path / 'coco.zip')


def test_names_that_do_not_meet(lines):
    """Two pictures of one name, labels without a picture, and the mark that editors put in front of a text."""
    (lines / 'classes.txt').write_bytes(b'\xef\xbb\xbfcat\ndog\n')
    assert yolo(lines).classes == ('cat', 'dog')
    write(lines / 'labels' / 'train' / 'alone.txt', '')
    with pytest.warns(UserWarning, match=r'1 files of labels have no picture in images/train: .*alone\.txt'):
        yolo(lines)
    picture = next((lines / 'images' / 'train').iterdir())
    picture.with_suffix('.bmp').write_bytes(picture.read_bytes())
    with pytest.raises(DataError, match='have one name: which is meant'):
        yolo(lines)
