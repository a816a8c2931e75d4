"""A training step of BatchNorm and its neurons on the CPU: in one op, in two, and SpikingJelly's.

`python -m benchmarks.batchnorm [--rounds 11] [--threads 2] [--json FILE]`. Layers of a VGG on CIFAR, forward and
backward of x, weight and bias. Targets: at most 1 / 1.3 of the time of `nn.BatchNorm2d` and then snnkern's fused LIF,
and 1 / 4 of SpikingJelly's tdBN followed by its LIF node. Beside it: TEBN (a factor for each step), and the form that
GPUs have (the neurons run twice backward, 32 bytes an element-step) instead of the CPU's (a line is added, 36).
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

import snnkern
from benchmarks.lif import restarted
from benchmarks.timing import Timing, interleave
from snnkern.backends import native
from snnkern.functional import lif
from snnkern.nn import BatchNormNeuron

Step = Callable[[], tuple[Tensor, ...]]
T, B = 8, 16
LAYERS = ((64, 32), (128, 16), (256, 8), (512, 4))  # channels, height and width
FUSED, TEBN, TWICE = 'BatchNormNeuron', 'BatchNormNeuron, TEBN', 'BatchNormNeuron, 32 bytes'
SEPARATE, SJ = 'BatchNorm2d + lif', 'SpikingJelly tdBN + LIF'
TARGETS = {SEPARATE: 1.3, SJ: 4.0}


def _step(run: Callable[[Tensor], Tensor], parameters: list[Tensor], x: Tensor, grad: Tensor) -> Step:
    def step() -> tuple[Tensor, ...]:
        s = run(x)
        return s.detach(), *torch.autograd.grad(s, (x, *parameters), grad)

    return step


def _fused(C: int, **options: Any) -> nn.Module:
    return BatchNormNeuron(C, snnkern.Neuron(snnkern.LIF(2.0)), **options)


def spikingjelly(C: int) -> tuple[nn.Module, Any]:
    from spikingjelly.activation_based import layer, neuron, surrogate

    norm = layer.ThresholdDependentBatchNorm2d(1.0, 1.0, C)
    norm.step_mode = 'm'
    return norm, neuron.LIFNode(tau=2.0, surrogate_function=surrogate.ATan(2.0), step_mode='m')


def steps(C: int, size: int) -> dict[str, Step]:
    """A training step of each contestant on the same input."""
    x, grad = torch.randn(T, B, C, size, size).requires_grad_(), torch.randn(T, B, C, size, size)
    norm, fused, tebn = nn.BatchNorm2d(C), _fused(C, norm='tdbn'), _fused(C, norm='tebn', T=T)

    runs = {
        FUSED: (restarted(fused), list(fused.parameters())),
        TEBN: (restarted(tebn), list(tebn.parameters())),
        SEPARATE: (lambda x: lif(norm(x.flatten(0, 1)).unflatten(0, (T, B))), list(norm.parameters())),
    }
    try:
        theirs, node = spikingjelly(C)
        runs[SJ] = (lambda x: restarted(node)(theirs(x)), list(theirs.parameters()))
    except ImportError as error:
        print(f'{SJ}: not measured ({error})')
    found = {name: _step(run, parameters, x, grad) for name, (run, parameters) in runs.items()}
    return found | {TWICE: lambda: _twice(found[FUSED])}


def _twice(step: Step) -> tuple[Tensor, ...]:
    with patch.object(native, 'adds_lines', lambda x: False):
        return step()


def check(contestants: dict[str, Step]) -> None:
    """All compute the same before anything is timed: spikes but for a few flips, and gradients."""
    expected = contestants[SEPARATE]()
    for name, step in contestants.items():
        found = step()
        flips = int((found[0] != expected[0]).sum())
        assert flips <= found[0].numel() * 1e-5, f'{name}: {flips} spikes differ'
        for a, b in zip(found[1:4], expected[1:], strict=True):
            distance = ((a - b).norm() / b.norm()).item()
            assert distance < (1e-2 if flips else 1e-4), f'{name}: gradients differ by {distance}'


def measure(rounds: int) -> dict[str, dict[str, Timing]]:
    """Every layer, its contestants in interleaved rounds."""
    found = {}
    for C, size in LAYERS:
        contestants = steps(C, size)
        check(contestants)
        found[f'[{T}, {B}, {C}, {size}, {size}]'] = interleave(contestants, rounds)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description='A training step of BatchNorm and its neurons.')
    parser.add_argument('--rounds', type=int, default=11, help='interleaved rounds')
    parser.add_argument('--threads', type=int, default=2, help='threads of the kernels')
    parser.add_argument('--json', type=Path, help='also write the numbers here')
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    found = measure(arguments.rounds)
    for layer, timings in found.items():
        own = timings[FUSED].median
        print(f'{layer}: {FUSED} {own * 1e3:.2f} ms')
        for name, timing in timings.items():
            promised = f', target {TARGETS[name]}' if name in TARGETS else ''
            print(f'    {name:<26}{timing.median * 1e3:9.2f} ms {timing.median / own:7.2f} times{promised}')
    if arguments.json:
        table = {layer: {name: t.as_dict() for name, t in timings.items()} for layer, timings in found.items()}
        arguments.json.write_text(json.dumps({'threads': arguments.threads, **table}, indent=1) + '\n')
    met = [t[name].median >= f * t[FUSED].median for t in found.values() for name, f in TARGETS.items() if name in t]
    print(f'{sum(met)} of {len(met)} targets met')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
