"""Measure snnkern beside its rivals: `python -m benchmarks.run [--quick | --full] [--filter TEXT] [--json FILE]`.

Speed counts only behind a green gate: on the very inputs that are timed, spikes of all providers must be equal and
gradients within `snnkern.testing`'s tolerances; who fails is not timed. Everything runs in one child process whose
allocator settings are pinned and reported, the same for all providers: glibc's defaults, or `--allocator tuned`.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

import snnkern
from benchmarks import report
from benchmarks.registry import COPY, PROVIDERS, Case, Provider, cases
from benchmarks.report import Result
from benchmarks.timing import Call, call_of, copy_call, interleave, peak_bytes
from snnkern.testing import assert_grads_close, assert_spikes_equal

# What a user has who sets nothing, and what spares large blocks their page faults (in glibc, and in torch).
ALLOCATORS: dict[str, dict[str, str]] = {
    'default': {},
    'tuned': {
        'MALLOC_MMAP_THRESHOLD_': str(1 << 30),
        'MALLOC_TRIM_THRESHOLD_': str(4 << 30),
        'THP_MEM_ALLOC_ENABLE': '1',
    },
}
PINNED = ('MALLOC_', 'GLIBC_TUNABLES', 'THP_MEM_ALLOC_ENABLE', 'LD_PRELOAD', 'OMP_', 'GOMP_', 'KMP_', 'SNNKERN_')
CHILD = 'SNNKERN_BENCHMARK_CHILD'


def pinned_environment(arguments: argparse.Namespace) -> dict[str, str]:
    """This environment without anything that steers memory or threads, then what the command line asks for."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(PINNED)}
    waiting = {'OMP_WAIT_POLICY': 'passive'} if arguments.passive else {}
    threads = {'OMP_NUM_THREADS': str(arguments.threads)}
    return {**kept, **ALLOCATORS[arguments.allocator], **threads, **waiting, CHILD: '1'}


def surroundings(allocator: str) -> dict[str, Any]:
    """What the numbers depend on."""
    huge_pages = Path('/sys/kernel/mm/transparent_hugepage/enabled')
    models = [line for line in Path('/proc/cpuinfo').read_text().splitlines() if line.startswith('model name')]
    return {
        'allocator': allocator,
        'allocator settings': ALLOCATORS[allocator] or 'none set: defaults of glibc and torch',
        'libc': ' '.join(platform.libc_ver()),
        'transparent huge pages': huge_pages.read_text().strip() if huge_pages.exists() else 'unknown',
        'threads': torch.get_num_threads(),
        'threads wait': os.environ.get('OMP_WAIT_POLICY', 'as OpenMP does: spinning'),
        'cpu': models[0].partition(': ')[2] if models else platform.processor(),
        'cores': os.cpu_count(),
        'load average': round(os.getloadavg()[0], 1),
        'python': platform.python_version(),
        'torch': torch.__version__,
        'snnkern': snnkern.__version__,
        'backends': str(snnkern.explain()).splitlines(),
        'peak memory': 'VmHWM - VmRSS before the call, after clear_refs; idle memory given back first',
    }


def check(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> str | None:
    """How a result differs from the reference, or None. Tensors: spikes and, with gradients, that of x."""
    try:
        assert_spikes_equal(found[0], expected[0])
        for ours, theirs in zip(found[1:], expected[1:], strict=True):
            assert_grads_close(ours, theirs)
    except AssertionError as error:
        return str(error)
    return None


def measure(case: Case, providers: Sequence[Provider], rounds: int) -> Result:
    """Gate, then time all providers and the copy in interleaved rounds, then memory."""
    result, contestants = Result(case), {}
    x, grad = case.inputs()
    reference = next(p for p in PROVIDERS if p.name == 'snnkern reference')
    expected = call_of(reference.build(), case, x, grad)()
    for provider in providers:
        if reason := provider.missing():
            result.skipped[provider.name] = reason
            continue
        call = call_of(provider.build(), case, x, grad)
        start = perf_counter()
        found = call()
        result.first_call_s[provider.name] = perf_counter() - start
        if reason := check(found, expected):
            result.failed[provider.name] = reason
            continue
        contestants[provider.name] = call
    del expected, found
    everyone: dict[str, Call] = {**contestants, COPY: copy_call(case)}
    result.timings = interleave(everyone, rounds)
    del everyone
    result.peaks = {name: peak_bytes(call) for name, call in contestants.items()}
    torch._dynamo.reset()
    return result


def rounds_of(case: Case, arguments: argparse.Namespace) -> int:
    """More rounds for calls of microseconds than for those of seconds."""
    if arguments.rounds:
        return arguments.rounds
    most = 15 if case.steps >= 1 << 24 else 60
    return max(3, most // 4) if arguments.quick else most


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description='Speed and memory of snnkern beside its rivals.')
    size = parser.add_mutually_exclusive_group()
    size.add_argument('--quick', action='store_true', help='few rounds, nothing through torch.compile, N <= 2^18')
    size.add_argument('--full', action='store_true', help='other T and half precision, too')
    parser.add_argument('--filter', default='', help='only cases whose name contains this')
    parser.add_argument('--providers', default='', help='only providers whose name contains one of these, by commas')
    parser.add_argument('--json', type=Path, help='also write everything here')
    parser.add_argument('--threads', type=int, default=2, help='of torch, OpenMP and snnkern (default 2)')
    parser.add_argument('--passive', action='store_true', help='idle threads sleep at once: for a busy machine')
    parser.add_argument('--rounds', type=int, default=0, help='interleaved rounds per case (default: by size)')
    parser.add_argument('--allocator', choices=ALLOCATORS, default='default')
    return parser.parse_args(words)


def chosen(arguments: argparse.Namespace) -> tuple[list[Case], list[Provider]]:
    """Cases and providers that the command line asks for."""
    wanted = [c for c in cases(arguments.full) if arguments.filter in str(c)]
    providers = [p for p in PROVIDERS if any(name in p.name for name in arguments.providers.split(','))]
    if arguments.quick:
        wanted = [c for c in wanted if c.N <= 1 << 18]
        providers = [p for p in providers if not p.compiled]
    return wanted, providers


def run(arguments: argparse.Namespace) -> list[Result]:
    """Measure and print; the child's part."""
    torch.set_num_threads(arguments.threads)
    wanted, providers = chosen(arguments)
    about = surroundings(arguments.allocator)
    for key, value in about.items():
        print(f'{key}: {value}' if not isinstance(value, list) else f'{key}: ' + '\n  '.join(value))
    results = []
    for case in wanted:
        results.append(measure(case, providers, rounds_of(case, arguments)))
        report.show(report.case_table(results[-1]))
    report.show(report.target_table(results))
    if arguments.json:
        about['load average after'] = round(os.getloadavg()[0], 1)
        document = {'about': about, 'cases': [r.as_dict() for r in results], 'targets': report.verdicts(results)}
        arguments.json.write_text(json.dumps(document, indent=1))
    return results


def main(words: Sequence[str] | None = None) -> int:
    """Run in a child with a pinned environment; 1 if a provider of ours gives wrong results."""
    arguments = parse(words)
    if CHILD not in os.environ:
        command = [sys.executable, '-m', 'benchmarks.run', *(sys.argv[1:] if words is None else words)]
        return subprocess.run(command, env=pinned_environment(arguments), cwd=Path(__file__).parents[1]).returncode
    ours = {p.name for p in PROVIDERS if p.ours}
    return int(any(ours & result.failed.keys() for result in run(arguments)))


if __name__ == '__main__':
    sys.exit(main())
