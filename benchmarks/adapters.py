"""Networks of other libraries before and after `snnkern.accelerate`, on the CPU: time and memory.

`python -m benchmarks.adapters [--nets NAMES] [--threads 1] [--rounds 5] [--json FILE]`; `--table FILE` prints a file's
numbers as a Markdown table. Inference is a call in eval mode without a graph; a training step is forward, loss,
backward and SGD. Before anything is timed, outputs and gradients are compared; a form that differs is not timed.

Total: seconds of the whole call. Modules: seconds within the modules that `accelerate` changed, forward and backward,
and before it within those of the same names: neurons, BatchNorms that are fused with them, max-pools, but no layers
with weights (see `Clock`); in calls of their own. All forms of a network run in turn, in a process of its own. Peak:
physical memory that a call needs beyond what is there before it (network, gradients, input), in a process for each form
whose allocator gives every tensor pages of its own, so that gaps do not count.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import report
from benchmarks.adapters_clock import Clock
from benchmarks.adapters_nets import CLASSES, NETS, Net, Run
from benchmarks.adapters_table import AFTER, BEFORE, DIRECTIONS, INFERENCE, TRAINING, UNROLLED, markdown, remark, table
from benchmarks.environment import ALLOCATORS, CHILD, pinned_environment, surroundings
from benchmarks.timing import Call, interleave, peak_bytes
from snnkern import adapters
from snnkern.adapters._fused import Fused

APART = 'after, BatchNorm apart'  # compared only
MAPPED = {'MALLOC_MMAP_THRESHOLD_': '65536'}
# Relative L2 distances. With BatchNorm fused, potentials are rounded in another order: a spike that flips at its
# threshold changes others behind it.
MOST = {'outputs': 0.02, 'gradients': 0.05}


@dataclass(frozen=True)
class Form:
    """A network as it is measured. timed: names of the modules whose time counts."""

    model: nn.Module
    run: Run
    timed: tuple[str, ...]

    def modules(self) -> list[nn.Module]:
        """Those whose time counts."""
        return [self.model.get_submodule(name) for name in self.timed]


def changed(model: nn.Module) -> tuple[str, ...]:
    """Names of the modules that run on kernels, without those around a layer with weights (Norse's Lift)."""
    return tuple(n for n, m in model.named_modules() if isinstance(m, Fused) and not m.refusal() and not _weighs(m))


def _weighs(module: nn.Module) -> bool:
    return any(isinstance(m, (nn.Conv2d, nn.Linear)) for m in module.modules())


def form(net: Net, name: str) -> Form:
    """A form of a network, built anew: always with the same weights."""
    model, run = net.model(), net.run(net.T)
    if name == BEFORE:
        return Form(model, run, changed(adapters.accelerate(model)))
    if name == UNROLLED and net.unroll is not None:
        model, run = net.unroll(model, net.T)
    else:
        model = adapters.accelerate(model, inplace=True, norms=name != APART)
    return Form(model, run, changed(model))


def names_of(net: Net) -> list[str]:
    """The forms that are timed."""
    return [BEFORE, AFTER, *([UNROLLED] if net.unroll is not None and find_spec('snnkern.adapters._unroll') else [])]


def loss_of(form: Form, x: Tensor) -> Tensor:
    return nn.functional.cross_entropy(form.run(form.model, x), torch.arange(len(x)) % CLASSES)


@torch.no_grad()
def infer(form: Form, x: Tensor) -> Tensor:
    """The outputs; the model is in eval mode."""
    return form.run(form.model, x)


def train(form: Form, x: Tensor, optimizer: torch.optim.Optimizer) -> None:
    """One step; the model is in train mode."""
    optimizer.zero_grad()
    loss_of(form, x).backward()
    optimizer.step()


def call_of(form: Form, x: Tensor, direction: str) -> Call:
    """The call that is measured; puts the model into its mode."""
    form.model.train(direction == TRAINING)
    if direction == INFERENCE:
        return partial(infer, form, x)
    return partial(train, form, x, torch.optim.SGD(form.model.parameters(), lr=1e-3))


def results(form: Form, x: Tensor) -> dict[str, Tensor]:
    """Outputs of inference, and the gradients of all parameters from a training step, in one tensor."""
    form.model.eval()
    outputs = infer(form, x)
    form.model.train()
    loss_of(form, x).backward()
    gradients = torch.cat([p.grad.flatten() for p in form.model.parameters() if p.grad is not None])
    form.model.zero_grad()
    return {'outputs': outputs, 'gradients': gradients}


def compared(found: dict[str, Tensor], expected: dict[str, Tensor]) -> dict[str, float]:
    """Relative L2 distances; 0: equal to the bit."""
    return {key: ((found[key] - value).norm() / value.norm()).item() for key, value in expected.items()}


def wrong(distances: dict[str, float]) -> str | None:
    """What is too far, or None. NaN is."""
    found = [f'{key} differ by {d:.2e} of the norm' for key, d in distances.items() if not d <= MOST[key]]
    return ', '.join(found) or None


def check(net: Net, x: Tensor) -> tuple[dict[str, dict[str, float]], dict[str, str]]:
    """Distances of each form from the library's own results, and who fails, with the reason."""
    expected = results(form(net, BEFORE), x)
    assert all(t.isfinite().all() and t.count_nonzero() for t in expected.values()), f'{net.name}: nothing to compare'
    distances = {n: compared(results(form(net, n), x), expected) for n in (APART, *names_of(net)[1:])}
    return distances, {n: why for n, d in distances.items() if (why := wrong(d))}


def clocked(call: Call, form: Form, readings: list[tuple[float, float]]) -> None:
    """A call with a clock on; notes forward and backward seconds within its modules."""
    clock = Clock()
    with clock.on(form.modules()):
        call()
    readings.append((clock.forward, clock.backward))


def times(forms: dict[str, Form], x: Tensor, direction: str, rounds: int) -> dict[str, dict[str, Any]]:
    """Total and modules' seconds of each form, in interleaved rounds."""
    calls = {name: call_of(f, x, direction) for name, f in forms.items()}
    readings: dict[str, list[tuple[float, float]]] = {name: [] for name in forms}
    clocks = {f'{n}, clock': partial(clocked, calls[n], f, readings[n]) for n, f in forms.items()}
    timings = interleave({**calls, **clocks}, rounds)
    found = {}
    for name in forms:
        forward, backward = (median(seconds) for seconds in zip(*readings[name], strict=True))
        modules = {'forward': forward, 'backward': backward}
        found[name] = {'total': timings[name].as_dict(), 'modules': modules}
    return found


def measure(net: Net, rounds: int) -> dict[str, Any]:
    """Gate, then times; in this process."""
    x = net.input()
    distances, failed = check(net, x)
    forms = {name: form(net, name) for name in names_of(net) if name not in failed}
    left = [row.name for row in adapters.explain(forms[AFTER].model).rows if not row.fused] if AFTER in forms else []
    timings = {direction: times(forms, x, direction, rounds) for direction in DIRECTIONS}
    about = {'load': round(os.getloadavg()[0], 1), 'changed': len(forms[BEFORE].timed), 'left': left}
    return {**about, 'distances': distances, 'failed': failed, 'times': timings}


def peaks(net: Net, name: str) -> dict[str, int | None]:
    """Bytes that a call of one form needs, in this process, after calls that do not count."""
    found, x, own = {}, net.input(), form(net, name)
    for direction in DIRECTIONS:
        call = call_of(own, x, direction)
        call()
        found[direction] = peak_bytes(call)
    return found


def as_asked(net: Net, quick: bool) -> Net:
    """The network, with two images for a quick look."""
    return replace(net, batch=2) if quick else net


def child(a: argparse.Namespace) -> dict[str, Any]:
    """One part of one network, in this process."""
    torch.set_num_threads(a.threads)
    net = as_asked(next(net for net in NETS if net.name == a.nets), a.quick)
    return peaks(net, a.peaks) if a.peaks else measure(net, a.rounds)


def in_process(a: argparse.Namespace, net: Net, peaks: str = '') -> dict[str, Any]:
    """`child` in a fresh process with a pinned environment. Raises RuntimeError if it fails."""
    words = ['--nets', net.name, '--threads', str(a.threads), '--rounds', str(a.rounds), '--peaks', peaks]
    command = [sys.executable, '-W', 'ignore', '-m', 'benchmarks.adapters', *words, *(['--quick'] if a.quick else [])]
    environment = pinned_environment(a) | (MAPPED if peaks else {})
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=Path(__file__).parents[1])
    if done.returncode:
        raise RuntimeError((done.stderr.strip() or 'no message').splitlines()[-1])
    return dict(json.loads(done.stdout.splitlines()[-1]))


