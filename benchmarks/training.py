"""Whole training steps of snnkern, SpikingJelly and snnTorch on the CPU: `python -m benchmarks.training`.

Three networks (`benchmarks.training_nets`): an MLP of T = 100 on Poisson spikes, encoder included, the convolutional
network `mnist-conv` of T = 8 and a spiking VGG-9 of T = 4. A step is encoding, zero_grad, forward, cross-entropy of the
mean output, backward and SGD with momentum.

Parity comes first: with the same weights and spikes the first outputs of a rival must be ours, up to FLIPS; who differs
is not timed. (With all images of a batch, sums of BatchNorm are rounded otherwise in the VGG of full size: 2 in a
million spikes of the first layer flip, and up to ten times as many in each further one.) Times are medians of
interleaved rounds in one process whose allocator and threads are pinned, the same for all. Peak: VmHWM of a fresh
process for each provider after one step, forgotten (clear_refs) before it, minus VmRSS then; parameters and the
optimizer's state exist already. "mapped": the same where glibc gives every tensor pages of its own, so that gaps do not
count.

"layers alone" is no rival but a bound: our network without neurons, BatchNorm and encoder, so that no neuron, however
fast, makes the ratio larger than that.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from importlib.metadata import version
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import snnkern
from benchmarks import report
from benchmarks.environment import ALLOCATORS, CHILD, pinned_environment, surroundings
from benchmarks.timing import interleave, peak_bytes
from benchmarks.training_nets import BOUND, OURS, PACKED, SJ, SNN, Net, encoder, make, nets, weighted

PROVIDERS = {OURS: 'snnkern', PACKED: 'snnkern', SJ: 'spikingjelly', SNN: 'snntorch', BOUND: 'snnkern'}
LEAST = {'mlp': 1.7, 'mnist-conv': 1.2, 'vgg9': 1.2}  # targets: images/s, times SpikingJelly's
MOST_MEMORY = 0.6  # of SpikingJelly's peak
FEW, FLIPS = 8, 0.02  # images of the comparison, and how far outputs and gradients may be apart
MAPPED = {'MALLOC_MMAP_THRESHOLD_': '65536'}


class Step:
    """One provider's network with its optimizer: a call is a training step and returns the loss."""

    def __init__(self, net: Net, provider: str) -> None:
        self.context = snnkern.compress_saved_spikes if provider == PACKED else nullcontext
        self.net, self.encode = make(net, provider).train(), encoder(net, provider)
        self.images, self.labels = net.images()
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.01, momentum=0.9)
        self.resets = [m for m in self.net.modules() if m is not self.net and hasattr(m, 'reset')]

    def reset(self) -> None:
        """Forget the neurons' state, which in SpikingJelly holds the graph."""
        for module in self.resets:
            if callable(module.reset):  # a value in snnTorch
                module.reset()

    def loss(self, x: Tensor) -> Tensor:
        """Of spikes or images in all steps [T, B, ...]."""
        return nn.functional.cross_entropy(self.net(x).mean(0), self.labels)

    def __call__(self) -> float:
        x = self.encode(self.images)
        self.optimizer.zero_grad()
        with self.context():
            loss = self.loss(x)
        loss.backward()
        self.optimizer.step()
        self.reset()
        return loss.item()


def installed() -> list[str]:
    """The providers that can run here."""
    return [name for name, package in PROVIDERS.items() if find_spec(package)]


def differences(net: Net, providers: Sequence[str]) -> dict[str, float]:
    """How far each provider's first mean output is from ours, relative, less what all images have in common.

    On the same spikes of a few images: with many, sums of BatchNorm round otherwise, and in a deep network of random
    weights the few spikes that flip change all behind them. Silent neurons, or another time constant, are 0.5 apart or
    more.
    """
    x = encoder(net, OURS)(net.images()[0][:FEW])
    outputs = {}
    for name in providers:
        if name != BOUND:
            step = Step(net, name)
            with step.context(), torch.no_grad():
                mean = step.net(x).mean(0)
            outputs[name] = mean - mean.mean(0)
    return {name: float((out - outputs[OURS]).norm() / outputs[OURS].norm()) for name, out in outputs.items()}


