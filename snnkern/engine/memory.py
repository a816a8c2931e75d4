"""The memory of a running program: its slots for some images and steps, and the states of its neurons and pools."""

from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from snnkern.backends.events import Layer, Pool
from snnkern.backends.reference.events import start
from snnkern.engine.plan import Output, Plan


@dataclass(frozen=True)
class Memory:
    """Bytes that an engine holds for a batch. slots: what layers hand on; states: of neurons and pools; weights: of
    synapses and biases; images: how many of the batch run in one call of the program; places: for how many of these
    there is memory between the layers."""

    slots: int
    states: int
    weights: int
    images: int
    places: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.held + self.weights

    @property
    def held(self) -> int:
        """What belongs to the batch."""
        return self.slots + self.states

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {name: getattr(self, name) for name in ('slots', 'states', 'weights', 'total', 'images', 'places')}


def event_steps(plan: Plan) -> list[Layer | Pool]:
    """The steps that are layers and pools: the program."""
    return [step for step in plan.steps if isinstance(step, Layer | Pool)]


def seen(plan: Plan) -> set[int]:
    """The slots that are filled or read from outside of the program."""
    leaves = pytree.tree_leaves(plan.outputs)
    return {*plan.inputs, *(leaf.slot for leaf in leaves if isinstance(leaf, Output))}


def slot_bytes(plan: Plan, images: int, steps: int, places: int | None = None) -> int:
    """Of all slots; words and floats have 4 bytes. places: images that there is room for between the layers."""
    outer, inner = seen(plan), images if places is None else places
    return 4 * sum(prod(slot.shape(images if n in outer else inner, steps)) for n, slot in enumerate(plan.slots))


def state_shapes(plan: Plan, images: int) -> dict[int, tuple[int, ...]]:
    """The shapes of the states, by number among the steps that are layers and pools."""
    found = {}
    for number, step in enumerate(event_steps(plan)):
        of = step.source if isinstance(step, Pool) else step.target
        shape = step.state_shape(plan.slots[of], images)
        if shape is not None:
            found[number] = shape
    return found


def state_bytes(plan: Plan, images: int) -> int:
    """Of all states."""
    return 4 * sum(map(prod, state_shapes(plan, images).values()))


class States:
    """The states of a number of images in one piece of memory.

    of: each of them, by number of the step of the program; whatever is in it, until `reset`.
    """

    def __init__(self, plan: Plan, images: int) -> None:
        shapes = state_shapes(plan, images)
        self.all = torch.empty(sum(map(prod, shapes.values())))
        self.of: dict[int, Tensor] = {}
        self.steps, self.slots = event_steps(plan), plan.slots
        for (number, shape), part in zip(shapes.items(), self.all.split([*map(prod, shapes.values())]), strict=True):
            self.of[number] = part.view(self._first(number).dtype).view(shape)

    def _first(self, number: int) -> Tensor:
        found = start(self.steps[number], self.slots, 1)
        assert found is not None
        return found

    def reset(self) -> None:
        """Before the first step, for those who do not let the program start anew."""
        for number, state in self.of.items():
            state.copy_(self._first(number))


def buffers(plan: Plan, images: int, steps: int, places: int) -> dict[int, Tensor]:
    """Memory of all slots, whatever is in it, but for those that the stem fills with what it has computed anyway.

    places: images that there is room for between the layers.
    """
    outer = seen(plan)
    return {
        number: torch.empty(slot.shape(images if number in outer else places, steps), dtype=slot.dtype)
        for number, slot in enumerate(plan.slots)
        if slot.kind == 'counts' or number not in plan.inputs
    }
