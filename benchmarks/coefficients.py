"""What gradients of coefficients cost: backward of a convolution's layer [16, 2^20] on the CPU.

`python -m benchmarks.coefficients [--rounds 15] [--threads 2] [--json FILE]`. Three forms of the same neuron: all
numbers its own, coefficients per channel without gradients, and with them. Target: the third takes at most 1.25 times
the second.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.timing import Sample, Timing, sample, summary
from snnkern import PLIF, Affine, Binary, Hard, Neuron, Soft
from snnkern.ops.multistep import Call, run_bwd

T, SHAPE, MOST = 16, (16, 64, 32, 32), 1.25  # B, C, H, W
NEURONS = {
    'PLIF, k': (Neuron(PLIF()), ('k',)),
    'PLIF, k and threshold': (Neuron(PLIF()), ('k', 'v_threshold')),
    'BatchNorm + LIF: a, b, c': (Neuron(Affine()), ('a', 'b', 'c')),
    'a, b, c, threshold, hard reset': (Neuron(Affine(), Binary(), Hard()), ('a', 'b', 'c', 'v_threshold')),
    'a, b, c, threshold, soft reset': (Neuron(Affine(), Binary(), Soft()), ('a', 'b', 'c', 'v_threshold')),
}
FORMS = ('numbers', 'coefficients', 'with gradients')


def backwards(neuron: Neuron, names: tuple[str, ...]) -> dict[str, Callable[[], Any]]:
    """Backward in the three forms, on inputs that are multiples of 0.1."""
    x = torch.randint(-5, 17, (T, *SHAPE)) / 10
    grads = torch.randn_like(x), None, None, None
    own = [next(getattr(part, name) for part in neuron.parts if hasattr(part, name)) for name in names]
    rows = torch.tensor(own)[:, None, None].expand(-1, 1, SHAPE[1]).contiguous()
    spec = f'{neuron.spec} @2 {" ".join(names)}'
    return {
        'numbers': lambda: run_bwd(x, grads, None, None, None, Call(neuron.spec, T), (True, False, False)),
        'coefficients': lambda: run_bwd(x, grads, None, rows, None, Call(spec, T), (True, False, False)),
        'with gradients': lambda: run_bwd(x, grads, None, rows, None, Call(spec, T), (True, False, True)),
    }


def measure(rounds: int) -> dict[str, dict[str, Timing]]:
    """Every neuron and form in interleaved rounds."""
    found = {}
    for title, (neuron, names) in NEURONS.items():
        calls = backwards(neuron, names)
        samples: dict[str, list[Sample]] = {form: [] for form in FORMS}
        for call in calls.values():
            sample(call, 1)
        for _ in range(rounds):
            for form, call in calls.items():
                samples[form].append(sample(call, 1))
        found[title] = {form: summary(s) for form, s in samples.items()}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description='Cost of the gradients of coefficients.')
    parser.add_argument('--rounds', type=int, default=15, help='interleaved rounds')
    parser.add_argument('--threads', type=int, default=2, help='threads of the kernels')
    parser.add_argument('--json', type=Path, help='also write the numbers here')
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    found = measure(arguments.rounds)
    steps = T * torch.Size(SHAPE).numel()
    worst = 0.0
    print(
        f'{"ns per element-step (medians)":<32}' + ''.join(f'{form:>16}' for form in FORMS) + '   ratio of the last two'
    )
    for title, timings in found.items():
        times = [timings[form].median for form in FORMS]
        worst = max(worst, times[2] / times[1])
        print(f'{title:<32}' + ''.join(f'{t / steps * 1e9:16.3f}' for t in times) + f'{times[2] / times[1]:10.2f}')
    print(f'target: at most {MOST}: {"met" if worst <= MOST else "NOT met"} (worst {worst:.2f})')
    if arguments.json:
        table = {title: {form: t.as_dict() for form, t in timings.items()} for title, timings in found.items()}
        arguments.json.write_text(json.dumps(table, indent=1))


if __name__ == '__main__':
    main()
