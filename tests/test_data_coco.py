"""COCO and VOC 2012: masks of real pictures, tiny sets in the published layouts, and their errors."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from snnkern import encode
from snnkern.data import DataError
from snnkern.data.coco import CATEGORIES, LABELS, coco
from snnkern.data.voc import CLASSES, voc2012

pytest.importorskip('torchvision')
pytest.importorskip('pycocotools')

SHARED = Path(__file__).parents[2] / 'shared' / 'data'
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason='no ../shared/data')
SIDE = 40


def picture(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


@needs_shared
def test_published_coco():
    data = coco(SHARED, size=(96, 128))
    assert data.source == 'COCO 2017 (coco_val128.zip, every fourth image to test), 58 / 18 images, 96 x 128'
    assert (data.shape, data.ignore, data.classes) == ((3, 96, 128), 255, CLASSES)
    pictures = data.train.pictures + data.test.pictures
    assert min(one.labelled() for one in pictures) > 1000
    # The archive has masks as well, of COCO's own numbers; there a mug is cut out of the table that it stands on.
    agreed, counted = 0, 0
    with zipfile.ZipFile(SHARED / 'coco_val128.zip') as archive:
        for one in pictures[::8]:
            mask = one.mask().numpy()
            assert int((mask > 0).sum()) == one.labelled()
            name = f'semantic_segmentation/masks/val2017/{Path(one.image_file.member).stem}.png'
            other = np.array(Image.open(io.BytesIO(archive.read(name))))
            expected = np.array([LABELS.get(number, 0) for number in range(256)])[other]
            agreed += int((mask == expected).sum())
            counted += mask.size
    assert agreed / counted > 0.97


@needs_shared
def test_from_a_picture_to_frames():
    """S1's way from a photograph to what its network sees: 8 differences of 3 channels, rising and falling."""
    data = coco(SHARED, size=(64, 64))
    x, y = data.train.batch([0, 5], seed=1)
    assert (x.shape, y.shape) == ((2, 3, 64, 64), (2, 64, 64))
    assert set(y.unique().tolist()) <= {*range(21), 255}
    mean, std = (torch.tensor(part).view(3, 1, 1) for part in (data.mean, data.std))
    frames = encode.saccade((x - mean) / std)
    assert frames.shape == (8, 2, 6, 64, 64)
    assert frames.min() == 0
    assert ((frames[:, :, :3] > 0) & (frames[:, :, 3:] > 0)).sum() == 0
    assert (frames.flatten(2).amax(2) > 0).all()
    events = encode.odg(x)
    assert events.shape == (8, 2, 2, 64, 64)
    assert set(events.unique().tolist()) == {0, 1}


def square(number, category, left, top, side, image=7):
    corners = [left, top, left + side, top, left + side, top + side, left, top + side]
    return {'id': number, 'image_id': image, 'category_id': category, 'segmentation': [corners], 'iscrowd': 0}


@pytest.fixture
def official(tmp_path):
    """COCO's layout: in image 7 a cat (10..30) before a person (20..40), a zebra, which is no class, and a crowd."""
    crowd = {'counts': [0, 5, SIDE * SIDE - 5], 'size': [SIDE, SIDE]}  # the first five pixels of the first column
    things = [
        square(1, 17, 10, 10, 20),
        square(2, 1, 20, 20, 20),
        square(3, 24, 0, 20, 10),
        {'id': 4, 'image_id': 7, 'category_id': 3, 'segmentation': crowd, 'iscrowd': 1},
        square(5, 1, 0, 0, 10, image=8),
    ]
    images = [{'id': n, 'file_name': f'{n:012}.jpg', 'height': SIDE, 'width': SIDE} for n in (8, 7)]
    (tmp_path / 'annotations').mkdir()
    for part in ('train2017', 'val2017'):
        text = json.dumps({'images': images, 'annotations': things, 'categories': []})
        (tmp_path / 'annotations' / f'instances_{part}.json').write_text(text)
        for n in (7, 8):
            picture(tmp_path / part / f'{n:012}.jpg', np.full((SIDE, SIDE, 3), 10 * n, np.uint8))
    return tmp_path


