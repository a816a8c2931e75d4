"""Detectors of every kind of file, and what is said of files that are not what was asked for."""

import json
import zipfile

import pytest
import torch
from detectors import CLASSES, SIZE, run_of, squares

from snnkern.data import DataError
from snnkern.models import TinyYolo, WeightsError
from snnkern.models.darknet import VOC_ANCHORS, save_darknet
from snnkern.models.fastestdet import FastestDet
from snnkern.recipes import training
from snnkern.recipes.detect import folders
from snnkern.recipes.detect.conversion import Conversion
from snnkern.recipes.detect.data import read
from snnkern.recipes.detect.networks import Asked, load

pytest.importorskip('torchvision')


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """The data set."""
    return squares(tmp_path_factory.mktemp('squares'))


@pytest.fixture(scope='module')
def run(tmp_path_factory, root):
    """A run of `snnkern detect train`."""
    return run_of(tmp_path_factory.mktemp('runs') / 'ann', root)


@pytest.fixture(scope='module')
def converted(tmp_path_factory, run, root):
    """A folder of `snnkern detect convert`."""
    out = tmp_path_factory.mktemp('converted')
    detector = load(run)
    snn = Conversion(timesteps=4).run(detector, read(f'yolo:{root}', detector, {}))
    folders.save(out, detector, snn, {'coding': 'direct'})
    return out, snn


def same(a, b):
    """Whether two networks have the same tensors."""
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_runs_are_loaded_by_folder_and_file(run):
    detector = load(run)
    assert (detector.name, detector.classes, detector.size) == ('tiny-yolo', CLASSES, (SIZE, SIZE))
    assert detector.snn is None
    assert not detector.ann.training
    assert detector.ann(torch.rand(1, 3, SIZE, SIZE)).shape == (1, detector.head.channels, 2, 2)
    assert len(detector.head.anchors) == 2
    assert same(load(run / 'weights.safetensors').ann, detector.ann)


def test_converted_folders_are_loaded(run, converted):
    out, snn = converted
    detector, x = load(out), torch.rand(2, 3, SIZE, SIZE)
    assert same(detector.ann, load(run).ann)
    assert (detector.classes, detector.size, detector.snn.timesteps) == (CLASSES, (SIZE, SIZE), 4)
    assert torch.equal(detector.snn(x), snn(x))
    about = json.loads((out / 'detector.json').read_text())
    assert (about['network'], about['recipe'], about['timesteps'], about['channels']) == ('tiny-yolo', 'default', 4, 14)
    assert load(out / 'ann.safetensors').classes == CLASSES
    assert load(out, Asked(size=96)).size == (96, 96)


def test_folders_that_are_not_whole(converted, tmp_path):
    out, _ = converted
    for name in (folders.ANN_FILE, folders.SNN_FILE, folders.ABOUT):
        (tmp_path / name).write_bytes((out / name).read_bytes())
    load(tmp_path)
    (tmp_path / folders.SNN_FILE).write_bytes(b'other')
    with pytest.raises(WeightsError, match=r'snn.safetensors is not the file that detector.json is of'):
        load(tmp_path)
    (tmp_path / folders.SNN_FILE).unlink()
    with pytest.raises(WeightsError, match=r'no file .*snn.safetensors'):
        load(tmp_path)
    (tmp_path / folders.ABOUT).write_text('{')
    with pytest.raises(WeightsError, match=r'detector.json is broken, or not of `snnkern detect convert`'):
        load(tmp_path)
    (tmp_path / folders.ABOUT).unlink()
    with pytest.raises(WeightsError, match=r'holds neither weights.safetensors of a training nor detector.json'):
        load(tmp_path)
    with pytest.raises(WeightsError, match=r'no file .*nothing'):
        load(tmp_path / 'nothing')


def test_checkpoints_say_by_their_shapes_what_they_are(tmp_path):
    net = TinyYolo(num_classes=20, width=2, last=32, anchors=3)
    torch.save({'state_dict': net.state_dict()}, tmp_path / 'a.pth')
    detector = load(tmp_path / 'a.pth')
    assert same(detector.ann, net)
    assert (detector.classes[0], detector.size) == ('aeroplane', (416, 416))
    torch.save(TinyYolo(num_classes=3, width=2).state_dict(), tmp_path / 'b.pt')
    with pytest.raises(ValueError, match=r'classes: .*b.pt has 3 classes and no names of them'):
        load(tmp_path / 'b.pt')
    (tmp_path / 'names.txt').write_text('a\nb\n\nc\n')
    assert load(tmp_path / 'b.pt', Asked(classes=str(tmp_path / 'names.txt'))).classes == ('a', 'b', 'c')
    torch.save({'layer.weight': torch.zeros(3)}, tmp_path / 'c.pt')
    with pytest.raises(WeightsError, match=r'c.pt is not of tiny-yolo or fastestdet: it holds layer.weight'):
        load(tmp_path / 'c.pt')
    broken = {**net.state_dict(), 'stages.3.0.weight': torch.zeros(1, 2, 3, 3)}
    torch.save(broken, tmp_path / 'd.pt')
    with pytest.raises(WeightsError, match=r'd.pt is not of tiny-yolo .*stages.3.0.weight'):
        load(tmp_path / 'd.pt')


