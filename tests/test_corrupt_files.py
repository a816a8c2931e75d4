"""Whatever a file holds, reading it ends: with what it holds, or with one error that is ours."""

import json
import struct
import zipfile

import numpy as np
import pytest
import torch
from broken import ends, mutants, soon, trees
from corrupt import FORMATS, W, chain, coco_folder, converted, yolo_folder, zipped
from test_event_files import SAMPLES, member, needs_samples

from snnkern.convert import SNN
from snnkern.data import DataError, mat_files, mnist
from snnkern.data.coco import coco
from snnkern.data.coco_boxes import coco_boxes
from snnkern.data.common import reading
from snnkern.data.es_imagenet import es_imagenet
from snnkern.data.event_files import read_events
from snnkern.data.mat_files import matrix
from snnkern.data.yolo_boxes import yolo

CAMERAS = {'.bin': 'tonic', '.dat': 'expelliarmus', '.raw': 'expelliarmus', '.mat': 'scipy'}
# What errors name where they do not name the file: torchvision tells none, a picture stands for what is said of it.
INSTEAD = {'mnist idx': 'no full MNIST in /', 'yolo txt': 'images/train/a.png', 'coco masks': 'train2017/1.jpg'}


def made(name, root):
    """A whole file and its use."""
    pytest.importorskip(CAMERAS.get(name.removeprefix('events '), 'torchvision'))
    if name == 'coco masks':
        pytest.importorskip('pycocotools')
    return FORMATS[name](root)


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('name', FORMATS)
def test_any_broken_file_ends_in_one_error(name, tmp_path):
    ends(*made(name, tmp_path), 10 if name == 'cifar mosaic' else 40, instead=INSTEAD.get(name))


@pytest.mark.slow
@pytest.mark.exhaustive
@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('name', FORMATS)
def test_many_broken_files(name, tmp_path):
    ends(*made(name, tmp_path), 2000, instead=INSTEAD.get(name))


@pytest.mark.slow
@needs_samples
def test_broken_recordings_of_aedat(tmp_path):
    pytest.importorskip('aedat')
    path = tmp_path / 'a.aedat4'
    for content in mutants(member('tonic/sample.aedat4'), 40):
        path.write_bytes(content)
        with soon():
            try:
                read_events(path)
            except DataError:
                continue


def header(path, tree):
    """Put JSON into the metadata of a converted network."""
    content = path.read_bytes()
    (size,) = struct.unpack('<Q', content[:8])
    said = json.loads(content[8 : 8 + size])
    said['__metadata__']['snnkern.convert'] = json.dumps(tree)
    text = json.dumps(said).encode()
    path.write_bytes(struct.pack('<Q', len(text)) + text + content[8 + size :])


def test_any_metadata_of_a_network(tmp_path):
    path, _ = converted(tmp_path)
    content = path.read_bytes()
    (size,) = struct.unpack('<Q', content[:8])
    said = json.loads(json.loads(content[8 : 8 + size])['__metadata__']['snnkern.convert'])
    with soon(60):
        for tree in trees(said, 100):
            header(path, tree)
            try:
                SNN.load(path, chain())(torch.rand(2, 1, 8, 8), 2)
            except ValueError:
                continue


@pytest.mark.parametrize(
    ('place', 'value'),
    [
        ('timesteps', -3),
        ('timesteps', 0),
        ('timesteps', True),
        ('seed', 10**30),
        ('seed', -1),
        ('origin.inputs', [[[1, 8, 8], 'quint8']]),
        ('origin.inputs', [[[1, 8, 8]]]),
        ('origin.inputs', [[[3, 8, 8], 'float32']]),
        ('origin.inputs', [[[2**40, 2**40], 'float32']]),
        ('origin.leaves', ['a.b']),
        ('origin.leaves', [1]),
        ('origin.modules', 0),
        ('origin.modules', {'x': 'y'}),
        ('origin.coding', 'x'),
    ],
)
def test_wrong_metadata_of_a_network_are_named(tmp_path, place, value):
    path, _ = converted(tmp_path)
    content = path.read_bytes()
    (size,) = struct.unpack('<Q', content[:8])
    said = json.loads(json.loads(content[8 : 8 + size])['__metadata__']['snnkern.convert'])
    part, _, key = place.rpartition('.')
    (said[part] if part else said)[key] = value
    header(path, said)
    with pytest.raises(ValueError, match=r'c\.safetensors (is broken|does not fit Sequential)'):
        SNN.load(path, chain())


@pytest.mark.filterwarnings('ignore')
@pytest.mark.parametrize('read', [coco, coco_boxes])
def test_any_annotations_of_coco(tmp_path, read):
    for name in ('torchvision', 'pycocotools'):
        pytest.importorskip(name)
    path = coco_folder(tmp_path)
    said = json.loads(path.read_text())
    options = {'min_pixels': 1} if read is coco else {}
    with soon(60):
        for tree in trees(said, 100):
            path.write_text(json.dumps(tree))
            try:
                read(tmp_path, size=(40, 80), augment='none', **options).train.batch([0])
            except DataError:
                continue


