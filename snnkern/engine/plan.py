"""A network as a program of event-driven steps: what the planner makes and the engine runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from snnkern.backends.events import Layer, Pool, Slot


class PlanError(ValueError):
    """A network cannot be run by events; the message names the operation, its place, and what can be done."""


@dataclass(frozen=True)
class Dense:
    """Part of a network that runs in torch, on all steps of a call at once.

    call: takes its sources as float32 [T * B, ...], counts times what they are worth, and returns what becomes the
    target slot's currents. A module of `snnkern.convert.layers` among them
    carries state until `reset()`; its clock says how many steps a call holds. why: it is not run by events.
    """

    name: str
    target: int
    sources: tuple[int, ...]
    call: nn.Module
    why: str


Step = Layer | Pool | Dense


@dataclass(frozen=True)
class Output:
    """A result of the network: the mean over time of a slot of currents or counts."""

    slot: int


@dataclass(frozen=True)
class Plan:
    """slots: by number. steps: in the order in which they run. stem: maps the inputs of the network to a tuple of
    tensors, float32, one for each of `inputs`, slots that it fills: [B, ...] for kind "constant", [T * B, ...] else.
    timed: inputs of the network are [T, B, ...], and not [B, ...], the same at every step. outputs: what the network
    returns, a pytree with an `Output` for each tensor (the means over time), given to `tail` if there is one (analogue
    parts at the end, once). shapes: of one sample of each input, [C, H, W] or [F], as planned.
    """

    slots: Sequence[Slot]
    steps: Sequence[Step]
    stem: nn.Module
    inputs: tuple[int, ...]
    outputs: Any
    shapes: tuple[tuple[int, ...], ...]
    timed: bool = False
    tail: nn.Module | None = None
