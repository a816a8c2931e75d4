"""`snnkern detect predict`: boxes in pixels of pictures and videos, files that are broken, and what is drawn."""

import json
import sys
import types

import numpy as np
import pytest
import torch
from detectors import CLASSES, run_of, squares
from PIL import Image
from programs import PNG, invoke, words

from snnkern.data import DataError
from snnkern.models.boxes import Detections, detect
from snnkern.recipes.detect import folders, pictures, predict, video
from snnkern.recipes.detect.conversion import Conversion
from snnkern.recipes.detect.data import read
from snnkern.recipes.detect.networks import load

pytest.importorskip('torchvision')

quiet = lambda what, share: None  # noqa: E731


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    """The data set."""
    return squares(tmp_path_factory.mktemp('squares'))


@pytest.fixture(scope='module')
def converted(tmp_path_factory, root):
    """A folder of `snnkern detect convert`."""
    detector = load(run_of(tmp_path_factory.mktemp('runs') / 'ann', root))
    out = tmp_path_factory.mktemp('converted')
    folders.save(out, detector, Conversion(timesteps=4).run(detector, read(f'yolo:{root}', detector, {})), {})
    return out


@pytest.fixture
def photos(root, tmp_path):
    """A folder of two pictures of 96 x 64 pixels."""
    for name in ('val0', 'val1'):
        (tmp_path / 'photos').mkdir(exist_ok=True)
        (tmp_path / f'photos/{name}.png').write_bytes((root / f'images/val/{name}.png').read_bytes())
    return tmp_path / 'photos'


@pytest.mark.parametrize('ann', [False, True])
def test_boxes_are_those_of_the_data_set(ann, converted, root, photos, tmp_path):
    """A file's boxes are those of its sample, in pixels."""
    detector = load(converted)
    rows = predict.predict(detector, [photos], tmp_path, predict.Settings(ann=ann, score=0.1), quiet)
    x, _ = read(f'yolo:{root}', detector, {}).test.batch([0, 1])
    maps = detector.ann(x) if ann else detector.snn.predict(x, 4)
    for row, found in zip(rows, detect(detector.head, maps, 0.1), strict=True):
        assert row['boxes']
        assert [CLASSES.index(box['class']) for box in row['boxes']] == found.labels.tolist()
        assert [box['score'] for box in row['boxes']] == pytest.approx(found.scores.tolist(), abs=2e-2)
        corners = torch.tensor([box['box'] for box in row['boxes']])
        assert torch.allclose(corners, found.boxes * torch.tensor([96, 64, 96, 64]), atol=1.5)
        with Image.open(row['picture']) as drawn:
            assert drawn.size == (96, 64)


def test_the_command(converted, photos, tmp_path):
    out = tmp_path / 'found'
    result = invoke('detect', 'predict', converted, photos, '--T', 2, '--score', 0.1, '--out', out, '--json')
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report['T'] == 2
    assert [row['picture'] for row in report['predictions']] == [str(out / 'val0.png'), str(out / 'val1.png')]
    assert all((out / f'{name}.png').read_bytes().startswith(PNG) for name in ('val0', 'val1'))
    again = invoke('detect', 'predict', converted, photos, '--out', out)
    assert again.exit_code == 1
    assert 'is there already: --overwrite' in words(again.stderr)
    shown = invoke('detect', 'predict', converted, photos, '--ann', '--score', 0.99, '--out', out, '--overwrite')
    assert shown.exit_code == 0, shown.output
    assert 'val0.png nothing' in words(shown.stdout)
    into = invoke('detect', 'predict', converted, photos, '--out', photos, '--overwrite')
    assert 'is a file to predict: name another folder' in words(into.stderr)


def test_broken_pictures_are_named_or_left_out(converted, photos, tmp_path):
    (photos / 'broken.jpg').write_bytes(b'no picture')
    stopped = invoke('detect', 'predict', converted, photos, '--out', tmp_path / 'a')
    assert stopped.exit_code == 1
    assert 'broken.jpg is broken or no picture' in words(stopped.stderr)
    left = invoke('detect', 'predict', converted, photos, '--skip-broken', '--out', tmp_path / 'b', '--json')
    assert left.exit_code == 0
    assert ['error' in row for row in json.loads(left.stdout)['predictions']] == [True, False, False]


def test_bad_settings(converted):
    for name, value, sentence in (('score', 2, 'score: expected a number in 0..1'), ('every', 0, 'every must be >= 1')):
        with pytest.raises(ValueError, match=sentence):
            predict.Settings(**{name: value})
    with pytest.raises(DataError, match=r'no files in .* that end in .png'):
        predict.predict(load(converted), [converted], converted, predict.Settings(), quiet)


class Capture:
    """cv2's reader, of frames that are stored as numpy stores arrays."""

    def __init__(self, path):
        try:
            self.frames = list(np.load(path))
            self.opened = True
        except ValueError:
            self.frames, self.opened = [], False
        self.count = len(self.frames)

    def isOpened(self):  # noqa: N802
        return self.opened

    def read(self):
        return (True, self.frames.pop(0)) if self.frames else (False, None)

    def get(self, what):
        return 10.0 if what == 'rate' else self.count

    def release(self):
        self.frames = []


