"""The QCFS activation: a ReLU that a network is trained with so that few steps of spikes compute it."""

import copy

import torch
from torch import Tensor, nn

from snnkern._checks import positive, whole
from snnkern.convert.activations import Activation


class QCFS(nn.Module):
    """Quantised clip-floor-shift: y = lambda * clip(floor(x * levels / lambda + 1/2) / levels, 0, 1).

    It is what an IF neuron with threshold lambda, soft reset and v0 = lambda / 2 emits on average in T = levels steps
    of constant input; `convert(net, x, recipe='qcfs')` makes that neuron. Backward takes floor for the identity:
    dy/dx = 1 for -lambda / (2 * levels) < x < lambda + lambda / (2 * levels), else 0; dy/dlambda = y / lambda, less
    x / lambda in that range.

    levels: >= 1, steps between 0 and lambda. v_threshold: > 0, lambda at the start, a learned parameter (leave it out
    of weight decay, or let it decay as the paper does). Input of any shape. Raises ValueError for bad numbers.
    Source: Bu et al., ICLR 2022 (arXiv 2303.04347). Example: `nn.Sequential(nn.Linear(8, 4), QCFS(levels=4))`.
    """

    def __init__(self, levels: int = 8, v_threshold: float = 8.0) -> None:
        super().__init__()
        whole('levels', levels)
        positive('v_threshold', v_threshold)
        self.levels = levels
        self.v_threshold = nn.Parameter(torch.tensor(float(v_threshold)))

    @property
    def activation(self) -> Activation:
        """What a neuron in this place stands for."""
        theta = float(self.v_threshold)
        return Activation(cap=theta, v_threshold=theta, levels=self.levels)

    def forward(self, x: Tensor) -> Tensor:
        scaled = x / self.v_threshold * self.levels + 0.5
        passed = scaled.clamp(0, self.levels + 1)  # where the clip of the floor passes
        steps = passed + (scaled.floor().clamp(0, self.levels) - passed).detach()
        return steps / self.levels * self.v_threshold

    def extra_repr(self) -> str:
        return f'levels={self.levels}'


def use_qcfs(model: nn.Module, levels: int = 8, v_threshold: float = 8.0) -> nn.Module:
    """A copy of `model` with each nn.ReLU module (ReLU6 included) a `QCFS` of its own, to be trained.

    A ReLU module that is called at several places becomes one QCFS with one lambda for all of them, which is fine in
    training: `convert` still makes one neuron per call. Functional calls (F.relu) are not seen; `convert` names those
    that are left. levels, v_threshold: as for `QCFS`. Raises ValueError if there is no such module.
    Example: `net = use_qcfs(LeNet5(), levels=4)`, train it, then `convert(net, x, recipe='qcfs', timesteps=4)`.
    """
    if isinstance(model, nn.ReLU | nn.ReLU6):
        return QCFS(levels, v_threshold)
    twin = copy.deepcopy(model)
    made: dict[nn.Module, QCFS] = {}
    for parent in list(twin.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.ReLU | nn.ReLU6):
                setattr(parent, name, made.setdefault(child, QCFS(levels, v_threshold)))
    if not made:
        raise ValueError(f'model must have nn.ReLU modules, got {type(model).__name__} without one')
    return twin