def everything(a: argparse.Namespace, net: Net) -> dict[str, Any]:
    """All of one network, or why there is nothing."""
    size = as_asked(net, a.quick)
    about = {'library': net.library, 'note': net.note, 'T': size.T, 'batch': size.batch, 'shape': net.shape}
    if reason := net.missing():
        return {**about, 'skipped': reason}
    try:
        found = in_process(a, net)
        found['peaks'] = {name: in_process(a, net, name) for name in found['times'][INFERENCE]}
    except RuntimeError as error:
        return {**about, 'skipped': f'fails: {error}'}
    return {**about, 'version': version(net.library), **found}


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition('\n')[0])
    known = [net.name for net in NETS]
    parser.add_argument('--nets', default=','.join(known), help='by commas (default: %(default)s)')
    parser.add_argument('--threads', type=int, default=1, help='of torch, OpenMP and snnkern (default 1)')
    parser.add_argument('--rounds', type=int, default=5, help='interleaved rounds (default 5)')
    parser.add_argument('--allocator', choices=ALLOCATORS, default='default', help='of the timed processes')
    parser.add_argument('--quick', action='store_true', help='two images: to see whether all runs')
    parser.add_argument('--json', type=Path, help='also write everything here')
    parser.add_argument('--table', type=Path, metavar='FILE', help='only print the table of such a file')
    parser.add_argument('--peaks', default='', help=argparse.SUPPRESS)
    parser.set_defaults(passive=False)
    a = parser.parse_args(words)
    if unknown := set(a.nets.split(',')) - set(known):
        parser.error(f'--nets: unknown {", ".join(sorted(unknown))}, known are {", ".join(known)}')
    return a


def main(words: Sequence[str] | None = None) -> int:
    """0, or 1 if a form gives wrong results or a network fails."""
    a = parse(words)
    if CHILD in os.environ:
        print(json.dumps(child(a)))
        return 0
    if a.table:
        print(markdown(json.loads(a.table.read_text())))
        return 0
    torch.set_num_threads(a.threads)
    document: dict[str, Any] = {'about': surroundings(a.allocator), 'rounds': a.rounds, 'quick': a.quick, 'nets': {}}
    for net in [net for net in NETS if net.name in a.nets.split(',')]:
        print(f'{net.name} of {net.library} ...', flush=True)
        document['nets'][net.name] = everything(a, net)
        print(f'  {remark(document["nets"][net.name])}', flush=True)
    report.show(table(document))
    if a.json:
        a.json.write_text(json.dumps(document, indent=1) + '\n')
    return int(any(found.get('failed') or 'fails' in found.get('skipped', '') for found in document['nets'].values()))


if __name__ == '__main__':
    sys.exit(main())