def test_first_thing_is_in_front(official, capsys):
    data = coco(official, size=(SIDE, SIDE), augment='none', min_pixels=0)
    assert data.source == 'COCO 2017, 2 / 2 images, 40 x 40'
    x, y = data.test.batch([0, 1])
    expected = torch.zeros(SIDE, SIDE, dtype=torch.long)
    expected[20:, 20:] = CLASSES.index('person')
    expected[10:30, 10:30] = CLASSES.index('cat')
    expected[:5, 0] = CLASSES.index('car')
    assert torch.equal(y[0], expected)
    assert (255 * x[:, 0, 0, 0]).round().tolist() == [70, 80]
    assert capsys.readouterr().out == ''
    assert len(CATEGORIES) == len(CLASSES) == 21


def test_images_that_show_little(official):
    """Image 7 has 400 + 300 + 5 labelled pixels, image 8 has 100."""
    assert [one.labelled() for one in coco(official, min_pixels=0).train.pictures] == [705, 100]
    assert len(coco(official, min_pixels=100).train) == 2
    assert len(coco(official, min_pixels=101).train) == len(coco(official, min_pixels=705).train) == 1
    with pytest.raises(DataError, match='COCO 2017: no pictures in its train part'):
        coco(official)
    with pytest.raises(ValueError, match='min_pixels must be >= 0, got -1'):
        coco(official, min_pixels=-1)


def test_annotations_that_are_broken(official):
    file = official / 'annotations' / 'instances_val2017.json'
    content = json.loads(file.read_text())
    for outline in ({'counts': [1600], 'size': [SIDE, SIDE + 1]}, {'counts': None, 'size': [SIDE, SIDE]}, 'none'):
        content['annotations'][1]['segmentation'] = outline
        file.write_text(json.dumps(content))
        with pytest.raises(DataError, match=r'val2017/0+7\.jpg: annotation 2 is no outline'):
            coco(official, min_pixels=1)
        with pytest.raises(DataError, match=r'val2017/0+7\.jpg: annotation 2 is no outline'):
            coco(official, min_pixels=0).test.batch([0])
    with pytest.warns(UserWarning, match=r'skipped 1 of 2: .*annotation 2 is no outline'):
        assert len(coco(official, min_pixels=1, corrupt='skip').test) == 1
    for text in ('{', '[]', '{"images": [{"id": 1}], "annotations": []}'):
        file.write_text(text)
        with pytest.raises(DataError, match=r'instances_val2017\.json is broken or holds no COCO annotations'):
            coco(official)


def test_missing_coco(official, tmp_path):
    (official / 'val2017').rename(official / 'elsewhere')
    with pytest.raises(DataError, match=r'there is no .*val2017, unpack train2017\.zip, val2017\.zip and annotations_'):
        coco(official)
    (official / 'annotations' / 'instances_train2017.json').unlink()
    with pytest.raises(DataError, match=r'there is no .*instances_train2017\.json, unpack'):
        coco(official)
    with pytest.raises(DataError, match=r'no COCO in .*gone: there is no such file or folder'):
        coco(tmp_path / 'gone')


def archived(path, lines, image=None):
    """An archive of five pictures, each with these polygons, but for the second, which has none."""
    file = io.BytesIO()
    Image.fromarray(np.full((20, SIDE, 3), 99, np.uint8)).save(file, 'jpeg')
    with zipfile.ZipFile(path, 'w') as archive:
        for i in range(5):
            archive.writestr(f'images/val2017/{i}.jpg', image if image and i == 4 else file.getvalue())
            if i != 1:
                archive.writestr(f'instance_segmentation/labels/val2017/{i}.txt', lines)
    return path


