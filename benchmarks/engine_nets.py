"""The networks of `benchmarks.engine`; `python -m benchmarks.engine_nets vgg11 --data cifar10:DIR --out FILE` trains.

ResNet-20 comes trained (pretrained_weights.zip); LeNet-5 is `snnkern train lenet5`'s. VGG-11 is not in the registry of
`snnkern train`, so it is trained here, by the same program and with the same settings as VGG-18, forward in bfloat16.
"""

import argparse
import copy
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from benchmarks.rival_converters import Batches
from benchmarks.timing import Call
from snnkern.data import dataset
from snnkern.models import VGG, build, load_weights, read_weights
from snnkern.recipes.fitting import seeded
from snnkern.recipes.training import Settings, about, default_fit, save, train_net

VGG11 = (1, 1, 2, 2, 2)  # convolutions of each stage
TITLES = {'resnet20': 'ResNet-20', 'lenet5': 'LeNet-5'}
CALIBRATION, BATCH = 256, 100
DATA = {'resnet20': 'cifar10', 'lenet5': 'mnist', 'vgg11': 'cifar10'}


def vgg11(width: int) -> nn.Module:
    """As torchvision's `vgg11_bn`, with one linear layer; width 64 is the full network."""
    return VGG(width=width, convolutions=VGG11)


def trained(name: str, weights: Path) -> nn.Module:
    """A network of `DATA` with trained weights, in eval mode; their width is the network's."""
    if name != 'vgg11':
        return load_weights(build(name), weights, name)
    return load_weights(vgg11(len(read_weights(weights, name)['features.0.weight'])), weights, name)


class Data:
    """Calibration images, of the training set, and the first test images of a network."""

    def __init__(self, name: str, folder: str, images: int) -> None:
        data = dataset(f'{DATA[name]}:{folder}')
        self.batches: Batches = list(data.loader('train', 64, CALIBRATION))
        self.tests: Batches = list(data.loader('test', min(BATCH, images), images))

    @property
    def calibration(self) -> Tensor:
        """[256, ...]."""
        return torch.cat([x for x, _ in self.batches])


def passes(net: nn.Module, x: Tensor) -> dict[str, Call]:
    """One forward pass as the network came and with BatchNorm folded into its convolutions, in both memory formats."""
    found: dict[str, Call] = {}
    for title, memory in (('', torch.contiguous_format), (', channels last', torch.channels_last)):
        plain, own = copy.deepcopy(net).to(memory_format=memory), x.contiguous(memory_format=memory)
        found[f'ANN{title}'] = partial(plain, own)
        found[f'ANN folded{title}'] = partial(fuse(plain), own)
    return found


def title(name: str, net: nn.Module) -> str:
    """What tables call a network."""
    return f'VGG-11 of width {net.features[0].out_channels}' if isinstance(net, VGG) else TITLES[name]


def train_vgg11(spec: str, width: int, epochs: int, threads: int, out: Path) -> float:
    """Train VGG-11 and write its weights as `snnkern train` does. Returns its accuracy in percent."""
    data, start = dataset(spec), perf_counter()
    fit = replace(default_fit('vgg18', data), epochs=epochs, threads=threads)
    with seeded(fit.seed):
        net = vgg11(width)
    settings = Settings(fit, width)
    with torch.autocast('cpu', torch.bfloat16, cache_enabled=False):  # else weights stay those of the first step
        train_net(
            net, data, settings, lambda loss: print(f'loss {loss:.3f}, {perf_counter() - start:.0f} s', flush=True)
        )
    facts = about('vgg18', net, data, settings, perf_counter() - start)
    save(net, out, {**facts, 'model': 'vgg11'})
    return float(facts['test_score'])


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('name', choices=['vgg11'])
    parser.add_argument('--data', required=True, help='cifar10:DIR (see snnkern.data.dataset)')
    parser.add_argument('--out', type=Path, required=True, help='a .safetensors file')
    parser.add_argument('--width', type=int, default=64, help='channels of the first layer (default: 64)')
    parser.add_argument('--epochs', type=int, default=12, help='passes over the pictures (default: 12)')
    parser.add_argument('--threads', type=int, default=1, help='CPU threads (default: 1)')
    a = parser.parse_args(words)
    print(f'{train_vgg11(a.data, a.width, a.epochs, a.threads, a.out):.2f} % of the test images')
    return 0


if __name__ == '__main__':
    sys.exit(main())
