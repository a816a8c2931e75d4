"""How dense spikes are, and how much work they cause."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache

import torch
from torch import Tensor

from snnkern.backends.events import BLOCKS, Axis, Layer, Slot, Synapse
from snnkern.backends.reference.events import decode

NARROW = {1: torch.int8, 2: torch.int16, 4: torch.int32}


def share(words: Tensor, steps: int, block: int) -> float:
    """The share of channels in which anything is, of all blocks of so many steps: of counts [B, K, H, W, C]."""
    blocks = words[:, 0].numel() * -(-steps // block)
    if block in NARROW:
        return float(torch.count_nonzero(words.view(NARROW[block]))) / blocks
    first, second = words[:, ::2], words[:, 1::2]
    pairs = second.shape[1]
    return float(torch.count_nonzero(first[:, :pairs] | second) + torch.count_nonzero(first[:, pairs:])) / blocks


def shares(words: Tensor, steps: int) -> dict[int, float]:
    """`share` of all blocks that are not longer than the steps, and of one step."""
    return {block: share(words, steps, block) for block in BLOCKS if block == 1 or block // 2 < steps}


@dataclass(frozen=True)
class Work:
    """What the spikes of a layer's sources cause in a call, on the mean of the images.

    events: channels of a source in a step that are not silent. spikes, synops: spikes and additions, a burst
    of k counts k. macs: of a dense layer. density: share of its additions that spikes cause, bursts counted once.
    """

    events: float = 0.0
    spikes: float = 0.0
    synops: float = 0.0
    macs: float = 0.0
    active: float = 0.0

    def __add__(self, other: 'Work') -> 'Work':
        return Work(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def density(self) -> float | None:
        """Share of the additions of dense steps that spikes cause; None without synapses."""
        return self.active / self.macs if self.macs else None


def reached(axis: Axis) -> Tensor:
    """How many taps of outputs look at each input [size]."""
    found = axis.inputs()
    return torch.bincount(found[found >= 0], minlength=axis.size)


def fan_out(synapse: Synapse, channels: int) -> Tensor:
    """Additions that one spike causes [H, W, C], of each cell of the source, with so many channels."""
    each = 1 if synapse.channelwise else len(synapse.weight) // synapse.groups
    count = len(synapse.weight) if synapse.channelwise else synapse.weight.shape[1] * synapse.groups
    cells = reached(synapse.rows)[:, None] * reached(synapse.cols)
    found = torch.zeros(*cells.shape, channels, dtype=torch.float64)
    found[..., synapse.first : synapse.first + count] = cells.unsqueeze(-1) * each
    return found


def work(layer: Layer, slots: Sequence[Slot], memory: Mapping[int, Tensor], steps: int) -> Work:
    """Of one layer, from what its sources hold."""
    events = spikes = synops = macs = active = 0.0
    seen = set()
    for synapse in layer.synapses:
        counts = decode(memory[synapse.source], steps).abs_()
        images = counts.shape[1]
        fan = fan_out(synapse, slots[synapse.source].channels)
        there = (counts != 0).sum((0, 1), dtype=torch.float64) / images
        total = counts.sum((0, 1), dtype=torch.float64) / images
        macs += float(fan.sum()) * steps
        active += float((fan * there).sum())
        synops += float((fan * total).sum())
        if synapse.source not in seen:
            seen.add(synapse.source)
            events, spikes = events + float(there.sum()), spikes + float(total.sum())
    return Work(events, spikes, synops, macs, active)


def layer_shares(layer: Layer, found: Mapping[int, Mapping[int, float]]) -> dict[int, float]:
    """Of the blocks, over all synapses of a layer, weighted by their additions; found: shares by slot."""
    sizes = [macs(synapse) for synapse in layer.synapses]
    blocks = [set(found[synapse.source]) for synapse in layer.synapses]
    return {
        block: sum(n * found[s.source][block] for n, s in zip(sizes, layer.synapses, strict=True)) / sum(sizes)
        for block in sorted(set.intersection(*blocks))
    }


@lru_cache(maxsize=4096)  # asked for at each look at what a call left; a synapse is known by its weight
def macs(synapse: Synapse) -> float:
    """Of one dense step."""
    taps = float(reached(synapse.rows).sum() * reached(synapse.cols).sum())
    return taps * (synapse.weight.shape[0] * (1 if synapse.channelwise else synapse.weight.shape[1]))
