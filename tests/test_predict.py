"""`snnkern predict`: classes of pictures and recordings, masks over pictures, and files that are broken."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from snnkern.cli import app
from snnkern.data import DataError, samples
from snnkern.models import WeightsError
from snnkern.recipes import training
from snnkern.recipes.direct import predict, saved
from snnkern.recipes.direct.config import Config
from snnkern.recipes.fitting import seeded

SAMPLE = Path(__file__).parents[2] / 'shared/data/event_samples.zip'


def run_of(tmp_path, config, data):
    """A run's folder with an untrained network."""
    folder = tmp_path / 'run'
    folder.mkdir()
    with seeded(0):
        net = saved.make(config, len(data.classes), data.shape)
    training.save(net, folder / saved.FILE, saved.facts_of(config, data))
    return folder


@pytest.fixture
def digits(tmp_path):
    """A run on digits, and a folder with three of them as pictures."""
    data = samples('mnist')
    folder = run_of(tmp_path, Config('mlp', 'mnist', options={'hidden': 16, 'neuron': 'plif'}, T=4), data)
    pictures = tmp_path / 'pictures'
    pictures.mkdir()
    x, _ = data.test.batch([0, 1, 2])
    for i, image in enumerate((255 * x).byte()):
        Image.fromarray(image[0].numpy()).save(pictures / f'{i}.png')
    return folder, pictures, x


def test_pictures_are_what_the_data_set_gives(digits):
    """A file's answer is that of its sample."""
    folder, pictures, x = digits
    trained = saved.load(folder)
    rows = predict.predict(trained, [pictures], None, False, lambda what, share: None)
    p = predict.answer(trained, x).softmax(1)
    assert [row['class'] for row in rows] == [str(int(k)) for k in p.argmax(1)]
    assert [row['probability'] for row in rows] == pytest.approx(p.amax(1).tolist(), abs=1e-3)
    assert [Path(row['file']).name for row in rows] == ['0.png', '1.png', '2.png']


def test_the_command(digits):
    folder, pictures, _ = digits
    done = CliRunner().invoke(app, ['predict', str(folder), str(pictures), '--json'])
    assert done.exit_code == 0, done.output
    assert len(json.loads(done.stdout)['predictions']) == 3
    shown = CliRunner().invoke(app, ['predict', str(folder / saved.FILE), str(pictures / '1.png')])
    assert shown.exit_code == 0
    assert '1.png' in shown.stdout
    assert '%' in shown.stdout


def test_broken_pictures_are_named_or_left_out(digits):
    folder, pictures, _ = digits
    (pictures / '1.png').write_bytes(b'no picture')
    stopped = CliRunner().invoke(app, ['predict', str(folder), str(pictures)])
    assert stopped.exit_code == 1
    assert '1.png is broken or no picture' in stopped.stderr.replace('\n', ' ')
    left = CliRunner().invoke(app, ['predict', str(folder), str(pictures), '--skip-broken', '--json'])
    assert left.exit_code == 0
    rows = json.loads(left.stdout)['predictions']
    assert ['error' in row for row in rows] == [False, True, False]


@pytest.mark.parametrize(
    ('paths', 'message'), [(['none'], 'no file or folder .*none'), (['empty'], r'no files in .*empty that end in .png')]
)
def test_nothing_to_predict(digits, tmp_path, paths, message):
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DataError, match=message):
        predict.predict(saved.load(digits[0]), [tmp_path / p for p in paths], None, False, print)


def test_weights_of_something_else(tmp_path):
    from snnkern.models import LeNet5

    training.save(LeNet5(), tmp_path / 'ann.safetensors', {'model': 'lenet5'})
    with pytest.raises(WeightsError, match='holds lenet5, expected one of `snnkern train CONFIG`'):
        saved.load(tmp_path / 'ann.safetensors')


