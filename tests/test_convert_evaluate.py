"""One pass gives accuracy, rates, early exit and metrics at every T, as tables, JSON and pictures."""

import json

import pytest
import torch
from converted import Ahead, fixed, residual
from torch import nn

from snnkern.convert import convert, min_max
from snnkern.convert.evaluate import sureness
from snnkern.data import mnist
from snnkern.recipes import digits


@pytest.fixture(scope='module')
def trained():
    """LeNet-5 after one epoch on 2,000 digits, converted, and 200 digits to look at."""
    data = mnist()
    x, y = digits.images(data.x_train[:2200]), digits.labels(data.y_train[:2200])
    net = digits.train(x[:2000], y[:2000], 1, 0)
    return net, convert(net, x[:100], timesteps=4), x[2000:], y[2000:]


def test_one_pass_answers_for_all_steps(trained):
    net, snn, x, y = trained
    found = snn.evaluate((x, y), [8, 1, 4], ann=net)
    assert found.timesteps == (1, 4, 8)
    assert found.inputs == 200
    assert found.passes == 1
    for T in found.timesteps:
        assert found.accuracy[T] == pytest.approx(digits.accuracy(snn.predict(x, T), y))
    assert found.ann_accuracy == pytest.approx(digits.accuracy(net(x), y))
    assert found.first_lossless(within=100) == 1
    assert found.first_lossless(101.0) is None
    early = [T for T in found.timesteps if found.accuracy[T] >= found.ann_accuracy - 0.5]
    assert found.first_lossless(within=0.5) == (early[0] if early else None)


def test_batches_of_any_size_weigh_by_inputs(trained):
    _, snn, x, y = trained
    whole = snn.evaluate((x, y), [2])
    shares = []
    parts = list(zip(x.split([1, 150, 49]), y.split([1, 150, 49]), strict=True))
    found = snn.evaluate(parts, [2], progress=lambda what, share: shares.append((what, share)))
    assert found.accuracy == whole.accuracy
    assert found.mean_rate == pytest.approx(whole.mean_rate, rel=1e-4)
    assert shares == [('evaluating', pytest.approx(i / 3)) for i in (1, 2, 3)]


def test_rates_are_spikes_by_neurons_and_steps(trained):
    _, snn, x, y = trained
    seen = {}

    def keep(layer, _, out):
        seen[layer] = seen.get(layer, 0) + (out / layer.v_threshold).round().abs().sum().item()

    hooks = [layer.register_forward_hook(keep) for layer in snn.neurons]
    found = snn.evaluate((x[:20], y[:20]), [4])
    for hook in hooks:
        hook.remove()
    assert found.neurons == {'neuron_0': 6 * 28 * 28, 'neuron_1': 16 * 10 * 10, 'neuron_2': 120}
    one_extra_for_measuring = snn.evaluate((x[:20], y[:20]), [4])
    for layer, (name, rate) in zip(snn.neurons, found.rates.items(), strict=True):
        assert rate * found.neurons[name] * 20 * 4 <= seen[layer]
        assert rate == one_extra_for_measuring.rates[name]
    spikes = sum(found.spikes[4][name] for name in found.neurons)
    assert found.mean_rate == pytest.approx(spikes / (4 * sum(found.neurons.values())))


def test_layers_that_look_ahead_run_for_each_number_of_steps(trained):
    net, _, x, y = trained
    snn = convert(net, x[:50], fixed(0.5, layer=Ahead))
    found = snn.evaluate((x[:50], y[:50]), [1, 2, 4])
    assert found.passes == 3
    assert 'look ahead' in str(found)
    same = convert(net, x[:50], fixed(0.5)).evaluate((x[:50], y[:50]), [1, 2, 4])
    assert found.spikes == same.spikes
    with pytest.raises(ValueError, match='confidence must be None for recipe fixed'):
        snn.evaluate((x, y), [2], confidence=0.5)


