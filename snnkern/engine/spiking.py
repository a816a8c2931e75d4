"""What becomes of layers of neurons and of spiking pools."""

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from snnkern import nn as layers
from snnkern.backends.events import MOST, Axis, countable
from snnkern.convert.layers import LateralPool, Spiking
from snnkern.engine.linear import normed, pair
from snnkern.engine.values import Map, Padded, UnsupportedError
from snnkern.neurons import Neuron
from snnkern.surrogates import ATan

if TYPE_CHECKING:
    from snnkern.engine.walk import Walk

NEURONS = (Spiking, layers.Neuron)
POOLS = (LateralPool, layers.LateralPool2d, layers.SpikeMaxPool2d)
MAX_POOLS = (nn.MaxPool2d, layers.MaxPool2d)


def fires(module: nn.Module | None) -> bool:
    """Whether a module is neurons or a pool of spikes, which needs spikes or currents of every step."""
    return isinstance(module, (*NEURONS, *POOLS))


def neurons(walk: 'Walk', node: fx.Node, inputs: list[Map]) -> Any:
    """A layer of neurons: what it emits, as its module gives it."""
    module = walk.module(node)
    name = str(node.target)
    if isinstance(module, Spiking):
        return _converted(walk, name, module, inputs)
    assert isinstance(module, layers.Neuron)
    return _trained(walk, node, module, *inputs)


def _converted(walk: 'Walk', name: str, module: Spiking, inputs: list[Map]) -> Map:
    if type(module).forward is not Spiking.forward or type(module).run is not Spiking.run:
        raise UnsupportedError(f'its neurons, {type(module).__name__}, do more than kernels know')
    x = inputs[0] if len(inputs) == 1 else inputs[0].plus(inputs[1])
    v0 = module.get_buffer('v0').detach().float()
    if v0.dim() > 1:
        v0 = v0.expand(1, *x.shape).reshape(x.size)
    return fire(walk, name, x, module.neuron, module.coefficients, v0)


def _trained(walk: 'Walk', node: fx.Node, module: layers.Neuron, x: Map, residual: Map | None = None) -> Any:
    if module.step_mode != 'm':
        raise UnsupportedError('it takes single steps (step_mode "s")')
    dims = len(walk.shape(node.args[0]))
    if module.channel_dim % dims != 2 and module.coefficients():
        raise UnsupportedError(f'its channels are dimension {module.channel_dim}')
    if isinstance(module, layers.BatchNormNeuron):
        if module.scale is not None:
            raise UnsupportedError('its norm, tebn, has a factor for each step')
        x = normed(x, module)
    elif type(module).forward is not layers.Neuron.forward:
        raise UnsupportedError(f'its neurons, {type(module).__name__}, do more than kernels know')
    total = x
    if residual is not None and module.connect == 'ms':
        total = x.plus(residual)
        if any(user.args[1:] == (1,) for user in node.users):
            total = walk.made.rested(f'{node.target}.sum', total)
    start = module.neuron.reset.v_start
    s = fire(walk, str(node.target), total, module.neuron, module.coefficients(), start)
    if residual is None:
        return s
    return (s, total) if module.connect == 'ms' else s.plus(residual)


def fire(
    walk: 'Walk', name: str, x: Map, neuron: Neuron, coefficients: Mapping[str, Tensor], v0: Tensor | float
) -> Map:
    """Neurons that read a map, as one layer or several."""
    if neuron.fire.most > MOST:
        raise UnsupportedError(f'its neurons may emit {neuron.fire.most} spikes in a step, more than {MOST}')
    kept = {key: value.detach().float() for key, value in coefficients.items() if key != 'alpha'}
    if any(value.dim() > 1 for value in kept.values()):
        raise UnsupportedError('its neurons have numbers for each step')
    if x.flat and x.height * x.width > 1 and any(value.numel() > 1 for value in kept.values()):
        raise UnsupportedError('its neurons have numbers for each feature of flattened maps')
    worth = kept.get('v_threshold', neuron.fire.v_threshold) if neuron.fire.real_units else 1.0
    forward = neuron if neuron.fused else replace(neuron, surrogate=ATan())
    return walk.made.fire(name, x, countable(forward), kept, v0, worth)


def pool(walk: 'Walk', node: fx.Node, x: Map | Padded) -> Map:
    """A max-pool of spikes: by lateral inhibition, by a gate, or of each step."""
    module: Any = walk.module(node)
    geometry = module.pool if isinstance(module, LateralPool) else module
    gated = isinstance(module, layers.SpikeMaxPool2d) or (isinstance(module, LateralPool) and module.gated)
    mode = 'max' if isinstance(module, MAX_POOLS) else 'gated' if gated else 'lateral'
    if getattr(module, 'step_mode', 'm') != 'm':
        raise UnsupportedError('it takes single steps (step_mode "s")')
    padded = x if isinstance(x, Padded) else Padded(x, (0, 0, 0, 0))
    return pooled(walk, str(node.target), padded, walk.sample(node)[1:], mode, geometry, getattr(module, 'scale', None))


def pooled(
    walk: 'Walk', name: str, x: Padded, out: tuple[int, ...], mode: str, geometry: Any, scale: Tensor | float | None
) -> Map:
    """A pool of each part of a map of trains."""
    left, right, above, below = x.widths
    inner = x.inner
    sizes = zip(
        (inner.height, inner.width), out, pair(geometry.kernel_size), pair(geometry.stride), pair(geometry.padding),
        pair(geometry.dilation), (above, left), (below, right), strict=True,
    )  # fmt: skip
    rows, cols = (_window(*numbers) for numbers in sizes)
    parts = []
    for part in inner.parts:
        train = inner.taken(part.to, part.to + part.count).train(walk.made.slots)
        if train is None:
            raise UnsupportedError('it pools something other than spikes')
        worth = torch.as_tensor(walk.made.slots[part.source].worth, dtype=torch.float32)
        if scale is not None and not torch.allclose(worth, torch.as_tensor(scale, dtype=torch.float32)):
            raise UnsupportedError('its scale is not what a spike is worth')
        if mode == 'max' and bool((worth <= 0).any()):
            raise UnsupportedError('it pools spikes whose threshold is not positive')
        moved = part.at(rows, cols)[0]
        target = walk.made.pool(name, part.source, mode, (moved.rows, moved.cols))
        parts.append(replace(part, source=target, rows=Axis(rows.out, rows.out), cols=Axis(cols.out, cols.out)))
    if sum(part.count for part in parts) != inner.channels or inner.bias is not None or inner.currents:
        raise UnsupportedError('it pools something other than spikes')
    return replace(inner, height=rows.out, width=cols.out, parts=tuple(parts))


def _window(
    size: int, out: int, kernel: int, stride: int, padding: int, dilation: int, before: int, behind: int
) -> Axis:
    """Of a pool, `before` and `behind` cells of border copied: these windows must see the border itself."""
    found = Axis(size, out, kernel, stride, padding + before, dilation)
    at = torch.arange(out)[:, None] * stride + torch.arange(kernel) * dilation - padding - before
    low = (at < 0) & (at >= -before)
    high = (at >= size) & (at < size + behind)
    seen = (low.any(1) <= (at == 0).any(1)) & (high.any(1) <= (at == size - 1).any(1))
    if not seen.all():
        raise UnsupportedError('it pools copies of a border without the border')
    return found
