"""A saved network comes back bit by bit, from a file without code, and only into its own architecture."""

import json
import operator
from dataclasses import replace

import pytest
import torch
from converted import CHANNELS, Ahead, Residual, fixed, residual
from torch import nn

import snnkern
from snnkern.convert import SNN, convert
from snnkern.convert import save as saving
from snnkern.convert.recipes import RECIPES

safetensors = pytest.importorskip('safetensors')
SIZE = (16, 1, 8, 8)


def round_trip(snn, path, model, **more):
    snn.save(path)
    return SNN.load(path, model, **more)


def chain():
    """What every recipe takes: layers in a row."""
    net = nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 4, 2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(16, 3)),
    )
    net(torch.randn(*SIZE))
    return net.eval()


@pytest.mark.parametrize('recipe', RECIPES)
def test_every_recipe_comes_back_bit_by_bit(recipe, tmp_path):
    net, other, x = chain(), chain(), torch.randn(*SIZE)
    if recipe == 'qcfs':  # takes networks that were trained for it
        net, other = (snnkern.convert.use_qcfs(part, levels=4) for part in (net, other))
    snn = convert(net, x, recipe, timesteps=4)
    again = round_trip(snn, tmp_path / 'net.safetensors', other)
    assert torch.equal(again(x), snn(x))
    assert again.report().as_dict() == snn.report().as_dict()


KINDS = {'default': 'default', 'channels': CHANNELS, 'gated': fixed(gated=True), 'ahead': fixed(layer=Ahead)}


@pytest.mark.parametrize('recipe', KINDS.values(), ids=KINDS)
def test_outputs_are_bit_equal(recipe, tmp_path):
    net, x = residual(), torch.randn(*SIZE)
    snn = convert(net, x, recipe, timesteps=4)
    again = round_trip(snn, tmp_path / 'net.safetensors', Residual())
    assert torch.equal(again(x), snn(x))
    assert torch.equal(again(x, 7), snn(x, 7))
    assert (again.recipe, again.timesteps, again.largest) == (snn.recipe, 4, snn.largest)
    assert again.report().as_dict() == snn.report().as_dict()
    assert not any(p.requires_grad for p in again.parameters())


def test_layers_keep_what_is_their_own(tmp_path):
    net, x = residual(), torch.randn(*SIZE)
    snn = convert(net, x, fixed(layer=Ahead))
    for i, layer in enumerate(snn.neurons):
        layer.options['gain'] = 1.0 + i
        layer.register_buffer('shift', torch.tensor(0.25 * i))
    again = round_trip(snn, tmp_path / 'net.safetensors', Residual())
    assert [layer.options['gain'] for layer in again.neurons] == [1.0, 2.0]
    assert torch.equal(again(x, 4), snn(x, 4))


def test_readout_leaves_and_half_precision_come_back(tmp_path):
    net, x = residual(), torch.randn(*SIZE)
    snn = convert(net, x, leaves=('head',), readout='original').bfloat16()
    again = round_trip(snn, tmp_path / 'net.safetensors', Residual())
    assert again.report().parts[-2].why == 'kept whole as asked (leaves)'
    assert {p.dtype for p in again.parameters()} == {torch.bfloat16}
    assert torch.equal(again(x.bfloat16(), 3), snn(x.bfloat16(), 3))


