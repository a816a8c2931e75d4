"""Plans of converted networks give what the networks give; what has no events is refused by name."""

import pytest
import torch
from executed import executed, same, sums
from soundness import Net, images, trained
from torch import nn
from torch.nn import functional as F

from snnkern.backends.events import Layer
from snnkern.convert import convert
from snnkern.engine.plan import Dense, PlanError
from snnkern.engine.planner import plan
from snnkern.models.lenet import LeNet5
from snnkern.models.resnet import ResNet
from snnkern.models.tiny_yolo import TinyYolo
from snnkern.models.unet import UNet
from snnkern.models.vgg import VGG

T = 4


def planned(net, x, strict=True, **options):
    """The plan of a converted network, which is checked against it."""
    options = {'timesteps': T, 'recipe': 'layerwise', **options}
    snn = convert(net, x, **options)
    few = tuple(part[:3] for part in x) if isinstance(x, tuple) else x[:3]
    found = plan(snn, few, T, strict)
    with torch.no_grad():
        got, busy = executed(found, *(few if isinstance(few, tuple) else (few,)), T=T)
        same(got, snn(few, T))
    assert max(busy, default=1) > 0
    return found


def layers(found):
    return [step for step in found.steps if isinstance(step, Layer)]


MODELS = {
    'lenet': (lambda: LeNet5(), (1, 32, 32)),
    'vgg': (lambda: VGG(width=2, convolutions=(1, 1, 1, 1, 1)), (3, 32, 32)),
    'resnet': (lambda: ResNet(width=2, blocks=(1, 1, 1, 1)), (3, 32, 32)),
    'unet': (lambda: UNet(width=2), (1, 32, 32)),
    'tiny_yolo': (lambda: TinyYolo(width=1, num_classes=2), (3, 64, 64)),
}


@pytest.mark.parametrize('name', MODELS)
def test_models(name):
    torch.manual_seed(0)
    make, shape = MODELS[name]
    x = torch.rand(6, *shape)
    found = planned(trained(make(), x), x, recipe='spiking_yolo' if name == 'tiny_yolo' else 'layerwise')
    assert not any(isinstance(step, Dense) for step in found.steps)


@pytest.mark.parametrize('recipe', ['default', 'ijcai22', 'channelwise'])
def test_recipes(recipe):
    torch.manual_seed(0)
    x = torch.rand(6, 1, 32, 32)
    planned(trained(LeNet5(), x), x, recipe=recipe)


def spikes(m, x):
    return F.relu(m.conv(x))


