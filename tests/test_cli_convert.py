"""`snnkern convert` and `snnkern train`: from nothing to a folder with all files, and errors in one sentence."""

import hashlib
import json
import subprocess
import sys

import pytest
import torch
from programs import PNG, invoke, slice_set, words
from torch import nn

from snnkern.convert import SNN
from snnkern.models import build, load_trained
from snnkern.recipes import ann
from snnkern.recipes.ann import Source
from snnkern.recipes.convert_pictures import spread
from snnkern.recipes.convert_program import Settings, job
from snnkern.recipes.segment import Scores, overlay
from snnkern.recipes.training import digest

QUICK = ('--timesteps', '1,4', '--calibration', '32', '--limit', '40')


def own_net():
    """A factory that a command line can name."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 2))


@pytest.fixture(scope='module')
def trained(tmp_path_factory, pictures):
    """What `snnkern train resnet20` writes, and what it prints."""
    path = tmp_path_factory.mktemp('trained') / 'small.safetensors'
    options = ('--width', 4, '--epochs', 2, '--batch', 8, '--learning-rate', 0.05, '--seed', 5, '--json')
    result = invoke('train', 'resnet20', '--data', f'imagefolder:{pictures}', '--out', path, *options)
    assert result.exit_code == 0, result.output
    return path, json.loads(result.stdout)


def test_train_writes_weights_that_say_what_they_are(trained):
    path, printed = trained
    net, facts = load_trained(path)
    assert not net.training
    assert (facts['model'], facts['width'], facts['num_classes']) == ('resnet20', 4, 2)
    assert (facts['settings']['fit']['seed'], facts['settings']['fit']['batch']) == (5, 8)
    assert printed == {**facts, 'file': str(path)}
    assert facts['weights'] == digest(net)


def test_train_without_labels_says_so(pictures, tmp_path):
    out = tmp_path / 'a' / 'net.safetensors'
    options = ('--width', 2, '--epochs', 1, '--probe-epochs', 1, '--batch', 8, '--method', 'rotation')
    result = invoke('train', 'resnet20', '--data', f'imagefolder:{pictures}', '--out', out, *options)
    assert result.exit_code == 0, result.output
    assert load_trained(out)[1]['settings']['method'] == 'rotation'
    assert f'Written: {out}' in words(result.stdout)


def test_digits_are_trained_converted_and_drawn(tmp_path):
    result = invoke('convert', 'lenet5', '--epochs', 1, *QUICK, '--out', tmp_path)
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / 'report.json').read_text())
    names = {'report.json', 'snn.safetensors', 'accuracy.png', 'rates.png', 'raster.png'}
    assert {path.name for path in tmp_path.iterdir()} == names == report['files'].keys()
    assert all((tmp_path / name).read_bytes().startswith(PNG) for name in names if name.endswith('.png'))
    assert report['network'] == 'lenet5'
    assert report['data'].startswith('the 10,000 MNIST test digits')
    assert (report['calibration_images'], report['test_images']) == (32, 40)
    assert report['training']['settings']['fit']['epochs'] == 1
    assert report['ann'] > 60
    (conversion,) = report['conversions']
    assert conversion['timesteps'] == 4
    assert [row['timesteps'] for row in conversion['rows']] == [1, 4]
    assert report['ann'] - conversion['rows'][1]['score'] < 10
    for row in conversion['rows']:
        assert 0 < row['spikes_per_neuron_per_step'] < 2
        assert len(row['rates']) == len(conversion['neurons']) == 3
        assert row['energy_pj'] == pytest.approx(4.6 * row['macs'] + 0.9 * row['synops'])
    for text in ('ANN', 'accuracy %', 'thresholds for T = 4', '3 neuron, 2 pool', 'raster.png'):
        assert text in words(result.stdout)


def test_trained_weights_are_converted_for_each(trained, pictures, tmp_path):
    path, facts = trained
    options = ('--data', f'imagefolder:{pictures}', '--weights', path, *QUICK, '--for', 'each', '--json')
    result = invoke('convert', 'resnet20', *options, '--out', tmp_path)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report == json.loads((tmp_path / 'report.json').read_text())
    assert report['weights'] == {'file': str(path), 'sha256': hashlib.sha256(path.read_bytes()).hexdigest()}
    assert [c['timesteps'] for c in report['conversions']] == [1, 4]
    assert [[row['timesteps'] for row in c['rows']] for c in report['conversions']] == [[1], [4]]
    assert report['ann'] == facts['test_score']
    snn = SNN.load(tmp_path / 'snn-T4.safetensors', build('resnet20', num_classes=2, width=4))
    assert snn.timesteps == 4
    assert len(snn.neurons) == 19
    assert snn.predict(torch.rand(2, 3, 32, 32)).shape == (2, 2)


def test_a_network_of_ones_own(pictures, tmp_path):
    weights = tmp_path / 'own.pt'
    net = own_net()
    torch.save(net.state_dict(), weights)
    options = ('--data', f'imagefolder:{pictures}', '--size', 32, '--weights', weights, *QUICK, '--json')
    result = invoke('convert', '--model', 'test_cli_convert:own_net', *options, '--out', tmp_path / 'out')
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report['network'] == 'test_cli_convert:own_net'
    assert report['training'] is None
    assert report['test_images'] == 24


def test_without_weights_ones_own_network_is_trained(pictures, tmp_path):
    source = Source(None, 'test_cli_convert:own_net', data=f'imagefolder:{pictures}', size=32, epochs=1, seed=3)
    found = ann.obtain(source, lambda what, share: None)
    assert found.facts['training']['settings']['fit']['seed'] == 3
    assert not torch.equal(found.net[0].weight, own_net()[0].weight)
    untouched = ann.obtain(Source(None, source.factory, data=source.data, size=32, epochs=0), lambda what, share: None)
    assert torch.equal(untouched.net[0].weight, own_net()[0].weight)


@pytest.mark.parametrize('readout', ['mean', 'original'])
def test_masks_are_scored_and_overlaid(readout, tmp_path, monkeypatch):
    pytest.importorskip('torchmetrics')
    monkeypatch.setattr(ann, 'dataset', lambda spec, size: slice_set())
    options = ('--data', 'lucchi:x', '--width', 4, '--epochs', 0, '--crop', 32, '--readout', readout, *QUICK)
    result = invoke('convert', 'unet', *options, '--out', tmp_path)
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / 'report.json').read_text())
    assert (tmp_path / 'overlay.png').read_bytes().startswith(PNG)
    assert report['crop'] == 32
    rows = report['conversions'][0]['rows']
    for score in (report['ann'], *(row['score'] for row in rows)):
        assert score.keys() == {'soft_dice', 'hard_dice', 'jaccard', 'f1', 'pixel_accuracy'}
        assert all(0 <= value <= 1 for value in score.values())
    assert 'stays analogue' in result.stdout
    assert 'soft Dice' in words(result.stdout)


def test_scores_of_masks():
    pytest.importorskip('torchmetrics')
    y = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    y[0, :, :2] = 1
    p = torch.zeros(2, 1, 4, 4)
    p[0, :, 1:3] = 0.75
    scores = Scores()
    for i in range(2):
        scores.update(p[i : i + 1], y[i : i + 1])
    found = scores.compute()
    assert found['soft_dice'] == pytest.approx(((2 * 3 + 1) / (6 + 8 + 1) + 1) / 2)
    assert found['hard_dice'] == pytest.approx(((2 * 4 + 1) / (8 + 8 + 1) + 1) / 2)
    assert found['jaccard'] == pytest.approx(4 / 12)
    assert found['f1'] == pytest.approx(0.5)
    assert found['pixel_accuracy'] == pytest.approx(24 / 32)
    scores.reset()
    scores.update(y.float(), y)
    assert scores.compute()['soft_dice'] == 1


def test_overlay_tells_hits_from_misses():
    mask, truth = torch.tensor([[True, True, False, False]]), torch.tensor([[True, False, True, False]])
    picture = overlay(torch.full((1, 4), 0.5), mask, truth)
    assert picture[0, :3].argmax(1).tolist() == [1, 0, 2]
    assert picture[0, 3].tolist() == pytest.approx([0.45] * 3)


def test_the_overlay_shows_what_thresholds_were_chosen_for():
    assert spread([1, 2, 4, 8, 16, 32], 8, 4) == [1, 4, 8, 32]
    assert spread([1, 2, 4, 8, 16, 32], 7, 3) == [1, 4, 32]
    assert spread([2, 4], 8, 5) == [2, 4]


def test_calibration_and_test_images_are_spread(pictures):
    source = Source('resnet20', data=f'imagefolder:{pictures}', width=2, epochs=0)
    found = ann.obtain(source, lambda what, share: None)
    work = job(found, Settings(source, calibration=10, limit=6))
    assert work.data.y_test.tolist() == [0, 0, 0, 1, 1, 1]
    assert len(set(work.data.y_train.tolist())) == 2
    x, y = next(iter(work.data.loader('test', 6)))
    last = found.data.x_test[23:24]
    assert torch.equal(x[5:], found.data.normalise(last))
    assert len(y) == 6


@pytest.mark.parametrize(
    ('asked', 'chosen', 'targets'),
    [((1, 2, 32), None, (2,)), ((16, 32), None, (8,)), ((1, 16), 16, (16,)), ((1, 4), 'each', (1, 4))],
)
def test_steps_that_thresholds_are_chosen_for(asked, chosen, targets):
    assert Settings(Source('lenet5'), asked, chosen).targets == targets


def test_help_imports_no_pictures_and_no_torchvision():
    code = (
        'import sys\nfrom typer.testing import CliRunner\nfrom snnkern.cli import app\n'
        'result = CliRunner().invoke(app, ["--help"])\n'
        'names = [n for n in ("matplotlib", "torchvision", "torchmetrics") if n in sys.modules]\n'
        'print(result.exit_code, names)'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '0 []'
