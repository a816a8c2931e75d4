"""A converted network that is trained on: what its state_dict, its pickle and its calibration hold."""

import copy
import pickle

import pytest
import torch
from conversions import network
from finetuned import SHAPE, T, answer, images, tuned
from torch import nn

import snnkern
from snnkern.convert import SNN
from snnkern.models.spiking.converted import Converted


@pytest.mark.parametrize('learn', [False, True])
@pytest.mark.parametrize('recipe', ['default', 'channelwise', 'layerwise'])
def test_state_dict_holds_the_neurons(recipe, learn, tmp_path):
    """Also where the fresh network, converted on noise, has other thresholds, burst limits and biases."""
    net, x = tuned(recipe, learn), images()
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(1.1)
    torch.save(net.state_dict(), tmp_path / 'net.pt')
    other = Converted(network(), SHAPE, recipe, T, learn)
    assert not torch.equal(answer(other, x), answer(net, x))
    other.load_state_dict(torch.load(tmp_path / 'net.pt', weights_only=True))
    assert torch.equal(answer(other, x), answer(net, x))
    assert torch.equal(answer(copy.deepcopy(net), x), answer(net, x))
    net.snn.save(tmp_path / 'net.safetensors')
    assert torch.equal(SNN.load(tmp_path / 'net.safetensors', network())(x, T), net.snn(x, T))


class Skips(nn.Module):
    """Two neurons that no layer with weights feeds alone: a bias of their own, where calibration finds one."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(1, 4, 3), nn.Linear(4, 3)

    def forward(self, x):
        x = self.first(x)
        return self.last((x.relu() + (x - 0.5).relu()).mean((2, 3)))


def test_state_dict_brings_biases_of_neurons():
    ann, x = Skips(), images()
    net, other = Converted(ann, SHAPE), Converted(ann, SHAPE)
    for layer in net.snn.neurons:
        layer.set(layer.neuron, {'c': torch.randn(4)}, layer.get_buffer('v0'))
    other.load_state_dict(net.state_dict())
    assert torch.equal(answer(other, x), answer(net, x))
    net.load_state_dict(Converted(ann, SHAPE).state_dict())
    assert not net.snn.neurons[0].coefficients


def test_learned_thresholds_need_a_state_that_has_them():
    net, other = tuned('layerwise', learn=True), tuned('layerwise')
    names = {name for name, _ in net.named_parameters()}
    with pytest.raises(RuntimeError, match=r'Missing key.*of_v_threshold'):
        net.load_state_dict(other.state_dict())
    assert {name for name, _ in net.named_parameters()} == names


def test_thresholds_of_a_state_are_copied():
    """Also where they were learned and are not learned here."""
    net, other, x = tuned('layerwise', learn=True), Converted(network(), SHAPE, 'layerwise', T), images()
    with torch.no_grad():
        for layer in net.snn.neurons:
            layer.coefficients['v_threshold'].mul_(0.8)
    state = net.state_dict()
    other.load_state_dict(state)
    expected = answer(net, x)
    assert torch.equal(answer(other, x), expected)
    for tensor in state.values():
        tensor.zero_()
    assert torch.equal(answer(other, x), expected)


def test_calibration_keeps_parameters_and_takes_the_images():
    net, x = Converted(network(), SHAPE), images(64)
    before = {name: id(p) for name, p in net.named_parameters()}
    net.calibrate(3 * x)
    assert {name: id(p) for name, p in net.named_parameters()} == before
    expected = snnkern.convert(network_of(net), 3 * x, timesteps=T)
    assert torch.equal(answer(net, x).mean(0), expected(x, T))


def network_of(net):
    return copy.deepcopy(net.teacher)


@pytest.mark.parametrize('learn', [False, True])
def test_it_pickles_and_calibrates_on(learn):
    net, x = tuned('channelwise', learn), images()
    again = pickle.loads(pickle.dumps(net))
    assert torch.equal(answer(again, x), answer(net, x))
    for module in (net, again):
        module.calibrate(2 * x)
    assert torch.equal(answer(again, x), answer(net, x))