FORMS = {
    'groups': lambda m, x: F.relu(m.conv2(spikes(m, x))),
    'strides, odd sizes': lambda m, x: F.relu(m.other(spikes(m, x)[:, :, 1:, :-1])),
    'padding same': lambda m, x: m.same(spikes(m, x)),
    'depthwise, then pointwise': lambda m, x: F.relu(m.point(m.depth(spikes(m, x)))),
    'a bottleneck': lambda m, x: F.relu(m.conv2(m.point(spikes(m, x)))),
    'transposed': lambda m, x: F.relu(m.up(spikes(m, x))),
    'transposed, then convolved': lambda m, x: F.relu(m.conv2(m.twice(spikes(m, x)))),
    'average, then pointwise': lambda m, x: F.relu(m.point(F.avg_pool2d(spikes(m, x), 2))),
    'padded average': lambda m, x: F.relu(m.point(F.avg_pool2d(spikes(m, x), 3, 2, 1))),
    'average to neurons': lambda m, x: m.conv2(F.relu(F.avg_pool2d(spikes(m, x), 2) - 0.1)),
    'average of a convolution': lambda m, x: F.relu(F.avg_pool2d(m.point(spikes(m, x)), 2)),
    'adaptive': lambda m, x: m.linear(F.adaptive_avg_pool2d(spikes(m, x), 1).flatten(1)),
    'mean': lambda m, x: m.linear(spikes(m, x).mean((2, 3))),
    'view': lambda m, x: m.long(spikes(m, x).view(x.size(0), -1)),
    'a neuron of flattened maps': lambda m, x: m.long(F.relu(m.conv2(spikes(m, x)).flatten(1))),
    'dense blocks': lambda m, x: (lambda a: F.relu(m.wide(torch.cat([a, F.relu(m.conv2(a))], 1))))(spikes(m, x)),
    'joined before neurons': lambda m, x: (lambda a: F.relu(m.wide(F.relu(torch.cat([m.conv2(a), a], 1)))))(
        spikes(m, x)
    ),
    'joined outputs': lambda m, x: (lambda a: torch.cat([m.conv2(a), a], 1))(spikes(m, x)),
    'upsampled': lambda m, x: F.relu(m.conv2(F.interpolate(spikes(m, x), scale_factor=2))),
    'option A': lambda m, x: (lambda a: F.relu(F.pad(a[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2)) + m.narrow(a)))(
        spikes(m, x)
    ),
    'padded maps': lambda m, x: F.relu(m.conv2(F.pad(spikes(m, x), (1, 2, 0, 1)))),
    'norm, then padding': lambda m, x: F.relu(m.conv2(m.norm(spikes(m, x)))),
    'a place of its own': lambda m, x: F.relu(m.conv2(spikes(m, x)) + m.places),
    'scaled and shifted': lambda m, x: F.relu(0.5 - m.conv2(spikes(m, x)) * m.scale / 2),
    'chunks': lambda m, x: (lambda a: F.relu(m.few(a[0]) + a[1]))(spikes(m, x).chunk(2, 1)),
    'the input again': lambda m, x: F.relu(m.conv2(spikes(m, x)) + m.conv(x)),
    'a sum that two read': lambda m, x: (lambda a: F.relu(m.conv2(F.relu(a)) + a))(
        m.conv2(spikes(m, x)) + spikes(m, x)
    ),
    'softmax': lambda m, x: m.linear(spikes(m, x).mean((2, 3))).softmax(1) * 2,
    'several outputs': lambda m, x: (lambda a: {'a': a, 'b': [m.conv2(a).permute(0, 2, 3, 1), a.sum((2, 3))]})(
        spikes(m, x)
    ),
    'a readout, then more': lambda m, x: (lambda a: (a.softmax(1), F.relu(m.conv2(a)), a))(spikes(m, x)),
    'replicated border': lambda m, x: m.conv2(F.max_pool2d(F.pad(spikes(m, x), (0, 1, 0, 1), 'replicate'), 2, 1)),
    'overlapping pools': lambda m, x: m.conv2(F.max_pool2d(spikes(m, x), 3, 2, 1, ceil_mode=True)),
}


def parts():
    return {
        'other': nn.Conv2d(4, 3, 3, 2, 1, dilation=2), 'same': nn.Conv2d(4, 3, (1, 5), padding='same'),
        'depth': nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), 'point': nn.Conv2d(4, 4, 1),
        'up': nn.ConvTranspose2d(4, 6, 3, 2, 1, output_padding=1, groups=2), 'twice': nn.ConvTranspose2d(4, 4, 2, 2),
        'linear': nn.Linear(4, 5), 'long': nn.Linear(256, 5), 'wide': nn.Conv2d(8, 4, 3), 'few': nn.Conv2d(2, 2, 1),
        'narrow': nn.Conv2d(4, 8, 3, 2, 1), 'norm': nn.BatchNorm2d(4),
    }  # fmt: skip


@pytest.mark.parametrize('form', FORMS)
def test_forms(form):
    torch.manual_seed(1)
    net = Net(FORMS[form], **parts())
    net.places = nn.Parameter(torch.randn(1, 4, 8, 8))
    with torch.no_grad():
        net.conv.weight.mul_(2)
    x = images()
    found = planned(trained(net, x), x)
    assert not any(isinstance(step, Dense) for step in found.steps)


def test_two_inputs():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 3, 3)

        def forward(self, x, y):
            return self.two(F.relu(self.one(x)) + F.relu(self.one(y)))

    assert len(planned(Two(), (images(), images())).inputs) == 2


def form(name):
    torch.manual_seed(1)
    net = Net(FORMS[name], **parts())
    return planned(net.eval(), images())


