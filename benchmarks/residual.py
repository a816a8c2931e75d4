"""A shortcut as a second input of the neurons beside an addition of its own, on the CPU.

`python -m benchmarks.residual [--rounds 15] [--threads 2] [--json FILE]`. SEW adds the shortcut to the spikes, MS to
what neurons see (whose sum is an output, too). Results are compared to the bit before anything is timed.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import snnkern
from benchmarks.timing import Timing, interleave
from snnkern.functional import multistep

T, SHAPE = 8, (16, 64, 32, 32)  # B, C, H, W
NEURON = snnkern.Neuron(snnkern.LIF(2.0))
Run = Callable[[Tensor, Tensor], tuple[Tensor, ...]]


def sew(x: Tensor, r: Tensor) -> tuple[Tensor, ...]:
    """s + r in one pass."""
    return (multistep(x, NEURON, residual=r),)


def sew_apart(x: Tensor, r: Tensor) -> tuple[Tensor, ...]:
    """s + r in two."""
    return (multistep(x, NEURON) + r,)


def ms(x: Tensor, r: Tensor) -> tuple[Tensor, ...]:
    """Spikes of x + r, and x + r, in one pass."""
    return multistep(x, NEURON, residual=r, connect='ms', return_sum=True)  # type: ignore[no-any-return]


def ms_apart(x: Tensor, r: Tensor) -> tuple[Tensor, ...]:
    """Spikes of x + r, and x + r, in two."""
    total = x + r
    return multistep(total, NEURON), total


PAIRS: dict[str, tuple[Run, Run]] = {'SEW': (sew, sew_apart), 'MS': (ms, ms_apart)}


def calls(run: Run, x: Tensor, r: Tensor, grad: Tensor) -> dict[str, Callable[[], tuple[Tensor, ...]]]:
    """Forward alone, and with backward."""
    a, b = (t.clone().requires_grad_() for t in (x, r))

    def both() -> tuple[Tensor, ...]:
        outputs = run(a, b)
        return torch.autograd.grad(outputs, (a, b), [grad] * len(outputs))

    return {'forward': lambda: run(x, r), 'forward+backward': both}


def measure(rounds: int) -> dict[str, dict[str, Timing]]:
    """Both kinds and directions, the two forms in interleaved rounds."""
    x, r, grad = torch.randn(T, *SHAPE), (torch.rand(T, *SHAPE) < 0.2).float(), torch.randn(T, *SHAPE)
    found = {}
    for kind, forms in PAIRS.items():
        for direction in ('forward', 'forward+backward'):
            one, two = (calls(run, x, r, grad)[direction] for run in forms)
            assert all(torch.equal(p, q) for p, q in zip(one(), two(), strict=True))
            found[f'{kind}, {direction}'] = interleave({'one op': one, 'two ops': two}, rounds)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description='A shortcut as a second input beside an addition of its own.')
    parser.add_argument('--rounds', type=int, default=15, help='interleaved rounds')
    parser.add_argument('--threads', type=int, default=2, help='threads of the kernels')
    parser.add_argument('--json', type=Path, help='also write the numbers here')
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    found = measure(arguments.rounds)
    for case, timings in found.items():
        one, two = timings['one op'].median, timings['two ops'].median
        print(f'{case:<24} one op {one * 1e3:7.2f} ms, two ops {two * 1e3:7.2f} ms: {two / one:.2f} times')
    if arguments.json:
        about: dict[str, Any] = {'threads': arguments.threads, 'shape': (T, *SHAPE)}
        table = {case: {form: t.as_dict() for form, t in timings.items()} for case, timings in found.items()}
        arguments.json.write_text(json.dumps(about | table, indent=1) + '\n')


if __name__ == '__main__':
    main()
