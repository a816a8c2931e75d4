"""`snnkern train` with a converted network: calibrated, distilled, saved and loaded."""

import pytest
from torch.nn import functional as F

from snnkern import encode


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
    found = (net(encode.direct(x, 3)).mean(0).argmax(1) == y).float().mean().item()
    assert 100 * found == pytest.approx(report['score']['accuracy'])
    assert net.numbers[:, 0].std() > 0
