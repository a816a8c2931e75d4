"""What calls between neurons do to maps: by the class of a module or the name of a function."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from snnkern import nn as layers
from snnkern.backends.events import Axis
from snnkern.engine import linear
from snnkern.engine.axes import same
from snnkern.engine.linear import arguments
from snnkern.engine.values import Map, Padded, UnsupportedError, joined

if TYPE_CHECKING:
    from snnkern.engine.walk import Walk

Handler = Callable[['Walk', fx.Node, Map, list[Any]], Any]


def reshape(walk: 'Walk', node: fx.Node, x: Map, args: list[Any]) -> Map:
    """Flattening and back, by what came out."""
    return reshaped(x, walk.sample(node))


def reshaped(x: Map, shape: tuple[int, ...]) -> Map:
    """The same numbers in another shape."""
    if shape == (x.channels, x.height, x.width):
        return replace(x, flat=False)
    if shape == (x.channels * x.height * x.width,):
        return replace(x, flat=True)
    raise UnsupportedError(f'it makes {shape} of {x.shape}')


def pad(walk: 'Walk', node: fx.Node, x: Map, args: list[Any]) -> Map | Padded:
    """Zeros around rows and columns, and channels, or copies of borders: a module or F.pad."""
    module: Any = walk.module(node)
    names, kwargs = 'input pad mode value', walk.kwargs(node)
    if module is not None:
        widths, mode, value = module.padding, 'constant', getattr(module, 'value', 0)
    else:
        _, widths, mode, value = arguments(names, args, kwargs, mode='constant', value=0)
    if (mode == 'replicate' or isinstance(module, nn.ReplicationPad2d)) and len(widths) == 4:
        return Padded(x, tuple(widths))
    if mode != 'constant' or value or x.flat or len(widths) > 6:
        raise UnsupportedError('it pads with something other than zeros, or something other than maps')
    left, right, above, below, before, after = (*widths, *[0] * (6 - len(widths)))
    rows = Axis(x.height, x.height + above + below, padding=above)
    cols = Axis(x.width, x.width + left + right, padding=left)
    found = x if rows == same(x.height) and cols == same(x.width) else x.summed(rows, cols)
    if min(before, after) < 0:
        raise UnsupportedError('it cuts channels off')
    return found.among(x.channels + before + after, before) if before or after else found


def pick(walk: 'Walk', node: fx.Node, x: Map, args: list[Any]) -> Map:
    """x[...] with slices of channels, rows and columns."""
    index: Any = args[1] if isinstance(args[1], tuple | list) else (args[1],)
    if Ellipsis in index:
        at = index.index(Ellipsis)
        dims = len(walk.shape(node.args[0]))
        index = (*index[:at], *[slice(None)] * (dims - len(index) + 1), *index[at + 1 :])
    lead = len(walk.shape(node.args[0])) - len(x.shape)
    if any(s != slice(None) for s in index[:lead]) or not all(isinstance(s, slice) for s in index) or x.flat:
        raise UnsupportedError('it picks more than slices of channels, rows and columns')
    slices: list[slice] = [*index[lead:], *[slice(None)] * (3 + lead - len(index))]
    channels, *places = (range(*s.indices(n)) for s, n in zip(slices, x.shape, strict=True))
    if channels.step != 1:
        raise UnsupportedError('it picks every second channel or the like')
    rows, cols = (
        Axis(n, len(r), stride=r.step, padding=-r.start) for r, n in zip(places, (x.height, x.width), strict=True)
    )
    x = x if channels == range(x.channels) else x.taken(channels.start, channels.stop)
    return x if rows == same(x.height) and cols == same(x.width) else x.summed(rows, cols)


def add(walk: 'Walk', node: fx.Node, x: Map, args: list[Any]) -> Map:
    """Of two maps, or of a map and what is the same for any input."""
    one, other = args[:2]
    alpha, sign = walk.kwargs(node).get('alpha', 1), -1 if walk.name(node) in ('sub', 'subtract', 'isub') else 1
    if alpha != 1:
        raise UnsupportedError(f'it adds {alpha} times something')
    terms = [(one, 1), (other, sign)]
    total: Map | None = None
    for value, by in sorted(terms, key=lambda term: isinstance(term[0], int | float | Tensor)):
        if isinstance(value, int | float | Tensor):
            assert total is not None
            total = total.shifted(by * _spread(value, x))
        else:
            term = walk.mapped(value) if by == 1 else walk.mapped(value).scaled(torch.tensor(-1.0))
            total = term if total is None else total.plus(term)
    assert total is not None
    return total


def multiply(walk: 'Walk', node: fx.Node, x: Map, args: list[Any]) -> Map:
    """Of a map by numbers, one or one for each channel, or divided by them."""
    one, other = args[:2]
    division = walk.name(node) in ('div', 'truediv', 'divide', 'true_divide', 'itruediv')
    factor = one if isinstance(one, int | float | Tensor) and not division else other
    if not isinstance(factor, int | float | Tensor) or walk.kwargs(node).get('rounding_mode'):
        raise UnsupportedError('it is a product of two signals')
    by = _spread(factor, x)
    if by.shape[1:] != (1, 1) and not torch.equal(by, by[:, :1, :1].expand_as(by)):
        raise UnsupportedError('it has a factor for each place')
    by = by[:, :1, :1]
    return x.scaled(1 / by if division else by)


def negative(walk: 'Walk', node: fx.Node, x: Map, args: list[Any]) -> Map:
    return x.scaled(torch.tensor(-1.0))


def _spread(value: float | Tensor, x: Map) -> Tensor:
    """What meets a map, as [C, 1, 1] or [C, H, W]."""
    value = torch.as_tensor(value, dtype=torch.float32).detach()
    shape = value.shape
    while value.dim() > len(x.shape) and value.shape[0] == 1:
        value = value[0]
    if value.dim() > len(x.shape) or (x.flat and (x.height, x.width) != (1, 1) and value.numel() > 1):
        raise UnsupportedError(f'it meets a tensor of shape {tuple(shape)}')
    if x.flat:
        return value.expand(x.channels).view(-1, 1, 1) if value.dim() <= 1 else value
    value = value.view(*[1] * (3 - value.dim()), *value.shape)
    return value.expand(x.channels, *value.shape[1:]) if value.shape[1:] == (1, 1) else value.expand(x.shape)


def cat(walk: 'Walk', node: fx.Node, x: Map, args: list[Any]) -> Map:
    parts, dim = arguments('tensors dim', args, walk.kwargs(node), dim=0)
    if walk.place(node, dim) != 0:
        raise UnsupportedError(f'it joins along dimension {dim}, which are no channels')
    return joined(walk.mapped(part) for part in parts)


def split(walk: 'Walk', node: fx.Node, x: Map, args: list[Any]) -> tuple[Map, ...]:
    """chunk and split of channels."""
    dim = arguments('input size dim', args, walk.kwargs(node), dim=0)[2]
    if walk.place(node.args[0], dim) != 0:
        raise UnsupportedError(f'it splits dimension {dim}, which are no channels')
    found, start = [], 0
    for shape in walk.known[node]:
        count = walk.sample_of(shape)[0]
        found.append(x.taken(start, start + count))
        start += count
    return tuple(found)


def unchanged(walk: 'Walk', node: fx.Node, x: Map, args: list[Any]) -> Map:
    return x


MODULES: dict[type[nn.Module], Handler] = {
    nn.Conv2d: linear.conv_module,
    nn.ConvTranspose2d: linear.conv_transpose,
    nn.Linear: linear.linear_module,
    **dict.fromkeys((nn.BatchNorm1d, nn.BatchNorm2d), linear.norm),
    **dict.fromkeys((nn.AvgPool2d, layers.AvgPool2d), linear.average),
    nn.AdaptiveAvgPool2d: linear.adaptive,
    **dict.fromkeys((nn.Upsample, nn.UpsamplingNearest2d), linear.nearest),
    **dict.fromkeys((nn.Flatten, nn.Unflatten), reshape),
    **dict.fromkeys((nn.ZeroPad2d, nn.ConstantPad2d, nn.ReplicationPad2d), pad),
    **dict.fromkeys((nn.Identity, nn.Dropout, nn.Dropout2d), unchanged),
    layers.LocalDifference2d: linear.difference,
}


def named(handlers: dict[str, Handler]) -> dict[str, Handler]:
    """By each of the names."""
    return {name: handler for names, handler in handlers.items() for name in names.split()}


CALLS = named(
    {
        'conv2d': linear.conv_call,
        'linear': linear.linear_call,
        'avg_pool2d': linear.average,
        'adaptive_avg_pool2d': linear.adaptive,
        'mean sum': linear.mean,
        'interpolate upsample': linear.nearest,
        'flatten unflatten view reshape ravel squeeze unsqueeze': reshape,
        'pad': pad,
        'getitem': pick,
        'add iadd sub subtract isub': add,
        'mul multiply imul div truediv divide true_divide itruediv': multiply,
        'neg negative': negative,
        'cat concat concatenate': cat,
        'chunk split tensor_split': split,
        'contiguous clone float to detach': unchanged,
    }
)
