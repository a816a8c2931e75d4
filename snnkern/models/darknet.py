"""Weights of Darknet (`.weights`): a header, then float32 numbers of one convolution after another.

Header: major, minor and revision as int32, then how many images were seen in training, int64 from version 0.2 on and
int32 before. Each convolution: with BatchNorm its bias, scale, mean and variance, without it its bias; then weights
[out, in / groups, k, k]. All little-endian. Nothing says where a layer ends, so only the network knows.
"""

import math
import struct
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from snnkern._files import write
from snnkern.models.weights import WeightsError

EPSILON = 1e-6  # Darknet divides by sqrt(variance) + EPSILON
CELLS = 13  # of a map, each way, for the images of 416 x 416 that published anchors are for
VERSION = (0, 2, 0)
LATEST = 2000  # major or minor version, of which old files add 1000 to say how they lay out what is no convolution


def _shares(*cells: float) -> tuple[tuple[float, float], ...]:
    return tuple((w / CELLS, h / CELLS) for w, h in zip(cells[::2], cells[1::2], strict=True))


# Sizes in shares of the image, as `TinyYolo(anchors=...)` takes them, from the files yolov2-tiny-voc.cfg and
# yolov2-tiny.cfg of Darknet, where they are in cells.
VOC_ANCHORS = _shares(1.08, 1.19, 3.42, 4.41, 6.63, 11.38, 9.42, 5.11, 16.62, 10.52)
COCO_ANCHORS = _shares(
    *(0.57273, 0.677385, 1.87446, 2.06253, 3.33843, 5.47434, 7.88282, 3.52778, 9.77052, 9.16828),
)


class Layer(NamedTuple):
    """A convolution and the BatchNorm behind it, if there is one."""

    name: str
    conv: nn.Conv2d
    norm: nn.BatchNorm2d | None

    @property
    def tensors(self) -> list[Tensor]:
        """In the order of the file."""
        if self.norm is None:
            assert self.conv.bias is not None
            return [self.conv.bias, self.conv.weight]
        mean, var = self.norm.running_mean, self.norm.running_var
        assert mean is not None
        assert var is not None
        return [self.norm.bias, self.norm.weight, mean, var, self.conv.weight]

    @property
    def size(self) -> int:
        """How many numbers it has in the file."""
        return sum(t.numel() for t in self.tensors)


def load_darknet(net: nn.Module, path: str | Path) -> nn.Module:
    """The network with the weights of a Darknet file put into it; the same object, in eval mode.

    net: one whose parameters are those of convolutions, in the order in which it names them (`named_modules`), each
    with its BatchNorm next or else with a bias: `TinyYolo`, and other networks without branches or with branches
    named in the file's order. Darknet divides by sqrt(var) + 1e-6 and torch by sqrt(var + eps); gamma takes the
    difference, so that outputs are Darknet's and variances stay. Anchors are not in the file: see VOC_ANCHORS and
    COCO_ANCHORS, and `TinyYolo`'s `last`, which is 32 for yolov2-tiny (COCO) and 64 for yolov2-tiny-voc. Darknet reads
    RGB in 0..1.

    Raises WeightsError, leaving the network as it was, for a file that is missing, no Darknet file, too short or too
    long (saying how much, and which number of channels of the last layer would fit), or with numbers that cannot be;
    ValueError for a network with other parameters. Source: `parser.c` and `blas.c` of github.com/pjreddie/darknet.
    Example: `net = load_darknet(TinyYolo(num_classes=20, anchors=VOC_ANCHORS), 'yolov2-tiny-voc.weights')`.
    """
    path = Path(path).expanduser()
    layers = _layers(net)
    values = torch.from_numpy(_values(path))
    _check_length(path, layers, len(values))
    parts = iter(values.split([t.numel() for layer in layers for t in layer.tensors]))
    found = [[next(parts).view(t.shape) for t in layer.tensors] for layer in layers]
    for layer, tensors in zip(layers, found, strict=True):
        if not all(t.isfinite().all() for t in tensors) or (layer.norm is not None and bool((tensors[3] < 0).any())):
            raise WeightsError(
                f'{path}: layer {layer.name} would get NaN, infinite numbers or a negative variance: the file is '
                'broken, or of a network with other layers'
            )
    with torch.no_grad():
        for layer, tensors in zip(layers, found, strict=True):
            if layer.norm is not None:
                tensors[1] = (tensors[1].double() / _ratio(layer.norm, tensors[3])).float()
            for own, new in zip(layer.tensors, tensors, strict=True):
                own.copy_(new)
    return net.eval()


