"""Configurations: the files that come with the package, and one clear error for what is none."""

import pytest

from snnkern.recipes.direct import config
from snnkern.recipes.direct.config import Config, read

NAMES = sorted(config.names())


@pytest.mark.parametrize('name', NAMES)
def test_every_configuration_is_read(name):
    found = read(name)
    assert found.about
    assert found.model in __import__('snnkern.models.spiking').models.spiking.SPIKING


def test_changes_take_the_place_of_values(tmp_path):
    path = tmp_path / 'mine.toml'
    path.write_text('model = "mlp"\ndata = "mnist"\nT = 9\n[options]\nhidden = 5\n')
    found = read(path, {'T': 2, 'options.hidden': 7, 'options.tau': 3.0})
    assert (found.T, found.options) == (2, {'hidden': 7, 'tau': 3.0})
    assert read(str(path)).T == 9


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('model = "mlp"', "mine.toml: the key 'data' is missing"),
        ('model = "mlp"\ndata = "mnist"\nlr = 1', "mine.toml: no key 'lr', expected some of model, data"),
        ('model = "mlp"\ndata = "mnist"\nT = 0', 'mine.toml: T must be >= 1, got 0'),
        ('model = "mlp"\ndata = "mnist"\nT = 2.5', 'mine.toml: T must be an integer, got 2.5'),
        ('model = "mlp"\ndata = "mnist"\nloss = "l7"', "loss: expected one of cross-entropy, .*, got 'l7'"),
        ('model = "mlp"\ndata = "mnist"\ncoding = "saccade"', "T: coding 'saccade' has 8 steps, got 4"),
        ('model = "mlp"\ndata = "mnist"\nlearning_rate = nan', 'learning_rate: expected a number >= 0, got nan'),
        ('model = "mlp"\ndata = "mnist"\nlearning_rate = 0', 'learning_rate: expected a positive number'),
        ('model = "mlp"\ndata = "mnist"\nevent_convolutions = 1', 'event_convolutions: expected true or false, got 1'),
        ('model = "mlp"\ndata = "mnist"\ninit = 3', 'init: expected a path, got 3'),
        ('model = "mlp"\ndata = "mnist"\noptions = { slope = inf }', 'options: expected finite numbers'),
        (
            'model = "mlp"\ndata = "mnist"\nloss = "count"\nlabel_smoothing = 0.1',
            "label_smoothing: a loss 'count' has none",
        ),
        ('model = "mlp"\ndata = "mnist"\ncoding_options = { stride = 2 }', "coding_options: 'direct' has none"),
        ('model = "mlp"\ndata = 3', 'data: expected a str, got 3'),
        ('model = "mlp"\ndata = "mnist"\noptions = 3', 'options: expected a dict, got 3'),
        ('model = ', 'broken or no TOML file'),
    ],
)
def test_what_is_no_configuration(tmp_path, text, message):
    path = tmp_path / 'mine.toml'
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        read(path)


def test_unknown_names():
    with pytest.raises(ValueError, match=r"no configuration 'resnet', expected a .toml file or one of "):
        read('resnet')
    with pytest.raises(ValueError, match=r'no configuration .*none.toml'):
        read('none.toml')


def test_values_of_the_command_line():
    said = {'8': 8, '0.5': 0.5, 'true': True, 'lif': 'lif', '"lif"': 'lif', '[1, 2]': [1, 2]}
    assert {text: config.value_of(text) for text in said} == said


def test_defaults_are_valid():
    assert Config('mlp', 'mnist').T == 4
