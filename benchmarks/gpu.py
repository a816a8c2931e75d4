"""Measure the kernels on a GPU: `python -m benchmarks.gpu [--device cuda] [--json FILE] [--quick]`.

Multi-step LIF as in `snnkern bench`, T = 1 to 32, three dtypes, forward of inference and of training, and backward, by
each backend, beside SpikingJelly if it is installed (by the implementation that it chooses; SJ_LIF_CUDA_IMPLEMENTATION=
triton, or cuda, forces one). Each time is the median over interleaved rounds (gpu_timing.py); GB/s are the bytes that
must move divided by it, and stand beside a copy of as many bytes on the same device in the same rounds. Then small
calls: launched from Python and as a CUDA graph, on several streams, on each device. Who computes something else is not
timed.
`--device cpu` runs the same program on a CPU, with what needs CUDA left out by name.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks import report
from benchmarks.gpu_timing import (
    BACKWARD,
    DIRECTIONS,
    INFERENCE,
    Case,
    at_once,
    call_of,
    copy_of,
    eager_and_replayed,
    interleave,
    neurons,
    ours,
)
from benchmarks.measure import check
from benchmarks.registry import COPY, PROVIDERS, SJ, Provider
from benchmarks.timing import Call, Timing
from snnkern import backends
from snnkern._files import write
from snnkern.selftest.run import machine, place
from snnkern.testing import TOLERANCES

STEPS, DTYPES = (1, 4, 8, 16, 32), (torch.float32, torch.float16, torch.bfloat16)
SMALL = 1 << 14  # neurons of the calls whose launch is what counts
CHECKED = 1 << 14  # neurons that are compared with the reference
STREAMS = (1, 2, 4)
Rows = list[dict[str, Any]]


def providers(device: torch.device) -> list[Provider]:
    """Our backends that run there, and SpikingJelly."""
    able = [n for n in ('native', 'triton') if backends.module(n).refusal('multistep', device, torch.float32) is None]
    mine = [Provider(f'snnkern {name}', partial(ours, name), ours=True) for name in able]
    return [*mine, next(p for p in PROVIDERS if p.name == SJ)]


def wrong(provider: Provider, case: Case, run: Callable[[Tensor], Tensor], x: Tensor, upstream: Tensor) -> str | None:
    """How its first neurons differ from the reference, or None. Of SpikingJelly in half precision, whose membrane is
    rounded to it, as many neurons may flip as `snnkern.testing` allows."""
    found, expected = (_first(name, case, x, upstream) for name in (run, ours('reference')))
    if provider.ours or case.dtype == torch.float32:
        return check(found, expected)
    flipped = (found[0] != expected[0]).any(0).float().mean().item()
    allowed = TOLERANCES[case.dtype].flips
    return None if flipped <= allowed else f'{flipped:.3f} of the neurons flip, allowed {allowed}'


def _first(run: Callable[[Tensor], Tensor], case: Case, x: Tensor, upstream: Tensor) -> tuple[Tensor, ...]:
    """Spikes, and the gradient where the case has one, of the first neurons."""
    part = x.detach()[:, :CHECKED].contiguous().requires_grad_(case.direction == BACKWARD)
    s = run(part)
    if case.direction != BACKWARD:
        return (s.detach(),)
    return s.detach(), *torch.autograd.grad(s, part, upstream[:, :CHECKED].contiguous())


def row(case: Case, name: str, timing: Timing, copy: Timing) -> dict[str, Any]:
    """A line of the table, for JSON."""
    return {
        'direction': case.direction,
        'T': case.T,
        'N': case.N,
        'dtype': str(case.dtype)[6:],
        'provider': name,
        'bytes': case.traffic,
        'gb_per_s': case.traffic / timing.median * 1e-9,
        'copy_gb_per_s': case.traffic / copy.median * 1e-9,
        'copy_share': copy.median / timing.median,
        'host_us': timing.cpu * 1e6,
        'seconds': timing.as_dict(),
    }


def bandwidth(case: Case, device: torch.device, rounds: int, failed: dict[str, str]) -> Rows:
    """Who is right, timed beside the copy."""
    x, upstream = case.inputs(device)
    contestants: dict[str, Call] = {}
    for provider in providers(device):
        if provider.missing():
            continue
        run = provider.build()
        try:
            reason = wrong(provider, case, run, x, upstream)
        except Exception as error:  # a rival that cannot do this case is no end of ours
            reason = f'{type(error).__name__}: {error}'
        if reason:
            failed[f'{provider.name}, {case}'] = reason
        else:
            contestants[provider.name] = call_of(run, case, x, upstream)
    timings = interleave({**contestants, COPY: copy_of(case.traffic, device)}, rounds, device)
    return [row(case, name, timings[name], timings[COPY]) for name in contestants]


def small_calls(device: torch.device) -> Iterator[tuple[str, str, Call]]:
    """Provider of ours, what it does, and the call, of few neurons."""
    for provider in providers(device):
        if provider.ours:
            run, case = provider.build(), Case(INFERENCE, 16, SMALL, torch.float32)
            yield provider.name, INFERENCE, call_of(run, case, *case.inputs(device))
            x, upstream = replace(case, direction=BACKWARD).inputs(device)
            yield provider.name, 'forward and backward', partial(_both, run, x, upstream)


def _both(run: Callable[[Tensor], Tensor], x: Tensor, upstream: Tensor) -> Any:
    return torch.autograd.grad(run(x), x, upstream)


def launches(device: torch.device, rounds: int) -> Rows:
    """Small calls from Python and as graphs: microseconds of the GPU, and of the host."""
    found = []
    for name, what, call in small_calls(device):
        for how, timing in eager_and_replayed(call, rounds, device).items():
            us = {'us': timing.median * 1e6, 'host_us': timing.cpu * 1e6}
            found.append({'provider': name, 'what': what, 'how': how, **us})
    return found


def streams(device: torch.device, rounds: int) -> Rows:
    """The same small call on 1, 2, 4 streams at once: microseconds for all of them together."""
    found = []
    for name, what, call in small_calls(device):
        timings = interleave({str(k): at_once([call] * k, device) for k in STREAMS}, rounds, device)
        found += [{'provider': name, 'what': what, 'streams': int(k), 'us': t.median * 1e6} for k, t in timings.items()]
    return found


def devices(device: torch.device, rounds: int) -> Rows:
    """The same case on each device, one after the other. Raises RuntimeError where there is one alone."""
    found, count = [], torch.cuda.device_count()
    if count < 2:
        raise RuntimeError('needs two CUDA devices')
    for i in range(count):
        with torch.cuda.device(i):
            there = torch.device(device.type, i)
            case = Case(INFERENCE, 16, neurons(16, torch.float32, there, True), torch.float32)
            found += [{'device': str(there), **line} for line in bandwidth(case, there, rounds, {})]
    return found


PARTS: dict[str, Callable[[torch.device, int], Rows]] = {'graphs': launches, 'streams': streams, 'devices': devices}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Everything, as a document for JSON. Raises ValueError for a device that is not there."""
    device, small = place(arguments.device), arguments.quick
    rounds = arguments.rounds or (5 if small else 30)
    left_out = {p.name: reason for p in providers(device) if (reason := p.missing())}
    rows: Rows = []
    failed: dict[str, str] = {}
    for T, dtype, direction in product((4, 16) if small else STEPS, DTYPES, DIRECTIONS):
        case = Case(direction, T, neurons(T, dtype, device, small), dtype)
        rows += bandwidth(case, device, rounds, failed)
    document: dict[str, Any] = {'about': machine(device), 'rows': rows, 'failed': failed, 'left out': left_out}
    for name, part in PARTS.items():
        try:
            document[name] = part(device, rounds) if device.type == 'cuda' else []
        except RuntimeError as error:  # what was measured before is not lost
            left_out[name] = str(error)
        if device.type != 'cuda':
            left_out[name] = 'needs a CUDA device'
    return document


