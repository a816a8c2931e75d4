"""The converted network."""

from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from snnkern._checks import whole
from snnkern.convert.layers import LateralPool, SpikingReLU
from snnkern.convert.simulator import Simulator


@dataclass(frozen=True)
class Site:
    """One replacement: the new module's name, the call that was there, and theta, the value of a spike."""

    name: str
    was: str
    v_threshold: float

    def __str__(self) -> str:
        return f'{self.name:<20} {self.was:<40} theta {self.v_threshold:.4g}'


class SNN(nn.Module):
    """A converted network; `snnkern.convert.convert` makes it.

    It runs layer by layer, all T steps of a layer at once, with time folded into the batch of convolutions
    and linear layers. The input is a constant current, so layers before the first neuron run once.

    sites: what was replaced by what. largest: neurons of the largest layer, per input. network: the graph,
    called with (x, T). Example: `snn(x, T=8).argmax(1)`.
    """

    def __init__(self, network: fx.GraphModule, sites: tuple[Site, ...], largest: int) -> None:
        super().__init__()
        self.network = network
        self.sites = sites
        self.largest = largest

    def forward(self, x: Tensor, T: int) -> Tensor:
        """Mean output over T steps, [B, ...]: the logits. x: inputs [B, ...] as the model takes them."""
        return self.steps(x, T).mean(0)

    def steps(self, x: Tensor, T: int) -> Tensor:
        """The output of every step, [T, B, ...]: the mean of the first t rows is the answer after t steps."""
        whole('T', T)
        out: Tensor = self.network(x, T)
        return out.unflatten(0, (T, -1))

    @property
    def neurons(self) -> list[SpikingReLU]:
        """The neuron layers, in the order in which they run."""
        return [m for m in self.layers if isinstance(m, SpikingReLU)]

    @property
    def layers(self) -> list[nn.Module]:
        """Everything that is not in the model that was converted: neurons and pools, in running order."""
        found = [self.network.get_submodule(site.name) for site in self.sites]
        return [m for m in found if isinstance(m, SpikingReLU | LateralPool)]

    def chunk(self, T: int, megabytes: float = 8.0) -> int:
        """How many inputs to run at a time: the largest layer's T steps then take about so many MB.

        Activations that stay in the cache are worth more than large batches.
        """
        whole('T', T)
        return max(1, int(megabytes * 2**20 / (4 * self.largest * T)))

    @torch.no_grad()
    def predict(self, x: Tensor, T: int, megabytes: float = 8.0) -> Tensor:
        """Logits [B, ...] of any number of inputs, run in chunks (see `chunk`), without gradients."""
        return torch.cat([self(part, T) for part in x.split(self.chunk(T, megabytes))])

    def simulator(self) -> Simulator:
        """The same network with the same weights, run the classic way: a loop over steps."""
        return Simulator(self.network, self.largest)
