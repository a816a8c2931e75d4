"""Which calls are activations that a neuron can stand for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from snnkern.convert import graph


@dataclass(frozen=True)
class Activation:
    """y = clamp(x, 0, cap) + slope * min(x, 0): what a neuron's mean output approximates.

    slope: 0 for ReLU, > 0 for LeakyReLU. cap: None, or the largest output (6 for ReLU6). v_threshold, levels: of an
    activation that was trained with a threshold of its own (QCFS); None and 0 elsewhere.
    Example: `Activation(cap=6.0)(x)` is ReLU6.
    """

    slope: float = 0.0
    cap: float | None = None
    v_threshold: float | None = None
    levels: int = 0

    def __call__(self, x: Tensor) -> Tensor:
        y = x.clamp(0, self.cap)
        return y + self.slope * x.clamp_max(0) if self.slope else y


MODULES: dict[type[nn.Module], Callable[[Any], Activation | None]] = {
    nn.ReLU: lambda m: Activation(),
    nn.ReLU6: lambda m: Activation(cap=6.0),
    nn.LeakyReLU: lambda m: _leaky(m.negative_slope),
    nn.Hardtanh: lambda m: _clamp(m.min_val, m.max_val),
    nn.Threshold: lambda m: Activation() if (m.threshold, m.value) == (0, 0) else None,
    nn.PReLU: lambda m: _leaky(m.weight.item()) if m.weight.numel() == 1 else None,
    nn.RReLU: lambda m: _leaky((m.lower + m.upper) / 2),
}
RELUS = {F.relu, torch.relu, 'relu'}
CLAMPS = {torch.clamp, torch.clip, 'clamp', 'clip', F.hardtanh}


def activation(net: fx.GraphModule, node: fx.Node) -> Activation | None:
    """What a node computes if a neuron can stand for it, else None; calls that overwrite their input are gone."""
    if node.op == 'call_module':
        module = graph.module_of(net, node)
        return None if module is None else of_module(module)
    target: Any = node.target
    if node.op not in ('call_function', 'call_method'):
        return None
    if target in RELUS:
        return Activation()
    if target is F.relu6:
        return Activation(cap=6.0)
    if target is F.leaky_relu:
        return _leaky(graph.argument(node, 1, 'negative_slope', 0.01))
    if target in CLAMPS:
        low, high = ('min_val', 'max_val') if target is F.hardtanh else ('min', 'max')
        return _clamp(graph.argument(node, 1, low, None), graph.argument(node, 2, high, None))
    if target in (torch.clamp_min, 'clamp_min'):
        return _clamp(graph.argument(node, 1, 'min', None), None)
    return None


def of_module(module: nn.Module) -> Activation | None:
    """What a module computes if a neuron can stand for it, else None. Any module with an `activation` counts."""
    own = getattr(module, 'activation', None)
    if isinstance(own, Activation):
        return own
    kind = graph.kind_of(module)
    found = None if kind is None else MODULES.get(kind)
    return found(module) if found else None


def _leaky(slope: Any) -> Activation | None:
    return Activation(slope=float(slope)) if isinstance(slope, int | float) and 0 <= slope <= 1 else None


def _clamp(low: Any, high: Any) -> Activation | None:
    """clamp(x, 0, high) as an activation; other bounds are none."""
    known = low == 0 and (high is None or isinstance(high, int | float))
    return Activation(cap=None if high is None else float(high)) if known and (high is None or high > 0) else None