class Tied(nn.Module):
    """One weight in two layers, several inputs, and one of whole numbers."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(10, 6)
        self.one, self.two = nn.Linear(6, 6), nn.Linear(6, 6)
        self.two.weight = self.one.weight

    def forward(self, x, index):
        y = torch.relu(self.one(x) + self.words(index))
        return self.two(torch.relu(self.two(y)))


def test_several_inputs_and_tied_weights(tmp_path):
    x, index = torch.randn(8, 6), torch.randint(0, 10, (8,))
    snn = convert(Tied(), [(x, index)])
    again = round_trip(snn, tmp_path / 'net.safetensors', Tied())
    assert torch.equal(again((x, index), 5), snn((x, index), 5))
    assert again.origin.inputs == (((6,), 'float32'), ((), 'int64'))
    round_trip(again, tmp_path / 'twice.safetensors', Tied())


def test_other_architectures_are_refused(tmp_path):
    path = tmp_path / 'net.safetensors'
    convert(residual(), torch.randn(*SIZE)).save(path)
    with pytest.raises(ValueError, match=r'another architecture than Residual: .*weight is \[4, .* and \[6,'):
        SNN.load(path, Residual(width=6))
    with pytest.raises(ValueError, match=r'another architecture than Residual: .*softmax'):
        SNN.load(path, Residual(softmax=False))
    other = Residual()
    other.conv.padding_mode = 'circular'
    with pytest.raises(ValueError, match='padding_mode is zeros in the file and circular in the model'):
        SNN.load(path, other)
    more = nn.Sequential(Residual(softmax=False), nn.ReLU(), nn.ReLU())
    with pytest.raises(ValueError, match='has no neuron for module 1'):
        SNN.load(path, more)


def test_broken_files_are_named(tmp_path):
    path = tmp_path / 'net.safetensors'
    with pytest.raises(FileNotFoundError, match=r'there is no file .*net\.safetensors'):
        SNN.load(path, Residual())
    path.write_bytes(b'nothing of the kind')
    with pytest.raises(ValueError, match='is broken or no safetensors file'):
        SNN.load(path, Residual())
    safetensors.torch.save_file({'a': torch.zeros(2)}, path)
    with pytest.raises(ValueError, match='holds no converted network'):
        SNN.load(path, Residual())
    convert(residual(), torch.randn(*SIZE)).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match='is broken or no safetensors file'):
        SNN.load(path, Residual())


def test_files_of_newer_versions_say_so(tmp_path):
    path = tmp_path / 'net.safetensors'
    found = {'format': saving.FORMAT + 1, 'version': '99.0'}
    safetensors.torch.save_file({'a': torch.zeros(2)}, path, metadata={saving.KEY: json.dumps(found)})
    with pytest.raises(ValueError, match=r'written by snnkern 99\.0 in format 2; this is snnkern .* up to format 1'):
        SNN.load(path, Residual())


@pytest.mark.parametrize('modules', ['auto', {'relu': 'neuron'}], ids=['auto', 'named'])
def test_networks_without_a_trace_come_back(modules, tmp_path):
    net, x = residual(), torch.randn(*SIZE)
    snn = convert(net, x, modules=modules, timesteps=4)
    again = round_trip(snn, tmp_path / 'net.safetensors', Residual())
    assert torch.equal(again(x), snn(x))
    assert again.report().as_dict() == snn.report().as_dict()
    parts = [part for part in snn.report().parts if part.kind == 'neuron']
    assert [part.theta[0] for part in parts] == [layer.v_threshold for layer in snn.neurons]
    found = snn.evaluate((x, torch.zeros(len(x), dtype=torch.long)), [2])
    assert list(found.rates) == ['neuron_0', 'neuron_1']
    assert found.energy == {}


def scaled(net, sites, numbers=None):
    """Another network, by a number that the statistics gave."""
    numbers = numbers or {site.name: site.sketch.top for site in sites.values()}
    (output,) = (node for node in net.graph.nodes if node.op == 'output')
    with net.graph.inserting_before(output):
        product = net.graph.call_function(operator.mul, (output.args[0], numbers['neuron_0']))
    product.meta = dict(output.args[0].meta)
    output.replace_input_with(output.args[0], product)
    net.recompile()
    return numbers


def test_recipes_that_prepare_the_network_do_so_again(tmp_path, monkeypatch):
    recipe = replace(fixed(), prepare=scaled, again=scaled)
    monkeypatch.setitem(RECIPES, 'fixed', lambda: recipe)
    x = torch.randn(*SIZE)
    snn = convert(residual(), x, recipe)
    again = round_trip(snn, tmp_path / 'net.safetensors', Residual())
    assert torch.equal(again(x, 3), snn(x, 3))
    twice = round_trip(again, tmp_path / 'twice.safetensors', Residual())
    assert torch.equal(twice(x, 3), snn(x, 3))
    monkeypatch.setitem(RECIPES, 'fixed', fixed)
    with pytest.raises(ValueError, match='needs recipe fixed, which prepares no network again'):
        SNN.load(tmp_path / 'net.safetensors', Residual())


def test_what_cannot_be_saved_is_named(tmp_path):
    snn = convert(residual(), torch.randn(*SIZE), replace(fixed(), prepare=scaled))
    with pytest.raises(ValueError, match='only networks that convert'):
        snn.save(tmp_path / 'net.safetensors')
    assert list(tmp_path.iterdir()) == []


def test_a_layer_that_nobody_imported_is_named(tmp_path):
    path = tmp_path / 'net.safetensors'
    snn = convert(residual(), torch.randn(*SIZE), fixed(layer=Ahead))
    for layer in snn.neurons:
        layer.__class__ = type('Unknown', (Ahead,), {})
    snn.save(path)
    for layer in snn.neurons:
        layer.__class__ = Ahead
    text = path.read_bytes().replace(b'Unknown', b'Missing')
    path.write_bytes(text)
    with pytest.raises(ValueError, match='needs the layer Missing: import the module that defines it'):
        SNN.load(path, Residual())
