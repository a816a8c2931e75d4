"""The event engine beside everything else that runs a converted network, and beside the network itself.

`python -m benchmarks.engine --data DIR --net resnet20=FILE --net lenet5=FILE --net vgg11=FILE --yolo 8`. DIR
holds CIFAR-10 and MNIST (see `snnkern.data.dataset`), FILE trained weights (see `benchmarks.engine_nets`).

First, for each network, in a process of its own: accuracy on the test images of the network, of SNNs converted for each
asked T and for the smallest T that is within half a point of the network, and of their engines, which must give the
SNN's answer on 99.9 % of the images. Who fails is not timed. Then times, in fresh processes for each number of threads,
the same allocator settings for all: interleaved rounds of the engine, the SNN layer by layer, the loop over steps in
plain torch, SpikingJelly's converted network in both of its modes, and one forward pass of the network: as it came and
with BatchNorm folded, in either memory format. Where there are two rivals of a kind, the faster one counts.
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks import engine_tables, report
from benchmarks.conversion import LOOP, SJ_MANY, SJ_STEPS, in_process, numbers
from benchmarks.engine_calls import ENGINE, prepare, speed, yolo
from benchmarks.engine_nets import DATA, Data, title, trained
from benchmarks.environment import ALLOCATORS, CHILD, surroundings

TIMESTEPS = [8, 32]
MOST_OF_ANN = 1.3  # passes of the network, for one image at the smallest T of its accuracy
STATISTICS = 'median', 'least', 'cpu'
RESULTS = Path(__file__).parent / 'results' / 'engine.json'


@dataclass(frozen=True)
class Target:
    """The fastest of `rivals` takes at least `factor` times as long as the engine for so many images, at each T."""

    name: str
    rivals: tuple[str, ...]
    batch: int
    factor: float


SJ = (SJ_STEPS, SJ_MANY)
TARGETS = Target('loop', (LOOP,), 1, 5.0), Target('SpikingJelly', SJ, 1, 4.0), Target('loop', (LOOP,), 50, 2.5)


def verdicts(cases: dict[str, Any], smallest: int | None, timesteps: Sequence[int]) -> list[dict[str, Any]]:
    """Each target beside the fastest rival's time over the engine's; of the network it is the engine's over its own."""
    rows = []
    for key, seconds in cases.items():
        T, batch = numbers(key)
        for target in TARGETS:
            there = [seconds[name] for name in target.rivals if name in seconds]
            if there and target.batch == batch and T in timesteps:
                ratios = {k: min(t[k] for t in there) / seconds[ENGINE][k] for k in STATISTICS}
                wanted, met = f'at least {target.factor}', ratios['median'] >= target.factor
                rows.append({'case': key, 'rival': target.name, 'wanted': wanted, **ratios, 'met': met})
        if (T, batch) == (smallest, 1):
            there = [t for name, t in seconds.items() if name.startswith('ANN')]
            ratios = {k: seconds[ENGINE][k] / min(t[k] for t in there) for k in STATISTICS}
            wanted, met = f'at most {MOST_OF_ANN}', ratios['median'] <= MOST_OF_ANN
            rows.append({'case': key, 'rival': 'ANN', 'wanted': wanted, **ratios, 'met': met})
    return rows


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    parser.add_argument('--data', default='data', help='the folder of CIFAR-10 and MNIST (default: data)')
    parser.add_argument(
        '--net', action='append', default=[], metavar='NAME=FILE', help=f'one of {", ".join(DATA)}; may be repeated'
    )
    parser.add_argument('--yolo', type=numbers, default=[], help='T, by commas, of Tiny-YOLO with random weights')
    parser.add_argument('--size', type=int, default=416, help='pixels of an edge of its image (default: 416)')
    parser.add_argument('--width', type=int, default=16, help='channels of its first layer (default: 16)')
    parser.add_argument('--images', type=int, default=1000, help='test images of the gate (default: 1000)')
    parser.add_argument('--timesteps', type=numbers, default=TIMESTEPS, help='T, by commas (default: 8,32)')
    parser.add_argument('--batches', type=numbers, default=[1, 50], help='images of a call (default: 1,50)')
    parser.add_argument('--threads', type=numbers, default=[1, 2], help='by commas (default: 1,2)')
    parser.add_argument('--seconds', type=float, default=4.0, help='of the rounds of a case (default: 4)')
    parser.add_argument('--allocator', choices=ALLOCATORS, default='tuned')
    parser.add_argument('--json', type=Path, default=RESULTS)
    parser.add_argument('--part', choices=('prepare', 'speed', 'yolo'), help=argparse.SUPPRESS)
    parser.add_argument('--folder', type=Path, help=argparse.SUPPRESS)
    parser.add_argument('--smallest', type=int, help=argparse.SUPPRESS)
    parser.set_defaults(passive=False)
    a = parser.parse_args(words)
    for given in a.net:
        name, _, file = given.partition('=')
        if name not in DATA or not file:
            parser.error(f'--net must be NAME=FILE with a name of {", ".join(DATA)}, got {given}')
    return a


