"""`snnkern study backbones`: every trained network of a folder in one table."""

import json

import pytest
import torch
from programs import PNG, invoke, picture_folder, words

from snnkern.convert import convert
from snnkern.convert.recipes import RECIPES
from snnkern.data import dataset
from snnkern.models import build
from snnkern.recipes.fitting import Fit
from snnkern.recipes.study import PUBLISHED, residual
from snnkern.recipes.training import Settings, train_to

QUICK = ('--timesteps', '2,4', '--calibration', '16', '--limit', '20')


@pytest.fixture(scope='module')
def world(tmp_path_factory):
    """Pictures, and a folder with a residual network, a plain one trained without labels, and one that does not fit."""
    pytest.importorskip('torchvision')
    pictures = picture_folder(tmp_path_factory.mktemp('pictures'))
    folder = tmp_path_factory.mktemp('trained')
    data, fit = dataset(f'imagefolder:{pictures}', 32), Fit(epochs=1, batch=8, learning_rate=0.05)
    train_to(folder / 'res.safetensors', 'resnet20', data, Settings(fit, width=2))
    train_to(folder / 'plain.safetensors', 'plain18', data, Settings(fit, 2, 'rotation', 1))
    grey = data._replace(x_train=data.x_train[:24][:, :1], x_test=data.x_test[:24][:, :1], mean=(0.5,), std=(0.5,))
    train_to(folder / 'grey.safetensors', 'lenet5', grey, Settings(fit))
    (folder / 'other.safetensors').write_bytes(b'nothing')
    return pictures, folder


def test_study_compares_what_fits(world, tmp_path):
    pictures, folder = world
    result = invoke(
        'study', 'backbones', folder, '--data', f'imagefolder:{pictures}', *QUICK, '--out', tmp_path, '--json'
    )
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report == json.loads((tmp_path / 'backbones.json').read_text())
    assert (tmp_path / 'backbones.png').read_bytes().startswith(PNG)
    plain, res = report['backbones']
    assert (plain['backbone'], plain['residual'], plain['training']) == ('plain', False, 'rotation')
    assert (res['backbone'], res['residual'], res['training']) == ('res', True, 'supervised')
    assert res['neuron_layers'] == 19
    assert res['weight_layers'] == 20
    assert [row['timesteps'] for row in res['runs']['default']] == [2, 4]
    assert any('left out grey' in note for note in report['notes'])
    assert any('left out other' in note for note in report['notes'])
    recipes = ['default', PUBLISHED] if PUBLISHED in RECIPES else ['default']
    assert report['recipes'] == list(res['runs']) == recipes
    assert (PUBLISHED in RECIPES) != any(PUBLISHED in note for note in report['notes'])
    lines = (tmp_path / 'backbones.md').read_text().splitlines()
    assert lines[0].startswith('| backbone | residual |')
    assert sum(line.startswith('| res | yes | 19 |') for line in lines) == 1
    assert [line.split(' | ')[1] for line in lines if line.startswith('| res | ')] == ['yes', *recipes]


def test_study_prints_a_table(world, tmp_path):
    pictures, folder = world
    options = ('--data', f'imagefolder:{pictures}', *QUICK, '--no-published', '--out', tmp_path)
    result = invoke('study', 'backbones', folder, *options)
    assert result.exit_code == 0, result.output
    assert 'backbones.png' in result.stdout
    assert PUBLISHED not in result.stdout


@pytest.mark.parametrize(
    ('options', 'code', 'sentence'),
    [
        (['--timesteps', '0'], 2, 'timesteps must be >= 1'),
        (['--recipe', 'soup'], 2, 'recipe must be a Recipe or one of'),
        (['--data', 'imagefolder:/no/such/folder'], 1, 'no image folder in'),
    ],
)
def test_study_refuses(world, options, code, sentence, tmp_path):
    pictures, folder = world
    result = invoke('study', 'backbones', folder, '--data', f'imagefolder:{pictures}', *options, '--out', tmp_path)
    assert result.exit_code == code
    assert sentence in words(result.stderr)


def test_study_of_nothing(world, tmp_path):
    result = invoke('study', 'backbones', tmp_path, '--data', 'mnist', '--out', tmp_path)
    assert result.exit_code == 2
    assert 'no .safetensors file in' in words(result.stderr)
    result = invoke('study', 'backbones', world[1], '--data', 'mnist', *QUICK, '--out', tmp_path)
    assert result.exit_code == 1
    assert 'no network fits mnist' in result.stderr


@pytest.mark.parametrize(
    ('name', 'adds'), [('resnet20', True), ('resnet18', True), ('plain18', False), ('vgg18', False)]
)
def test_what_is_residual(name, adds):
    snn = convert(build(name, width=2).eval(), torch.rand(4, 3, 32, 32), timesteps=1)
    assert residual(snn.body) is adds
    assert residual(torch.nn.Identity()) is None
