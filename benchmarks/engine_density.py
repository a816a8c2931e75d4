"""A layer by events against the density of its input: `python -m benchmarks.engine_density [--json FILE]`.

A 3 x 3 convolution and IF neurons, one image, T = 8, spikes drawn independently, as sparse in a block of steps as they
can be. The engine measures a layer twice, in silence and at one density (10 % here), and draws a line through both; the
other densities show whether times lie on it. Beside it torch's convolution on all steps at once, channels last, and
snnkern's neurons, which take the same time at any density. Microseconds are of an image and a step.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from functools import partial
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks import report
from benchmarks.conversion import numbers
from benchmarks.environment import surroundings
from benchmarks.timing import Call, interleave
from snnkern.backends.events import Axis, Layer, Slot, Synapse, pack, unpack
from snnkern.charges import IF
from snnkern.engine import choice, density
from snnkern.engine.memory import States
from snnkern.engine.plan import Output, Plan
from snnkern.engine.runner import Runner, Stretch
from snnkern.fires import Binary
from snnkern.functional import multistep
from snnkern.neurons import Neuron
from snnkern.resets import Soft

LAYERS = (16, 32), (32, 16), (64, 8), (128, 16), (256, 16)  # channels, pixels of an edge
DENSITIES = 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6
SEEN = 0.1  # the density of the example
T = 8
NEURON = Neuron(IF(), Binary(1.0), Soft())
RESULTS = Path(__file__).parent / 'results' / 'engine_density.json'


def spikes(share: float, channels: int, size: int) -> Tensor:
    """Counts [T, 1, C, H, W] of which this share is 1."""
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(T, 1, channels, size, size, generator=generator) < share).to(torch.int8)


def layer(channels: int, size: int) -> Plan:
    """A convolution and its neurons, which fire now and then."""
    weight = torch.randn(channels, channels, 3, 3, generator=torch.Generator().manual_seed(1)) / channels**0.5
    axis = Axis(size, size, 3, padding=1)
    slots = [Slot(name, 'counts', channels, size, size) for name in ('input', 'output')]
    steps = [Layer('layer', 1, (Synapse(0, weight, axis, axis),), neuron=NEURON)]
    return Plan(slots, steps, torch.nn.Identity(), (0,), Output(1), ((channels, size, size),), timed=True)


class Subject:
    """A layer with its costs as the engine measures them."""

    def __init__(self, channels: int, size: int, threads: int) -> None:
        self.channels, self.size = channels, size
        self.plan = layer(channels, size)
        self.runner = Runner(self.plan, threads=threads)
        states = States(self.plan, 1)
        states.reset()
        self.states = states.of
        cost = choice.measure(self.runner, self.memory(SEEN), T)[0]
        assert cost is not None, self.runner.refusal
        self.cost = cost

    def memory(self, share: float) -> dict[int, Tensor]:
        """Slots with the input in them."""
        words = pack(spikes(share, self.channels, self.size))
        return {0: words, 1: torch.empty_like(words)}

    def events(self, share: float) -> tuple[Call, int, float]:
        """The layer by events, how many steps an event stands for, and the seconds that are foreseen."""
        memory = self.memory(share)
        found = density.shares(memory[0], T)
        block = self.cost.best(found, 'events')
        stretch = Stretch((0,), (block,), compiled=True)
        return partial(self.runner.run, stretch, memory, self.states, T), block, self.cost.events(block, found[block])

    def dense(self) -> Call:
        """Torch's convolution and snnkern's neurons, from spikes that are floats already."""
        x = unpack(self.memory(SEEN)[0], T).float().flatten(0, 1).contiguous(memory_format=torch.channels_last)
        weight = self.plan.steps[0].synapses[0].weight.contiguous(memory_format=torch.channels_last)  # type: ignore[union-attr]
        return lambda: multistep(F.conv2d(x, weight, padding=1).unsqueeze(1), NEURON)


@torch.no_grad()
def curve(channels: int, size: int, threads: int, rounds: int) -> dict[str, Any]:
    """Microseconds of an image and step: foreseen and measured by density, and dense; and the density of equal time."""
    subject = Subject(channels, size, threads)
    events = {share: subject.events(share) for share in DENSITIES}
    calls: dict[str, Call] = {str(share): call for share, (call, _, _) in events.items()}
    timings = interleave({**calls, 'dense': subject.dense()}, rounds)
    us = {name: t.least / T * 1e6 for name, t in timings.items()}  # as the engine's own measurements
    points = [
        {'density': share, 'block': block, 'foreseen': foreseen / T * 1e6, 'measured': us[str(share)]}
        for share, (_, block, foreseen) in events.items()
    ]
    return {
        'channels': channels,
        'size': size,
        'dense': us['dense'],
        'points': points,
        'equal': equal(points, us['dense']),
    }


def equal(points: Sequence[dict[str, float]], dense: float) -> float | None:
    """The density at which the measured time, linear between points, is that of the dense layer; None beyond them."""
    for a, b in pairwise(points):
        if a['measured'] <= dense < b['measured']:
            part = (dense - a['measured']) / (b['measured'] - a['measured'])
            return a['density'] + part * (b['density'] - a['density'])
    return None


def table(curves: Sequence[dict[str, Any]], threads: int) -> report.Table:
    head = ['channels, size', *(f'{share:.0%}' for share in DENSITIES), 'dense', 'equal at']
    rows = []
    for of in curves:
        cells = [f'{report.number(p["measured"])} ({report.number(p["foreseen"])})' for p in of['points']]
        same = '-' if of['equal'] is None else f'{of["equal"]:.0%}'
        rows.append([f'{of["channels"]}, {of["size"]}x{of["size"]}', *cells, report.number(of['dense']), same])
    return f'us of an image and step by density, measured (foreseen), {threads} threads', head, rows


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--rounds', type=int, default=15, help='interleaved rounds (default: 15)')
    parser.add_argument('--threads', type=numbers, default=[1], help='by commas (default: 1)')
    parser.add_argument('--json', type=Path, default=RESULTS)
    a = parser.parse_args(words)
    found: dict[str, Any] = {}
    for threads, (channels, size) in product(a.threads, LAYERS):
        torch.set_num_threads(threads)
        found.setdefault(str(threads), []).append(curve(channels, size, threads, a.rounds))
    for threads in a.threads:
        report.show(table(found[str(threads)], threads))
    a.json.write_text(json.dumps({'about': surroundings('default'), 'curves': found}, indent=1) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