def test_fastestdet_is_found_in_an_archive(tmp_path):
    net = FastestDet()
    torch.save(net.state_dict(), tmp_path / 'weight_AP05.pth')
    with zipfile.ZipFile(tmp_path / 'all.zip', 'w') as archive:
        archive.write(tmp_path / 'weight_AP05.pth', 'fastestdet_coco/weight_AP05.pth')
        archive.writestr('resnet/resnet20.th', b'')
    for path, asked in (('all.zip', Asked('fastestdet')), ('all.zip', None), ('weight_AP05.pth', None)):
        detector = load(tmp_path / path, asked)
        assert (detector.name, detector.size, len(detector.classes)) == ('fastestdet', (352, 352), 80)
        assert same(detector.ann, net)
    with pytest.raises(WeightsError, match=r'no members for tiny-yolo, expected one; it holds fastestdet_coco/weight'):
        load(tmp_path / 'all.zip', Asked('tiny-yolo'))
    with pytest.raises(WeightsError, match='85 channels: 80 classes; asked: 20 classes'):
        load(tmp_path / 'weight_AP05.pth', Asked(classes='voc'))
    with pytest.raises(WeightsError, match='is of one width only; asked: 8'):
        load(tmp_path / 'weight_AP05.pth', Asked(width=8))
    with pytest.raises(WeightsError, match='weights are for no anchors; asked: 5'):
        load(tmp_path / 'weight_AP05.pth', Asked(anchors='coco'))


@pytest.mark.parametrize('last', [64, 32])
def test_darknet_files(last, tmp_path):
    """Either shape that was published; classes and anchors are the user's to say."""
    net = TinyYolo(num_classes=20, width=2, last=last, anchors=VOC_ANCHORS)
    path = tmp_path / 'tiny.weights'
    save_darknet(net, path)
    detector = load(path, Asked(classes='voc', width=2))
    x = torch.rand(1, 3, SIZE, SIZE)
    assert torch.allclose(detector.ann(x), net.eval()(x), atol=1e-5)
    assert torch.allclose(detector.head.anchors, torch.tensor(VOC_ANCHORS))
    with pytest.raises(ValueError, match='does not say its classes'):
        load(path)
    with pytest.raises(WeightsError, match='asked: 80 classes with 5 anchors, 425 channels'):
        load(path, Asked(classes='coco', width=2))
    (tmp_path / 'names').write_text('\n'.join(f'class {k}' for k in range(20)))
    with pytest.raises(ValueError, match='does not say its anchors'):
        load(path, Asked(classes=str(tmp_path / 'names'), width=2))
    five = '1.08,1.19, 3.42,4.41, 6.63,11.38, 9.42,5.11, 16.62,10.52'
    named = load(path, Asked(classes=str(tmp_path / 'names'), anchors=five, width=2))
    assert torch.allclose(named.head.anchors, torch.tensor(VOC_ANCHORS))
    assert named.classes[3] == 'class 3'


def test_what_is_not_as_asked(run, tmp_path):
    with pytest.raises(WeightsError, match=r'is of tiny-yolo; asked: fastestdet'):
        load(run, Asked('fastestdet'))
    with pytest.raises(WeightsError, match=r'14 channels: 2 classes with 2 anchors; asked: 20 classes'):
        load(run, Asked(classes='voc'))
    with pytest.raises(WeightsError, match=r'is 2 wide; asked: 16'):
        load(run, Asked(width=16))
    with pytest.raises(WeightsError, match=r'weights are for 2 anchors; asked: 5'):
        load(run, Asked(anchors='voc'))
    wide = load(run, Asked(anchors='13,13, 1.3,2.6'))
    assert torch.allclose(wide.head.anchors, torch.tensor([[1.0, 1.0], [0.1, 0.2]]))
    training.save(torch.nn.Linear(2, 2), tmp_path / 'a.safetensors', {'model': 'lenet5'})
    with pytest.raises(WeightsError, match='is not of tiny-yolo or fastestdet'):
        load(tmp_path / 'a.safetensors')


@pytest.mark.parametrize(
    ('asked', 'error', 'sentence'),
    [
        ({'network': 'yolov9'}, ValueError, "network: expected one of .*, got 'yolov9'"),
        ({'width': 0}, ValueError, 'width: expected at least 1, got 0'),
        ({'size': 100}, ValueError, 'size: expected a multiple of 32, got 100'),
        ({'anchors': '1,2,3'}, ValueError, "anchors: expected voc, coco or positive .*, got '1,2,3'"),
        ({'anchors': '1,-2'}, ValueError, 'anchors: expected voc, coco or positive'),
        ({'classes': 'imagenet'}, DataError, 'classes: expected voc, coco or a file .*, got imagenet'),
    ],
)
def test_bad_answers(asked, error, sentence, run):
    with pytest.raises(error, match=sentence):
        load(run, Asked(**asked))
