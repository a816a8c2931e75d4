"""The pools of spikes beside a loop over steps and torch's own max-pool: `python -m benchmarks.pools [--json FILE]`.

Contestants: the definition step by step (S += x, out = maxpool(S), S -= upsample(out)) and, where windows overlap, in
its closed form (out = maxpool(C) - what it was before); F.max_pool2d of all steps at once, which counts nothing; ours.
Outputs and gradients are compared before anything is timed. Target: the lateral pool at least 5 times as fast as the
loop, in contiguous memory.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.timing import Timing, interleave
from snnkern import functional
from snnkern.testing import assert_grads_close, assert_spikes_equal

SIZES = ((8, 8, 64, 32, 32), (8, 8, 128, 16, 16))  # T, B, C, H, W: layers of a VGG
WINDOWS = ((2, 2, 0), (3, 2, 1))
LOOP, TARGET = 'loop', 5.0
Pool = Callable[..., Tensor]


def loop(x: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """The lateral pool, one step after the other."""
    state, before, outputs = torch.zeros_like(x[0]), None, []
    for step in x:
        state = state + step
        top = F.max_pool2d(state, kernel, stride, padding)
        if kernel == stride:
            state = state - F.interpolate(top, scale_factor=float(stride))
            outputs.append(top)
        else:
            outputs.append(top if before is None else top - before)
            before = top
    return torch.stack(outputs)


def torch_max(x: Tensor, kernel: int, stride: int, padding: int) -> Tensor:
    """F.max_pool2d of all steps at once."""
    return F.max_pool2d(x.flatten(0, 1), kernel, stride, padding).unflatten(0, x.shape[:2])


POOLS: dict[str, Pool] = {
    LOOP: loop,
    'lateral_pool2d': functional.lateral_pool2d,
    'spike_max_pool2d': functional.spike_max_pool2d,
    'max_pool2d': functional.max_pool2d,
    'F.max_pool2d': torch_max,
}


def spikes(size: tuple[int, ...], last: bool) -> Tensor:
    """Spikes of a density of 0.3."""
    x = (torch.rand(size) < 0.3).float()
    return x.flatten(0, 1).to(memory_format=torch.channels_last).unflatten(0, size[:2]) if last else x


def check(x: Tensor, window: tuple[int, int, int]) -> None:
    """Ours computes what the others do. Raises AssertionError."""
    for ours, theirs in ((functional.lateral_pool2d, loop), (functional.max_pool2d, torch_max)):
        pairs = []
        for pool in (ours, theirs):
            leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
            out = pool(leaf, *window)
            grad = torch.linspace(-1, 1, out.numel()).view(out.shape)
            pairs.append((out.detach().contiguous(), torch.autograd.grad(out, leaf, grad)[0].contiguous()))
        assert_spikes_equal(pairs[0][0], pairs[1][0])
        assert_grads_close(pairs[0][1], pairs[1][1])


def calls(x: Tensor, window: tuple[int, int, int], backward: bool) -> dict[str, Callable[[], Any]]:
    """Every contestant as a function without arguments."""
    leaf = x.clone(memory_format=torch.preserve_format).requires_grad_()
    grad = torch.randn_like(torch_max(x, *window))

    def call(pool: Pool) -> Callable[[], Any]:
        def both() -> Any:
            return torch.autograd.grad(pool(leaf, *window), leaf, grad)

        def forward() -> Any:
            with torch.no_grad():
                return pool(leaf, *window)

        return both if backward else forward

    return {name: call(pool) for name, pool in POOLS.items()}


def measure(rounds: int, sizes: tuple[tuple[int, ...], ...] = SIZES) -> list[dict[str, Any]]:
    """All sizes, windows, layouts and directions; one row each: timings by contestant."""
    rows = []
    for size in sizes:
        for window in WINDOWS:
            for last in (False, True):
                x = spikes(size, last)
                check(x, window)
                for backward in (False, True):
                    timings = interleave(calls(x, window, backward), rounds)
                    what = {'size': size, 'window': window, 'channels_last': last, 'backward': backward}
                    rows.append({**what, 'timings': timings})
    return rows


def ratios(timings: dict[str, Timing]) -> dict[str, float]:
    """How many times as fast as the loop each is, by medians of processor time, which other programs hardly change."""
    return {name: timings[LOOP].cpu / t.cpu for name, t in timings.items() if name != LOOP}


def main() -> None:
    parser = argparse.ArgumentParser(description='Pools of spikes beside a loop and torch.')
    parser.add_argument('--rounds', type=int, default=15, help='interleaved rounds')
    parser.add_argument('--threads', type=int, default=1, help='threads of torch and of the kernels')
    parser.add_argument('--json', type=Path, help='also write the numbers here')
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows, worst = measure(arguments.rounds), float('inf')
    print('times as fast as the loop over steps; ' + ', '.join(name for name in POOLS if name != LOOP))
    for row in rows:
        found = ratios(row['timings'])
        kind = f'{row["size"]} {row["window"]} {"channels-last" if row["channels_last"] else "contiguous"}'
        direction = 'forward+backward' if row['backward'] else 'forward'
        print(f'{kind:<48}{direction:<18}' + ''.join(f'{ratio:8.2f}' for ratio in found.values()))
        if not row['channels_last']:
            worst = min(worst, found['lateral_pool2d'])
    verdict = 'met' if worst >= TARGET else 'NOT met'
    print(f'target: lateral_pool2d, contiguous, at least {TARGET}: {verdict} (worst {worst:.2f})')
    if arguments.json:
        about = {'threads': arguments.threads, 'rounds': arguments.rounds, 'torch': torch.__version__}
        table = [
            {**row, 'ratios': ratios(row['timings']), 'timings': {n: t.as_dict() for n, t in row['timings'].items()}}
            for row in rows
        ]
        arguments.json.write_text(json.dumps({'about': about, 'rows': table}, indent=1))


if __name__ == '__main__':
    main()
