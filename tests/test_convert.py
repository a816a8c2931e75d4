"""ANN to SNN: what a conversion leaves alone, and what it promises."""

import copy
from collections import OrderedDict

import pytest
import torch
from soundness import called, kinds, sound, trained
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from snnkern.convert import Stopwatch, convert, recipes
from snnkern.convert.layers import Spiking
from snnkern.data import mnist
from snnkern.models import LeNet5
from snnkern.recipes import digits


class Residual(nn.Module):
    """One ReLU module at two places, a functional ReLU, a method, a skip and a stem without a neuron."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.conv1 = nn.Conv2d(4, 4, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.head = nn.Linear(4 * 16, 5)

    def forward(self, x):
        x = self.stem(x)
        y = self.relu(self.norm(self.conv1(x)))
        y = self.relu(self.norm(self.conv2(y)) + x)
        y = F.max_pool2d(F.relu(self.conv2(y)), 2)
        return self.head(y.view(y.size(0), -1).relu())


def net_of(*layers):
    return nn.Sequential(*layers)


def images(n=32):
    return torch.randn(n, 1, 8, 8)


@pytest.fixture
def residual():
    return trained(Residual(), images(16))


@pytest.fixture(scope='module')
def lenet():
    """LeNet-5 after one epoch on 2,000 digits, and 200 digits to look at."""
    data = mnist()
    x, y = digits.images(data.x_train[:2200]), digits.labels(data.y_train[:2200])
    return digits.train(x[:2000], y[:2000], 1, 0), x[2000:], y[2000:]


def test_every_call_site_has_its_own_neuron(residual):
    snn = sound(residual, images())
    assert kinds(snn) == (4, 1, 0)
    assert len({id(neuron) for neuron in snn.neurons}) == 4
    assert len({neuron.v_threshold for neuron in snn.neurons}) == 4
    assert [entry.was for entry in snn.entries[:3]] == ['module relu (ReLU)'] * 2 + ['call relu (node relu_2)']
    assert not any(isinstance(m, nn.ReLU | nn.MaxPool2d | nn.BatchNorm2d) for m in called(snn))
    assert [n.constant_input for n in snn.neurons] == [True, False, False, False]


def test_a_module_shared_by_nested_containers():
    act = nn.ReLU()
    block = net_of(nn.Conv2d(1, 1, 3, padding=1), act)
    net = net_of(OrderedDict(first=net_of(block, act), second=net_of(net_of(block), nn.Dropout2d(), act)))
    assert kinds(sound(net, images())) == (4, 0, 0)


def test_original_is_untouched(residual):
    seen = []
    residual.stem.register_forward_hook(lambda *_: seen.append(1))
    residual.train()
    before = copy.deepcopy(residual.state_dict())
    flags = {name: module.training for name, module in residual.named_modules()}
    for modules in (None, 'auto'):
        convert(residual, images(), modules=modules)
        assert {name: module.training for name, module in residual.named_modules()} == flags
        assert isinstance(residual.relu, nn.ReLU)
        assert residual.relu.inplace
        assert all(p.requires_grad and p.grad is None for p in residual.parameters())
        assert all(torch.equal(before[k], v) for k, v in residual.state_dict().items())
        assert len(residual.stem._forward_hooks) == 1


def test_random_numbers_are_nobodys_business(residual):
    loader = DataLoader(TensorDataset(images(), torch.arange(32)), 8, shuffle=True)
    for calibration in (images(), loader):
        before = torch.get_rng_state()
        convert(residual, calibration)
        assert torch.equal(torch.get_rng_state(), before)


def test_under_inference_mode(residual):
    with torch.inference_mode():
        x = images()
        snn = convert(residual, x)
        inside = snn(x, 3)
    assert not any(p.is_inference() for p in snn.parameters())
    torch.testing.assert_close(snn(x.clone(), 3), inside, rtol=1e-4, atol=1e-4)
    made = trained(Residual(), images())
    with torch.inference_mode():
        made = copy.deepcopy(made)
    snn = convert(made, images())
    snn.requires_grad_()
    snn(images(), 2).sum().backward()


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision(residual, dtype):
    x = images()
    snn = convert(copy.deepcopy(residual).to(dtype), x.to(dtype))
    out = snn(x.to(dtype), 16)
    assert out.dtype == dtype
    wanted = residual(x)
    assert ((out - wanted).norm() / wanted.norm()).item() < 0.1


def test_converges_to_the_ann(residual):
    x = images(64)
    snn = convert(residual, x, recipes.default(correct=False))
    with torch.no_grad():
        expected = residual(x)
        errors = [((snn(x, T) - expected).norm() / expected.norm()).item() for T in (1, 8, 128)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.02


def test_a_fine_threshold_is_precise_at_once(residual):
    x = images(64)
    snn = convert(residual, x, recipes.default(tolerance=1e-4, max_spikes=2**12, correct=False), timesteps=4)
    expected = residual(x)
    assert ((snn(x, 4) - expected).norm() / expected.norm()).item() < 0.02


def test_accuracy_of_the_ann_is_reached_with_time(lenet):
    net, x, y = lenet
    ann = digits.accuracy(net(x), y)
    assert ann > 85
    snn = convert(net, x[:100], timesteps=4)
    assert abs(digits.accuracy(snn.predict(x, 4), y) - ann) <= 2
    assert abs(digits.accuracy(snn.predict(x, 32), y) - ann) <= 1


def test_network_and_loop_give_the_same_answers(lenet):
    net, x, _ = lenet
    snn = convert(net, x[:100])
    loop = snn.simulator()
    for T in (1, 6):
        torch.testing.assert_close(snn.predict(x, T), loop.predict(x, T), rtol=1e-3, atol=1e-3)
    assert torch.equal(loop.predict(x, 6), loop.predict(x, 6))  # no state is left behind


def test_calibration_forms(residual):
    x = images(128)
    thresholds = [
        [neuron.v_threshold for neuron in convert(residual, form).neurons]
        for form in (x, x.split(64), [(part, 'label') for part in x.split(64)], DataLoader(TensorDataset(x), 64))
    ]
    assert all(found == thresholds[0] for found in thresholds)


def test_progress_is_told(residual):
    told = []
    convert(residual, images(), progress=lambda what, share: told.append((what, share)))
    assert told == [('calibrating', 1.0), *(('tuning thresholds', k / 4) for k in (1, 2, 3, 4))]


def test_chunks_bound_the_largest_layer():
    snn = convert(LeNet5(), torch.rand(4, 1, 32, 32))
    assert snn.largest == 6 * 28 * 28
    x = torch.rand(5, 1, 32, 32)
    torch.testing.assert_close(snn.predict(x, 3, megabytes=0.05), snn(x, 3), rtol=1e-4, atol=1e-4)


def test_stopwatch_counts_its_modules_only(lenet):
    net, x, _ = lenet
    snn = convert(net, x[:10])
    with Stopwatch(snn.layers) as watch:
        snn(x[:10], 4)
    first = watch.seconds
    assert first > 0
    snn(x[:10], 4)
    assert watch.seconds == first
    with Stopwatch([]) as nothing:
        snn(x[:10], 4)
    assert nothing.seconds == 0


def test_pool_before_the_first_neuron_stays():
    net = net_of(nn.MaxPool2d(2), nn.ReLU(), nn.Dropout(), nn.MaxPool2d(2), nn.MaxPool2d(2))
    x = torch.rand(3, 1, 8, 8)
    snn = convert(net, x, recipes.default(tolerance=0.01))
    assert kinds(snn) == (1, 2, 0)
    torch.testing.assert_close(snn(x, 400), net.eval()(x), rtol=0, atol=0.02)


def test_silent_channels_are_reported():
    net = net_of(nn.Conv2d(1, 3, 1), nn.ReLU())
    nn.init.constant_(net[0].bias, 0.1)
    with torch.no_grad():
        net[0].bias[1] = -100
    assert convert(net, images()).entries[0].warnings == ['1 of 3 channels were silent in calibration']


def test_a_neuron_knows_what_it_stands_for():
    snn = convert(net_of(nn.Conv2d(1, 2, 1), nn.ReLU6()), images())
    assert isinstance(snn.neurons[0], Spiking)
    assert snn.neurons[0].activation.cap == 6.0


@pytest.mark.parametrize('wrap', [torch.compile, nn.DataParallel])
def test_wrapped_models(residual, wrap):
    assert kinds(convert(wrap(residual), images())) == (4, 1, 0)
