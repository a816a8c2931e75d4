"""The classic way to run a spiking network: the whole network once per time step, with stateful neurons."""

import copy

import torch
from torch import Tensor, fx, nn

from snnkern._checks import whole
from snnkern.convert.layers import LateralPool, SpikingReLU, StepPool, StepReLU


class Simulator(nn.Module):
    """A converted network as a Python loop over steps in plain torch, the baseline of comparisons.

    It calls every layer at every step, as SpikingJelly's and BrainCog's step mode do; neurons and pools work
    in place on their state. `SNN.simulator()` makes it; weights are shared with the SNN.
    """

    def __init__(self, network: fx.GraphModule, largest: int) -> None:
        super().__init__()
        self.network = fx.GraphModule(network, copy.deepcopy(network.graph))
        self.largest = largest
        self.layers: list[StepReLU | StepPool] = []
        for node in self.network.graph.nodes:
            if node.op != 'call_module':
                continue
            layer = network.get_submodule(str(node.target))
            if isinstance(layer, SpikingReLU):
                self._replace(str(node.target), StepReLU(layer.v_threshold, layer.max_spikes))
            elif isinstance(layer, LateralPool):
                self._replace(str(node.target), StepPool(layer.pool, layer.scale))

    def _replace(self, name: str, layer: StepReLU | StepPool) -> None:
        self.network.set_submodule(name, layer)
        self.layers.append(layer)

    def forward(self, x: Tensor, T: int) -> Tensor:
        """Mean output over T steps, [B, ...]. x: inputs [B, ...]."""
        whole('T', T)
        for layer in self.layers:
            layer.reset()
        total = self.network(x, 1)
        for _ in range(T - 1):
            total += self.network(x, 1)
        return total / T

    @torch.no_grad()
    def predict(self, x: Tensor, T: int, megabytes: float = 4.0) -> Tensor:
        """Logits [B, ...] of any number of inputs, in chunks whose largest layer takes about so many MB."""
        chunk = max(1, int(megabytes * 2**20 / (4 * self.largest)))
        return torch.cat([self(part, T) for part in x.split(chunk)])
