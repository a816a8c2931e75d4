"""torchvision's networks with random weights on small inputs."""

import pytest
import torch
from soundness import kinds, sound, trained

from snnkern.convert import ConversionError, convert

models = pytest.importorskip('torchvision').models
# The model, then how many neurons, lateral pools and analogue calls it becomes.
QUICK = {
    'resnet18': (17, 1, 0),
    'mobilenet_v3_small': (14, 0, 36),  # hard swish, squeeze and excitation
    'squeezenet1_0': (26, 1, 2),  # pools of concatenations
    'shufflenet_v2_x0_5': (37, 1, 0),
}
SLOW = {
    'alexnet': (7, 3, 0),
    'vgg11_bn': (10, 5, 0),
    'mobilenet_v2': (35, 0, 0),
    'mnasnet0_5': (35, 0, 0),
    'densenet121': (121, 1, 0),
    'googlenet': (57, 3, 10),
    'regnet_y_400mf': (65, 0, 32),
    'segmentation.fcn_resnet50': (50, 1, 0),
    'segmentation.deeplabv3_mobilenet_v3_large': (26, 0, 35),
    'segmentation.lraspp_mobilenet_v3_large': (20, 0, 37),
    'video.r3d_18': (17, 0, 0),
}
NO_RELU = ('efficientnet_b0', 'convnext_tiny', 'swin_t', 'vit_b_16')


def model(name):
    place = models
    for part in name.split('.'):
        place = getattr(place, part)
    options = {'weights_backbone': None} if name.startswith('segmentation') else {}
    options |= {'init_weights': False} if name == 'googlenet' else {}
    return place(weights=None, **options)


def images(name):
    return torch.randn(4, 3, 4, 32, 32) if name.startswith('video') else torch.randn(4, 3, 64, 64)


def check(name, expected):
    x = images(name)
    snn = sound(trained(model(name), x), x, timesteps=2)
    assert kinds(snn) == expected
    return snn, x


@pytest.mark.parametrize('name', QUICK)
def test_models(name):
    check(name, QUICK[name])


@pytest.mark.slow
@pytest.mark.parametrize('name', SLOW)
def test_more_models(name):
    snn, x = check(name, SLOW[name])
    if name.startswith('segmentation'):
        assert snn(x, 1)['out'].shape[2:] == x.shape[2:]


@pytest.mark.slow
@pytest.mark.parametrize('name', NO_RELU)
def test_models_without_a_relu(name):
    x = torch.randn(2, 3, 224, 224) if name.startswith('vit') else images(name)
    with pytest.raises(ConversionError, match='no ReLU'):
        convert(model(name), x, timesteps=2)
