"""How many spikes the layers of a converted network emit."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from snnkern.convert.coding import PoissonInput
from snnkern.convert.hooks import Hooked
from snnkern.convert.layers import LateralPool, Spiking

EMITTING = (Spiking, LateralPool, PoissonInput)


class Counting(Hooked):
    """Counts the spikes of given layers at each step, while it is open.

    layers: neurons, pools and coded inputs by name. A burst of k spikes counts k, a negative spike as one too; of
    neurons whose outputs are no multiples of a threshold, each output that is not 0 counts one. sizes: outputs of a
    layer for one input and step. Example: `with Counting(snn.by_name) as found: snn(x, 8)`, then `found.take()`.
    """

    def __init__(self, layers: Mapping[str, nn.Module]) -> None:
        self.layers = {name: layer for name, layer in layers.items() if isinstance(layer, EMITTING)}
        self.sizes: dict[str, int] = {}
        self._steps: dict[str, list[Tensor]] = {name: [] for name in self.layers}

    def hooks(self) -> list[RemovableHandle]:
        return [layer.register_forward_hook(partial(self._count, name)) for name, layer in self.layers.items()]

    def take(self) -> dict[str, Tensor]:
        """Spikes of all inputs together at each step [T] since the last `take`, by layer; float64."""
        found = {name: torch.cat(steps).double().cpu() for name, steps in self._steps.items() if steps}
        for steps in self._steps.values():
            steps.clear()
        return found

    def _count(self, name: str, layer: nn.Module, _: Any, output: Tensor) -> None:
        assert isinstance(layer, EMITTING)
        self.sizes[name] = output[0].numel()
        self._steps[name].append(spikes(layer, output.detach()))


def spikes(layer: Spiking | LateralPool | PoissonInput, output: Tensor) -> Tensor:
    """Spikes [T] of each step of a layer, from its output [T*B, ...]."""
    steps = layer.unfold(output)
    if isinstance(layer, Spiking) and not layer.integral:
        return torch.stack([step.count_nonzero() for step in steps])
    theta = layer.v_threshold if isinstance(layer, Spiking) else layer.scale
    signed = layer.neuron.fire.negative is not None if isinstance(layer, Spiking) else isinstance(layer, LateralPool)
    channels = isinstance(theta, Tensor) and theta.numel() > 1
    dims = [d for d in range(steps.dim() - 1) if d != 1 or not channels]
    room = torch.empty_like(steps[0]) if signed else None
    # Step by step with one buffer: the absolute values of all steps at once would not stay in the cache.
    sizes = (step if room is None else torch.abs(step, out=room) for step in steps)
    sums = torch.stack([size.sum(dims, dtype=torch.float32) for size in sizes]) / theta
    return (sums.sum(1) if channels else sums.flatten()).round()
