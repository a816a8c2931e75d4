"""Normalisation before spiking neurons: BatchNorm fused with its neuron, and temporal enhanced pooling."""

from typing import Any

import torch
from torch import Tensor, nn

from snnkern import neurons
from snnkern._checks import finite, positive, whole
from snnkern.functional import batch_norm_neuron
from snnkern.nn.neuron import Neuron

__all__ = ['TEP', 'BatchNormNeuron']

NORMS = ('bn', 'tdbn', 'tebn')


def momentum_of(norm: Any) -> float:
    """The share of this batch in the running statistics of a torch.nn.BatchNorm, or a layer with its attributes."""
    if norm.momentum is not None or not norm.training:
        return float(norm.momentum or 0.0)
    return 0.0 if norm.num_batches_tracked is None else 1.0 / (1.0 + float(norm.num_batches_tracked))


class BatchNormNeuron(Neuron):
    """BatchNorm over time, batch and space, and the layer of neurons behind it, `functional.batch_norm_neuron`.

    Maps x [T, B, C, ...] to spikes like `nn.BatchNorm2d(C)` over T * B followed by `nn.Neuron(neuron)`, up to rounding,
    in 32 instead of 52 bytes an element-step of training, and keeps only x for backward.

    num_features: C. neuron: what fires, as data; its charge must be `IF`, `LIF`, `PLIF` or `Affine`. norm: "bn";
    "tdbn", weight starts as alpha * v_threshold (Zheng et al., AAAI 2021); "tebn", a learned factor `scale` [T] for
    each of the T steps besides (Duan et al., NeurIPS 2022). eps, momentum (None: the average of all batches), affine,
    track_running_stats: as in torch.nn.BatchNorm2d, whose names weight, bias, running_mean, running_var and
    num_batches_tracked have, too; a state_dict of it loads. process_group: normalise together with these processes
    ("world": all of them). In eval mode the running statistics are part of the neuron's charge. residual:
    `forward(x, residual)` adds it to the spikes (SEW). Others as in `nn.Neuron`.

    Raises ValueError for an unknown norm, TypeError for another charge, and what `functional.batch_norm_neuron` raises.
    Example: `layer = BatchNormNeuron(64, snnkern.Neuron(snnkern.LIF(2.0)), norm='tdbn')`.
    """

    weight: Tensor | None
    bias: Tensor | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        neuron: neurons.Neuron | None = None,
        norm: str = 'bn',
        *,
        T: int | None = None,
        alpha: float = 1.0,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        process_group: Any = None,
        backend: str | None = None,
        **options: Any,
    ) -> None:
        neuron = neurons.Neuron() if neuron is None else neuron
        super().__init__(neuron, backend, **options)
        whole('num_features', num_features)
        positive('eps', eps)
        finite('alpha', alpha)
        if norm not in NORMS:
            raise ValueError(f'norm must be one of {", ".join(NORMS)}, got {norm!r}')
        if (norm == 'tebn') != (T is not None):
            raise ValueError(f'T must be given with norm "tebn" and only there, got T={T} and norm {norm!r}')
        if T is not None:
            whole('T', T)
        if T is not None and self.step_mode == 's':
            raise ValueError('step_mode must be "m" with norm "tebn", whose factor depends on the step, got "s"')
        if momentum is not None:
            finite('momentum', momentum)
        if self.connect != 'sew':
            raise ValueError(f'connect must be "sew" here, since x is normalised first, got {self.connect!r}')
        neuron.charge.line()  # or TypeError
        self.num_features, self.norm, self.eps, self.momentum = num_features, norm, eps, momentum
        self.process_group = process_group
        start = alpha * neuron.fire.v_threshold if norm == 'tdbn' else 1.0
        self.weight = nn.Parameter(torch.full((num_features,), start)) if affine else None
        self.bias = nn.Parameter(torch.zeros(num_features)) if affine else None
        self.scale = nn.Parameter(torch.ones(T)) if T is not None else None
        tracked = {
            'running_mean': torch.zeros(num_features),
            'running_var': torch.ones(num_features),
            'num_batches_tracked': torch.tensor(0),
        }
        for name, value in tracked.items():
            self.register_buffer(name, value if track_running_stats else None)

    def _group(self) -> Any:
        from torch import distributed

        if self.process_group is None or not self.training or not distributed.is_initialized():
            return None
        return distributed.group.WORLD if self.process_group == 'world' else self.process_group

    def _multistep(self, x: Tensor, **wanted: Any) -> Any:
        dim = self.channel_dim
        if -x.dim() <= dim < x.dim() and x.shape[dim] != self.num_features:
            shape = tuple(x.shape[1:] if self.step_mode == 's' else x.shape)
            raise ValueError(f'x must have num_features = {self.num_features} channels, got {x.shape[dim]} of {shape}')
        tensors = self.running_mean, self.running_var, self.weight, self.bias, self.scale
        how = momentum_of(self), self.eps, self._group()
        found = batch_norm_neuron(x, self.neuron, *tensors, self.training, *how, **wanted)
        if self.training and self.num_batches_tracked is not None and x.numel():
            self.num_batches_tracked.add_(1)
        return found

    def _settings(self) -> dict[str, Any]:
        shown = {'num_features': self.num_features, 'norm': self.norm, 'eps': self.eps, 'momentum': self.momentum}
        unusual = {
            'affine': (self.weight is not None, True),
            'track_running_stats': (self.running_mean is not None, True),
            'process_group': (self.process_group, None),
        }
        shown |= {name: value for name, (value, usual) in unusual.items() if value != usual}
        return shown | super()._settings()


class TEP(nn.Module):
    """Temporal enhanced pooling: y_t = x_t * (1 + instance_norm(mean over t of x)), with an affine instance norm.

    Maps x [T, B, C, H, W] to the same shape; the gradient flows through the mean. It needs all steps at once (it is not
    causal), and its output is real-valued and signed where the norm is below -1. One pixel has the norm 0, so that
    y_t = x_t * (1 + bias). num_features: C. eps: of the norm.
    State-dict names: weight [C] (1), bias [C] (0). Raises ValueError for another rank or number of channels.
    Source: Wang et al., arXiv 2205.12718 (DPSNN), GroupNorm with C groups + 1. Example: `TEP(64)(conv(x))`.
    """

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        whole('num_features', num_features)
        positive('eps', eps)
        self.num_features, self.eps = num_features, eps
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))

    def forward(self, x: Tensor) -> Tensor:
        """y [T, B, C, H, W] of x [T, B, C, H, W]."""
        if x.dim() != 5 or x.shape[2] != self.num_features:
            raise ValueError(f'x must be [T, B, C, H, W] with C = {self.num_features}, got {tuple(x.shape)}')
        x = x.movedim(2, -1)  # reductions over T keep channels-last layouts only where channels are the last dimension
        mean = x.mean(0).movedim(-1, 1)
        # Not nn.functional's, which refuses one pixel: there the normalised value is 0.
        gain = torch.group_norm(mean, self.num_features, self.weight, self.bias, self.eps) + 1
        return (x * gain.movedim(1, -1)).movedim(-1, 2)

    def extra_repr(self) -> str:
        return f'{self.num_features}, eps={self.eps}'
