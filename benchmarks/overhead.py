"""What a call costs when there is nothing to compute: microseconds at N = 64, layer by layer.

`python -m benchmarks.overhead [--rounds 1000] [--json FILE]`. The layers: the native kernel by itself, the op with
autograd around it (`ops.multistep`), and `functional.lif` with its checks. Target: forward + backward <= 30 us.
`--steps 16 --neurons 2048 --dtype bfloat16`: what the kernels take of data that lie in the L2 cache.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.registry import ALPHA, TAU, THRESHOLD
from benchmarks.timing import Sample, Timing, sample, summary
from snnkern import functional
from snnkern.backends import checkpoint_interval, native
from snnkern.neurons import Program
from snnkern.ops import multistep as op
from snnkern.surrogates import ATan

CALLS, TARGET_US = 5, 30.0
STEPS, NEURONS = 4, 64
PROMISED = 'functional.lif, forward+backward'


def kernel_calls(x: torch.Tensor) -> dict[str, Callable[[], Any]]:
    """The extension module alone, with ready arguments; {} where it is not built."""
    module = native.DEVICES['cpu'].load()
    if isinstance(module, str):
        return {}
    neuron = functional.neurons.preset(TAU, THRESHOLD, 0.0, True, ATan(ALPHA), False)
    head = Program(neuron).packed, native.DTYPES[x.dtype], *x.shape, x.data_ptr()
    tail = 0, 0, checkpoint_interval(x.dtype), False, 0, 1, 1, 1

    s, grad = torch.empty_like(x), torch.ones_like(x)

    def forward() -> None:
        module.multistep_fwd(*head, s.data_ptr(), *tail, 0, 0, 0, 0, 0, 1)

    def both() -> None:
        forward()
        module.multistep_bwd(*head, grad.data_ptr(), *tail, 0, 0, 0, 0, s.data_ptr(), 0, 0, 1)

    return {'_cpu, forward': forward, '_cpu, forward+backward': both}


def layers(T: int = STEPS, N: int = NEURONS, dtype: torch.dtype = torch.float32) -> dict[str, Callable[[], Any]]:
    """Each layer and direction as a function without arguments."""
    x = (torch.rand(T, N) * 2).to(dtype)
    learned, grad = x.clone().requires_grad_(), torch.ones_like(x)
    neuron = functional.neurons.preset(TAU, THRESHOLD, 0.0, True, ATan(ALPHA), False)
    backward = torch.autograd.grad
    return {
        **kernel_calls(x),
        'ops.multistep, forward': lambda: op.multistep(op.Inputs(x), neuron.spec, T, False),
        'ops.multistep, forward+backward': lambda: backward(
            op.multistep(op.Inputs(learned), neuron.spec, T, False)[0], learned, grad
        ),
        'functional.lif, forward': lambda: functional.lif(x),
        PROMISED: lambda: backward(functional.lif(learned), learned, grad),
        'autograd alone (x * 1), forward+backward': lambda: backward(learned * 1, learned, grad),
    }


def measure(rounds: int, contestants: dict[str, Callable[[], Any]]) -> dict[str, Timing]:
    """Every layer in interleaved rounds of `CALLS` calls."""
    samples: dict[str, list[Sample]] = {name: [] for name in contestants}
    for call in contestants.values():
        sample(call, CALLS)
    for _ in range(rounds):
        for name, call in contestants.items():
            samples[name].append(sample(call, CALLS))
    return {name: summary(s) for name, s in samples.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description='Cost of one call, where nothing else is said at N = 64.')
    parser.add_argument('--steps', type=int, default=STEPS, help=f'T (default {STEPS})')
    parser.add_argument('--neurons', type=int, default=NEURONS, help=f'N (default {NEURONS})')
    parser.add_argument('--dtype', choices=('float32', 'float16', 'bfloat16'), default='float32')
    parser.add_argument('--rounds', type=int, default=1000, help='interleaved rounds of 5 calls each')
    parser.add_argument('--json', type=Path, help='also write the numbers here')
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    T, N = arguments.steps, arguments.neurons
    found = measure(arguments.rounds, layers(T, N, getattr(torch, arguments.dtype)))
    for name, timing in found.items():
        each = f'{timing.median * 1e9 / (T * N):7.3f} ns a step'
        print(f'{name:<42} median {timing.median * 1e6:7.2f} us   minimum {timing.least * 1e6:7.2f} us   {each}')
    if N == NEURONS:
        met = found[PROMISED].median * 1e6 <= TARGET_US
        print(f'target: {PROMISED} <= {TARGET_US:.0f} us: {"met" if met else "NOT met"}')
    if arguments.json:
        arguments.json.write_text(json.dumps({name: timing.as_dict() for name, timing in found.items()}, indent=1))


if __name__ == '__main__':
    main()
