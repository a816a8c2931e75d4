"""The memory of a running program: its slots for some images and steps, and the states of its neurons and pools."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import Tensor

from snnkern.backends.events import Layer, Pool, Slot
from snnkern.backends.reference.events import start
from snnkern.engine.plan import Plan


@dataclass(frozen=True)
class Memory:
    """Bytes that an engine holds for a batch. slots: what layers hand on; states: of neurons and pools, with a copy of
    how they start; weights: of synapses and biases; images: how many of the batch run together."""

    slots: int
    states: int
    weights: int
    images: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.slots + self.states + self.weights

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {name: getattr(self, name) for name in ('slots', 'states', 'weights', 'total', 'images')}


def event_steps(plan: Plan) -> list[Layer | Pool]:
    """The steps that are layers and pools: the program."""
    return [step for step in plan.steps if isinstance(step, Layer | Pool)]


def slot_bytes(slots: Sequence[Slot], images: int, steps: int) -> int:
    """Of all slots; words and floats have 4 bytes."""
    return 4 * sum(prod(slot.shape(images, steps)) for slot in slots)


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
    """Of all states and of the copy that they start from."""
    return 2 * 4 * sum(map(prod, state_shapes(plan, images).values()))


class States:
    """The states of a number of images in one piece of memory, so that they start anew by one copy.

    of: each of them, by number of the step of the program.
    """

    def __init__(self, plan: Plan, images: int) -> None:
        shapes = state_shapes(plan, images)
        self.first = torch.zeros(sum(map(prod, shapes.values())))
        self.all = torch.empty_like(self.first)
        self.of: dict[int, Tensor] = {}
        parts = zip(*(flat.split(list(map(prod, shapes.values()))) for flat in (self.first, self.all)), strict=True)
        steps = event_steps(plan)
        for (number, shape), (first, now) in zip(shapes.items(), parts, strict=True):
            value = start(steps[number], plan.slots, 1)
            assert value is not None
            first.view(value.dtype).view(shape).copy_(value)
            self.of[number] = now.view(value.dtype).view(shape)
        self.reset()

    def reset(self) -> None:
        """Before the first step."""
        self.all.copy_(self.first)


def buffers(plan: Plan, images: int, steps: int) -> dict[int, Tensor]:
    """Memory of all slots, whatever is in it, but for those that the stem fills with what it has computed anyway."""
    return {
        number: torch.empty(slot.shape(images, steps), dtype=slot.dtype)
        for number, slot in enumerate(plan.slots)
        if slot.kind == 'counts' or number not in plan.inputs
    }
