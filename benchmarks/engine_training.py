"""What event kernels could win in a training step: `python -m benchmarks.engine_training --data cifar10:DIR`.

The spiking VGG-9 of `benchmarks.training` (width 64, T = 4, 32 images) learns for some steps; then, for each
convolution that reads spikes: how dense they are, and what its forward pass, the gradient of its input and of its
weight take in torch, beside a whole step. Events could do the forward pass and the gradient of the weight, both of
which add up a row of channels for each spike and tap; the gradient of the input has no zeros. Measured is the forward
pass by the engine's kernels, from spikes that are packed already (packing, and weights in their order, are told apart)
and with its result checked. Two bounds of a step follow: with both in no time at all, and with both as fast as forward
by events, in layers where that is faster than torch.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import report, training_nets
from benchmarks.environment import surroundings
from benchmarks.timing import Call, interleave
from benchmarks.training import Step
from snnkern.backends.events import Axis, Layer, Slot, Synapse, pack
from snnkern.backends.native.events import Program
from snnkern.data import dataset

WANTED = 1.3  # of a whole step, to be shipped
PARTS = FORWARD, INPUT, WEIGHT, EVENTS, PACKING = 'forward', 'input', 'weight', 'events', 'packing'
CLOSE = 1e-4  # of currents, relative
RESULTS = Path(__file__).parent / 'results' / 'engine_training.json'


def learn(net: training_nets.Net, data: str, steps: int) -> Step:
    """A step of the network on the images that it saw last, after so many others."""
    step = Step(net, training_nets.OURS)
    for (step.images, step.labels), _ in zip(dataset(data).loader('train', net.batch), range(steps), strict=False):
        step()
    return step


def spiking_inputs(step: Step) -> dict[str, tuple[nn.Conv2d, Tensor]]:
    """The convolutions that read spikes, by name, and their input [T * B, C, H, W] in one more step."""
    found: dict[str, tuple[nn.Conv2d, Tensor]] = {}

    def keep(name: str, module: nn.Module, args: tuple[Tensor]) -> None:
        found[name] = module, args[0].detach()  # type: ignore[assignment]

    hooks = [
        module.register_forward_pre_hook(partial(keep, name))
        for name, module in step.net.named_modules()
        if isinstance(module, nn.Conv2d)
    ]
    step()
    for hook in hooks:
        hook.remove()
    return dict(list(found.items())[1:])  # the first reads images


class Convolution:
    """One of them, with its spikes, as torch computes it and by events."""

    def __init__(self, conv: nn.Conv2d, x: Tensor, T: int, threads: int) -> None:
        self.x, self.weight, self.T, self.threads = x, conv.weight.detach(), T, threads
        self.grad = torch.randn_like(F.conv2d(x, self.weight, padding=1))
        self.words = self.packed()
        self.program = self.compiled()
        self.out = torch.empty(len(self.words), T, *x.shape[2:], len(self.weight))

    @property
    def densities(self) -> dict[int, float]:
        """Share of channels in which a spike is, in blocks of 1, 2 and 4 steps."""
        spikes = self.x.unflatten(0, (self.T, -1)) != 0
        blocks = {n: torch.stack([part.any(0) for part in spikes.split(n)]) for n in (1, 2, 4) if n <= self.T}
        return {n: there.double().mean().item() for n, there in blocks.items()}

    def packed(self) -> Tensor:
        """The spikes as words."""
        return pack(self.x.unflatten(0, (self.T, -1)).to(torch.int8))

    def compiled(self) -> Program:
        """The layer with its weights as the kernels want them."""
        outputs, inputs, kernel, _ = self.weight.shape
        rows, cols = (Axis(size, size, kernel, padding=kernel // 2) for size in self.x.shape[2:])
        shape = self.x.shape[2:]
        slots = [Slot('spikes', 'counts', inputs, *shape), Slot('currents', 'currents', outputs, *shape)]
        return Program(slots, [Layer('layer', 1, (Synapse(0, self.weight, rows, cols),))])

    def events(self, block: int) -> Tensor:
        """Currents [B, T, H, W, C]."""
        self.program.run([0], {0: self.words, 1: self.out}, {}, self.T, [block], self.threads)
        return self.out

    def check(self) -> None:
        """Events give torch's currents."""
        expected = F.conv2d(self.x, self.weight, padding=1).unflatten(0, (self.T, -1))
        found = self.events(1).permute(1, 0, 4, 2, 3)
        apart = float((found - expected).norm() / expected.norm())
        assert apart < CLOSE, f'currents are {apart:.1e} of their norm apart'

    def calls(self) -> dict[str, Call]:
        """By part; events by the steps that one stands for."""

        def gradient(of: str) -> Call:
            sizes = [1, 1], [1, 1], [1, 1], False, [0, 0], 1
            mask = [of == INPUT, of == WEIGHT, False]
            return lambda: torch.ops.aten.convolution_backward(self.grad, self.x, self.weight, None, *sizes, mask)

        return {
            FORWARD: lambda: F.conv2d(self.x, self.weight, padding=1),
            INPUT: gradient(INPUT),
            WEIGHT: gradient(WEIGHT),
            **{f'{EVENTS} {block}': partial(self.events, block) for block in self.densities},
            PACKING: lambda: (self.packed(), self.compiled()),
        }


