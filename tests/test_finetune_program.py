"""Converted networks that are trained on: by `snnkern train`, and a published one."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from snnkern import encode
from snnkern.models.spiking.converted import converted

DATA = Path(__file__).parents[2] / 'shared' / 'data'


def answer(net, x, T=4):
    return net(encode.direct(x, T))


@pytest.mark.filterwarnings('ignore::DeprecationWarning', 'ignore::matplotlib.MatplotlibDeprecationWarning')
@pytest.mark.parametrize('learn', [False, True])
def test_the_program_trains_and_loads_it(learn, monkeypatch, tmp_path):
    """Calibrated on its first images, distilled, with pools that share the thresholds of their neurons."""
    pytest.importorskip('lightning')
    from snnkern.data import ImageSplit
    from snnkern.recipes.direct import program, runtime, saved
    from snnkern.recipes.direct.config import Config

    full = program.samples('mnist')
    few = [ImageSplit(F.pad(s.images[:64], (2, 2, 2, 2)), s.labels[:64]) for s in (full.train, full.test)]
    data = full._replace(train=few[0], test=few[1], shape=(1, 32, 32))
    monkeypatch.setattr(program, 'samples', lambda spec, T, **options: data)
    options = {'network': 'lenet5', 'recipe': 'layerwise', 'learn_thresholds': learn}
    config = Config('converted', 'mnist', options=options, T=3, batch=32, distill=0.5, clip=1.0)
    report = program.train(config, tmp_path / 'run', runtime.Settings(device='cpu'), lambda what, share: None)
    net = saved.load(tmp_path / 'run').net
    x, y = few[1].batch(range(64))
    found = (answer(net, x, 3).mean(0).argmax(1) == y).float().mean().item()
    assert 100 * found == pytest.approx(report['score']['accuracy'])
    assert net.numbers[:, 0].std() > 0


@pytest.mark.slow
@pytest.mark.skipif(not DATA.exists(), reason='needs ../shared/data')
def test_published_network_comes_back():
    """ResNet-20 with one spike a step at most, T = 4: what 30 steps bring back, on a few images."""
    data = snnkern_data()
    net = converted(3, (32, 32), 10, network='resnet20', weights=DATA / 'pretrained_weights.zip', recipe='layerwise')
    x, y = data.normalise(data.x_train[:1024]), data.y_train[:1024]
    net.calibrate(x[:128])
    before, optimizer = score(net, data), torch.optim.AdamW(net.parameters(), 5e-4)
    for i in range(0, 960, 32):
        out = answer(net, x[i : i + 32]).mean(0)
        loss = F.cross_entropy(out, y[i : i + 32]) + F.mse_loss(out, net.teacher(x[i : i + 32]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert score(net, data) > before + 0.15


def snnkern_data():
    from snnkern.data import dataset

    return dataset(f'cifar10:{DATA}')


@torch.no_grad()
def score(net, data, count=200):
    found = answer(net, data.normalise(data.x_test[:count])).mean(0).argmax(1)
    return (found == data.y_test[:count]).float().mean().item()
