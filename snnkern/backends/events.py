"""What event-driven programs are made of, and how spikes lie in memory between their steps.

A program is a list of steps over slots. A slot is what one step hands to later ones, for B images and the T steps of a
call, channels last: counts of spikes (int32 words [B, K, H, W, C], K = ceil(T / 4), each with four steps as signed
bytes, the first step lowest; steps behind T are 0), or currents (float32 [B, T, H, W, C], or [B, 1, H, W, C] if they
are the same at every step). States of neurons are float32 [B, H, S, W, C], S as in `Neuron.states`; those of a pool are
int32, see `Pool`. `reference` and `native` run the same steps on the same memory.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from snnkern.neurons import Neuron

STEPS = 4  # of a word
MOST = 127  # spikes of one sign in a step
BLOCKS = (1, 2, 4, 8)  # steps that an event may stand for
POOLS = ('lateral', 'gated', 'max', 'sum')
WEIGHTS = (torch.float32, torch.bfloat16, torch.int8)


@dataclass(frozen=True)
class Axis:
    """One direction of a map: tap k of output o looks at input (o * stride + k * dilation - padding) / rate.

    size, out: inputs and outputs. rate: 1; of nearest upsampling its factor, the quotient rounded down; of a transposed
    convolution its stride, with `exact`: where the quotient is no whole number there is nothing to see.
    """

    size: int
    out: int
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    rate: int = 1
    exact: bool = False

    def inputs(self) -> Tensor:
        """The input of each output and tap, [out, kernel], -1 for none."""
        at = torch.arange(self.out)[:, None] * self.stride + torch.arange(self.kernel) * self.dilation - self.padding
        found = at.div(self.rate, rounding_mode='floor')
        there = (found >= 0) & (found < self.size) & ((at % self.rate == 0) | (not self.exact))
        return torch.where(there, found, -1)


@dataclass(frozen=True)
class Slot:
    """name: of the layer that writes it. kind: "counts", "currents", or "constant" (currents that are the same at every
    step). flat: whether it stands for [B, C] and not [B, C, H, W]. worth: of one spike, a number or [C]; bound: most
    spikes of one sign in a step."""

    name: str
    kind: str
    channels: int
    height: int = 1
    width: int = 1
    flat: bool = False
    worth: Tensor | float = 1.0
    bound: int = 1

    def shape(self, images: int, steps: int) -> tuple[int, ...]:
        """Of its memory."""
        time = {'counts': -(-steps // STEPS), 'currents': steps, 'constant': 1}[self.kind]
        return images, time, self.height, self.width, self.channels

    @property
    def dtype(self) -> torch.dtype:
        """Of its memory."""
        return torch.int32 if self.kind == 'counts' else torch.float32


@dataclass(frozen=True)
class Synapse:
    """Weights from a slot of counts to the neurons of a layer; what a spike is worth is within them.

    source: a slot. weight: float32 [out, in / groups, kernel rows, kernel columns], or channelwise [out, kernel rows,
    kernel columns]: output channel to + i reads source channel first + i alone (groups is 1), i < out. first: of the
    source's channels, the first that is read; a synapse that is not channelwise reaches all channels of the layer.
    shared: all taps have the weights of tap 0, [out, in / groups, 1, 1] (a mean in front of a 1 x 1 convolution).
    """

    source: int
    weight: Tensor
    rows: Axis
    cols: Axis
    groups: int = 1
    first: int = 0
    to: int = 0
    shared: bool = False

    @property
    def channelwise(self) -> bool:
        """Whether a channel reads one channel."""
        return self.weight.dim() == 3


@dataclass(frozen=True)
class Layer:
    """currents = bias + synapses + slots of currents; then neurons fire, or the currents are the result.

    name: of the module it comes from. target: the slot that it writes, of its channels, height and width: counts, or
    currents if neuron is None. currents: slots that are added. neuron: emits counts (real_units is False).
    coefficients: its numbers that are tensors, each a number or [C]. v0: the potential before the first step: a number,
    [C] or [C, H, W].
    """

    name: str
    target: int
    synapses: tuple[Synapse, ...] = ()
    bias: Tensor | None = None
    currents: tuple[int, ...] = ()
    neuron: Neuron | None = None
    coefficients: Mapping[str, Tensor] = field(default_factory=dict)
    v0: Tensor | float = 0.0

    @property
    def sources(self) -> tuple[int, ...]:
        """The slots that it reads."""
        return *(s.source for s in self.synapses), *self.currents

    def state_shape(self, slot: Slot, images: int) -> tuple[int, ...] | None:
        """Of its state, for its target slot; None for currents."""
        if self.neuron is None:
            return None
        return images, slot.height, len(self.neuron.states), slot.width, slot.channels


@dataclass(frozen=True)
class Pool:
    """Windows of one slot of counts, into another. mode: "lateral" (by how much the largest running count has grown),
    "gated" (the spikes of the cell with the largest running count, of equal ones the most spikes), "max" (the largest
    count of the step), "sum" (all counts of the step).

    Its state is int32 [B, H, W, C], running counts of the source, of "lateral" and "gated" pools.
    """

    name: str
    target: int
    source: int
    mode: str
    rows: Axis
    cols: Axis

    @property
    def sources(self) -> tuple[int, ...]:
        """The slots that it reads."""
        return (self.source,)

    def state_shape(self, source: Slot, images: int) -> tuple[int, ...] | None:
        """Of its state, for its source slot; None if it has none."""
        counting = self.mode in ('lateral', 'gated')
        return (images, source.height, source.width, source.channels) if counting else None


def pack(counts: Tensor) -> Tensor:
    """Words [B, K, H, W, C] of counts [T, B, C, H, W], whole numbers from -127 to 127."""
    K = -(-len(counts) // STEPS)
    _, B, C, H, W = counts.shape
    bytes_ = torch.zeros(B, K, H, W, C, STEPS, dtype=torch.int8)
    for t, step in enumerate(counts):
        bytes_[:, t // STEPS, ..., t % STEPS] = step.permute(0, 2, 3, 1)
    return bytes_.view(torch.int32).squeeze(-1)


def unpack(words: Tensor, steps: int) -> Tensor:
    """int8 counts [T, B, C, H, W], a view if it can be, of words [B, K, H, W, C]."""
    bytes_ = words.view(torch.int8).unflatten(-1, (-1, STEPS))  # [B, K, H, W, C, 4]
    return bytes_.permute(1, 5, 0, 4, 2, 3).flatten(0, 1)[:steps]


def countable(neuron: Neuron) -> Neuron:
    """The same neuron that emits numbers of spikes and not what they are worth."""
    return replace(neuron, fire=replace(neuron.fire, real_units=False))  # type: ignore[type-var]