def tables(document: dict[str, Any]) -> Iterator[report.Table]:
    """What was measured, for people."""
    head = ['direction', 'dtype', 'T', 'N', 'by', 'us', 'GB/s', 'copy GB/s', 'of the copy', 'host us']
    lines = [
        [
            *(str(r[key]) for key in ('direction', 'dtype', 'T', 'N', 'provider')),
            f'{r["seconds"]["median"] * 1e6:.1f}',
            *(f'{r[key]:.1f}' for key in ('gb_per_s', 'copy_gb_per_s')),
            f'{r["copy_share"]:.2f}',
            f'{r["host_us"]:.1f}',
        ]
        for r in document['rows']
    ]
    yield 'Bytes that must move, by the time they take', head, lines
    for name in ('graphs', 'streams', 'devices'):
        if found := document.get(name):
            cells = [
                [f'{v:.1f}' if isinstance(v, float) else str(v) for v in r.values() if not isinstance(v, dict)]
                for r in found
            ]
            yield name, [key for key, v in found[0].items() if not isinstance(v, dict)], cells


def parse(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description='Achieved bandwidth and launch overhead on a GPU.')
    parser.add_argument('--device', default='cuda', help='cuda, cuda:N, or cpu to try the program out (default cuda)')
    parser.add_argument('--quick', action='store_true', help='T = 4 and 16, smaller inputs, few rounds')
    parser.add_argument('--rounds', type=int, default=0, help='interleaved rounds of a case (default 30, quick 5)')
    parser.add_argument('--json', type=Path, help='also write everything here')
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """0, 1 if a backend of ours was wrong, 2 for a device that is not there."""
    arguments = parse(words)
    try:
        place(arguments.device)
    except ValueError as error:
        print(f'error: {error}', file=sys.stderr)
        return 2
    document = measure(arguments)
    for key, value in document['about'].items():
        print(f'{key}: ' + ('\n  '.join(value) if isinstance(value, list) else str(value)))
    for table in tables(document):
        report.show(table)
    for name, reason in (document['left out'] | document['failed']).items():
        print(f'left out: {name}: {reason}')
    if arguments.json:
        write(arguments.json, lambda path: path.write_text(json.dumps(document, indent=1)))
    return int(any(name.startswith('snnkern') for name in document['failed']))


if __name__ == '__main__':
    sys.exit(main())
