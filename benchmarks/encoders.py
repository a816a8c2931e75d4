"""What Poisson spikes cost: snnkern, plain torch, SpikingJelly and snnTorch, in nanoseconds a spike place.

`python -m benchmarks.encoders [--rounds 15] [--threads 2] [--json FILE]`. All make [T, B, ...] of float32 zeros and
ones of the same x. Right first: ours equals the reference, everybody's rate is x within five standard deviations.
Target: beat each of the others in every case.
"""

import argparse
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.environment import surroundings
from benchmarks.timing import Timing, interleave
from snnkern import encode

Shape = tuple[int, ...]
CASES: dict[str, tuple[Shape, int]] = {
    'one MNIST digit, T = 100': ((1, 1, 28, 28), 100),
    '128 MNIST digits, T = 16': ((128, 1, 28, 28), 16),
    '128 CIFAR-10 images, T = 4': ((128, 3, 32, 32), 4),
    '8 images 224 x 224, T = 8': ((8, 3, 224, 224), 8),
}
OURS = 'snnkern'
Encoder = Callable[[Tensor, int], Tensor]


def torch_loop(x: Tensor, T: int) -> Tensor:
    """One comparison with new random numbers a step."""
    return torch.stack([(torch.rand_like(x) < x).to(x.dtype) for _ in range(T)])


def torch_at_once(x: Tensor, T: int) -> Tensor:
    """All random numbers first."""
    return (torch.rand(T, *x.shape) < x).to(x.dtype)


def torch_bernoulli(x: Tensor, T: int) -> Tensor:
    """torch's own draw; a view of one step as input."""
    return torch.bernoulli(x.expand(T, *x.shape))


def encoders() -> dict[str, Encoder]:
    """Everybody who is installed."""
    found: dict[str, Encoder] = {
        OURS: encode.poisson,
        'snnkern, check=False': lambda x, T: encode.poisson(x, T, check=False),
        'torch: rand_like < x, T times': torch_loop,
        'torch: rand < x at once': torch_at_once,
        'torch.bernoulli': torch_bernoulli,
    }
    if find_spec('spikingjelly'):
        from spikingjelly.activation_based.encoding import PoissonEncoder

        encoder = PoissonEncoder()
        found['SpikingJelly PoissonEncoder'] = lambda x, T: torch.stack([encoder(x) for _ in range(T)])
    if find_spec('snntorch'):
        from snntorch import spikegen

        found['snnTorch spikegen.rate'] = lambda x, T: spikegen.rate(x, num_steps=T)
    return found


def gate(x: Tensor, T: int, contestants: dict[str, Encoder]) -> None:
    """Raise AssertionError unless what will be timed is right."""
    assert torch.equal(encode.poisson(x, T), encode.poisson(x, T, backend='reference'))
    allowed = 5 * (T * (x * (1 - x)).sum()).sqrt()
    for name, run in contestants.items():
        s = run(x, T)
        assert s.shape == (T, *x.shape), name
        assert s.dtype == x.dtype, name
        assert ((s == 0) | (s == 1)).all(), name
        assert (s.sum() - T * x.sum()).abs() < allowed, name


def measure(rounds: int, cases: dict[str, tuple[Shape, int]] = CASES) -> dict[str, dict[str, Timing]]:
    """Every case with everybody, in interleaved rounds."""
    found = {}
    for title, (shape, T) in cases.items():
        x = torch.rand(shape)
        contestants = encoders()
        gate(x, T, contestants)
        calls = {name: lambda run=run, x=x, T=T: run(x, T) for name, run in contestants.items()}
        found[title] = interleave(calls, rounds)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description='Cost of Poisson spikes.')
    parser.add_argument('--rounds', type=int, default=15, help='interleaved rounds')
    parser.add_argument('--threads', type=int, default=2, help='threads of torch and of the kernels')
    parser.add_argument('--json', type=Path, help='also write the numbers here')
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    found, worst = measure(arguments.rounds), float('inf')
    for title, timings in found.items():
        shape, T = CASES[title]
        ours = timings[OURS].median
        print(title)
        for name, timing in timings.items():
            each = timing.median / (T * torch.Size(shape).numel())
            print(f'  {name:<30} {each * 1e9:8.3f} ns   {timing.median / ours:6.2f} x ours')
            if not name.startswith(OURS):
                worst = min(worst, timing.median / ours)
    print(
        f'target: faster than each: {"met" if worst > 1 else "NOT met"} (the nearest takes {worst:.2f} times as long)'
    )
    if arguments.json:
        table = {title: {name: t.as_dict() for name, t in timings.items()} for title, timings in found.items()}
        arguments.json.write_text(json.dumps({'about': surroundings('default'), 'cases': table}, indent=1))


if __name__ == '__main__':
    main()