def test_masks_are_drawn_over_pictures(tmp_path):
    """Of their own size, a file for each picture, coloured where a class was found."""
    pytest.importorskip('torchvision')
    root = tmp_path / 'camvid'
    for part in ('train', 'test'):
        for folder in (part, f'{part}annot'):
            (root / folder).mkdir(parents=True)
        picture = np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8)
        Image.fromarray(picture).save(root / part / 'a.png')
        Image.fromarray(np.zeros((48, 64), np.uint8)).save(root / f'{part}annot' / 'a.png')
    data = samples(f'camvid:{root}', size=(48, 64))
    options = {'width': 2, 'norm': 'bn', 'neuron': 'lif'}
    folder = run_of(tmp_path, Config('segment', f'camvid:{root}', options=options, T=8, coding='saccade'), data)
    Image.fromarray(np.zeros((30, 100, 3), np.uint8)).save(root / 'test' / 'wide.jpg')
    out = tmp_path / 'overlays'
    done = CliRunner().invoke(app, ['predict', str(folder), str(root / 'test'), '--out', str(out), '--json'])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)['predictions']
    assert [sum(row['shares'].values()) for row in rows] == pytest.approx([1, 1], abs=1e-3)
    with Image.open(out / 'a.png') as image, Image.open(out / 'wide.png') as wide:
        assert image.size == (64, 48)
        assert wide.size == (100, 30)
        assert len({tuple(c) for c in np.asarray(image).reshape(-1, 3)}) > 10


def test_no_picture_is_written_over(tmp_path):
    (tmp_path / 'b').mkdir()
    files = [tmp_path / name for name in ('a.png', 'a.jpg', 'c.png', 'b/c.png')]
    for file in files:
        file.write_bytes(b'')
    out = tmp_path / 'out'
    assert predict.targets(files[:2], out, False) == {files[0]: out / 'a.png.png', files[1]: out / 'a.jpg.png'}
    with pytest.raises(FileExistsError, match='another file has the same name'):
        predict.targets(files[2:], out, False)
    with pytest.raises(FileExistsError, match='is a file to predict'):
        predict.targets(files[2:3], tmp_path, True)
    out.mkdir()
    (out / 'c.png').write_bytes(b'')
    with pytest.raises(FileExistsError, match='is there already: --overwrite'):
        predict.targets(files[2:3], out, False)
    assert predict.targets(files[2:3], out, True) == {files[2]: out / 'c.png'}


def test_classifiers_see_the_middle(digits, tmp_path):
    """A wide picture is cut, not squeezed, as pictures in folders are."""
    folder, _, x = digits
    wide = np.zeros((28, 84), np.uint8)
    wide[:, 28:56] = (255 * x[0, 0]).byte()
    Image.fromarray(wide).save(tmp_path / 'wide.png')
    assert torch.allclose(predict.sample(tmp_path / 'wide.png', saved.load(folder)), x[0], atol=2 / 255)


def test_recordings_are_predicted(tmp_path):
    """A recording of the size of the data set's sensor; frames as the data set makes them."""
    if not SAMPLE.exists():
        pytest.skip('../shared/data/event_samples.zip is not there')
    pytest.importorskip('tonic')
    import zipfile

    with zipfile.ZipFile(SAMPLE) as archive:
        (tmp_path / 'a.bin').write_bytes(archive.read('tonic/sample_nmnist.bin'))
    data = samples('nmnist', 4)
    config = Config('events-conv', 'nmnist', options={'width': 4}, T=4, coding='frames')
    trained = saved.load(run_of(tmp_path, config, data))
    (row,) = predict.predict(trained, [tmp_path / 'a.bin'], None, False, lambda what, share: None)
    assert row['class'] in data.classes
    x = predict.sample(tmp_path / 'a.bin', trained)
    assert x.shape == data.shape
    assert x.sum() > 1000
    small = tmp_path / 'small'
    small.mkdir()
    scaled = saved.load(run_of(small, config, samples('nmnist', 4, size=28)))
    assert predict.sample(tmp_path / 'a.bin', scaled).shape == (4, 2, 28, 28)
    (tmp_path / 'b.bin').write_bytes(b'1234')
    with pytest.raises(DataError, match=r'b.bin is broken'):
        predict.sample(tmp_path / 'b.bin', trained)
    assert torch.equal(x, predict.sample(tmp_path / 'a.bin', trained))