def test_early_exit_is_the_first_sure_step(trained):
    _, snn, x, y = trained
    found = snn.evaluate((x, y), [1, 6], confidence=0.8).confident
    with torch.no_grad():
        outs = torch.stack([out for _, out in snn.steps(x, 6)])
    sure = outs.softmax(2).amax(2) >= 0.8
    first = torch.where(sure.any(0), sure.float().argmax(0), 5)
    right = outs[first, torch.arange(len(x))].argmax(1) == y
    assert found.mean_steps == pytest.approx((first + 1).float().mean().item())
    assert found.accuracy == pytest.approx(100 * right.float().mean().item())
    assert sum(found.share.values()) == pytest.approx(100)
    logits, steps = snn.predict_confident(x, 0.8, 6)
    assert torch.equal(steps, first + 1)
    torch.testing.assert_close(logits, outs[first, torch.arange(len(x))], rtol=1e-4, atol=1e-4)
    assert all(layer.state is None for layer in snn.layers)


def test_probabilities_are_taken_as_they_are():
    logits = torch.randn(4, 5) * 3
    torch.testing.assert_close(sureness(logits.softmax(1)), sureness(logits))


class Largest:
    """What a torchmetrics object looks like from outside."""

    def __init__(self):
        self.reset()

    def reset(self):
        self.seen = []

    def update(self, out, y):
        self.seen.append(out)

    def compute(self):
        return {'max': torch.cat(self.seen).max()}


def test_other_tasks_have_a_metric():
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 1, 1), nn.Sigmoid()).eval()
    x, y = torch.randn(7, 1, 6, 6), torch.rand(7, 1, 4, 4)
    snn = convert(net, x)
    batches = [(x[:4], y[:4]), (x[4:], y[4:])]
    found = snn.evaluate(batches, [2, 4], metric=lambda out, target: (out - target).abs().mean(), ann=net)
    assert found.accuracy == {}
    for T in (2, 4):
        assert found.metric[T] == pytest.approx((snn.predict(x, T) - y).abs().mean().item(), rel=1e-4)
    assert found.ann_metric == pytest.approx((net(x) - y).abs().mean().item(), rel=1e-4)
    metric = Largest()
    found = snn.evaluate(batches, [2, 4], metric=metric)
    assert metric.seen == []
    assert found.metric[4]['max'] == pytest.approx(snn.predict(x, 4).max().item(), rel=1e-4)
    with pytest.raises(ValueError, match=r'outputs \[7, 1, 4, 4\] with targets \[7, 1, 4, 4\] are no classification'):
        snn.evaluate((x, y), [1])
    with pytest.raises(ValueError, match='no accuracies'):
        found.first_lossless(90.0)


def test_metrics_of_torchmetrics(trained):
    metrics = pytest.importorskip('torchmetrics')
    _, snn, x, y = trained
    of_classes = {'task': 'multiclass', 'num_classes': 10, 'average': 'micro'}
    several = metrics.MetricCollection({'top1': metrics.Accuracy(**of_classes), 'f1': metrics.F1Score(**of_classes)})
    found = snn.evaluate(list(zip(x.split(60), y.split(60), strict=True)), [1, 4], metric=several)
    for T in (1, 4):
        assert 100 * found.metric[T]['top1'] == pytest.approx(found.accuracy[T])
        assert found.metric[T]['f1'] == pytest.approx(found.metric[T]['top1'])
    single = snn.evaluate((x, y), [4], metric=metrics.Accuracy(**of_classes))
    assert single.metric[4] == pytest.approx(found.metric[4]['top1'])


