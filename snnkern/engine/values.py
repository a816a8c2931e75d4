"""What stands between neurons, as sums of synapses that are not yet computed: composed, and no more than needed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor

from snnkern.backends.events import Axis, Slot
from snnkern.engine.axes import composed, same


class UnsupportedError(Exception):
    """An operation is no sum of synapses; the message says why."""


@dataclass(frozen=True)
class Part:
    """What a slot of counts adds to channels `to`, to + 1, ... of a map.

    weight: [n], channel first + i times this, summed over the window (rows, cols), to channel to + i; [n, kernel rows,
    kernel columns], such a window with weights; [n, in / groups, kernel rows or 1, kernel columns or 1], a convolution
    of channels from `first` on, whose taps are all alike where it has one.
    """

    source: int
    weight: Tensor
    rows: Axis
    cols: Axis
    groups: int = 1
    first: int = 0
    to: int = 0

    @property
    def count(self) -> int:
        """Channels that it reaches."""
        return len(self.weight)

    @property
    def dense(self) -> bool:
        """Whether a channel reads others than its own."""
        return self.weight.dim() == 4

    @property
    def window(self) -> bool:
        """Whether it is a sum over more than one cell, all of one weight."""
        return self.weight.dim() == 1 and (self.rows.kernel, self.cols.kernel) != (1, 1)

    @property
    def taps(self) -> Tensor:
        """Its weights [n, ..., kernel rows, kernel columns]."""
        if self.weight.dim() == 1:
            return self.weight[:, None, None].expand(-1, self.rows.kernel, self.cols.kernel)
        return self.weight.expand(*self.weight.shape[:-2], self.rows.kernel, self.cols.kernel)

    @property
    def ungrouped(self) -> 'Part':
        """The same of one group, with zeros."""
        if self.groups == 1:
            return self
        return replace(self, weight=without_groups(self.weight, self.groups), groups=1)

    def scaled(self, by: Tensor) -> 'Part':
        """Times a number for each channel of its map [C, 1, 1]."""
        factor = by.flatten()[self.to : self.to + self.count]
        return replace(self, weight=self.weight * factor.view(-1, *[1] * (self.weight.dim() - 1)))

    def taken(self, start: int, end: int) -> 'Part | None':
        """What it adds to channels start to end, which are then channels from 0 on; None: nothing."""
        low, high = max(start, self.to), min(end, self.to + self.count)
        if low >= high:
            return None
        part = self if (low, high) == (self.to, self.to + self.count) else self.ungrouped
        first = part.first if part.dense else part.first + low - self.to
        return replace(part, weight=part.weight[low - self.to : high - self.to], first=first, to=low - start)

    def at(self, rows: Axis, cols: Axis) -> 'tuple[Part, Tensor, Tensor]':
        """The same behind two axes, without weights for their taps, and which of its taps each pair is."""
        found = composed(rows, self.rows), composed(cols, self.cols)
        if found[0] is None or found[1] is None:
            raise UnsupportedError('padding between two layers without neurons cannot be composed')
        return replace(self, rows=found[0][0], cols=found[1][0]), found[0][1], found[1][1]


@dataclass(frozen=True)
class Map:
    """[channels, height, width] of one step, or if flat [channels * height * width]: the sum of parts, a bias
    ([C, 1, 1] or [C, H, W]), and slots of currents."""

    channels: int
    height: int = 1
    width: int = 1
    flat: bool = False
    parts: tuple[Part, ...] = ()
    bias: Tensor | None = None
    currents: tuple[int, ...] = ()

    @staticmethod
    def of(index: int, slot: Slot) -> 'Map':
        """A slot as it is."""
        size = slot.channels, slot.height, slot.width, slot.flat
        if slot.kind != 'counts':
            return Map(*size, currents=(index,))
        worth = torch.as_tensor(slot.worth, dtype=torch.float32).expand(slot.channels)
        return Map(*size, (Part(index, worth, same(slot.height), same(slot.width)),))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one step."""
        return (self.channels * self.height * self.width,) if self.flat else self.size

    @property
    def size(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        return self.channels, self.height, self.width

    @property
    def kept(self) -> tuple[int, ...]:
        """As slots hold it: flat only without height and width."""
        return (self.channels,) if self.flat and self.height == self.width == 1 else self.size

    @property
    def dense(self) -> bool:
        """Whether something in it reads other channels than its own."""
        return any(part.dense for part in self.parts)

    def train(self, slots: list[Slot]) -> Part | None:
        """The one part that it is, counts times what they are worth; None if it is anything else."""
        if len(self.parts) != 1 or self.bias is not None or self.currents:
            return None
        (part,) = self.parts
        whole = part.weight.dim() == 1 and not part.window and part.count == self.channels
        worth = torch.as_tensor(slots[part.source].worth, dtype=torch.float32).expand(slots[part.source].channels)
        return part if whole and torch.equal(part.weight, worth[part.first : part.first + part.count]) else None

    def flow(self) -> None:
        """Raise UnsupportedError for what already is a sum of currents, and not of spikes."""
        if self.currents:
            raise UnsupportedError('it reads currents that are no spikes')

    def scaled(self, by: Tensor) -> 'Map':
        """Times a number, or one for each channel, [C, 1, 1]."""
        self.flow()
        by = by.float().expand(self.channels, 1, 1)
        parts = tuple(part.scaled(by) for part in self.parts)
        return replace(self, parts=parts, bias=None if self.bias is None else self.bias * by)

    def shifted(self, by: Tensor) -> 'Map':
        """Plus [C, 1, 1] or [C, H, W]."""
        return replace(self, bias=by.float() if self.bias is None else self.bias + by)

    def plus(self, other: 'Map') -> 'Map':
        """The sum of two."""
        if self.shape != other.shape:
            raise UnsupportedError(f'it adds shapes {self.shape} and {other.shape}')
        found = replace(self, parts=self.parts + other.parts, currents=self.currents + other.currents)
        return found if other.bias is None else found.shifted(other.bias)

    def taken(self, start: int, end: int) -> 'Map':
        """Some channels."""
        self.flow()
        parts = tuple(part for part in (p.taken(start, end) for p in self.parts) if part is not None)
        return replace(
            self, channels=end - start, parts=parts, bias=None if self.bias is None else self.bias[start:end]
        )

    def among(self, channels: int, to: int) -> 'Map':
        """These channels from `to` on, and zeros beside them."""
        self.flow()
        parts = tuple(replace(part, to=part.to + to) for part in self.parts)
        bias = None
        if self.bias is not None:
            bias = self.bias.new_zeros(channels, *self.bias.shape[1:])
            bias[to : to + self.channels] = self.bias
        return replace(self, channels=channels, parts=parts, bias=bias)

    def linear(self, weight: Tensor, rows: Axis, cols: Axis, groups: int = 1, bias: Tensor | None = None) -> 'Map':
        """A convolution [out, in / groups, kernel rows, kernel columns], its axes from this map to the result."""
        self.flow()
        parts = (_behind(part, weight, rows, cols, groups, self.channels) for part in self.parts)
        found = Map(len(weight), rows.out, cols.out, parts=tuple(parts))
        if self.bias is not None:
            found = found.shifted(_carried(self.bias.expand(-1, self.height, self.width), weight, rows, cols, groups))
        return found if bias is None else found.shifted(bias.detach().view(-1, 1, 1))

    def summed(self, rows: Axis, cols: Axis) -> 'Map':
        """The sum of each window of each channel; of one cell: a crop, a shift, or upsampling."""
        self.flow()
        parts = tuple(_summed(part, rows, cols) for part in self.parts)
        found = replace(self, height=rows.out, width=cols.out, parts=parts, bias=None)
        if self.bias is None:
            return found
        ones = self.bias.new_ones(self.channels, 1, rows.kernel, cols.kernel)
        bias = self.bias.expand(-1, self.height, self.width)
        return found.shifted(_carried(bias, ones, rows, cols, self.channels))


@dataclass(frozen=True)
class Padded:
    """A map with copies of its borders around it, for a pool. widths: left, right, above, below."""

    inner: Map
    widths: tuple[int, int, int, int]


def joined(maps: Iterable[Map]) -> Map:
    """Maps one behind the other, by their channels."""
    maps = list(maps)
    channels, to = sum(m.channels for m in maps), 0
    found = replace(maps[0], channels=channels, parts=(), bias=None, currents=())
    for m in maps:
        if (m.height, m.width, m.flat) != (found.height, found.width, found.flat):
            raise UnsupportedError('it joins maps of different sizes')
        found = found.plus(m.among(channels, to))
        to += m.channels
    return found


def without_groups(weight: Tensor, groups: int) -> Tensor:
    """[out, in, ...] of a weight [out, in / groups, ...]."""
    out, each, *kernel = weight.shape
    found = weight.new_zeros(groups, out // groups, groups, each, *kernel)
    for i, some in enumerate(weight.unflatten(0, (groups, -1))):
        found[i, :, i] = some
    return found.flatten(2, 3).flatten(0, 1)


def _summed(part: Part, rows: Axis, cols: Axis) -> Part:
    moved, down, right = part.at(rows, cols)
    alike = all(len(taps.unique()) == taps.numel() == int(taps.max()) + 1 for taps in (down, right))
    if part.weight.dim() == 1 and alike:
        return moved  # each cell once, so that all still weigh the same
    ones = part.weight.new_ones(part.count, rows.kernel, cols.kernel)
    return replace(moved, weight=_mixed(ones, part.taps, down, right, _each))


def _behind(part: Part, weight: Tensor, rows: Axis, cols: Axis, groups: int, channels: int) -> Part:
    """A part behind a convolution of the map that it is in, which has so many channels."""
    reads = slice(part.to, part.to + part.count)
    moved, down, right = part.at(rows, cols)
    if groups == channels == len(weight):
        return replace(moved, weight=_mixed(weight[reads, 0], part.taps, down, right, _each))
    if groups > 1 and not part.dense and part.count == channels:
        inner = part.taps.unflatten(0, (groups, 1, -1)).expand(-1, len(weight) // groups, -1, -1, -1).flatten(0, 1)
        return replace(moved, weight=_mixed(weight, inner, down, right, _tap), groups=groups, to=0)
    outer = (without_groups(weight, groups) if groups > 1 else weight)[:, reads]
    if part.window and rows.kernel == cols.kernel == 1:
        return replace(moved, weight=outer * part.weight[:, None, None], to=0)
    if part.dense:
        return replace(moved, weight=_mixed(outer, part.ungrouped.taps, down, right, _through), groups=1, to=0)
    return replace(moved, weight=_mixed(outer, part.taps, down, right, _tap), to=0)


def _mixed(
    outer: Tensor, inner: Tensor, down: Tensor, right: Tensor, mix: Callable[[Tensor, Tensor], Tensor]
) -> Tensor:
    """The weights of two layers one behind the other. down, right: which tap each pair of theirs is; mix: one tap of
    the outer one with the inner one."""
    found: Tensor | None = None
    for r, c in product(range(outer.shape[-2]), range(outer.shape[-1])):
        block = mix(outer[..., r, c], inner)
        if found is None:
            found = block.new_zeros(*block.shape[:-2], int(down.max()) + 1, int(right.max()) + 1)
        found[..., down[r][:, None], right[c]] += block
    assert found is not None
    return found


def _each(tap: Tensor, inner: Tensor) -> Tensor:
    """A number for each channel [n] behind [n, ..., rows, columns]."""
    return tap.view(-1, *[1] * (inner.dim() - 1)) * inner


def _tap(tap: Tensor, inner: Tensor) -> Tensor:
    """[out, in] behind channelwise weights, [in, rows, columns] or [out, in, rows, columns]."""
    return tap[..., None, None] * inner


def _through(tap: Tensor, inner: Tensor) -> Tensor:
    """[out, in] behind [in, first, rows, columns]."""
    return torch.einsum('om,mirc->oirc', tap, inner)


def _carried(bias: Tensor, weight: Tensor, rows: Axis, cols: Axis, groups: int) -> Tensor:
    """A map [C, H, W] behind a convolution; [C, 1, 1] if it is the same everywhere."""
    down, right = rows.inputs(), cols.inputs()
    if (down >= 0).all() and (right >= 0).all() and torch.equal(bias, bias[:, :1, :1].expand_as(bias)):
        total = weight.sum((2, 3)).unflatten(0, (groups, -1)) @ bias[:, 0, 0].view(groups, -1, 1)
        return total.view(-1, 1, 1)
    cells = bias[:, down.clamp(min=0)][
        ..., right.clamp(min=0)
    ]  # [C, out rows, kernel rows, out columns, kernel columns]
    cells = cells * ((down >= 0)[:, :, None, None] & (right >= 0))
    split = weight.unflatten(0, (groups, -1)), cells.unflatten(0, (groups, -1))
    return torch.einsum('goirc,giyrxc->goyx', *split).flatten(0, 1)