def results(net: Net, provider: str, x: Tensor) -> dict[str, Tensor]:
    """Of the first step on spikes or images x of a few images: mean outputs, loss, and the gradient of each weight.

    Not the gradients of snnTorch, whose reset has none.
    """
    step = Step(net, provider)
    with step.context():
        mean = step.net(x).mean(0)
        loss = nn.functional.cross_entropy(mean, step.labels[: len(mean)])
    loss.backward()
    found = {'outputs': (mean - mean.mean(0)).detach(), 'loss': loss.detach()}
    layers = () if provider == SNN else weighted(step.net)
    return found | {f'gradients of layer {i}': layer.weight.grad for i, layer in enumerate(layers)}


def wrong(found: dict[str, Tensor], expected: dict[str, Tensor]) -> str | None:
    """What is too far from the expected, or None."""
    apart = {key: float((value - expected[key]).norm() / expected[key].norm()) for key, value in found.items()}
    return ', '.join(f'{k} differ by {d:.1e} of the norm' for k, d in apart.items() if not d <= FLIPS) or None


def times(net: Net, rounds: int) -> dict[str, Any]:
    """Parity, then seconds a step of those who passed; in this process."""
    found = differences(net, installed())
    steps = {name: Step(net, name) for name in installed() if found.get(name, 0.0) <= FLIPS}
    timings = interleave(steps, rounds)
    load = round(os.getloadavg()[0], 1)
    return {'differences': found, 'load': load, 'times': {name: t.as_dict() for name, t in timings.items()}}


def memory(net: Net, provider: str) -> dict[str, Any]:
    """The peak of one step, in this process."""
    step = Step(net, provider)
    losses = [step() for _ in range(2)]  # momentum and gradients exist from now on
    return {'peak': peak_bytes(step), 'losses': losses}


def in_process(a: argparse.Namespace, net: Net, provider: str, extra: dict[str, str]) -> dict[str, Any]:
    """`times`, or `memory` of a provider, in a fresh process. Raises RuntimeError if it fails."""
    words = ['--nets', net.name, '--threads', str(a.threads), '--rounds', str(a.rounds), '--peak', provider]
    command = [sys.executable, '-W', 'ignore', '-m', 'benchmarks.training', *words, *(['--quick'] if a.quick else [])]
    environment = pinned_environment(a) | extra
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=Path(__file__).parents[1])
    if done.returncode:
        raise RuntimeError((done.stderr.strip() or 'no message').splitlines()[-1])
    return dict(json.loads(done.stdout.splitlines()[-1]))


def measure(a: argparse.Namespace, net: Net) -> dict[str, Any]:
    """All of one network; memory with the first number of threads alone."""
    found = in_process(a, net, '', {})
    peaks = {}
    for name in found['times'] if a.peaks else ():
        if name != BOUND:
            kinds = {'peak': {}} if a.quick else {'peak': {}, 'peak, mapped': MAPPED}
            peaks[name] = {key: in_process(a, net, name, extra)['peak'] for key, extra in kinds.items()}
    return {'T': net.T, 'batch': net.batch, 'shape': net.shape, **found, 'peaks': peaks}


def ratios(found: dict[str, Any], rival: str) -> dict[str, float]:
    """images/s of snnkern times the rival's, by medians, minima and CPU time; of the bound, by medians."""
    t = found['times']
    by = {key: t[rival][key] / t[OURS][key] for key in ('median', 'least', 'cpu')}
    return by | {'bound': t[rival]['median'] / t[BOUND]['median']}


