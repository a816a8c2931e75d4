"""Steps and slots of a program, from maps: layers, pools, and what is computed once."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from torch import Tensor

from snnkern.backends.events import MOST, Axis, Layer, Pool, Slot, Synapse
from snnkern.engine.axes import Axes, composed, plain, same
from snnkern.engine.plan import Step
from snnkern.engine.values import Map, Part, UnsupportedError, joined
from snnkern.neurons import Neuron


class Builder:
    """Collects slots and steps. constants: slots of kind "constant" that hold these values [C, H, W] for any input."""

    def __init__(self) -> None:
        self.slots: list[Slot] = []
        self.steps: list[Step] = []
        self.constants: dict[int, Tensor] = {}
        self.pools: dict[tuple[Any, ...], int] = {}

    def slot(self, name: str, kind: str, shape: Sequence[int], **more: Any) -> int:
        """A new slot for a sample of that shape, [C, H, W] or [C]; its number."""
        if len(shape) not in (1, 3):
            raise UnsupportedError(f'it gives {tuple(shape)}, neither features nor a map of channels, rows and columns')
        channels, height, width = (*shape, 1, 1)[:3]
        self.slots.append(Slot(name, kind, channels, height, width, len(shape) == 1, **more))
        return len(self.slots) - 1

    def map(self, slot: int) -> Map:
        """A slot as it is."""
        return Map.of(slot, self.slots[slot])

    def fire(
        self,
        name: str,
        x: Map,
        neuron: Neuron,
        coefficients: Mapping[str, Tensor],
        v0: Tensor | float,
        worth: Tensor | float,
    ) -> Map:
        """Neurons that read a map; what they emit. Channels that have nothing in common become layers of their own."""
        made, blocks = [], _blocks(x)
        for channels in blocks:
            part = x.taken(channels.start, channels.stop) if len(blocks) > 1 else x
            own = name if len(blocks) == 1 else f'{name}[{channels.start}:{channels.stop}]'
            more = {'worth': _of(worth, channels), 'bound': neuron.fire.most}
            target = self.slot(own, 'counts', part.kept, **more)
            numbers = {key: _of(value, channels) for key, value in coefficients.items()}
            self._layer(own, part, target, neuron=neuron, coefficients=numbers, v0=_of(v0, channels))
            made.append(replace(self.map(target), flat=x.flat))
        return joined(made)

    def rest(self, name: str, x: Map) -> list[int]:
        """Slots that hold a map, one behind the other by channels: counts as they are, what else as currents."""
        made, blocks = [], _blocks(x)
        for channels in blocks:
            part = x.taken(channels.start, channels.stop) if len(blocks) > 1 else x
            own = name if len(blocks) == 1 else f'{name}[{channels.start}:{channels.stop}]'
            made.append(self.hold(own, part))
        return made

    def rested(self, name: str, x: Map) -> Map:
        """The same map, computed once whoever reads it."""
        return replace(self.map(self.hold(name, x)), flat=x.flat)

    def hold(self, name: str, x: Map) -> int:
        """The slot that holds a map: counts as they are, or currents."""
        part = x.train(self.slots)
        if part is not None and self._whole(part):
            return part.source
        if not x.parts and x.bias is None and len(x.currents) == 1:
            return x.currents[0]
        steady = not x.parts and all(self.slots[i].kind == 'constant' for i in x.currents)
        target = self.slot(name, 'constant' if steady else 'currents', x.kept)
        self._layer(name, x, target)
        return target

    def _whole(self, part: Part) -> bool:
        """Whether a part of a train is all of its slot."""
        every = (part.first, part.to, part.count) == (0, 0, self.slots[part.source].channels)
        return every and plain(part.rows) and plain(part.cols)

    def _layer(self, name: str, x: Map, target: int, **neuron: Any) -> None:
        bias, currents = x.bias, list(x.currents)
        if bias is not None and bias.shape[1:] != (1, 1):
            currents.append(self.slot(f'{name}.bias', 'constant', x.kept))
            self.constants[currents[-1]] = bias.expand(x.size).reshape(x.kept)
            bias = None
        synapses = tuple(_synapse(part, x.channels) for part in x.parts)
        bias = None if bias is None else bias.reshape(-1).expand(x.channels).contiguous()
        self.steps.append(Layer(name, target, synapses, bias, tuple(currents), **neuron))

    def ready(self, x: Map, rows: Axis, cols: Axis) -> Map:
        """The map as a layer of these axes can read it: sums over windows that several of its taps would add up, and
        crops that it would look beyond, become slots of their own, where bytes can hold them."""
        several = rows.kernel * cols.kernel > 1
        return replace(x, parts=tuple(self._ready(part, rows, cols, several) for part in x.parts))

    def _ready(self, part: Part, rows: Axis, cols: Axis, several: bool) -> Part:
        together = composed(rows, part.rows) and composed(cols, part.cols)
        source = self.slots[part.source]
        cells = part.rows.kernel * part.cols.kernel
        if part.weight.dim() > 1 or (together and not (part.window and several)) or source.bound * cells > MOST:
            return part
        target = self.pool(f'{source.name}.sum', part.source, 'sum', (part.rows, part.cols))
        return replace(part, source=target, rows=same(part.rows.out), cols=same(part.cols.out))

    def pool(self, name: str, source: int, mode: str, axes: Axes) -> int:
        """A pool of all channels of a slot; the slot that it writes."""
        key = source, mode, *axes
        if key not in self.pools:
            rows, cols = axes
            before = self.slots[source]
            bound = before.bound * (rows.kernel * cols.kernel if mode == 'sum' else 1)
            target = self.slot(name, 'counts', (before.channels, rows.out, cols.out), worth=before.worth, bound=bound)
            self.steps.append(Pool(name, target, source, mode, rows, cols))
            self.pools[key] = target
        return self.pools[key]


def _blocks(x: Map) -> list[range]:
    """Runs of channels that no part reads together with others; all channels if slots of currents reach them."""
    spans = sorted((part.to, part.to + part.count) for part in x.parts)
    cuts = {0, x.channels, *(cut for span in spans for cut in span)}
    inside = {cut for cut in cuts for low, high in spans if low < cut < high}
    ends = sorted(cuts - inside)
    return [range(x.channels)] if x.currents else [range(*two) for two in pairwise(ends)]


def _of(value: Any, channels: range) -> Any:
    """A number, or what of [C] or [C, H, W] belongs to these channels."""
    several = isinstance(value, Tensor) and value.dim() > 0 and len(value) > 1
    return value[channels.start : channels.stop] if several else value


def _synapse(part: Part, channels: int) -> Synapse:
    """A part as weights that a layer of so many channels reads."""
    if not part.dense:
        return Synapse(part.source, part.taps.contiguous(), part.rows, part.cols, 1, part.first, part.to)
    shared = part.weight.shape[2:] != (part.rows.kernel, part.cols.kernel)
    if part.count != channels:
        part = part.ungrouped
        wide = part.weight.new_zeros(channels, *part.weight.shape[1:])
        wide[part.to : part.to + part.count] = part.weight
        part = replace(part, weight=wide, to=0)
    weight = part.weight.contiguous()
    return Synapse(part.source, weight, part.rows, part.cols, part.groups, part.first, shared=shared)
