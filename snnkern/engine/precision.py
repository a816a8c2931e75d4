"""Weights of event-driven layers that are rounded: their bytes, and what the rounding does to currents."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from snnkern.backends.events import Layer, Slot
from snnkern.engine.runner import Runner


def weight_bytes(runner: Runner) -> int:
    """Of all synapses and biases."""
    size = runner.weights.itemsize if runner.compiled is not None else torch.float32.itemsize
    layers = [step for step in runner.steps if isinstance(step, Layer)]
    biases = sum(layer.bias.numel() for layer in layers if layer.bias is not None)
    return 4 * biases + size * sum(synapse.weight.numel() for layer in layers for synapse in layer.synapses)


def errors(runner: Runner, memory: Mapping[int, Tensor], steps: int) -> dict[str, float]:
    """The error of each layer's currents by rounded weights, root mean square relative to that of the currents.

    memory: of slots, as an example left them. Empty if weights are not rounded.
    """
    if runner.compiled is None or runner.weights == torch.float32:
        return {}
    found = {}
    images = len(next(iter(memory.values())))
    for step in runner.steps:
        if isinstance(step, Layer) and step.synapses:
            to = runner.plan.slots[step.target]
            place = len(runner.plan.slots)
            slots = [*runner.plan.slots, Slot(step.name, 'currents', to.channels, to.height, to.width)]
            bare = replace(step, target=place, neuron=None, coefficients={}, v0=0.0)
            results = []
            for weights in (torch.float32, runner.weights):
                out = torch.empty(slots[place].shape(images, steps))
                program = type(runner.compiled)(slots, [bare], weights)
                program.run([0], {**memory, place: out}, {}, steps, [1], 1, 1)
                results.append(out)
            exact, rounded = results
            size = float(exact.square().mean().sqrt())
            found[step.name] = float((rounded - exact).square().mean().sqrt()) / size if size else 0.0
    return found
