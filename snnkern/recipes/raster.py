"""The spikes of one input, recorded for a plot."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from snnkern.convert import SNN


@dataclass(frozen=True)
class Raster:
    """One digit seen by a converted network.

    image: [H, W] in 0..1. label: what it is. counts: spikes [T, N] of the last neuron layer. logits: [T, K],
    the mean output after 1, 2, ... T steps.
    """

    image: Tensor
    label: int
    counts: Tensor
    logits: Tensor


@torch.no_grad()
def record(snn: SNN, x: Tensor, label: int, T: int) -> Raster:
    """Run one image [C, H, W] for T steps and keep what the last neuron layer emits."""
    layer, kept = snn.neurons[-1], []

    def keep(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        kept.append((output / layer.v_threshold).round().reshape(T, -1))

    hook = layer.register_forward_hook(keep)
    try:
        logits = torch.cat([out for _, out in snn.steps(x.unsqueeze(0), T, chunk=T)])
    finally:
        hook.remove()
    return Raster(x[0], label, kept[0], logits)
