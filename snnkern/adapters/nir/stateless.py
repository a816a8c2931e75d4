"""Layers without state as NIR writes them, and back."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnkern.adapters.nir.layers import OverSteps, Scale, tensor
from snnkern.nn import AvgPool2d

Weighted = nn.Linear | nn.Conv1d | nn.Conv2d


def written(nir: Any, layer: nn.Module, shape: tuple[int, ...]) -> Any:
    """The node of a layer for inputs of this shape, or None. Raises ValueError for options that NIR has not."""
    if isinstance(layer, nn.Linear):
        weight = _numpy(layer.weight)
        return nir.Linear(weight) if layer.bias is None else nir.Affine(weight, _numpy(layer.bias))
    if isinstance(layer, nn.Conv1d | nn.Conv2d):
        return _conv(nir, layer, shape)
    if isinstance(layer, nn.AvgPool2d | AvgPool2d):
        return _pool(nir, layer)
    if isinstance(layer, Scale):
        scale = torch.broadcast_to(layer.get_buffer('scale'), shape[len(shape) - layer.get_buffer('scale').dim() :])
        return nir.Scale(_numpy(scale))
    return None


def _conv(nir: Any, layer: nn.Conv1d | nn.Conv2d, shape: tuple[int, ...]) -> Any:
    if layer.padding_mode != 'zeros':
        raise ValueError(f'padding_mode must be zeros for NIR, got {layer.padding_mode!r}')
    weight = _numpy(layer.weight)
    bias = np.zeros(len(weight), weight.dtype) if layer.bias is None else _numpy(layer.bias)
    numbers = layer.stride, _padding(layer), layer.dilation
    if isinstance(layer, nn.Conv1d):
        stride, padding, dilation = (n[0] for n in numbers)
        return nir.Conv1d(shape[-1], weight, stride, padding, dilation, layer.groups, bias)
    return nir.Conv2d(shape[-2:], weight, *numbers, layer.groups, bias)


def _padding(layer: nn.Conv1d | nn.Conv2d) -> tuple[int, ...]:
    """In numbers, since nir 1.0.4 cannot compute with words."""
    if not isinstance(layer.padding, str):
        return layer.padding
    total = [d * (k - 1) * (layer.padding == 'same') for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    if any(n % 2 for n in total):
        raise ValueError(f"padding 'same' of a kernel {layer.kernel_size} is not the same on both sides, as in NIR")
    return tuple(n // 2 for n in total)


def _pool(nir: Any, layer: nn.AvgPool2d | AvgPool2d) -> Any:
    kernel, stride, padding = (_pair(n) for n in (layer.kernel_size, layer.stride, layer.padding))
    if layer.ceil_mode or (padding.any() and not layer.count_include_pad):
        raise ValueError('AvgPool2d must not have ceil_mode, nor padding that does not count, for NIR')
    divisor = getattr(layer, 'divisor_override', None)
    if divisor not in (None, 1, kernel.prod()):
        raise ValueError(f'divisor_override must be None or 1 (a SumPool2d) for NIR, got {divisor}')
    return (nir.SumPool2d if divisor == 1 else nir.AvgPool2d)(kernel, stride, padding)


def _pair(value: Any) -> np.ndarray:
    return np.broadcast_to(np.asarray(value), (2,)).copy()


def _numpy(t: Tensor) -> np.ndarray:
    return t.detach().float().cpu().clone().numpy()  # the graph must not change with the model


def read(node: Any, kind: str) -> nn.Module | None:
    """The layer of a node for [T, B, ...], or None if it is none of these."""
    if kind in ('Linear', 'Affine'):
        return _linear(node)
    if kind in ('Conv1d', 'Conv2d'):
        return OverSteps(_read_conv(node, nn.Conv1d if kind == 'Conv1d' else nn.Conv2d))
    if kind in ('AvgPool2d', 'SumPool2d'):
        kernel, stride, padding = (tuple(_pair(n).tolist()) for n in (node.kernel_size, node.stride, node.padding))
        return OverSteps(nn.AvgPool2d(kernel, stride, padding, divisor_override=1 if kind == 'SumPool2d' else None))
    if kind == 'Flatten':
        start, end = (int(n) + 2 if n >= 0 else int(n) for n in (node.start_dim, node.end_dim))
        return nn.Flatten(start, end)
    if kind == 'Identity':
        return nn.Identity()
    if kind == 'Scale':
        return Scale(tensor(node.scale))
    return None


def _linear(node: Any) -> nn.Module:
    weight = tensor(node.weight)
    if weight.dim() != 2:
        raise ValueError(f'weight must be [outputs, inputs], got {tuple(weight.shape)}')
    return OverSteps(_filled(nn.Linear(weight.shape[1], weight.shape[0], device='meta'), weight, node))


def _read_conv(node: Any, kind: type[nn.Conv1d] | type[nn.Conv2d]) -> nn.Module:
    weight, groups = tensor(node.weight), int(node.groups)
    size = weight.dim() - 2
    stride, padding, dilation = (
        n if isinstance(n, str) else tuple(np.broadcast_to(np.asarray(n), (size,)).tolist())
        for n in (node.stride, node.padding, node.dilation)
    )
    channels = weight.shape[1] * groups, weight.shape[0]
    layer = kind(*channels, tuple(weight.shape[2:]), stride, padding, dilation, groups, device='meta')  # type: ignore[arg-type]
    return _filled(layer, weight, node)


def _filled(layer: Weighted, weight: Tensor, node: Any) -> Weighted:
    """The layer with these numbers; a bias of zeros is what NIR writes for none."""
    bias = getattr(node, 'bias', None)
    layer.weight = nn.Parameter(weight)
    layer.bias = None if bias is None or not np.any(bias) else nn.Parameter(tensor(bias))
    return layer


def scaled(node: Any, kind: str, scale: np.ndarray) -> None:
    """Let the weights of a node take what its inputs [C, ...] are multiplied by. Raises ValueError if they cannot."""
    per_channel = scale.reshape(len(scale), -1) if scale.ndim else scale.reshape(1, 1)
    if kind in ('Conv1d', 'Conv2d'):
        if (per_channel != per_channel[:, :1]).any():
            raise ValueError('its thresholds differ within a channel')
        groups = int(node.groups)
        factors = np.broadcast_to(per_channel[:, 0], (node.weight.shape[1] * groups,)).reshape(groups, 1, -1)
        weight = node.weight.reshape(groups, -1, *node.weight.shape[1:])
        factors = factors.reshape(*factors.shape, *[1] * (weight.ndim - 3))
        node.weight = (weight * factors).reshape(node.weight.shape)
    else:
        node.weight = node.weight * scale.reshape(-1)