def child(a: argparse.Namespace) -> dict[str, Any]:
    """One part, in this process; of the network that is named last."""
    torch.set_num_threads(a.threads[0])
    torch.manual_seed(0)
    about = {'about': surroundings(a.allocator), 'load': round(os.getloadavg()[0], 1)}
    if a.part == 'yolo':
        return {**about, **yolo(a.yolo, a.width, a.size, a.seconds)}
    name, _, file = a.net[-1].partition('=')
    net, data = trained(name, Path(file)), Data(name, a.data, a.images)
    if a.part == 'prepare':
        return {**about, 'network': title(name, net), **prepare(net, data, a.timesteps, a.folder)}
    cases = list(product(a.timesteps, a.batches)) + [(T, 1) for T in [a.smallest] if T]
    return {**about, **speed(net, data, list(dict.fromkeys(cases)), a.folder, a.seconds)}


def measured(words: Sequence[str], a: argparse.Namespace, given: str) -> dict[str, Any]:
    """Accuracy of a network, and its times by the number of threads if the engine gives the right answers."""
    with TemporaryDirectory() as folder:
        words = [*words, '--net', given, '--folder', folder]
        sleeping = argparse.Namespace(**{**vars(a), 'passive': True})  # nothing is timed, and others may be at work
        found = in_process([*words, '--part', 'prepare'], sleeping, max(a.threads), 'benchmarks.engine')
        report.show(engine_tables.accuracy(found))
        record: dict[str, Any] = {'accuracy': found, 'speed': {}}
        if all(of['passed'] for of in found['by T'].values()):
            smallest = ['--smallest', str(found['smallest'] or 0)]
            for n in a.threads:
                timed = in_process([*words, '--part', 'speed', *smallest], a, n, 'benchmarks.engine')
                record['speed'][str(n)] = timed
                timed['targets'] = verdicts(timed['cases'], found['smallest'], a.timesteps)
                report.show(engine_tables.speed(found['network'], timed))
                report.show(engine_tables.targets(timed['targets']))
    return record


def measured_yolo(words: Sequence[str], a: argparse.Namespace) -> dict[str, Any]:
    """Tiny-YOLO's times by the number of threads."""
    record = {}
    for n in a.threads:
        record[str(n)] = in_process([*words, '--part', 'yolo'], a, n, 'benchmarks.engine')
        report.show(engine_tables.speed(f'Tiny-YOLO of width {a.width}, {a.size} pixels', record[str(n)]))
    return {'width': a.width, 'size': a.size, 'speed': record}


def main(words: Sequence[str] | None = None) -> int:
    """0, or 1 if an engine gives other answers than its SNN."""
    words = sys.argv[1:] if words is None else list(words)
    a = parse(words)
    if CHILD in os.environ:
        print(json.dumps(child(a)))
        return 0
    kept = json.loads(a.json.read_text()) if a.json.exists() else {}
    wrong = False
    for given in a.net:
        record = measured(words, a, given)
        kept[record['accuracy']['network']] = record
        wrong |= not record['speed']
    if a.yolo:
        kept['Tiny-YOLO'] = measured_yolo(words, a)
    a.json.write_text(json.dumps(kept, indent=1) + '\n')
    return int(wrong)


if __name__ == '__main__':
    sys.exit(main())
