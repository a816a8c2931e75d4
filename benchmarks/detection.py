"""Converted Tiny-YOLO beside the loop over steps: speed at equal detections.

`python -m benchmarks.detection [--width 16] [--T 32] [--weights runs/x/weights.safetensors] [--json FILE]`.
Without weights the network has random ones, with statistics of BatchNorm from the images: how long it takes does not
depend on what it has learned. Images are smooth noise, the same for all.

Before anything is timed, the loop (plain torch, same weights, same neurons, the whole network once per step) must find
the boxes of snnkern's network: as many, the same labels, corners within 1e-4. Then interleaved rounds in a fresh
process for each number of threads. SpikingJelly's converter knows neither LeakyReLU nor the pad of the last pool, so it
gets a twin of the same convolutions, for its time. The bound is the same network without neurons: what no
implementation of them can be faster than.
"""

import argparse
import copy
import json
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import snnkern
from benchmarks import report, rival_converters
from benchmarks.conversion import (
    BOUND,
    LOOP,
    OURS,
    SPEED_RIVALS,
    in_process,
    numbers,
    speed_table,
    verdicts,
    without_neurons,
)
from benchmarks.environment import ALLOCATORS, CHILD, surroundings
from benchmarks.rival_converters import SJ
from benchmarks.timing import Call, Timing, interleave
from snnkern.convert import recipes
from snnkern.models.boxes import Detections, detect
from snnkern.models.tiny_yolo import TinyYolo
from snnkern.recipes.files import sha256

TARGETS = {LOOP: 1.6}
CLOSE = 1e-4  # of corners, as shares of the image
RESULTS = Path(__file__).parent / 'results' / 'detection.json'


