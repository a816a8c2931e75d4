"""Boxes in VOC's files: a tiny set in its layout, BCCD as a folder, and errors that name the file and the object."""

import zipfile
from pathlib import Path

import pytest
import torch
from labelled import H, W, picture, write

from snnkern.data import DataError
from snnkern.data.sets import samples
from snnkern.data.voc_boxes import bccd, voc_boxes

pytest.importorskip('torchvision')

SHARED = Path(__file__).parents[2] / 'shared' / 'data'
needs_shared = pytest.mark.skipif(not SHARED.exists(), reason='no ../shared/data')


def thing(name, corners, more=''):
    ends = ''.join(
        f'<{key}>{value}</{key}>' for key, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), corners, strict=True)
    )
    return f'<object><name>{name}</name>{more}<bndbox>{ends}</bndbox></object>'


def annotation(*things, size=f'<size><width>{W}</width><height>{H}</height></size>'):
    return f'<annotation>{size}{"".join(things)}</annotation>'


@pytest.fixture
def voc(tmp_path):
    """VOC's layout: a (a cat and a difficult dog) and b (nothing) to train, c (a dog over all of it) to test."""
    home = tmp_path / 'VOCdevkit' / 'VOC2007'
    part = '<part><name>head</name><bndbox><xmin>900</xmin></bndbox></part>'
    shown = {
        'a': [thing('cat', (1, 11, 40, 20), part), thing('dog', (41, 1, 60.5, 40), '<difficult>1</difficult>')],
        'b': [],
        'c': [thing('dog', (1, 1, W, H), '<difficult>0</difficult>')],
    }
    for name, things in shown.items():
        picture(home / 'JPEGImages' / f'{name}.jpg')
        write(home / 'Annotations' / f'{name}.xml', annotation(*things))
    write(home / 'ImageSets' / 'Main' / 'train.txt', 'a  1\nb -1\n\n')
    write(home / 'ImageSets' / 'Main' / 'val.txt', 'c\n')
    return home


CATS = {'classes': ('cat', 'dog'), 'size': (H, W), 'augment': 'none'}


def test_voc(voc):
    for root in (voc, voc.parent, voc.parent.parent):
        data = voc_boxes(root, **CATS)
    assert data.source == 'Pascal VOC boxes, 2 / 1 images, 40 x 80'
    x, y = data.train.batch([0, 1])
    assert x.shape == (2, 3, H, W)
    # Pixel 1 is the first: 11 to 20 of 40 are the second quarter.
    assert torch.allclose(y[0], torch.tensor([[0, 0, 0.25, 0.5, 0.5, 0], [1, 0.5, 0, 60.5 / 80, 1, 1]]))
    assert y[1, :, 0].tolist() == [-1, -1]
    assert data.test.boxes(0).tolist() == [[1, 0, 0, 1, 1, 0]]
    assert (data.test.name(0), data.classes) == ('c.jpg', ('cat', 'dog'))
    assert len(samples(f'voc-boxes:{voc}', classes=['cat', 'dog'], train='val', size=[8, 8]).train) == 1


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        (
            annotation(thing('cat', (1, 1, 9, 9)), thing('cow', (1, 1, 9, 9))),
            "object 2: class 'cow', known are cat, dog",
        ),
        (annotation(thing('cat', (1, 1, W + 2, 9))), 'object 1: the box 0 0 82 9 is outside of its image, 80 x 40'),
        (annotation(thing('cat', (-1, 1, 9, 9))), 'object 1: the box -2 0 9 9 is outside'),
        (annotation(thing('cat', (30, 1, 9, 9))), 'object 1: the box 29 0 9 9 has a right or lower corner before'),
        (annotation(thing('cat', (1, 1, 'x', 9))), 'object 1: expected numbers, got 1, 1, x, 9'),
        (annotation(thing('cat', (1, 1, 'nan', 9))), 'object 1: expected numbers, got 1, 1, nan, 9'),
        (annotation('<object><name>cat</name></object>'), 'object 1: expected numbers, got None, None'),
        (annotation('<object/>'), "object 1: class '', known are"),
        (annotation(size=''), 'size: expected numbers, got None, None'),
        (annotation(size='<size><width>0</width><height>9</height></size>'), 'size: expected width and height above 0'),
        ('<annotation>', r'is broken or no XML \(no element found'),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>', 'a document type, .*, is not read'),
    ],
)
def test_voc_that_is_broken(voc, text, said):
    write(voc / 'Annotations' / 'a.xml', text)
    with pytest.raises(DataError, match=rf'Annotations/a\.xml(, |:)? ?{said}'):
        voc_boxes(voc, **CATS)


def test_document_type_in_another_encoding(voc):
    (voc / 'Annotations' / 'a.xml').write_bytes('<!DOCTYPE a><annotation/>'.encode('utf-16'))
    with pytest.raises(DataError, match='a document type'):
        voc_boxes(voc, **CATS)


def test_missing_voc(voc, tmp_path):
    (voc / 'JPEGImages' / 'c.jpg').unlink()
    with pytest.raises(DataError, match=r'Main/val\.txt: c is not in JPEGImages'):
        voc_boxes(voc, **CATS)
    (voc / 'Annotations' / 'b.xml').unlink()
    with pytest.raises(DataError, match=r'Main/train\.txt: b is not in Annotations'):
        voc_boxes(voc, **CATS)
    with pytest.raises(DataError, match=r'there is no ImageSets/Main/trainval\.txt'):
        voc_boxes(voc, train='trainval')
    with pytest.raises(ValueError, match="test: expected one of train, val, trainval, test, got 'all'"):
        voc_boxes(voc, test='all')
    (voc.parent / 'VOC2012' / 'Annotations').mkdir(parents=True)
    with pytest.raises(DataError, match='holds VOC2007, VOC2012, name the one to read'):
        voc_boxes(tmp_path)
    with pytest.raises(DataError, match=r'no VOC in .*JPEGImages: expected Annotations/ID\.xml'):
        voc_boxes(voc / 'JPEGImages')


@needs_shared
def test_bccd_as_a_folder(tmp_path):
    """Two pictures a part, unpacked; the folder above and the folder itself are read alike, and so is an archive."""
    files = {}
    with zipfile.ZipFile(SHARED / 'bccd.zip') as archive:
        for part in ('train', 'test'):
            name = f'BCCD/ImageSets/Main/{part}.txt'
            stems = archive.read(name).decode().split()[:2]
            files[name] = '\n'.join(stems).encode()
            for form in ('BCCD/Annotations/{}.xml', 'BCCD/JPEGImages/{}.jpg'):
                files |= {form.format(stem): archive.read(form.format(stem)) for stem in stems}
    with zipfile.ZipFile(tmp_path / 'cells.zip', 'w') as archive:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            archive.writestr(name.removeprefix('BCCD/'), content)
    sets = [bccd(tmp_path / name, size=(48, 64)) for name in ('', 'BCCD', 'cells.zip')]
    assert [data.source.split(',')[0] for data in sets] == ['BCCD', 'BCCD', 'BCCD (cells.zip)']
    first = sets[0].test.batch([0, 1])
    for data in sets[1:]:
        assert all(torch.equal(a, b) for a, b in zip(first, data.test.batch([0, 1]), strict=True))
    with pytest.raises(ValueError, match="train: expected 'train' or 'trainval', got 'test'"):
        bccd(tmp_path, train='test')
    with pytest.raises(DataError, match=r'there is no BCCD/ImageSets/Main/trainval\.txt, expected Annotations'):
        bccd(tmp_path, train='trainval')
