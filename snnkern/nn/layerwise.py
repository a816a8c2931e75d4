"""Convolution or linear layer, norm and neurons in one module whose neurons see all time steps."""

from collections import OrderedDict

from torch import Tensor, nn

from snnkern._checks import whole
from snnkern.nn.fold import SeqToANNContainer
from snnkern.nn.neuron import Neuron

__all__ = ['LayerWiseConv2d', 'LayerWiseLinear']

NORMS = ('gn', 'none')


class PerStepContainer(nn.Sequential):
    """Layers without state that see the channels of all steps side by side: [T, B, C, ...] as [B, T * C, ...]."""

    def forward(self, x: Tensor) -> Tensor:
        """y [T, B, C', ...] of x [T, B, C, ...]."""
        out = super().forward(x.transpose(0, 1).flatten(1, 2))
        return out.unflatten(1, (len(x), -1)).transpose(0, 1)


class LayerWise(nn.Module):
    """What both have in common: a stateless map, the norm of its output, a layer of neurons.

    The map and its norm are run once on all T * B samples, or with n_groups as one grouped convolution, and the neurons
    once on [T, B, ...]: nothing loops over time.
    """

    def __init__(self, layer: nn.Module, kind: str, channels: int, neuron: nn.Module | None, norm: str, n_groups: int):
        super().__init__()
        whole('n_groups', n_groups)
        if norm not in NORMS:
            raise ValueError(f'norm must be one of {", ".join(NORMS)}, got {norm!r}')
        if neuron is not None and not isinstance(neuron, nn.Module):
            raise TypeError(f'neuron must be a layer such as nn.LIF(), or None, got {neuron!r}')
        steps: OrderedDict[str, nn.Module] = OrderedDict({kind: layer})
        if norm == 'gn':
            steps['norm'] = nn.GroupNorm(n_groups, n_groups * channels)
        self.layers: nn.Sequential = SeqToANNContainer(steps) if n_groups == 1 else PerStepContainer(steps)
        self.neuron = neuron
        self.n_groups = n_groups

    def _fold(self, x: Tensor) -> Tensor:
        if self.n_groups not in (1, len(x)):
            raise ValueError(f'x must have n_groups = {self.n_groups} steps, got {len(x)} of shape {tuple(x.shape)}')
        return self.layers(x)

    def _fire(self, current: Tensor, residual: Tensor | None) -> Tensor:
        if isinstance(self.neuron, Neuron) and residual is not None:
            return self.neuron(current, residual)
        s = current if self.neuron is None else self.neuron(current)
        return s if residual is None else s + residual


class LayerWiseConv2d(LayerWise):
    """2-d convolution, norm and neurons over [T, B, C, H, W], the neurons integrating over T.

    in_channels, out_channels, kernel_size, stride, padding, bias: of torch.nn.Conv2d; padding None keeps the size at
    stride 1, kernel_size // 2. neuron: the layer behind, such as `nn.BiasLIF()`, whose state the next call starts from;
    None: the currents themselves. norm: "gn", one group of all channels for each sample and step, as published; "none".
    For BatchNorm give norm "none" and a neuron that contains it, `nn.BatchNormNeuron(out_channels, ...)`. n_groups: T
    for weights (and a norm's scale and shift) of their own for each of T steps, 1 for the same in all.

    `forward(x, residual)` adds residual to the spikes. State-dict names: `layers.conv.*`, `layers.norm.*`, `neuron.*`.
    Raises ValueError for another norm and for x of another number of steps than n_groups > 1, TypeError for a neuron
    that is no module. Source: LayerWiseConvModule of BrainCog's DPSNN, whose neurons see T * B samples as one step in
    the segmentation network made from it. Example: `LayerWiseConv2d(6, 64, nn.BiasLIF())(frames)`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        neuron: nn.Module | None,
        kernel_size: int = 3,
        stride: int = 1,
        padding: int | None = None,
        bias: bool = False,
        norm: str = 'gn',
        n_groups: int = 1,
    ) -> None:
        whole('n_groups', n_groups)
        sizes = kernel_size, stride, kernel_size // 2 if padding is None else padding
        channels = in_channels * n_groups, out_channels * n_groups
        conv = nn.Conv2d(*channels, *sizes, groups=n_groups, bias=bias)
        super().__init__(conv, 'conv', out_channels, neuron, norm, n_groups)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Spikes [T, B, out_channels, H', W'] of x [T, B, in_channels, H, W]."""
        if x.dim() != 5:
            raise ValueError(f'x must be [T, B, C, H, W], got shape {tuple(x.shape)}')
        return self._fire(self._fold(x), residual)


class LayerWiseLinear(LayerWise):
    """Linear layer, norm and neurons over [T, B, features], the neurons integrating over T.

    in_features, out_features, bias: of torch.nn.Linear. The other arguments and errors: see `LayerWiseConv2d`.
    State-dict names: `layers.fc.*`, `layers.norm.*`, `neuron.*`; with n_groups > 1 the weight has shape
    [n_groups * out_features, in_features, 1]. Source: BrainCog's LayerWiseLinearModule (neuron None: spike=False).
    Example: `LayerWiseLinear(512, 10, nn.LIF())(s)`.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        neuron: nn.Module | None,
        bias: bool = True,
        norm: str = 'none',
        n_groups: int = 1,
    ) -> None:
        whole('n_groups', n_groups)
        if n_groups == 1:
            fc: nn.Module = nn.Linear(in_features, out_features, bias)
        else:
            fc = nn.Conv1d(in_features * n_groups, out_features * n_groups, 1, groups=n_groups, bias=bias)
        super().__init__(fc, 'fc', out_features, neuron, norm, n_groups)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        """Spikes [T, B, out_features] of x [T, B, in_features]."""
        if x.dim() != 3:
            raise ValueError(f'x must be [T, B, features], got shape {tuple(x.shape)}')
        if self.n_groups == 1:
            return self._fire(self._fold(x), residual)
        return self._fire(self._fold(x.unsqueeze(-1)).squeeze(-1), residual)