def pictures(count: int, size: int) -> Tensor:
    """Smooth noise [count, 3, size, size] in 0..1."""
    coarse = torch.rand(count, 3, size // 16, size // 16, generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, size=(size, size), mode='bilinear')


@torch.no_grad()
def detector(width: int, classes: int, weights: Path | None, x: Tensor) -> TinyYolo:
    """A Tiny-YOLO in eval mode; without weights, with random ones and the statistics that the images x give."""
    from snnkern.models.weights import load_weights

    torch.manual_seed(0)
    net = TinyYolo(num_classes=classes, width=width)
    if weights is not None:
        load_weights(net, weights)
        return net.eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    net(x)
    return net.eval()


def relu_twin(net: TinyYolo) -> nn.Module:
    """The same convolutions with ReLU in place of LeakyReLU, and a last pool that needs no pad."""
    twin = copy.deepcopy(net)
    padded = next(stage for stage in twin.stages if isinstance(stage[-2], nn.ReplicationPad2d))
    del padded[-2:]
    padded.append(nn.MaxPool2d(3, 1, 1))
    for name, module in list(twin.named_modules()):
        if isinstance(module, nn.LeakyReLU):
            twin.set_submodule(name, nn.ReLU())
    return twin


def differences(ours: list[Detections], theirs: list[Detections]) -> str:
    """In what detections differ, in words; empty if in nothing that counts."""
    for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
        if len(a.boxes) != len(b.boxes):
            return f'image {i}: {len(a.boxes)} boxes and {len(b.boxes)}'
        if not torch.equal(a.labels, b.labels):
            return f'image {i}: labels differ'
        if len(a.boxes) and (off := (a.boxes - b.boxes).abs().max().item()) > CLOSE:
            return f'image {i}: corners differ by {off:.2g} of the image'
    return ''


def contestants(net: TinyYolo, x: Tensor, T: int, recipe: str, batch: int) -> tuple[dict[str, Call], dict[str, str]]:
    """What is timed, each a call that gives mean maps of `batch` of the images x, and who is left out and why."""
    snn = snnkern.convert.convert(net, x, recipe, timesteps=T)
    loop, bare, x = snn.simulator(), without_neurons(snn), x[:batch]
    calls: dict[str, Call] = {OURS: lambda: snn(x, T), LOOP: lambda: loop(x, T), BOUND: lambda: bare(x, T)}
    skipped, batches = {}, [(x, torch.zeros(len(x)))]
    for name, rival, run in SPEED_RIVALS:
        if rival.package == SJ:
            try:
                calls[name] = partial(run, rival_converters.convert(rival, relu_twin(net), batches), x, T)
            except ImportError as error:
                skipped[name] = str(error)
    return calls, skipped


def check(net: TinyYolo, calls: dict[str, Call]) -> int:
    """How many boxes there are. Raises AssertionError unless the loop finds those of snnkern's network."""
    found = detect(net.head, calls[OURS]())
    wrong = differences(found, detect(net.head, calls[LOOP]()))
    assert not wrong, f'{OURS} and {LOOP}: {wrong}'
    count = sum(len(of.boxes) for of in found)
    assert count, 'no boxes are found, so nothing was compared'
    return count


@torch.no_grad()
def speed(net: TinyYolo, x: Tensor, T: int, recipe: str, batch: int, rounds: int) -> dict[str, Any]:
    """Seconds by contestant, how many boxes all agree on, and who is left out, with the reason."""
    calls, skipped = contestants(net, x, T, recipe, batch)
    boxes = check(net, calls)
    timings: dict[str, Timing] = interleave(calls, rounds)
    seconds = {name: t.as_dict() for name, t in timings.items()}
    return {'boxes': boxes, 'seconds': seconds, 'targets': verdicts(timings, TARGETS), 'skipped': skipped}


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--width', type=int, default=16, help='channels of the first layer; 16 is the full network')
    parser.add_argument('--size', type=int, default=416, help='pixels of an edge, a multiple of 32')
    parser.add_argument('--classes', type=int, default=3)
    parser.add_argument('--weights', type=Path, help='trained weights of that width and so many classes')
    parser.add_argument('--recipe', choices=sorted(recipes.RECIPES), default='layerwise', help='default: layerwise')
    parser.add_argument('--T', type=int, default=32, help='steps')
    parser.add_argument('--batch', type=int, default=1, help='images of a call')
    parser.add_argument('--rounds', type=int, default=7, help='interleaved rounds')
    parser.add_argument('--threads', type=numbers, default=[1, 2], help='by commas')
    parser.add_argument('--allocator', choices=ALLOCATORS, default='tuned')
    parser.add_argument('--json', type=Path, default=RESULTS)
    parser.set_defaults(passive=False)
    return parser.parse_args(words)


def child(a: argparse.Namespace) -> dict[str, Any]:
    """All of it with so many threads, in this process."""
    torch.set_num_threads(a.threads[0])
    x = pictures(max(2, a.batch), a.size)
    found = speed(detector(a.width, a.classes, a.weights, x), x, a.T, a.recipe, a.batch, a.rounds)
    return {'about': surroundings(a.allocator), 'load': round(os.getloadavg()[0], 1), **found}


def main(words: Sequence[str] | None = None) -> int:
    words = sys.argv[1:] if words is None else list(words)
    a = parse(words)
    if CHILD in os.environ:
        print(json.dumps(child(a)))
        return 0
    results = [in_process(words, a, n, 'benchmarks.detection') for n in a.threads]
    for result in results:
        report.show(speed_table(result, a.batch, a.T))
    asked = {name: getattr(a, name) for name in ('width', 'size', 'classes', 'recipe', 'T', 'batch')}
    kept = json.loads(a.json.read_text()) if a.json.exists() else {}
    asked['weights'] = a.weights and sha256(a.weights)
    key = f'width {a.width}, T = {a.T}, {a.recipe}, {a.size} pixels, batch {a.batch}'
    a.json.write_text(json.dumps(kept | {key: {**asked, 'speed': results}}, indent=1) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
