"""The layers of a converted network: neurons and pools for all T steps at once, and for one step at a time.

All take (x, T) with time folded into the batch: x is [T*B, ...], or [B, ...] where it is constant in time.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from snnkern import functional
from snnkern.charges import IF
from snnkern.fires import Burst
from snnkern.neurons import Neuron
from snnkern.resets import Soft


class SpikingReLU(nn.Module):
    """The burst neuron in the place of a ReLU: mean output over T steps ~ relu(mean input).

    v_threshold: theta, > 0. max_spikes: most spikes of one step. constant_input: x is [B, ...], the same at
    every step. Starts at v = theta/2, resets by subtraction and emits s * theta (real units). Output
    [T*B, ...]. Sources: burst neuron, Li and Zeng, IJCAI 2022; v0 = theta/2, Bu et al., AAAI 2022.
    """

    def __init__(self, v_threshold: float, max_spikes: int, constant_input: bool) -> None:
        super().__init__()
        self.neuron = Neuron(IF(), Burst(v_threshold, max_spikes, real_units=True), Soft())
        self.constant_input = constant_input

    @property
    def v_threshold(self) -> float:
        """theta, the value of one spike."""
        return self.neuron.fire.v_threshold

    @property
    def max_spikes(self) -> int:
        """Most spikes of one step."""
        return self.neuron.fire.positive.count

    def forward(self, x: Tensor, T: int) -> Tensor:
        v0 = self.v_threshold / 2
        if self.constant_input:
            return functional.multistep(x, self.neuron, v0=v0, T=T).flatten(0, 1)
        return functional.multistep(x.unflatten(0, (T, -1)), self.neuron, v0=v0).flatten(0, 1)


class LateralPool(nn.Module):
    """The lateral pool in the place of a max-pool. pool: its geometry; scale: the neurons' theta."""

    def __init__(self, pool: nn.MaxPool2d, scale: float) -> None:
        super().__init__()
        self.pool = pool
        self.scale = scale

    def forward(self, x: Tensor, T: int) -> Tensor:
        p = self.pool
        geometry = (p.kernel_size, p.stride, p.padding, p.dilation, p.ceil_mode)
        return functional.lateral_pool2d(x.unflatten(0, (T, -1)), *geometry, scale=self.scale).flatten(0, 1)


class StepReLU(nn.Module):
    """`SpikingReLU` for one step a call, with its potential kept between calls until `reset()`."""

    def __init__(self, v_threshold: float, max_spikes: int) -> None:
        super().__init__()
        self.v_threshold = v_threshold
        self.max_spikes = max_spikes
        self.reset()

    def reset(self) -> None:
        """Forget the potential."""
        self.v: Tensor | None = None

    def forward(self, x: Tensor, T: int = 1) -> Tensor:
        if self.v is None:
            self.v = torch.full_like(x, self.v_threshold / 2)
        self.v.add_(x)
        s = torch.div(self.v, self.v_threshold).floor_().clamp_(0, self.max_spikes).mul_(self.v_threshold)
        self.v.sub_(s)
        return s


class StepPool(nn.Module):
    """`LateralPool` for one step a call: the change of the pooled running spike counts."""

    def __init__(self, pool: nn.MaxPool2d, scale: float) -> None:
        super().__init__()
        self.pool = pool
        self.scale = scale
        self.reset()

    def reset(self) -> None:
        """Forget the counts."""
        self.count: Tensor | None = None
        self.top: Tensor | None = None

    def forward(self, x: Tensor, T: int = 1) -> Tensor:
        # Counts are whole numbers, so that sums stay exact; sums of thetas would not.
        spikes = torch.div(x, self.scale).round_()
        self.count = spikes if self.count is None else self.count.add_(spikes)
        top, before = self.pool(self.count), self.top
        self.top = top
        return (top if before is None else top - before) * self.scale


class Observer(nn.Module):
    """A ReLU that keeps a sample of its outputs, for calibration.

    per_call: values kept of one batch, drawn without bias from a generator of its own.
    """

    def __init__(self, per_call: int = 2**18) -> None:
        super().__init__()
        self.per_call = per_call
        self.kept: list[Tensor] = []
        self.size = 0
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(x)
        self.size = max(self.size, y[0].numel())
        flat = y.flatten()
        if flat.numel() > self.per_call:
            flat = flat[torch.randint(flat.numel(), (self.per_call,), generator=self.generator).to(x.device)]
        self.kept.append(flat.detach().float().cpu())
        return y

    def percentile(self, p: float) -> float:
        """The value that a share p of the sample does not exceed; the largest one where that is 0."""
        values = torch.cat(self.kept)
        found = values.kthvalue(max(1, round(p * values.numel()))).values.item()
        return found if found > 0 else values.max().item()


def over_time(x: Tensor, T: int) -> Tensor:
    """[B, ...] repeated for T steps, [T*B, ...]."""
    return x.expand(T, *x.shape).flatten(0, 1)