def verdicts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Every target with what was measured."""
    rows = []
    for name, found in document['nets'].items():
        if SJ not in found['times']:
            continue
        speed, wanted = ratios(found, SJ), LEAST[name]
        rows.append({'net': name, 'what': 'images/s', 'wanted': wanted, **speed, 'met': speed['median'] >= wanted})
        for ours, key in product((OURS, PACKED), ('peak', 'peak, mapped')):
            mine, theirs = (found['peaks'].get(provider, {}).get(key) for provider in (ours, SJ))
            if mine is not None and theirs:
                row = {'net': name, 'what': f'{key} of {ours}', 'wanted': MOST_MEMORY, 'median': mine / theirs}
                rows.append({**row, 'met': mine / theirs <= MOST_MEMORY})
    return rows


def tables(document: dict[str, Any]) -> list[report.Table]:
    """Title, head and rows: speed and memory, and the targets."""
    head = ['network', 'provider', 'images/s', 's a step', 'least', 'CPU s', 'peak MiB', 'mapped', 'outputs apart']
    rows = []
    for name, found in document['nets'].items():
        for provider, t in found['times'].items():
            peaks = found['peaks'].get(provider, {})
            mib = [f'{peaks[key] / 2**20:.0f}' if peaks.get(key) else '-' for key in ('peak', 'peak, mapped')]
            apart = found['differences'].get(provider)
            seconds = [f'{t[key]:.4f}' for key in ('median', 'least', 'cpu')]
            speed = f'{found["batch"] / t["median"]:.1f}'
            rows.append([name, provider, speed, *seconds, *mib, '-' if apart is None else f'{apart:.1e}'])
    more = 'least', 'cpu', 'bound'
    verdict = [
        [
            *(v['net'], v['what'], f'{v["wanted"]:.2f}', f'{v["median"]:.2f}'),
            *(f'{v[key]:.2f}' if key in v else '-' for key in more),
            'met' if v['met'] else 'NOT met',
        ]
        for v in verdicts(document)
    ]
    wanted = ['network', "of SpikingJelly's", 'wanted', 'measured', 'of minima', 'of CPU time', 'bound', 'target']
    threads = document['about']['threads']
    return [(f'training steps, {threads} threads', head, rows), ('targets', wanted, verdict)]


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    known = [net.name for net in nets()]
    parser.add_argument('--nets', default=','.join(known), help='by commas (default: %(default)s)')
    parser.add_argument('--threads', default='1', help='of torch, OpenMP and snnkern; several by commas (default 1)')
    parser.add_argument('--rounds', type=int, default=7, help='interleaved rounds (default 7)')
    parser.add_argument('--allocator', choices=ALLOCATORS, default='default', help='of all processes')
    parser.add_argument('--quick', action='store_true', help='small networks: to see whether all runs')
    parser.add_argument('--json', type=Path, help='also write everything here')
    parser.add_argument('--peak', default='', help=argparse.SUPPRESS)
    parser.set_defaults(passive=False)
    a = parser.parse_args(words)
    if unknown := set(a.nets.split(',')) - set(known):
        parser.error(f'--nets: unknown {", ".join(sorted(unknown))}, known are {", ".join(known)}')
    return a


def child(a: argparse.Namespace) -> dict[str, Any]:
    """One part of one network, in this process."""
    torch.set_num_threads(int(a.threads))
    net = next(net for net in nets(a.quick) if net.name == a.nets)
    return memory(net, a.peak) if a.peak else times(net, a.rounds)


def with_threads(a: argparse.Namespace, threads: str, peaks: bool) -> dict[str, Any]:
    """All networks with so many threads."""
    a = argparse.Namespace(**{**vars(a), 'threads': threads, 'peaks': peaks})
    torch.set_num_threads(int(threads))
    document: dict[str, Any] = {'about': surroundings(a.allocator), 'rounds': a.rounds, 'quick': a.quick, 'nets': {}}
    document['about']['versions'] = {p: version(p) for p in (SJ, SNN) if find_spec(p)}
    for net in [net for net in nets(a.quick) if net.name in a.nets.split(',')]:
        print(f'{net.name}, {threads} threads ...', flush=True)
        document['nets'][net.name] = measure(a, net)
    document['targets'] = verdicts(document)
    for table in tables(document):
        report.show(table)
    return document


def main(words: Sequence[str] | None = None) -> int:
    """0, or 1 if a provider's first loss is another than ours."""
    a = parse(words)
    if CHILD in os.environ:
        print(json.dumps(child(a)))
        return 0
    counts = a.threads.split(',')
    documents = {threads: with_threads(a, threads, threads == counts[0]) for threads in counts}
    if a.json:
        a.json.write_text(json.dumps(documents, indent=1) + '\n')
    found = [net for document in documents.values() for net in document['nets'].values()]
    return int(any(not apart <= FLIPS for net in found for apart in net['differences'].values()))


if __name__ == '__main__':
    sys.exit(main())
