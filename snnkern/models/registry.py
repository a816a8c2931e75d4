"""The networks by name, as the programs call them."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import nn

from snnkern.models.cifar import DEPTHS, CifarResNet
from snnkern.models.fastestdet import FastestDet
from snnkern.models.foreign import clip_rn50, torchvision_resnet
from snnkern.models.lenet import LeNet5, LeNetClassic
from snnkern.models.resnet import RESNET101, ResNet
from snnkern.models.tiny_yolo import TinyYolo
from snnkern.models.unet import UNet
from snnkern.models.vgg import VGG


class ModelEntry(NamedTuple):
    """A network that has a name.

    factory: called as factory(in_channels=..., num_classes=...) and, where width is not None, width=...
    size: height and width of its images in pixels. in_channels, num_classes, width: what `build` takes by
    default; width None: the network has one width only. task: 'classify' (logits [B, num_classes]),
    'segment' (logits [B, num_classes, H, W]) or 'detect' (maps that the network's `head` reads).
    """

    factory: Callable[..., nn.Module]
    size: int = 32
    in_channels: int = 3
    num_classes: int = 10
    width: int | None = None
    task: str = 'classify'


def _clip(in_channels: int, num_classes: int) -> nn.Module:
    if in_channels != 3:
        raise ValueError(f'clip-rn50 takes colour images: in_channels is 3, not {in_channels}')
    return clip_rn50(num_classes)


MODELS: dict[str, ModelEntry] = {
    'lenet5': ModelEntry(LeNet5, in_channels=1),
    'lenet-classic': ModelEntry(LeNetClassic, in_channels=1),
    'vgg18': ModelEntry(VGG, width=64),
    'resnet18': ModelEntry(ResNet, width=64),
    'plain18': ModelEntry(lambda **kw: ResNet(residual=False, **kw), width=64),
    'resnet50': ModelEntry(lambda **kw: torchvision_resnet('resnet50', **kw), size=224),
    'resnet101': ModelEntry(lambda **kw: torchvision_resnet('resnet101', **kw), size=224),
    'resnet101-basic': ModelEntry(lambda **kw: ResNet(blocks=RESNET101, **kw), width=64),
    'unet': ModelEntry(UNet, size=256, in_channels=1, num_classes=1, width=64, task='segment'),
    **{
        name: ModelEntry(lambda blocks=blocks, **kw: CifarResNet(blocks, **kw), width=16)
        for name, blocks in DEPTHS.items()
    },
    'tiny-yolo': ModelEntry(TinyYolo, size=416, num_classes=20, width=16, task='detect'),
    'clip-rn50': ModelEntry(_clip, size=224),
    'fastestdet': ModelEntry(FastestDet, size=352, num_classes=80, task='detect'),
}


def build(
    name: str,
    *,
    in_channels: int | None = None,
    num_classes: int | None = None,
    width: int | None = None,
    **options: Any,
) -> nn.Module:
    """The untrained network of that name, drawn from torch's global random state.

    name: a key of MODELS. in_channels, num_classes, width: None takes the entry's own. options: what the network takes
    besides, as anchors of 'tiny-yolo'. Raises ValueError for an unknown name, a number below 1, a width for a network
    that has one width only, or an option that it does not take.
    Example: `build('resnet18', width=16)(torch.rand(8, 3, 32, 32))`.
    """
    if name not in MODELS:
        raise ValueError(f'name: no network {name!r}, expected one of {", ".join(MODELS)}')
    entry = MODELS[name]
    if width is not None and entry.width is None:
        raise ValueError(f'width: {name} has one width only, got {width}')
    sizes = {
        'in_channels': entry.in_channels if in_channels is None else in_channels,
        'num_classes': entry.num_classes if num_classes is None else num_classes,
    }
    if entry.width is not None:
        sizes['width'] = entry.width if width is None else width
    for key, value in sizes.items():
        if value < 1:
            raise ValueError(f'{key}: expected at least 1, got {value}')
    try:
        return entry.factory(**sizes, **options)
    except TypeError as error:
        if not options:
            raise
        raise ValueError(f'{name}: {error}') from error
