"""Every file that is written comes by renaming a whole one, and nothing is left where that fails."""

import dataclasses
import os
from pathlib import Path

import pytest
import torch
from corrupt import chain
from corrupt_runs import run
from detectors import squares
from programs import picture_folder
from torch import nn

from snnkern import _files, data
from snnkern.convert import convert
from snnkern.models.darknet import save_darknet
from snnkern.recipes import convert_program, study, training
from snnkern.recipes.ann import Source
from snnkern.recipes.demo import Settings
from snnkern.recipes.demo import run as demo
from snnkern.recipes.detect import folders, predict
from snnkern.recipes.detect.conversion import Conversion
from snnkern.recipes.detect.data import read
from snnkern.recipes.detect.networks import load
from snnkern.recipes.direct import checkpoint, program, runtime
from snnkern.recipes.direct.config import Config
from snnkern.recipes.fitting import Fit
from snnkern.recipes.training import train_to

pytestmark = pytest.mark.filterwarnings('ignore::DeprecationWarning', 'ignore::matplotlib.MatplotlibDeprecationWarning')


def demonstrated(given, out):
    full = data.mnist()
    few = full._replace(**{name: getattr(full, name)[:60] for name in full._fields[:-1]})
    return lambda: demo(few, Settings(epochs=1, timesteps=(1,)), out)


def trained(given, out):
    pytest.importorskip('lightning')
    config = Config('tiny-yolo', f'yolo:{squares(given)}', loss='head', options={'width': 2, 'anchors': 2}, T=1)
    small = dataclasses.replace(config, epochs=1, batch=6, data_options={'size': [64, 64]})
    settings = runtime.Settings(device='cpu', checkpoint_every=1, existing='overwrite')
    return lambda: program.train(small, out, settings, lambda what, share: None)


def detector(given, out):
    found = load(run(given)[0].parent)
    snn = Conversion(timesteps=2).run(found, read(f'yolo:{given / "squares"}', found, {}))
    return lambda: folders.save(out, found, snn, {})


def predicted(given, out):
    found = load(run(given)[0].parent)
    photos = [given / 'squares' / 'images' / 'val']
    settings = predict.Settings(ann=True)
    return lambda: predict.predict(found, photos, out, settings, lambda what, share: None)


def converted(given, out):
    snn = convert(chain(), torch.rand(8, 1, 8, 8), timesteps=4)
    return lambda: snn.save(out / 'c.safetensors')


def darknet(given, out):
    net = nn.Sequential(nn.Conv2d(3, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    return lambda: save_darknet(net, out / 'd.weights')


def graph(given, out):
    pytest.importorskip('nir')
    from snnkern.adapters.nir import to_nir, write

    made = to_nir(nn.Sequential(nn.Linear(4, 3)), torch.rand(2, 1, 4))
    return lambda: write(made, out / 'n.nir')


def network(given):
    """A trained network, the pictures that it was trained on, and what to convert it for."""
    pytest.importorskip('torchvision')
    pictures, path = picture_folder(given / 'pictures'), given / 'nets' / 'res.safetensors'
    path.parent.mkdir()
    fit = Fit(epochs=1, batch=8, learning_rate=0.05)
    train_to(path, 'resnet20', data.dataset(f'imagefolder:{pictures}', 32), training.Settings(fit, width=2))
    source = Source('resnet20', weights=path, data=f'imagefolder:{pictures}')
    return convert_program.Settings(source, (1,), calibration=8, limit=4)


def converts(given, out):
    settings = network(given)
    return lambda: convert_program.run(settings, out, lambda what, share: None)


def studies(given, out):
    settings = study.Settings(given / 'nets', network(given))
    return lambda: study.run(settings, out, lambda what, share: None)


SLOW = [pytest.param(program, marks=pytest.mark.slow) for program in (demonstrated, trained, converts, studies)]


@pytest.mark.parametrize('program', [*SLOW, detector, predicted, converted, darknet, graph])
def test_files_are_whole_or_not_there(program, tmp_path, monkeypatch):
    given, out = tmp_path / 'given', tmp_path / 'out'
    given.mkdir()
    out.mkdir()
    work, replace, placed = program(given, out), os.replace, []

    def fails(old, new):
        raise OSError('no room')

    def records(old, new):
        placed.append(Path(new))
        replace(old, new)

    def there():
        return {path for path in out.rglob('*') if path.is_file() and 'tfevents' not in path.name}

    monkeypatch.setattr(os, 'replace', fails)
    with pytest.raises(OSError, match='no room'):
        work()
    assert not there()
    monkeypatch.setattr(os, 'replace', records)
    work()
    # safetensors renames its files itself, too.
    assert there() == {path for path in placed if not path.name.startswith('.')} != set()


class Fails:
    """A writer that fails after some bytes, also as what Lightning's Fabric is to a checkpoint."""

    def save(self, path, content=None):
        Path(path).write_bytes(b'some')
        raise OSError('no room')


@pytest.mark.parametrize('old', [None, b'old'])
def test_a_writer_that_fails_leaves_nothing(old, tmp_path):
    """All but a checkpoint is written by `write`, as the test above sees: both call os.replace."""
    net = nn.Linear(3, 2)
    for path, save in (
        (tmp_path / 'a.json', lambda: _files.write(tmp_path / 'a.json', Fails().save)),
        (
            tmp_path / checkpoint.FILE,
            lambda: checkpoint.save(Fails(), tmp_path, net, None, checkpoint.State(), {}),
        ),
    ):
        if old is not None:
            path.write_bytes(old)
        before = sorted(tmp_path.iterdir())
        with pytest.raises(OSError, match='no room'):
            save()
        assert sorted(tmp_path.iterdir()) == before
        assert old is None or path.read_bytes() == old
