"""What `snnkern convert` and `snnkern train` say to wrong options (code 2), and where something fails (code 1)."""

import warnings

import pytest
import torch
from programs import invoke, words
from torch import nn

from snnkern.cli import common
from snnkern.data import dataset
from snnkern.models import build
from snnkern.recipes.fitting import Fit
from snnkern.recipes.training import Settings, train_to


def no_net():
    """No network."""
    return 'a string'


def softmax_net():
    """A network in which nothing can spike."""
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2), nn.Softmax(1))


@pytest.fixture(scope='module')
def weights(tmp_path_factory, pictures):
    """A narrow ResNet-20 trained on them."""
    path = tmp_path_factory.mktemp('trained') / 'small.safetensors'
    fit = Fit(epochs=1, batch=8, learning_rate=0.05)
    train_to(path, 'resnet20', dataset(f'imagefolder:{pictures}', 32), Settings(fit, width=4))
    return path


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['lenet6'], "no network 'lenet6', expected one of lenet5"),
        ([], 'name one network'),
        (['lenet5', '--model', 'a:b'], 'name one network'),
        (['--model', 'ab'], '--model must be package.module:function'),
        (['resnet20'], '--data is missing: resnet20 needs one of mnist'),
        (['lenet5', '--width', '4'], '--width: lenet5 has one width only'),
        (['lenet5', '--timesteps', '0'], 'timesteps must be >= 1, got 0'),
        (['lenet5', '--timesteps', 'a'], '--timesteps must be integers'),
        (['lenet5', '--for', '0'], 'for must be >= 1, got 0'),
        (['lenet5', '--for', 'all'], "for must be a number of steps or 'each'"),
        (['lenet5', '--recipe', 'soup'], 'recipe must be a Recipe or one of'),
        (['lenet5', '--readout', 'last'], 'readout must be one of None, mean, original'),
        (['lenet5', '--calibration', '0'], 'calibration must be >= 1'),
        (['lenet5', '--limit', '0'], 'limit must be >= 1'),
        (['lenet5', '--backend', 'abacus'], 'backend must be one of'),
    ],
)
def test_bad_options_of_convert(arguments, sentence, tmp_path):
    result = invoke('convert', *arguments, '--out', tmp_path)
    assert result.exit_code == 2
    assert sentence in words(result.stderr)


@pytest.mark.parametrize(
    ('arguments', 'sentence'),
    [
        (['resnet20', '--out', 'a.bin'], '--out must end in .safetensors'),
        (['resnet20', '--out', 'a.safetensors', '--method', 'dreams'], 'method: expected one of supervised, rotation'),
        (['resnet20', '--out', 'a.safetensors', '--epochs', '0'], 'epochs: expected at least 1'),
        (['lenet6', '--out', 'a.safetensors'], "no configuration 'lenet6'"),
    ],
)
def test_bad_options_of_train(arguments, sentence):
    result = invoke('train', *arguments, '--data', 'cifar10:x')
    assert result.exit_code == 2
    assert sentence in words(result.stderr)


def failing(*arguments):
    """The sentence of a program that ends with code 1."""
    result = invoke('convert', *arguments)
    assert result.exit_code == 1, result.output
    assert result.stdout == ''
    assert result.stderr.startswith('error: ')
    assert result.stderr.count('\n') == 1
    return result.stderr


def test_failures_are_one_sentence(weights, pictures, tmp_path):
    data, out = ('--data', f'imagefolder:{pictures}'), ('--out', tmp_path)
    missing, broken = tmp_path / 'no.safetensors', tmp_path / 'broken.pt'
    broken.write_bytes(b'no checkpoint')
    assert f'no file {missing}' in failing('resnet20', *data, '--weights', missing, *out)
    assert f'{broken} is broken' in failing('resnet20', *data, '--weights', broken, *out)
    assert 'is of resnet20, not of resnet32' in failing('resnet32', *data, '--weights', weights, *out)
    assert 'is 4 wide, not 8' in failing('resnet20', *data, '--weights', weights, '--width', 8, *out)
    assert 'there is no such' in failing('resnet20', '--data', f'cifar10:{tmp_path}/no', *out)
    assert 'no data set' in failing('resnet20', '--data', 'imagenet', *out)
    assert 'unet learns from masks, imagefolder has labels' in failing('unet', *data, '--epochs', 1, *out)
    assert 'crop: 16 pixels' in failing('resnet20', *data, '--weights', weights, '--crop', 16, *out)
    assert not (tmp_path / 'report.json').exists()


def test_wrong_number_of_classes(weights, tmp_path):
    ten = ('--data', 'mnist', '--out', tmp_path)
    assert 'is for 2 classes, mnist has 10' in failing('resnet20', *ten, '--weights', weights)
    bare = tmp_path / 'bare.pt'
    torch.save(build('resnet20', in_channels=1, num_classes=7, width=2).state_dict(), bare)
    sentence = failing('resnet20', *ten, '--weights', bare, '--width', 2)
    assert 'the weights are for 7 classes, num_classes is 10' in sentence


@pytest.mark.parametrize(
    ('factory', 'sentence'),
    [
        ('no_such_module:net', "No module named 'no_such_module'"),
        ('test_cli_errors:nothing', "has no attribute 'nothing'"),
        ('test_cli_errors:no_net', 'must return a torch.nn.Module, got str'),
        ('test_cli_errors:softmax_net', 'the model has no ReLU'),
    ],
)
def test_factories_that_fail(factory, sentence, pictures, tmp_path):
    options = ('--data', f'imagefolder:{pictures}', '--size', 32, '--epochs', 0, '--out', tmp_path)
    assert sentence in failing('--model', factory, *options)


def test_a_warning_is_a_line(capsys):
    with pytest.warns(UserWarning, match='before'):  # what others do with warnings is as it was, before and after
        warnings.warn('before', stacklevel=1)
    with warnings.catch_warnings():
        warnings.simplefilter('default')
        with common.working():
            warnings.warn('one box was left out', stacklevel=1)
    assert capsys.readouterr().err == 'warning: one box was left out\n'