def test_names_that_lead_out(tmp_path):
    """A list or an annotation may not name files elsewhere."""
    pytest.importorskip('torchvision')
    path = coco_folder(tmp_path)
    said = json.loads(path.read_text())
    for name in ('../val2017/1.jpg', str(tmp_path / 'val2017' / '1.jpg')):
        said['images'][0]['file_name'] = name
        path.write_text(json.dumps(said))
        for read in (coco, coco_boxes):
            with pytest.raises(DataError, match=r'image 1: .* is no file below its folder'):
                read(tmp_path, size=(40, W))
    for name in ('trainlabel.txt', 'vallabel.txt'):
        (tmp_path / name).write_text('../../a.npz 1 254 190\n')
    with pytest.raises(DataError, match=r"line 1: '\.\./\.\./a\.npz' is no file below"):
        es_imagenet(tmp_path)


def test_members_that_lead_out(tmp_path):
    """Names with `..` in an archive are members like others: nothing is unpacked, so nothing is written elsewhere."""
    pytest.importorskip('torchvision')
    path = zipped(tmp_path / 'y.zip', yolo_folder(tmp_path / 'y'))
    with zipfile.ZipFile(path, 'a') as members:
        members.writestr('images/train/../../../out.png', b'no picture')
        members.writestr('/out.txt', b'0 0 0 0 0')
    before = sorted(tmp_path.rglob('*'))
    yolo(path, size=(40, 80), augment='none').train.batch([0])
    assert sorted(tmp_path.rglob('*')) == before


@pytest.mark.parametrize('error', [NameError('x'), ModuleNotFoundError('x'), PermissionError(13, 'no')])
def test_what_is_no_files_fault_is_not_put_on_it(error):
    with pytest.raises(type(error)), reading('x is broken'):
        raise error
    with (
        pytest.raises(DataError, match=r'x is broken, or there is too little memory \(MemoryError\)'),
        reading('x is broken'),
    ):
        raise MemoryError


def test_an_array_where_an_archive_should_be(tmp_path):
    with (tmp_path / 'm.npz').open('wb') as file:
        np.save(file, np.zeros(3))
    with pytest.raises(DataError, match=r'm\.npz is broken or no MNIST archive \(File is not a zip file\)'):
        mnist(tmp_path / 'm.npz')


def test_an_array_that_says_it_is_huge(tmp_path):
    said = {'descr': '|u1', 'fortran_order': False, 'shape': (10**14,)}
    with zipfile.ZipFile(tmp_path / 'm.npz', 'w') as members, members.open('x_train.npy', 'w') as file:
        np.lib.format.write_array_header_1_0(file, said)
    with pytest.raises(DataError, match='is broken or no MNIST archive'):
        mnist(tmp_path / 'm.npz')


@pytest.mark.parametrize('compressed', [False, True])
@pytest.mark.parametrize('dtype', [np.float64, np.float32, np.uint8, np.int16, bool])
def test_matrices_are_read_as_scipy_reads_them(tmp_path, compressed, dtype):
    io = pytest.importorskip('scipy.io')
    path, rng = tmp_path / 'm.mat', np.random.default_rng(0)
    arrays = {'other': rng.random((3, 2)), 'spiketrain': rng.integers(0, 9, (5, 7)).astype(dtype), 'text': 'abc'}
    io.savemat(path, arrays, do_compression=compressed)
    found, expected = matrix(path, 'spiketrain'), io.loadmat(path)['spiketrain']
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype
    with pytest.raises(ValueError, match='it holds no gone'):
        matrix(path, 'gone')
    with pytest.raises(ValueError, match='which holds no numbers'):
        matrix(path, 'text')


def test_a_matrix_behind_a_compressed_one(tmp_path):
    """Compressed elements end anywhere, and what comes next begins there."""
    io = pytest.importorskip('scipy.io')
    path, content = tmp_path / 'm.mat', b''
    for name, compressed in (('a', True), ('b', False), ('c', False), ('d', True), ('e', False)):
        io.savemat(path, {name: np.arange(5, dtype=np.int16)}, do_compression=compressed)
        content += path.read_bytes()[128 if content else 0 :]
    path.write_bytes(content)
    for name in 'abcde':
        np.testing.assert_array_equal(matrix(path, name), io.loadmat(path)[name])


def test_a_matrix_that_unpacks_to_too_much(tmp_path, monkeypatch):
    io = pytest.importorskip('scipy.io')
    io.savemat(tmp_path / 'm.mat', {'a': np.zeros(1 << 20)}, do_compression=True)
    assert matrix(tmp_path / 'm.mat', 'a').any() == 0
    monkeypatch.setattr(mat_files, 'SMALL', 1 << 20)
    with pytest.raises(ValueError, match='unpacks to too much'):
        matrix(tmp_path / 'm.mat', 'a')


@needs_samples
def test_the_published_matrix(tmp_path):
    io = pytest.importorskip('scipy.io')
    with zipfile.ZipFile(SAMPLES) as members:
        (tmp_path / 's.mat').write_bytes(members.read('tonic/sample_stmnist.mat'))
    expected = io.loadmat(tmp_path / 's.mat')['spiketrain']
    np.testing.assert_array_equal(matrix(tmp_path / 's.mat', 'spiketrain'), expected)