def measured(net: training_nets.Net, data: str, steps: int, rounds: int, threads: int) -> dict[str, Any]:
    """Milliseconds of a step, and of all parts of its layers; how dense their inputs are."""
    step = learn(net, data, steps)
    layers = {name: Convolution(*found, net.T, threads) for name, found in spiking_inputs(step).items()}
    calls: dict[str, Call] = {'step': step}
    with torch.no_grad():
        for name, layer in layers.items():
            layer.check()
            calls |= {f'{name} {part}': call for part, call in layer.calls().items()}
    ms = {name: t.median * 1e3 for name, t in interleave(calls, rounds).items()}
    found: dict[str, Any] = {'step': ms['step'], 'layers': {}}
    for name, layer in layers.items():
        own = {key.rpartition(f'{name} ')[2]: value for key, value in ms.items() if key.startswith(f'{name} ')}
        own[EVENTS] = min(value for key, value in own.items() if key.startswith(EVENTS))
        shape = list(layer.x.shape[1:])
        found['layers'][name] = {'shape': shape, 'densities': layer.densities, 'ms': own}
    return {**found, 'bounds': bounds(found)}


def bounds(found: dict[str, Any]) -> dict[str, float]:
    """Share of the forward passes and weight gradients in a step, and what it would gain at most."""
    parts = [layer['ms'] for layer in found['layers'].values()]
    share = {part: sum(ms[part] for ms in parts) / found['step'] for part in (FORWARD, INPUT, WEIGHT)}
    saved = sum(max(0.0, ms[part] - ms[EVENTS]) for ms in parts for part in (FORWARD, WEIGHT)) / found['step']
    return {**share, 'for nothing': 1 / (1 - share[FORWARD] - share[WEIGHT]), 'as measured': 1 / (1 - saved)}


def table(found: dict[str, Any], threads: int) -> report.Table:
    head = ['convolution', 'input', '% dense, 1 step', '2', '4', *PARTS]
    rows = []
    for name, layer in found['layers'].items():
        dense = [f'{100 * share:.1f}' for share in layer['densities'].values()]
        ms = [report.number(layer['ms'][part]) for part in PARTS]
        rows.append([name, 'x'.join(map(str, layer['shape'])), *dense, *ms])
    b = found['bounds']
    shares = ', '.join(f'{part} {b[part]:.0%}' for part in (FORWARD, INPUT, WEIGHT))
    gains = f'at most {b["for nothing"]:.2f}x for nothing, {b["as measured"]:.2f}x as measured; wanted {WANTED}x'
    return f'ms, {threads} threads; a step {found["step"]:.0f}: {shares}\n{gains}', head, rows


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--data', required=True, help='cifar10:DIR (see snnkern.data.dataset)')
    parser.add_argument('--steps', type=int, default=60, help='of training before (default: 60)')
    parser.add_argument('--rounds', type=int, default=5, help='interleaved rounds (default: 5)')
    parser.add_argument('--threads', type=int, default=1, help='default: 1')
    parser.add_argument('--width', type=int, default=64, help='channels of the first convolution (default: 64)')
    parser.add_argument('--batch', type=int, default=32, help='images of a step (default: 32)')
    parser.add_argument('--json', type=Path, default=RESULTS)
    a = parser.parse_args(words)
    torch.set_num_threads(a.threads)
    net = next(net for net in training_nets.nets() if net.name == 'vgg9')
    net = replace(net, batch=a.batch, options={'width': a.width})
    found = measured(net, a.data, a.steps, a.rounds, a.threads)
    report.show(table(found, a.threads))
    a.json.write_text(json.dumps({'about': surroundings('default'), 'steps': a.steps, **found}, indent=1) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
