"""The classic way to run a spiking network: the whole network once per time step, with stateful neurons."""

import copy
from typing import TYPE_CHECKING

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from snnkern._checks import whole
from snnkern.charges import IF
from snnkern.convert.layers import Clock, LateralPool, Spiking, Timed
from snnkern.fires import Binary, Burst, Signed, SignedMemory
from snnkern.resets import Soft

if TYPE_CHECKING:
    from snnkern.convert.network import SNN


class StepReLU(Timed):
    """A `Spiking` layer for one step a call in plain torch, in place on its potential, until `reset()`.

    Raises ValueError for a neuron other than an IF with Binary, Burst, SignedMemory or leaky Signed spikes and a soft
    reset.
    """

    def __init__(self, layer: Spiking) -> None:
        super().__init__()
        fire = layer.neuron.fire
        known = isinstance(fire, Binary | Burst | SignedMemory | Signed) and type(layer) is Spiking
        if not (known and isinstance(layer.neuron.charge, IF) and isinstance(layer.neuron.reset, Soft)):
            raise ValueError(f'the simulator has no loop for {type(layer).__name__} with {layer.neuron.spec}')
        self.memory, self.slope = isinstance(fire, SignedMemory), 0.0
        if isinstance(fire, SignedMemory | Signed):
            spacing = fire.negative_reset
            if (fire.negative_threshold, spacing) != ((0.0, 1.0) if self.memory else (-spacing, spacing)):
                raise ValueError(f'the simulator has no loop for {layer.neuron.spec}')
            self.slope = 0.0 if self.memory else 1 / spacing
        self.layer = copy.deepcopy(layer)
        self.m: Tensor | None = None

    def reset(self) -> None:
        """Forget the potential and what was emitted."""
        self.state = self.m = None

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        x = x if residual is None else x + residual
        theta = self._wide(self.layer.v_threshold, x)
        most = self.layer.max_spikes
        if self.state is None:
            self.state = torch.empty_like(x).copy_(self.layer.start(x))
        v = self.state.add_(x)
        if 'c' in self.layer.names:
            v.add_(self._wide(self.layer.coefficients['c'], x))
        if self.slope:
            s = F.leaky_relu(v, self.slope).div_(theta).trunc_().clamp_(-most, most).mul_(theta)
            v.sub_(F.leaky_relu(s, 1 / self.slope))
            return s
        s = torch.div(v, theta).floor_()
        if self.memory:
            self.m = torch.zeros_like(v) if self.m is None else self.m
            s = torch.maximum(s.clamp_(-most, most), -self.m)
            self.m.add_(s)
        else:
            s.clamp_(0, most)
        s.mul_(theta)
        v.sub_(s)
        return s

    @staticmethod
    def _wide(value: Tensor | float, x: Tensor) -> Tensor | float:
        return value.view(-1, *[1] * (x.dim() - 2)) if isinstance(value, Tensor) and value.dim() else value


class StepPool(Timed):
    """`LateralPool` for one step a call: the change of the pooled running spike counts."""

    def __init__(self, layer: LateralPool) -> None:
        super().__init__()
        if layer.gated:
            raise ValueError('the simulator has no loop for gated pools')
        self.pool = layer.pool
        self.scale = layer.scale
        self.count: Tensor | None = None

    def reset(self) -> None:
        """Forget the counts."""
        self.count = self.state = None

    def forward(self, x: Tensor) -> Tensor:
        # Counts are whole numbers, so that sums stay exact; sums of thetas would not.
        scale = self.scale.view(-1, 1, 1) if isinstance(self.scale, Tensor) else self.scale
        spikes = torch.div(x, scale).round_()
        self.count = spikes if self.count is None else self.count.add_(spikes)
        top, before = self.pool(self.count), self.state
        self.state = top
        return (top if before is None else top - before) * scale


class Simulator(nn.Module):
    """A converted network as a Python loop over steps in plain torch, the baseline of comparisons.

    It calls every layer at every step, as SpikingJelly's and BrainCog's step mode do; neurons and pools work
    in place on their state. `SNN.simulator()` makes it; weights are shared with the SNN. Raises ValueError for
    neurons that it has no loop for.
    """

    def __init__(self, snn: 'SNN') -> None:
        super().__init__()
        if not isinstance(snn.body, fx.GraphModule):
            raise ValueError('the simulator needs a traced network; this one was converted by modules')
        self.stem, self.largest, self.clock = snn.stem, snn.largest, Clock()
        self.clock.seed = snn.seed
        self.body = fx.GraphModule(snn.body, copy.deepcopy(snn.body.graph))
        self.layers: list[Timed] = []
        for name, layer in list(self.body.named_modules()):
            if isinstance(layer, Timed):
                step = _step(layer)
                step.clock = self.clock
                self.body.set_submodule(name, step)
                self.layers.append(step)

    def forward(self, x: Tensor, T: int, offset: int = 0) -> Tensor:
        """Mean output over T steps, [B, ...]. x: inputs [B, ...]. offset: as for an `SNN`."""
        whole('T', T)
        self.clock.offset = offset
        for layer in self.layers:
            layer.reset()
        total = self._step(x, 0)
        for t in range(1, T):
            total += self._step(x, t)
        return total / T

    def _step(self, x: Tensor, t: int) -> Tensor:
        self.clock.start = t
        return self.body(*self.stem(x))

    @torch.no_grad()
    def predict(self, x: Tensor, T: int, megabytes: float = 4.0) -> Tensor:
        """Outputs [B, ...] of any number of inputs, in batches whose largest layer takes about so many MB."""
        batch = max(1, int(megabytes * 2**20 / (4 * self.largest)))
        return torch.cat([self(part, T, i * batch) for i, part in enumerate(x.split(batch))])


def _step(layer: Timed) -> Timed:
    """A layer for one step a call."""
    if isinstance(layer, Spiking):
        return StepReLU(layer)
    return StepPool(layer) if isinstance(layer, LateralPool) else copy.deepcopy(layer)