def save_darknet(net: nn.Module, path: str | Path, seen: int = 0) -> None:
    """Write the weights of a network into a Darknet file of version 0.2, whole or not at all.

    net: as in `load_darknet`, which gives them back to the last bits of gamma. seen: how many images the network was
    trained on, from which Darknet's own training goes on. Raises ValueError for other networks and a negative `seen`.
    Example: `save_darknet(net, 'tiny.weights')`.
    """
    if seen < 0:
        raise ValueError(f'seen: expected at least 0, got {seen}')
    numbers = []
    for layer in _layers(net):
        tensors = [t.detach().double().cpu() for t in layer.tensors]
        if layer.norm is not None:
            tensors[1] = tensors[1] * _ratio(layer.norm, tensors[3])
        numbers += [t.flatten() for t in tensors]
    content = struct.pack('<3iq', *VERSION, seen) + torch.cat(numbers).numpy().astype('<f4').tobytes()
    write(Path(path).expanduser(), lambda p: p.write_bytes(content))


def _ratio(norm: nn.BatchNorm2d, var: Tensor) -> Tensor:
    """What gamma is in Darknet's formula over what it is in torch's, [C]."""
    var = var.double()
    return (var.sqrt() + EPSILON) / (var + norm.eps).sqrt()


def _layers(net: nn.Module) -> list[Layer]:
    """The convolutions in order. Raises ValueError for what Darknet's files have no place for."""
    own = [(name, m) for name, m in net.named_modules() if next(m.parameters(recurse=False), None) is not None]
    layers: list[Layer] = []
    for (name, module), (_, after) in pairwise([*own, ('', None)]):
        if layers and module is layers[-1].norm:
            continue
        if not isinstance(module, nn.Conv2d):
            raise ValueError(f'net: {name} ({type(module).__name__}) has no place in a Darknet file')
        norm = after if isinstance(after, nn.BatchNorm2d) else None
        if norm is not None and (norm.running_var is None or norm.num_features != module.out_channels):
            raise ValueError(f'net: the BatchNorm behind {name} must have running statistics of its channels')
        if (module.bias is None) == (norm is None):
            raise ValueError(f'net: {name} must have either a bias or a BatchNorm behind it')
        layers.append(Layer(name, module, norm))
    if not layers:
        raise ValueError(f'net: {type(net).__name__} has no convolution')
    return layers


def _values(path: Path) -> np.ndarray:
    """The numbers behind the header, float32."""
    if not path.is_file():
        raise WeightsError(f'no file {path}')
    content = path.read_bytes()
    if len(content) < 16:
        raise WeightsError(f'{path} is no Darknet file: {len(content)} bytes are too few for a header')
    major, minor, _ = struct.unpack_from('<3i', content)
    if not (0 <= major < LATEST and 0 <= minor < LATEST):
        raise WeightsError(f'{path} is no Darknet file: its header says version {major}.{minor}')
    wide = major * 10 + minor >= 2 and major < 1000 and minor < 1000
    numbers = content[20 if wide else 16 :]
    if len(numbers) % 4:
        raise WeightsError(f'{path} is broken: it ends in the middle of a number')
    return np.frombuffer(numbers, '<f4').astype(np.float32)


def _check_length(path: Path, layers: list[Layer], count: int) -> None:
    """Raise WeightsError unless the layers have so many numbers."""
    done = 0
    hint = _hint(layers, count)
    for layer in layers:
        done += layer.size
        if done > count:
            missing = sum(each.size for each in layers) - count
            raise WeightsError(
                f'{path} is too short by {missing} numbers: it ends in layer {layer.name}, which lacks '
                f'{min(done - count, layer.size)} of {layer.size}{hint}'
            )
    if done < count:
        raise WeightsError(f'{path} is too long: {count - done} numbers are left behind layer {layers[-1].name}{hint}')


def _hint(layers: list[Layer], count: int) -> str:
    """How many channels of the last layer the file would fit, in words."""
    *before, last = layers
    each = math.prod(last.conv.weight.shape[1:]) + len(last.tensors) - 1
    channels, rest = divmod(count - sum(layer.size for layer in before), each)
    if rest or channels < 1:
        return '; the layers before the last differ too, so it is of another network'
    return f'; {channels} channels of that layer would fit, not {last.conv.out_channels} (classes or anchors differ)'