def test_bad_input_is_named(trained):
    _, snn, x, y = trained
    with pytest.raises(ValueError, match='labels must be 0 to 9, the 10 classes of the network; got 12'):
        snn.evaluate((x[:3], torch.tensor([1, 12, 3])))
    with pytest.raises(ValueError, match='got -1'):
        snn.evaluate((x[:3], torch.tensor([1, 2, -1])))
    with pytest.raises(ValueError, match='at least one input, got none'):
        snn.evaluate([])
    with pytest.raises(ValueError, match='at least one input, got none'):
        snn.evaluate((x[:0], y[:0]))
    with pytest.raises(ValueError, match='timesteps must be >= 1, got 0'):
        snn.evaluate((x, y), [2, 0])
    with pytest.raises(ValueError, match='at least one T'):
        snn.evaluate((x, y), [])
    with pytest.raises(ValueError, match=r'confidence must be in \(0, 1\], got 90'):
        snn.evaluate((x, y), confidence=90)
    with pytest.raises(ValueError, match='got 3 and 2'):
        snn.evaluate((x[:3], y[:2]))
    with pytest.raises(ValueError, match=r"must be tensors \(x, y\), got \['Tensor'\]"):
        snn.evaluate(x[:4].split(1))
    with pytest.raises(ValueError, match='T must be one of'):
        snn.evaluate((x[:4], y[:4]), [2]).rates_at(3)
    with pytest.raises(ValueError, match='accuracy of the ANN'):
        snn.evaluate((x[:4], y[:4]), [2]).first_lossless()


def test_nan_outputs_are_no_answer():
    net, x = residual(softmax=False), torch.randn(8, 1, 8, 8)
    snn = convert(net, x)
    snn.body.head.bias.data[2] = torch.nan
    with pytest.raises(ValueError, match='NaN or infinite values at T = 1'):
        snn.evaluate((x, torch.zeros(8, dtype=torch.long)))


def test_results_are_json_table_and_picture(trained, tmp_path):
    net, snn, x, y = trained
    found = snn.evaluate((x[:50], y[:50]), [1, 4], confidence=0.9, ann=net)
    again = json.loads(json.dumps(found.as_dict()))
    assert [row['T'] for row in again['rows']] == [1, 4]
    assert again['rows'][1]['accuracy'] == found.accuracy[4]
    assert again['rows'][1]['energy']['synops'] == found.synops[4]
    assert again['confident']['mean_steps'] == found.confident.mean_steps
    text = str(found)
    assert f'{found.accuracy[4]:.2f}' in text
    assert f'{found.synops[4]:,.0f}' in text
    assert 'exit at 0.9 confidence' in text
    found.plot(tmp_path / 'found.png')
    assert (tmp_path / 'found.png').read_bytes()[:4] == b'\x89PNG'
    found.plot(str(tmp_path / 'found.svg'))
    assert [p.name for p in sorted(tmp_path.iterdir())] == ['found.png', 'found.svg']


def test_the_published_readout_averages_probabilities():
    net, x = residual(), torch.randn(16, 1, 8, 8)
    plain, original = (convert(net, x, readout=readout) for readout in ('mean', 'original'))
    logits = convert(residual_without_softmax(net), x)
    with torch.no_grad():
        steps = [out for _, out in logits.steps(x, 5)]
        torch.testing.assert_close(plain(x, 5), steps[-1].softmax(1), rtol=1e-4, atol=1e-5)
        sums = torch.stack([t * out for t, out in enumerate(steps, 1)])
        each = torch.cat([sums[:1], sums[1:] - sums[:-1]]).softmax(2).mean(0)
        torch.testing.assert_close(original(x, 5), each, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match='readout must be'):
        convert(net, x, readout='last')


def residual_without_softmax(net):
    twin = residual(softmax=False)
    twin.load_state_dict(net.state_dict())
    return twin


def test_min_max_scales_each_input():
    out = torch.tensor([[[1.0, 3.0], [5.0, 2.0]], [[4.0, 4.0], [4.0, 4.0]]])
    assert min_max(out).tolist() == [[[0.0, 0.5], [1.0, 0.25]], [[0.0, 0.0], [0.0, 0.0]]]
