"""ANN to SNN: what is replaced, what is refused, and that both ways to run the result agree."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from snnkern.convert import ConversionError, Stopwatch, convert
from snnkern.convert.layers import LateralPool, Observer, SpikingReLU, StepPool
from snnkern.data import mnist
from snnkern.models import LeNet5
from snnkern.recipes import digits
from snnkern.recipes.compare import count_spikes


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


@pytest.fixture
def residual():
    net = Residual()
    for _ in range(5):
        net(torch.randn(16, 1, 8, 8))  # running statistics
    return net.eval()


@pytest.fixture(scope='module')
def trained():
    """LeNet-5 after one epoch on 2,000 digits, and 200 digits to look at."""
    data = mnist()
    x, y = digits.images(data.x_train[:2200]), digits.labels(data.y_train[:2200])
    return digits.train(x[:2000], y[:2000], 1, 0), x[2000:], y[2000:]


def test_every_call_site_has_its_own_neuron(residual):
    snn = convert(residual, torch.randn(32, 1, 8, 8))
    assert len(snn.neurons) == 4
    assert len({id(neuron) for neuron in snn.neurons}) == 4
    assert len({neuron.v_threshold for neuron in snn.neurons}) == 4
    assert [site.was for site in snn.sites[:3]] == ['module relu (ReLU)'] * 2 + ['call relu (node relu_2)']
    assert sum(isinstance(layer, LateralPool) for layer in snn.layers) == 1
    assert not any(isinstance(m, nn.ReLU | nn.MaxPool2d | nn.BatchNorm2d) for m in _called(snn))
    assert [n.constant_input for n in snn.neurons] == [True, False, False, False]


def _called(snn):
    """The modules that the graph calls."""
    nodes = [node for node in snn.network.graph.nodes if node.op == 'call_module']
    return [snn.network.get_submodule(node.target) for node in nodes]


def test_original_is_untouched(residual):
    before = copy.deepcopy(residual.state_dict())
    residual.train()
    convert(residual, torch.randn(8, 1, 8, 8))
    assert residual.training
    assert isinstance(residual.relu, nn.ReLU)
    assert all(p.requires_grad for p in residual.parameters())
    assert all(torch.equal(before[k], v) for k, v in residual.state_dict().items())


def test_converges_to_the_ann(residual):
    x = torch.randn(64, 1, 8, 8)
    snn = convert(residual, x, percentile=1.0)
    with torch.no_grad():
        expected = residual(x)
        errors = [((snn(x, T) - expected).norm() / expected.norm()).item() for T in (2, 16, 128)]
    assert errors[0] > 3 * errors[1] > 9 * errors[2]
    assert errors[2] < 0.02


@pytest.mark.parametrize(
    ('net', 'shape'),
    [
        (net_of(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)), (2, 6, 6)),
        (net_of(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Linear(5, 2), nn.BatchNorm1d(2)), (6,)),
        (net_of(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Flatten(), nn.Linear(25, 2)), (5, 6)),
    ],
    ids=['conv', 'linear', 'linear over rows'],
)
def test_folded_network_equals_the_unfolded_one(net, shape):
    for _ in range(5):
        net(torch.randn(32, *shape) * 2 + 1)
    for layer in net:
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and layer.affine:
            nn.init.uniform_(layer.weight, 0.5, 2)
            nn.init.uniform_(layer.bias, -1, 1)
    x = torch.randn(32, *shape)
    snn = convert(net.eval(), x)
    for site in snn.sites:
        snn.network.set_submodule(site.name, _TimelessReLU())
    torch.testing.assert_close(snn.network(x, 1), net(x), rtol=1e-5, atol=1e-5)
    folded = not any(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in _called(snn))
    assert folded == isinstance(net[0], nn.Conv2d)


class _TimelessReLU(nn.Module):
    def forward(self, x, T):
        return F.relu(x)


def test_threshold_is_the_percentile_of_the_outputs():
    net = net_of(nn.Identity(), nn.ReLU(), nn.Linear(1, 1))
    x = torch.linspace(-100, 100, 2001).view(-1, 1)  # outputs: 1001 zeros, then .1 to 100
    assert convert(net, x, percentile=0.99).neurons[0].v_threshold == pytest.approx(98.0, abs=0.11)
    assert convert(net, x, percentile=1.0).neurons[0].v_threshold == pytest.approx(100.0)
    assert convert(net, x, percentile=0.4).neurons[0].v_threshold == pytest.approx(100.0)  # all zeros: the largest
    batches = [(part, 'label') for part in x.split(100)]
    assert convert(net, batches).neurons[0].v_threshold == pytest.approx(98.0, abs=0.11)


def test_observer_samples_large_outputs_without_bias():
    observer = Observer(per_call=20_000)
    observer(torch.arange(1e6).flip(0))
    assert observer.percentile(0.9) == pytest.approx(9e5, rel=0.01)


def test_neuron_is_the_burst_neuron_asked_for():
    neuron = convert(net_of(nn.Identity(), nn.ReLU()), torch.tensor([[2.0]]), 1.0, max_spikes=3).neurons[0]
    x = torch.tensor([[0.9, 1.0, 9.0, -1.0]])
    got = neuron(x, 2).unflatten(0, (2, 1))  # theta 2, v0 1
    assert got.tolist() == [[[0.0, 2.0, 6.0, 0.0]], [[2.0, 0.0, 6.0, 0.0]]]


def test_loop_and_snnkern_emit_the_same_spikes(trained):
    net, x, _ = trained
    snn = convert(net, x[:100])
    found = count_spikes(snn, x[100:], 8)
    assert found.differing == 0
    assert found.neurons == 100 * (6 * 28 * 28 + 16 * 10 * 10 + 120)
    assert len(found.per_step) == 8
    assert min(found.per_step) > 1000
    assert found.rate(8) == pytest.approx(sum(found.per_step) / (8 * found.neurons))


def test_count_spikes_notices_a_wrong_neuron(trained, monkeypatch):
    net, x, _ = trained
    snn = convert(net, x[:100])
    plain = SpikingReLU.forward
    monkeypatch.setattr(SpikingReLU, 'forward', lambda self, x, T: plain(self, x, T).roll(1, 0))
    assert count_spikes(snn, x[:20], 4).differing > 0


def test_loop_and_snnkern_pool_alike():
    theta, T = 0.37, 40
    counts = torch.randint(0, 6, (T, 3, 2, 9, 9)).float()
    x = counts * theta
    for pool in (nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2, ceil_mode=True)):
        step = StepPool(pool, theta)
        stepped = torch.stack([step(x_t) for x_t in x])
        assert torch.equal(LateralPool(pool, theta)(x.flatten(0, 1), T).unflatten(0, (T, 3)), stepped)


def test_network_and_loop_give_the_same_answers(trained):
    net, x, _ = trained
    snn = convert(net, x[:100])
    loop = snn.simulator()
    for T in (1, 6):
        torch.testing.assert_close(snn.predict(x, T), loop.predict(x, T), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(snn.steps(x[:9], 6)[:2].mean(0), snn(x[:9], 2), rtol=1e-4, atol=1e-4)
    assert torch.equal(loop.predict(x, 6), loop.predict(x, 6))  # no state is left behind


def test_accuracy_of_the_ann_is_reached_with_time(trained):
    net, x, y = trained
    ann = digits.accuracy(net(x), y)
    assert ann > 85
    snn = convert(net, x[:100], percentile=1.0)
    early, late = (digits.accuracy(snn.predict(x, T), y) for T in (1, 64))
    assert early < 75
    assert abs(late - ann) <= 1


def test_chunks_bound_the_largest_layer():
    snn = convert(LeNet5(), torch.rand(4, 1, 32, 32))
    assert snn.largest == 6 * 28 * 28
    assert snn.chunk(1, megabytes=1) == 2**18 // snn.largest
    assert snn.chunk(10**6) == 1
    x = torch.rand(5, 1, 32, 32)
    torch.testing.assert_close(snn.predict(x, 3, megabytes=0.05), snn(x, 3), rtol=1e-4, atol=1e-4)


def test_stopwatch_counts_its_modules_only(trained):
    net, x, _ = trained
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


class Branches(nn.Module):
    def forward(self, x):
        return F.relu(x) if x.sum() > 0 else x


class TwoOutputs(nn.Module):
    def forward(self, x):
        return F.relu(x), x


class StaleSize(nn.Module):
    def forward(self, x):
        n = x.size(0)
        return F.relu(x).view(n, -1)


class Overwritten(nn.Module):
    def forward(self, x):
        y = x * 2
        return torch.relu_(y) + y


class AlongBatch(nn.Module):
    def forward(self, x):
        y = F.relu(x)
        return torch.cat([y, y])


@pytest.mark.parametrize(
    ('net', 'words'),
    [
        (Branches(), 'cannot trace Branches'),
        (TwoOutputs(), 'must return one tensor'),
        (net_of(nn.Conv2d(1, 1, 3)), 'no ReLU'),
        (
            net_of(nn.ReLU(), nn.GELU()),
            r'cannot convert module 1 \(GELU\): between neurons snnkern converts ReLU',
        ),
        (net_of(nn.ReLU(), nn.Softmax(1)), r'module 1 \(Softmax\)'),
        (
            net_of(nn.ReLU(), nn.Conv2d(1, 1, 1), nn.MaxPool2d(2)),
            r'module 2 \(MaxPool2d\) must directly follow',
        ),
        (net_of(nn.ReLU(), nn.MaxPool2d(2, return_indices=True)), 'returns indices'),
        (net_of(nn.ReLU(), nn.BatchNorm2d(1, track_running_stats=False)), 'no running statistics'),
        (StaleSize(), 'size taken before the first ReLU'),
        (Overwritten(), 'overwrites an input'),
        (AlongBatch(), 'dimension 0'),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else None,
)
def test_what_cannot_be_converted_is_named(net, words):
    with pytest.raises(ConversionError, match=words):
        convert(net, torch.rand(4, 1, 6, 6))


def test_bad_arguments():
    net, x = net_of(nn.ReLU()), torch.rand(4, 3)
    with pytest.raises(ConversionError, match='no positive finite output'):
        convert(net, -x)
    with pytest.raises(ValueError, match=r'percentile must be in \(0, 1\], got 99'):
        convert(net, x, percentile=99)
    with pytest.raises(ValueError, match='max_spikes must be >= 1'):
        convert(net, x, max_spikes=0)
    with pytest.raises(ValueError, match='at least one input'):
        convert(net, [])
    snn = convert(net, x)
    for run in (snn, snn.simulator()):
        with pytest.raises(ValueError, match='T must be >= 1'):
            run(x, 0)


def test_pool_before_the_first_neuron_stays():
    net = net_of(nn.MaxPool2d(2), nn.ReLU(), nn.Dropout(), nn.MaxPool2d(2), nn.MaxPool2d(2))
    snn = convert(net, torch.rand(4, 1, 8, 8))
    assert sum(isinstance(layer, LateralPool) for layer in snn.layers) == 2
    x = torch.rand(3, 1, 8, 8)
    torch.testing.assert_close(snn(x, 400), net.eval()(x), rtol=0, atol=0.01)
