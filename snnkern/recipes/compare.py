"""A converted network beside its simulator loop: accuracy, seconds, and spike-for-spike equality."""

from dataclasses import dataclass
from statistics import median
from time import perf_counter

import torch
from torch import Tensor, nn

from snnkern.convert import SNN, Simulator, Stopwatch
from snnkern.convert.layers import LateralPool, Spiking
from snnkern.convert.simulator import StepPool, StepReLU
from snnkern.recipes.digits import accuracy


@dataclass(frozen=True)
class Row:
    """Both ways to run T steps: accuracies in percent, seconds for all digits.

    same_answers: percent of digits with the same answer. neuron: the neuron layers and pools alone.
    """

    timesteps: int
    ann_accuracy: float
    snn_accuracy: float
    loop_accuracy: float
    same_answers: float
    spikes_per_neuron_per_step: float
    loop_seconds: float
    snnkern_seconds: float
    loop_neuron_seconds: float
    snnkern_neuron_seconds: float
    neuron_speedup: float
    network_speedup: float


@dataclass
class Spikes:
    """What `count_spikes` finds: spikes of each step summed over everything, neurons, unequal spikes."""

    per_step: list[int]
    neurons: int
    differing: int

    def rate(self, T: int) -> float:
        """Mean spikes per neuron and step over the first T steps."""
        return sum(self.per_step[:T]) / (self.neurons * T)


@dataclass
class _Timed:
    logits: Tensor
    seconds: float
    neuron_seconds: float


def _timed(network: SNN | Simulator, x: Tensor, T: int) -> _Timed:
    layers: list[nn.Module] = [m for m in network.layers if isinstance(m, Spiking | LateralPool | StepReLU | StepPool)]
    with Stopwatch(layers) as watch:
        start = perf_counter()
        logits = network.predict(x, T)
        seconds = perf_counter() - start
    return _Timed(logits, seconds, watch.seconds)


def rounds(T: int) -> int:
    """How often T steps are timed: short runs more often, since they scatter more."""
    return max(1, min(5, 16 // T))


def compare(snn: SNN, loop: Simulator, x: Tensor, y: Tensor, T: int, ann_accuracy: float, spikes: Spikes) -> Row:
    """Run T steps both ways in turn, and take the median times."""
    pairs = [(_timed(loop, x, T), _timed(snn, x, T)) for _ in range(rounds(T))]
    slow, fast = pairs[0][0].logits, pairs[0][1].logits
    a, b = (median(pair[i].seconds for pair in pairs) for i in (0, 1))
    na, nb = (median(pair[i].neuron_seconds for pair in pairs) for i in (0, 1))
    return Row(
        timesteps=T,
        ann_accuracy=ann_accuracy,
        snn_accuracy=accuracy(fast, y),
        loop_accuracy=accuracy(slow, y),
        same_answers=accuracy(fast, slow.argmax(1)),
        spikes_per_neuron_per_step=spikes.rate(T),
        loop_seconds=a,
        snnkern_seconds=b,
        loop_neuron_seconds=na,
        snnkern_neuron_seconds=nb,
        neuron_speedup=na / nb,
        network_speedup=a / b,
    )


@torch.no_grad()
def count_spikes(snn: SNN, x: Tensor, T: int) -> Spikes:
    """Run T steps, and step the loop's neurons through the very inputs that snnkern's neurons got.

    Convolutions of other batch sizes differ in their last bits, so whole networks cannot be compared spike by
    spike; neurons with the same input can, and must agree in all of them.
    """
    found = Spikes([0] * T, 0, 0)

    def check(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(layer, Spiking)
        steps = layer.unfold(output)
        stepped = _stepped(layer, inputs[0] if len(inputs) == 1 else inputs[0] + inputs[1], T)
        found.differing += int((stepped != steps).sum())
        found.neurons += steps[0].numel()
        counts = (steps / layer.v_threshold).round().abs().flatten(1).sum(1, dtype=torch.float64)
        found.per_step = [a + int(b) for a, b in zip(found.per_step, counts, strict=True)]

    hooks = [layer.register_forward_hook(check) for layer in snn.neurons]
    try:
        snn.predict(x, T)
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _stepped(layer: Spiking, x: Tensor, T: int) -> Tensor:
    """The output [T, B, ...] of the simulator's neuron for the same input."""
    step = StepReLU(layer)
    inputs = [x] * T if layer.constant_input else x.unflatten(0, (T, -1)).unbind(0)
    return torch.stack([step(x_t) for x_t in inputs])
