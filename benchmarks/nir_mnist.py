"""The spiking MNIST network of the NIR paper (sinabs' scnn_mnist.nir), run here and by sinabs on the same events.

`python -m benchmarks.nir_mnist --graph scnn_mnist.nir --mnist mnist.npz [--nmnist nmnist_small.npz] [--json FILE]`.
The network takes events of two polarities, off and on, on 34 x 34 pixels (N-MNIST). Digits of MNIST become events as a
camera that moves sees them: `encode.odg` of the image in [0, 1] in a frame of three pixels, its eight steps once or, as
N-MNIST has three saccades, three times. Recordings of N-MNIST (the same keys as shared .npz: test_x, test_y, test_p,
test_t, test_offsets, test_labels) are counted in bins of 1 ms, as the paper does. The answer is the output neuron with
most spikes.

sinabs reads the graph with several spikes a step, a soft reset and no potential below -v_threshold; so does
`from_nir(graph, like='sinabs')`. Others have no lower bound (v_min=-inf), and NIR's own equations one spike a step.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks import report
from snnkern import encode, nn
from snnkern.adapters.nir import from_nir, read
from snnkern.data import mnist

SINABS, LIKE, FREE, PLAIN = 'sinabs', "like='sinabs'", "like='sinabs', v_min=-inf", "like='nir'"
Run = Callable[[Tensor], Tensor]  # events [T, B, 2, 34, 34] to counts of output spikes [B, 10]
Build = Callable[[int], Run]  # for batches of this size, from rest
Events = Iterator[tuple[Tensor, Tensor]]
RESULTS = Path(__file__).parent / 'results' / 'nir_mnist.json'


def saccades(images: Tensor, times: int) -> Tensor:
    """uint8 digits [B, 28, 28] as events [8 * times, B, 2, 34, 34], off before on."""
    framed = F.pad(images[:, None].float() / 255, (3, 3, 3, 3))
    return encode.odg(framed).flip(2).repeat(times, 1, 1, 1, 1)


def digits(root: Path | None, images: int, batch: int, times: int) -> Events:
    """Batches of events of test digits, and labels."""
    data = mnist(root)
    x, y = (torch.from_numpy(part[:images]) for part in (data.x_test, data.y_test))
    for part, labels in zip(x.split(batch), y.long().split(batch), strict=True):
        yield saccades(part, times), labels


def recordings(path: Path, batch: int, milliseconds: float = 1.0) -> Events:
    """Batches of recordings as counts of events in bins of time, and labels."""
    with np.load(path) as data:
        x, y, p, t, offsets, labels = (data[f'test_{k}'] for k in ('x', 'y', 'p', 't', 'offsets', 'labels'))
    bins = t // int(1000 * milliseconds)
    for first in range(0, len(labels), batch):
        last = min(first + batch, len(labels))
        rows = slice(offsets[first], offsets[last])
        which = np.repeat(np.arange(last - first), np.diff(offsets[first : last + 1]))
        frames = np.zeros((bins.max() + 1, last - first, 2, 34, 34), np.float32)
        np.add.at(frames, (bins[rows], which, p[rows], y[rows], x[rows]), 1)
        yield torch.from_numpy(frames), torch.from_numpy(labels[first:last]).long()


def ours(graph: Any, **reading: Any) -> Build:
    """Our run of a graph."""
    net = from_nir(graph, **reading)

    def build(B: int) -> Run:
        nn.reset(net)
        return lambda events: net(events).sum(0)

    return build


def theirs(graph: Any) -> Build:
    """sinabs' run of it, [B * T, ...]."""
    import sinabs
    import sinabs.nir

    def build(B: int) -> Run:
        net = sinabs.nir.from_nir(graph, batch_size=B)
        return lambda events: net(events.transpose(0, 1).flatten(0, 1))[0].unflatten(0, (B, -1)).sum(1)

    return build


def runs(graph: Any) -> dict[str, Build]:
    """Everybody who reads the graph."""
    found = {LIKE: ours(graph, like='sinabs'), FREE: ours(graph, like='sinabs', v_min=-math.inf)}
    found |= {PLAIN: ours(graph, like='nir')}
    return ({SINABS: theirs(graph)} if find_spec('sinabs') else {}) | found


@torch.no_grad()
def measure(found: dict[str, Build], batches: Events, name: str) -> dict[str, Any]:
    """Accuracy, seconds, and the share of inputs whose output counts are sinabs' to the last spike."""
    right, seconds, same = (dict.fromkeys(found, 0.0) for _ in range(3))
    total = events = 0.0
    for x, labels in batches:
        first = None
        for key, build in found.items():
            run = build(x.shape[1])
            start = time.perf_counter()
            counts = run(x)
            seconds[key] += time.perf_counter() - start
            first = counts if first is None else first
            right[key] += float((counts.argmax(1) == labels).sum())
            same[key] += float((counts == first).all(1).sum())
        total, events = total + len(labels), events + float(x.sum())
        print(f'\r{name}: {total:.0f} inputs', end='', file=sys.stderr, flush=True)
    print(file=sys.stderr)
    rows = {
        key: {'percent': 100 * right[key] / total, 'same counts, %': 100 * same[key] / total, 'seconds': seconds[key]}
        for key in found
    }
    return {'inputs': int(total), 'events an input': events / total, 'T': len(x), 'rows': rows}


def table(name: str, result: dict[str, Any]) -> report.Table:
    """The result for people."""
    first = next(iter(result['rows']))
    head = ['', 'accuracy', f"counts equal to {first}'s", 'seconds']
    rows = [
        [key, f'{row["percent"]:.2f} %', f'{row["same counts, %"]:.2f} %', f'{row["seconds"]:.1f}']
        for key, row in result['rows'].items()
    ]
    about = f'{name}: {result["inputs"]} inputs, T = {result["T"]}, {result["events an input"]:.0f} events each'
    return about, head, rows


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--graph', type=Path, required=True, help='scnn_mnist.nir')
    parser.add_argument('--mnist', type=Path, help="Keras' mnist.npz or its folder; else the shipped digits")
    parser.add_argument('--nmnist', type=Path, help='recordings of N-MNIST (.npz)')
    parser.add_argument('--images', type=int, default=10_000, help='test digits')
    parser.add_argument('--saccades', default='1,3', help='how often the eight steps run, by commas')
    parser.add_argument('--batch', type=int, default=100)
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--json', type=Path, default=RESULTS)
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    a = parse(words)
    torch.set_num_threads(a.threads)
    found = runs(read(a.graph))
    versions = {name: version(name) for name in ('torch', 'nir', 'sinabs') if find_spec(name)}
    record: dict[str, Any] = {'versions': versions, 'threads': a.threads, 'results': {}}
    inputs = {f'MNIST, {n} x 8 steps': digits(a.mnist, a.images, a.batch, int(n)) for n in a.saccades.split(',')}
    if a.nmnist:
        inputs['N-MNIST, bins of 1 ms'] = recordings(a.nmnist, min(a.batch, 20))
    for name, batches in inputs.items():
        record['results'][name] = measure(found, batches, name)
        report.show(table(name, record['results'][name]))
    a.json.write_text(json.dumps(record, indent=1) + '\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
