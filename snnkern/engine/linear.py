"""Convolutions, linear layers, norms, averages and upsampling of maps, as sums of synapses."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from snnkern import nn as layers
from snnkern.backends.events import Axis
from snnkern.engine.axes import same, transposed
from snnkern.engine.values import Map, UnsupportedError

if TYPE_CHECKING:
    from snnkern.engine.walk import Walk


def arguments(names: str, args: Sequence[Any], kwargs: dict[str, Any], **defaults: Any) -> list[Any]:
    """What a call gave for these names, by place or by name, or their defaults."""
    known = names.split()
    given = {**defaults, **dict(zip(known, args, strict=False)), **kwargs}
    return [given.get(name) for name in known]


def pair(value: Any) -> tuple[int, int]:
    """A number for rows and one for columns."""
    rows, cols = (value, value) if isinstance(value, int) else (value[0], value[-1])
    return int(rows), int(cols)


def conv(walk: 'Walk', x: Map, out: tuple[int, ...], weight: Tensor, bias: Tensor | None, how: Sequence[Any]) -> Map:
    """A convolution. how: stride, padding, dilation, groups."""
    stride, padding, dilation, groups = how
    kernel = weight.shape[2:]
    _rank(x, len(kernel))
    strides, gaps = pair(stride), pair(dilation)
    if isinstance(padding, str):
        padding = [gap * (k - 1) // 2 if padding == 'same' else 0 for gap, k in zip(gaps, kernel, strict=True)]
    sizes = (x.height, x.width), out[1:], kernel, strides, pair(padding), gaps
    rows, cols = (Axis(*numbers) for numbers in zip(*sizes, strict=True))
    return walk.made.ready(x, rows, cols).linear(weight.detach().float(), rows, cols, groups, bias)


def conv_module(walk: 'Walk', node: fx.Node, x: Map, args: list[Any]) -> Map:
    module = walk.module(node)
    assert isinstance(module, nn.Conv2d)
    if module.padding_mode != 'zeros':
        raise UnsupportedError(f'padding_mode {module.padding_mode!r} is no padding with zeros')
    how = module.stride, module.padding, module.dilation, module.groups
    return conv(walk, x, walk.sample(node), module.weight, module.bias, how)


def conv_call(walk: 'Walk', node: fx.Node, x: Map, args: list[Any]) -> Map:
    names = 'input weight bias stride padding dilation groups'
    _, weight, bias, *how = arguments(names, args, walk.kwargs(node), stride=1, padding=0, dilation=1, groups=1)
    return conv(walk, x, walk.sample(node), _fixed(weight), None if bias is None else _fixed(bias), how)


def conv_transpose(walk: 'Walk', node: fx.Node, x: Map, args: list[Any]) -> Map:
    module = walk.module(node)
    assert isinstance(module, nn.ConvTranspose2d)
    _rank(x, 2)
    weight = module.weight.detach().float().unflatten(0, (module.groups, -1)).transpose(1, 2).flatten(0, 1)
    kernel, out = weight.shape[2:], walk.sample(node)[1:]
    how = module.stride, module.padding, module.dilation
    sizes = (x.height, x.width), out, kernel, *map(pair, how)  # type: ignore[arg-type]
    rows, cols = (transposed(*numbers) for numbers in zip(*sizes, strict=True))
    return walk.made.ready(x, rows, cols).linear(weight.flip(-2, -1), rows, cols, module.groups, module.bias)


def linear(walk: 'Walk', x: Map, weight: Tensor, bias: Tensor | None) -> Map:
    if not x.flat:
        raise UnsupportedError(f'a linear layer of {x.shape} works on the last dimension alone')
    size = x.height, x.width
    rows, cols = (Axis(n, 1, n) for n in size)
    wide = weight.detach().float().view(len(weight), x.channels, *size)
    return replace(walk.made.ready(x, rows, cols).linear(wide, rows, cols, bias=bias), flat=True)


def linear_module(walk: 'Walk', node: fx.Node, x: Map, args: list[Any]) -> Map:
    module = walk.module(node)
    assert isinstance(module, nn.Linear)
    return linear(walk, x, module.weight, module.bias)


def linear_call(walk: 'Walk', node: fx.Node, x: Map, args: list[Any]) -> Map:
    _, weight, bias = arguments('input weight bias', args, walk.kwargs(node))
    return linear(walk, x, _fixed(weight), None if bias is None else _fixed(bias))


def norm(walk: 'Walk', node: fx.Node, x: Map, args: list[Any]) -> Map:
    return normed(x, walk.module(node))


def normed(x: Map, module: Any) -> Map:
    """BatchNorm by its running statistics. module: one, or a layer with its attributes."""
    if x.flat and (x.height, x.width) != (1, 1):
        raise UnsupportedError('it normalises the features of flattened maps')
    a, b = line(module)
    return x.scaled(a.view(-1, 1, 1)).shifted(b.view(-1, 1, 1))


def line(module: Any) -> tuple[Tensor, Tensor]:
    """a and b of a BatchNorm that is a * x + b, [C] each."""
    if module.running_mean is None:
        raise UnsupportedError('it has no running statistics')
    mean, var = module.running_mean.double(), module.running_var.double()
    a = (torch.ones_like(mean) if module.weight is None else module.weight.double()) / (var + module.eps).sqrt()
    b = (torch.zeros_like(mean) if module.bias is None else module.bias.double()) - mean * a
    return a.detach().float(), b.detach().float()


def average(walk: 'Walk', node: fx.Node, x: Map, args: list[Any]) -> Map:
    """nn.AvgPool2d, the layer of snnkern.nn, or F.avg_pool2d."""
    names = 'input kernel_size stride padding ceil_mode count_include_pad divisor_override'
    if node.op == 'call_module':
        module: Any = walk.module(node)
        given = [getattr(module, name, None) for name in names.split()[1:]]
    else:
        given = arguments(names, args, walk.kwargs(node), padding=0, ceil_mode=False, count_include_pad=True)[1:]
    kernel, stride, padding, ceil, include, divisor = given
    _rank(x, 2)
    sizes = (x.height, x.width), walk.sample(node)[1:], pair(kernel), pair(stride or kernel), pair(padding)
    axes = [Axis(*numbers) for numbers in zip(*sizes, strict=True)]
    count = 1
    for axis in axes:
        over = ceil and (axis.out - 1) * axis.stride + axis.kernel > axis.size + 2 * axis.padding
        cells = (axis.inputs() >= 0).sum(1)
        if divisor is None and (over or (not include and cells.min() != cells.max())):
            raise UnsupportedError('its windows are of different sizes')
        count *= axis.kernel if include or divisor else int(cells.max())
    return x.summed(*axes).scaled(torch.tensor(1.0 / (divisor or count)))


def adaptive(walk: 'Walk', node: fx.Node, x: Map, args: list[Any]) -> Map:
    _rank(x, 2)
    axes = [_even(size, out) for size, out in zip((x.height, x.width), walk.sample(node)[1:], strict=True)]
    return x.summed(*axes).scaled(torch.tensor(1.0 / math.prod(axis.kernel for axis in axes)))


def _even(size: int, out: int) -> Axis:
    if size % out:
        raise UnsupportedError(f'{size} cells do not divide into {out} windows')
    return Axis(size, out, size // out, size // out)


def mean(walk: 'Walk', node: fx.Node, x: Map, args: list[Any]) -> Map:
    """Of rows and columns, or one of them."""
    _, dims, keep = arguments('input dim keepdim', args, walk.kwargs(node), keepdim=False)
    if dims is None or x.flat:
        raise UnsupportedError('it is no mean over rows and columns')
    places = {walk.place(node.args[0], d) for d in ([dims] if isinstance(dims, int) else dims)}
    if not places <= {1, 2} or (len(places) == 1 and not keep):
        raise UnsupportedError('it is no mean over rows and columns')
    sizes = (x.height, x.width)
    rows, cols = (Axis(n, 1, n) if i + 1 in places else same(n) for i, n in enumerate(sizes))
    found = x.summed(rows, cols)
    if walk.name(node) == 'mean':
        found = found.scaled(torch.tensor(1.0 / (rows.kernel * cols.kernel)))
    return replace(found, flat=not keep)


def nearest(walk: 'Walk', node: fx.Node, x: Map, args: list[Any]) -> Map:
    """Upsampling by a whole factor: a module or F.interpolate."""
    names = 'input size scale_factor mode'
    given = arguments(names, args, walk.kwargs(node), mode='nearest')[3]
    mode = getattr(walk.module(node), 'mode', given)
    _rank(x, 2)
    out = walk.sample(node)[1:]
    if mode != 'nearest' or out[0] % x.height or out[1] % x.width:
        raise UnsupportedError(f'mode {mode!r} from {(x.height, x.width)} to {tuple(out)} does not repeat cells')
    axes = [Axis(n, m, rate=m // n) for n, m in zip((x.height, x.width), out, strict=True)]
    return walk.made.ready(x, *axes).summed(*axes)


def difference(walk: 'Walk', node: fx.Node, x: Map, args: list[Any]) -> Map:
    """x without the mean of each window (`snnkern.nn.LocalDifference2d`)."""
    module = walk.module(node)
    assert isinstance(module, layers.LocalDifference2d)
    k, stride, padding = module.kernel_size, module.stride, module.padding
    outs = [(n + 2 * padding - k) // stride + 1 for n in (x.height, x.width)]
    axes = [Axis(n, out, k, stride, padding) for n, out in zip((x.height, x.width), outs, strict=True)]
    if x.height % outs[0] or x.width % outs[1]:
        raise UnsupportedError('its windows do not fill the map')
    means = x.summed(*axes).scaled(torch.tensor(-1.0 / k**2))
    back = [Axis(out, n, rate=n // out) for n, out in zip((x.height, x.width), outs, strict=True)]
    return x.plus(walk.made.ready(means, *back).summed(*back))


def _rank(x: Map, dims: int) -> None:
    if x.flat or dims != 2:
        raise UnsupportedError(f'it works on {x.shape}, which is no map of channels, rows and columns')


def _fixed(value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        raise UnsupportedError('its weights are no constants')
    return value