def test_polygons_of_an_archive(tmp_path):
    archived(tmp_path / 'coco_few.zip', '17 0 0 .5 0 .5 .5 0 .5\n1 0 0 1 0 1 1 0 1\n')
    data = coco(tmp_path, size=(20, SIDE), min_pixels=0)
    assert (len(data.train), len(data.test)) == (3, 1)
    assert [one.image_file.member for one in data.test.pictures] == ['images/val2017/3.jpg']
    mask = data.test.batch([0])[1][0]
    expected = torch.full((20, SIDE), CLASSES.index('person'))
    expected[:10, :20] = CLASSES.index('cat')
    assert torch.equal(mask, expected)


def test_archive_that_is_broken(tmp_path):
    for lines, said in (
        ('17 0 0 .5 0', '2 corners'),
        ('cat 0 0 1 0 1 1', 'invalid literal'),
        ('1 0 0 1 1 0', 'reshape'),
    ):
        path = archived(tmp_path / 'coco_few.zip', lines)
        with pytest.raises(DataError, match=rf'val2017/0\.txt, line 1: no category and polygon \(.*{said}'):
            coco(path)
    path = archived(tmp_path / 'coco_few.zip', '1 0 0 1 0 1 1', image=b'no picture')
    with pytest.raises(DataError, match=r'coco_few\.zip/images/val2017/4\.jpg is broken or no picture'):
        coco(path)
    with pytest.warns(UserWarning, match='skipped 1 of 4'):
        assert len(coco(path, min_pixels=0, corrupt='skip').train) == 2
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('readme', '')
    with pytest.raises(DataError, match=r'expected images/val2017/ID\.jpg and instance_segmentation'):
        coco(path)


@pytest.fixture
def voc(tmp_path):
    """VOC's layout: two pictures to train, one to test; a palette mask with a border that does not count."""
    home = tmp_path / 'VOCdevkit' / 'VOC2012'
    (home / 'ImageSets' / 'Segmentation').mkdir(parents=True)
    for part, names in (('train', ('a', 'b')), ('val', ('c',))):
        (home / 'ImageSets' / 'Segmentation' / f'{part}.txt').write_text('\n'.join(names) + '\n')
        for name in names:
            picture(home / 'JPEGImages' / f'{name}.jpg', np.full((30, 50, 3), 128, np.uint8))
            mask = np.full((30, 50), 15, np.uint8)
            mask[:, 24:26] = 255
            image = Image.fromarray(mask).convert('P')
            image.putdata(mask.ravel().tolist())
            (home / 'SegmentationClass').mkdir(exist_ok=True)
            image.save(home / 'SegmentationClass' / f'{name}.png')
    return tmp_path


def test_voc(voc):
    for root in (voc, voc / 'VOCdevkit', voc / 'VOCdevkit' / 'VOC2012'):
        data = voc2012(root, size=(32, 32))
        assert data.source == 'Pascal VOC 2012, 2 / 1 images, 32 x 32'
    x, y = data.test.batch([0])
    assert (x.shape, y.shape, data.ignore) == ((1, 3, 32, 32), (1, 32, 32), 255)
    assert y.unique().tolist() == [15, 255]
    x, y = data.train.batch([0, 1], seed=0)
    assert x.shape == (2, 3, 32, 32)


def test_missing_voc(voc, tmp_path):
    (voc / 'VOCdevkit' / 'VOC2012' / 'JPEGImages' / 'b.jpg').unlink()
    with pytest.raises(DataError, match=r'JPEGImages/b\.jpg is broken or no picture \(.*No such file'):
        voc2012(voc).train.batch([1])
    (voc / 'VOCdevkit' / 'VOC2012' / 'ImageSets' / 'Segmentation' / 'val.txt').unlink()
    with pytest.raises(DataError, match=r'no VOC 2012 in .*: unpack VOCtrainval_11-May-2012\.tar from .*val\.txt'):
        voc2012(voc)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DataError, match=r'unpack VOCtrainval_11-May-2012\.tar from .* it holds VOCdevkit'):
        voc2012(tmp_path / 'empty')