def test_a_window_is_summed_once_in_front_of_a_kernel():
    torch.manual_seed(1)
    found = planned(Net(lambda m, x: F.relu(m.conv2(F.avg_pool2d(spikes(m, x), 2)))).eval(), images())
    assert sums(found) == {'sum': 1}
    assert layers(found)[-1].synapses[0].weight.shape == (4, 2, 3, 3)


def test_a_mean_in_front_of_a_linear_layer_shares_weights():
    (synapse,) = layers(form('adaptive'))[-1].synapses
    assert synapse.shared
    assert synapse.weight.shape == (5, 4, 1, 1)
    assert (synapse.rows.kernel, synapse.cols.kernel) == (8, 8)


def test_layers_without_neurons_are_composed():
    assert len(layers(form('transposed, then convolved'))) == 2
    assert layers(form('transposed, then convolved'))[-1].synapses[0].weight.shape[2:] == (4, 4)
    assert len(layers(form('depthwise, then pointwise'))) == 2


def test_a_sum_that_neurons_and_sums_read_is_computed_once():
    found = layers(form('a sum that two read'))
    assert sum(layer.neuron is None for layer in found) == 1
    assert sum(len(layer.synapses) for layer in found) == 3


def test_a_tail_runs_on_the_means():
    found = form('softmax')
    assert found.tail is not None
    assert len(found.outputs) == 1


def test_what_has_no_events_is_refused_or_dense():
    torch.manual_seed(1)
    net = Net(lambda m, x: F.relu(m.conv2(spikes(m, x).sigmoid()))).eval()
    with pytest.raises(PlanError, match=r'module analogue_sigmoid \(Analogue\) at .*test_engine_plan.py.*strict=False'):
        planned(net, images())
    found = planned(net, images(), strict=False)
    assert [step.why for step in found.steps if isinstance(step, Dense)] == [
        'it is not linear', 'it reads currents that are no spikes'
    ]  # fmt: skip


def test_padding_between_layers_is_refused_or_dense():
    net = Net(lambda m, x: F.relu(m.conv2(m.depth(spikes(m, x)))), **parts()).eval()
    with pytest.raises(PlanError, match=r'module conv2 .*padding between two layers'):
        planned(net, images())
    found = planned(net, images(), strict=False)
    assert [type(step).__name__ for step in found.steps] == ['Layer', 'Layer', 'Dense', 'Layer']


def test_a_readout_of_every_step_is_refused_or_dense():
    net = Net(FORMS['softmax'], **parts()).eval()
    with pytest.raises(PlanError, match=r'readout="original"'):
        planned(net, images(), readout='original')
    found = planned(net, images(), strict=False, readout='original')
    assert sum(isinstance(step, Dense) for step in found.steps) == 1


def test_neurons_that_do_more_are_refused_or_dense():
    x = torch.rand(6, 1, 32, 32)
    with pytest.raises(PlanError, match='AdaptiveThreshold'):
        planned(LeNet5().eval(), x, recipe='msat')
    assert sums(planned(LeNet5().eval(), x, recipe='msat', strict=False)) == {}


def test_random_input_is_refused():
    with pytest.raises(PlanError, match=r'coded_0.*coding'):
        planned(LeNet5().eval(), torch.rand(6, 1, 32, 32), coding='poisson')


@pytest.mark.parametrize(('options', 'word'), [({'modules': 'auto'}, 'modules=None'), ({'recipe': 'srp'}, 'trial')])
def test_networks_without_a_plan(options, word):
    with pytest.raises(PlanError, match=word):
        planned(LeNet5().eval(), torch.rand(6, 1, 32, 32), **options)


def test_shuffled_channels_are_named():
    net = Net(lambda m, x: F.relu(m.few(spikes(m, x)[:, ::2])), **parts())
    with pytest.raises(PlanError, match=r'call getitem .*test_engine_plan.py.*every second channel'):
        planned(net.eval(), images())
    planned(net, images(), strict=False)


@pytest.mark.parametrize('example', [torch.rand(3), torch.rand(2, 1, 32, 32).double(), torch.rand(2, 3, 32, 32), 'x'])
def test_bad_examples(example):
    snn = convert(LeNet5().eval(), torch.rand(2, 1, 32, 32), 'plain_if')
    with pytest.raises(ValueError, match='example must be'):
        plan(snn, example, T)
