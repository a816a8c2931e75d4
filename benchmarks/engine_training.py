"""What convolutions by events win in a training step: `python -m benchmarks.engine_training --data cifar10:DIR`.

The spiking VGG-9 of `benchmarks.training` (width 64, T = 4, 32 images) learns for some steps; then whole steps with its
convolutions as they are and as `nn.SpikeConv2d`, interleaved, whose losses and gradients must be the same first. And,
for each convolution that reads spikes: how dense they are, and what its forward pass, the gradient of its input and of
its weight take in torch; packing, the forward pass and the gradient of the weight by events.
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
from snnkern.backends.events import Axis
from snnkern.backends.native import convolutions as native
from snnkern.data import dataset
from snnkern.nn import SpikeConv2d, spike_convolutions

WANTED = 1.3  # of a whole step
STEPS = PLAIN, BY_EVENTS = 'step', 'step by events'
FORWARD, INPUT, WEIGHT = 'forward', 'input', 'weight'
EVENTS, WEIGHT_EVENTS, PACKING = 'forward by events', 'weight by events', 'packing'
PARTS = FORWARD, INPUT, WEIGHT, PACKING, EVENTS, WEIGHT_EVENTS
CLOSE = 1e-4  # of currents and gradients, relative
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


def apart(found: Tensor, expected: Tensor) -> float:
    """How far, relative to the expected."""
    return float((found - expected).norm() / expected.norm())


class Convolution:
    """One of them, with its spikes, as torch computes it and by events."""

    def __init__(self, conv: nn.Conv2d, x: Tensor, T: int) -> None:
        self.x, self.weight, self.T = x, conv.weight.detach(), T
        self.grad = torch.randn_like(F.conv2d(x, self.weight, padding=1))
        self.packed = native.pack(x)
        self.axes = [Axis(size, size, 3, padding=1) for size in x.shape[2:]]

    @property
    def densities(self) -> dict[int, float]:
        """Share of channels in which a spike is, in blocks of 1, 2 and 4 steps."""
        spikes = self.x.unflatten(0, (self.T, -1)) != 0
        blocks = {n: torch.stack([part.any(0) for part in spikes.split(n)]) for n in (1, 2, 4) if n <= self.T}
        return {n: there.double().mean().item() for n, there in blocks.items()}

    def calls(self) -> dict[str, Call]:
        """By part."""

        def gradient(of: str) -> Call:
            sizes = [1, 1], [1, 1], [1, 1], False, [0, 0], 1
            mask = [of == INPUT, of == WEIGHT, False]
            run = torch.ops.aten.convolution_backward
            place = [INPUT, WEIGHT].index(of)
            return lambda: run(self.grad, self.x, self.weight, None, *sizes, mask)[place]

        return {
            FORWARD: lambda: F.conv2d(self.x, self.weight, padding=1),
            INPUT: gradient(INPUT),
            WEIGHT: gradient(WEIGHT),
            PACKING: lambda: native.pack(self.x),
            EVENTS: lambda: native.forward(self.packed, self.weight, None, *self.axes),
            WEIGHT_EVENTS: lambda: native.weight_grad(self.packed, self.grad, *self.axes),
        }

    def check(self) -> None:
        """Events give torch's currents and gradient."""
        calls = self.calls()
        for part, by_events in ((FORWARD, EVENTS), (WEIGHT, WEIGHT_EVENTS)):
            distance = apart(calls[by_events](), calls[part]())
            assert distance < CLOSE, f'{by_events}: {distance:.1e} of their norm apart'


def by_events(net: training_nets.Net, step: Step) -> Step:
    """The same step with convolutions by events, compared with it."""
    other = Step(net, training_nets.OURS)
    other.net.load_state_dict(step.net.state_dict())
    other.images, other.labels = step.images, step.labels
    spike_convolutions(other.net)
    found = []
    for one in (step, other):
        one.optimizer.zero_grad()
        one.loss(one.encode(one.images)).backward()
        one.reset()
        found.append(torch.cat([p.grad.flatten() for p in one.net.parameters()]))
    distance = apart(found[1], found[0])
    assert distance < CLOSE, f'gradients of a step are {distance:.1e} of their norm apart'
    return other


def measured(net: training_nets.Net, data: str, steps: int, rounds: int, threads: int) -> dict[str, Any]:
    """Milliseconds of a step, and of all parts of its layers; how dense their inputs are."""
    torch.set_num_threads(threads)
    step = learn(net, data, steps)
    layers = {name: Convolution(*found, net.T) for name, found in spiking_inputs(step).items()}
    other = by_events(net, step)
    times = interleave({PLAIN: step, BY_EVENTS: other}, rounds)
    calls: dict[str, Call] = {}
    with torch.no_grad():
        for name, layer in layers.items():
            layer.check()
            calls |= {f'{name} {part}': call for part, call in layer.calls().items()}
        ms = {name: t.median * 1e3 for name, t in interleave(calls, rounds).items()}
    found: dict[str, Any] = {name: times[name].median * 1e3 for name in STEPS}
    found['cpu'] = {name: times[name].cpu * 1e3 for name in STEPS}
    found['ran'] = {name: m.explain() for name, m in other.net.named_modules() if isinstance(m, SpikeConv2d)}
    found['layers'] = {
        name: {
            'shape': list(layer.x.shape[1:]),
            'densities': layer.densities,
            'ms': {part: ms[f'{name} {part}'] for part in PARTS},
        }
        for name, layer in layers.items()
    }
    return found


def gain(times: dict[str, float]) -> float:
    """By how much a step is faster."""
    return times[PLAIN] / times[BY_EVENTS]


def table(found: dict[str, Any], threads: int) -> report.Table:
    head = ['convolution', 'input', '% dense, 1 step', '2', '4', *PARTS]
    rows = []
    for name, layer in found['layers'].items():
        dense = [f'{100 * share:.1f}' for share in layer['densities'].values()]
        ms = [report.number(layer['ms'][part]) for part in PARTS]
        rows.append([name, 'x'.join(map(str, layer['shape'])), *dense, *ms])
    steps = f'a step {found[PLAIN]:.0f}, by events {found[BY_EVENTS]:.0f}'
    gains = f'{gain(found):.2f}x, {gain(found["cpu"]):.2f}x by CPU time; wanted {WANTED}x'
    return f'ms, {threads} threads; {steps}: {gains}', head, rows


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--data', required=True, help='cifar10:DIR (see snnkern.data.dataset)')
    parser.add_argument('--steps', type=int, default=60, help='of training before (default: 60)')
    parser.add_argument('--rounds', type=int, default=5, help='interleaved rounds (default: 5)')
    parser.add_argument('--threads', type=int, nargs='+', default=[1, 2], help='default: 1 2')
    parser.add_argument('--width', type=int, default=64, help='channels of the first convolution (default: 64)')
    parser.add_argument('--batch', type=int, default=32, help='images of a step (default: 32)')
    parser.add_argument('--json', type=Path, default=RESULTS)
    a = parser.parse_args(words)
    net = next(net for net in training_nets.nets() if net.name == 'vgg9')
    net = replace(net, batch=a.batch, options={'width': a.width})
    found = {}
    for threads in a.threads:
        found[threads] = measured(net, a.data, a.steps, a.rounds, threads)
        report.show(table(found[threads], threads))
    about = {'about': surroundings('default'), 'steps': a.steps}
    a.json.write_text(json.dumps({**about, 'threads': found}, indent=1) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