class Film:
    """cv2's writer to such a file."""

    def __init__(self, path, code, rate, size):
        self.path, self.size, self.frames = path, size, []

    def isOpened(self):  # noqa: N802
        return True

    def write(self, frame):
        assert frame.shape == (self.size[1], self.size[0], 3)
        self.frames.append(frame)

    def release(self):
        with open(self.path, 'wb') as file:
            np.save(file, np.stack(self.frames))


@pytest.fixture
def cv2(monkeypatch):
    """A stand-in for OpenCV."""
    module = types.ModuleType('cv2')
    module.VideoCapture, module.VideoWriter = Capture, Film
    module.VideoWriter_fourcc = lambda *letters: letters
    module.CAP_PROP_FPS, module.CAP_PROP_FRAME_COUNT = 'rate', 'count'
    module.COLOR_BGR2RGB = module.COLOR_RGB2BGR = 'turned'
    module.cvtColor = lambda frame, how: np.ascontiguousarray(frame[..., ::-1])
    monkeypatch.setitem(sys.modules, 'cv2', module)


@pytest.fixture
def film(photos):
    """Five frames, BGR: the two pictures in turn."""
    frames = [np.asarray(Image.open(photos / f'val{i % 2}.png').convert('RGB'))[..., ::-1] for i in range(5)]
    path = photos.parent / 'film.mp4'
    with path.open('wb') as file:
        np.save(file, np.stack(frames))
    return path


def test_videos_are_read_frame_by_frame(cv2, film, photos, converted, tmp_path):
    """Every second frame is looked at; a frame's boxes are those of the same picture, and stay for the next."""
    out = tmp_path / 'out'
    out.mkdir()
    detector, settings = load(converted), predict.Settings(score=0.1, every=2)
    (row, *stills) = predict.predict(detector, [film, photos], out, settings, quiet)
    assert [frame['frame'] for frame in row['frames']] == [0, 2, 4]
    assert [frame['seconds'] for frame in row['frames']] == [0.0, 0.2, 0.4]
    assert all(frame['boxes'] == stills[0]['boxes'] for frame in row['frames'])
    drawn = np.load(row['video'])
    assert drawn.shape == (5, 64, 96, 3)
    with Image.open(stills[0]['picture']) as still:
        assert np.array_equal(drawn[0][..., ::-1], np.asarray(still))
    assert {path.name for path in out.iterdir()} == {'film.mp4', 'val0.png', 'val1.png'}
    assert predict.table([row])[0][1].endswith('in 3 frames')


def test_broken_videos(cv2, film, converted, tmp_path):
    """Nothing is left of a film that cannot be read."""
    film.write_bytes(b'no video')
    with pytest.raises(DataError, match=r'film.mp4 is broken or no video'):
        predict.predict(load(converted), [film], tmp_path / 'photos', predict.Settings(), quiet)
    assert {path.suffix for path in (tmp_path / 'photos').iterdir()} == {'.png'}
    with pytest.raises(FileExistsError, match='is a file to predict'):
        predict.predict(load(converted), [film], tmp_path, predict.Settings(overwrite=True), quiet)


def test_videos_need_opencv(film, converted, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, 'cv2', None)
    result = invoke('detect', 'predict', converted, film, '--skip-broken', '--out', tmp_path / 'out')
    assert result.exit_code == 1
    assert 'videos need OpenCV: pip install opencv-python-headless' in words(result.stderr)


def test_opencv_itself(photos, tmp_path):
    """What is written can be read again, if OpenCV is there."""
    pytest.importorskip('cv2')
    image = np.asarray(Image.open(photos / 'val0.png').convert('RGB'))
    source = types.SimpleNamespace(cv2=video.opencv(), rate=5.0, size=(96, 64))
    with video.Writer(tmp_path / 'a.mp4', source) as film:
        for _ in range(4):
            film.add(image)
    with video.Reader(tmp_path / 'a.mp4') as frames:
        assert (frames.rate, frames.size) == (5.0, (96, 64))
        found = list(frames)
    assert len(found) == 4
    assert np.abs(found[0].astype(int) - image).mean() < 12


def test_boxes_are_drawn_in_the_colours_of_their_classes():
    image = torch.full((3, 200, 300), 255, dtype=torch.uint8)
    boxes = torch.tensor([[0.1, 0.1, 0.4, 0.5], [0.5, 0.5, 0.9, 0.9]])
    found = Detections(boxes, torch.tensor([0.9, 0.8]), torch.tensor([1, 0]))
    drawn = pictures.boxed(image, found, CLASSES, scores=False)
    assert drawn.shape == image.shape
    assert tuple(drawn[:, 60, 30].tolist()) == pictures.colour(1)
    assert tuple(drawn[:, 140, 150].tolist()) == pictures.colour(0)
    assert (drawn[:, 140, 200] == 255).all()
    assert not torch.equal(pictures.boxed(image, found, CLASSES), drawn)
    names = tuple(f'class {k}' for k in range(30))
    assert not torch.equal(pictures.boxed(image, found, names, scores=False), drawn)
    none = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long))
    assert torch.equal(pictures.boxed(image, none, CLASSES), image)
    assert pictures.colour(11) == pictures.colour(1)


def test_curves_without_an_ann(tmp_path):
    points = {'a': {1: {'ap50': 0.1, 'ap': 0.05}, 4: {'ap50': 0.5, 'ap': 0.2}}}
    pictures.curves(points, None, tmp_path / 'curves.png')
    assert (tmp_path / 'curves.png').read_bytes().startswith(PNG)
