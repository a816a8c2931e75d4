"""The spikes of one input, recorded for a plot."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from snnkern.convert import SNN

NEURONS = 200


@dataclass(frozen=True)
class Raster:
    """One image seen by a converted network.

    image: [H, W], or [H, W, 3], in 0..1. label: what it is. counts: spikes [T, N] of the last neuron layer, or of some
    of its neurons. neurons: how many that layer has. outputs: [T, K], the mean logits after 1, 2, ... T steps; of a map
    [H, W], the mean after T steps. classes: names of the logits, empty for a map. ink: whether 1 is black.
    """

    image: Tensor
    label: str
    counts: Tensor
    neurons: int
    outputs: Tensor
    classes: tuple[str, ...] = ()
    ink: bool = True


@torch.no_grad()
def record(
    snn: SNN, x: Tensor, label: str, T: int, classes: tuple[str, ...] = (), image: Tensor | None = None
) -> Raster:
    """Run one input [C, H, W] for T steps and keep what the last neuron layer emits.

    image: [C, H, W] in 0..1 as people see it; None: x is a digit. Of more than 200 neurons some, evenly spread, are
    kept. Example: `record(snn, x_test[0], 'a seven', 16, tuple('0123456789'))`.
    """
    layer, kept = snn.neurons[-1], []

    def keep(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        steps = layer.unfold(output).squeeze(1)
        theta = torch.as_tensor(layer.v_threshold)
        kept.append((steps / theta.view(-1, *[1] * (steps.dim() - 2))).round().flatten(1))

    hook = layer.register_forward_hook(keep)
    try:
        outputs = torch.cat([out for _, out in snn.steps(x.unsqueeze(0), T, chunk=T)])
    finally:
        hook.remove()
    counts = _some(kept[0], NEURONS)
    seen = x[0] if image is None else image.permute(1, 2, 0).squeeze(-1)
    outputs = outputs if classes else outputs[-1, 0]
    return Raster(seen, label, counts, kept[0].shape[1], outputs, classes, ink=image is None)


def _some(x: Tensor, count: int) -> Tensor:
    """At most `count` columns, evenly spread; the middle of each part."""
    if x.shape[1] <= count:
        return x
    return x[:, ((torch.arange(count) + 0.5) * x.shape[1] / count).long()]
