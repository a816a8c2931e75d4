"""One run of a plan through time: memory for a number of images, and where they are."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree

from snnkern.engine import inputs, slots
from snnkern.engine.memory import States, buffers
from snnkern.engine.plan import Output, Plan
from snnkern.engine.runner import Runner, Stretch


class Session:
    """The states of some images between calls of `advance`; `begin` starts anew.

    Memory is kept for the next run, for each number of steps that was asked for. places: None, or for how many images
    there is memory between the layers, and for states; fewer than all only where one native call runs all steps.
    """

    def __init__(self, runner: Runner, images: int, places: int | None = None) -> None:
        self.runner, self.images, self.plan = runner, images, runner.plan
        self.places = images if places is None else places
        self.states = States(self.plan, self.places)
        self.memory: dict[int, dict[int, Tensor]] = {}
        self.constant: dict[int, Tensor] = {}
        self.done = 0
        self.bytes = 0  # that its owner counts for it

    def begin(self) -> None:
        """Forget what was."""
        self.runner.reset()
        self.constant = {}
        self.done = 0

    def all(
        self, given: Sequence[Tensor], steps: int, chunk: int, stretches: Sequence[Stretch], together: int = 1
    ) -> Iterator[tuple[dict[int, Tensor], int]]:
        """Run all steps from the beginning, chunk by chunk: the memory of the slots, and how many steps it is."""
        self.begin()
        for start in range(0, steps, chunk):
            count = min(chunk, steps - start)
            yield self.advance(inputs.steps(self.plan, given, start, count), count, stretches, together), count

    def advance(
        self, given: Sequence[Tensor] | None, steps: int, stretches: Sequence[Stretch], together: int
    ) -> dict[int, Tensor]:
        """Run some steps; the memory of the slots, until the next call.

        given: inputs of the network for these steps, as the stem takes them; None: those of before, where they are the
        same at every step.
        """
        memory = self.feed(given, steps)
        for stretch in stretches:
            self.runner.run(stretch, memory, self.states.of, steps, self.done, together, self.images)
        self.done += steps
        return memory

    def feed(self, given: Sequence[Tensor] | None, steps: int) -> dict[int, Tensor]:
        """The memory for some steps, with what the stem computes from the inputs in it."""
        memory = self.memory.get(steps)
        if memory is None:
            memory = self.memory[steps] = buffers(self.plan, self.images, steps, self.places)
        if given is not None:
            for number, value in zip(self.plan.inputs, self.plan.stem(*given), strict=True):
                slot = self.plan.slots[number]
                found = slots.store(slot, memory.get(number) if slot.kind == 'counts' else None, value, steps)
                if found.shape != slot.shape(self.images, steps):  # native code trusts it
                    raise ValueError(f'{slot.name} must be {slot.shape(self.images, steps)}, got {tuple(found.shape)}')
                memory[number] = found
                if slot.kind == 'constant':
                    self.constant[number] = found
        memory.update(self.constant)
        return memory


class Readout:
    """Finds what a network returns in its slots."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        leaves, self.structure = pytree.tree_flatten(plan.outputs)
        self.leaves = leaves
        self.slots = [leaf.slot for leaf in leaves if isinstance(leaf, Output)]

    def totals(self, memory: dict[int, Tensor], steps: int) -> list[Tensor]:
        """The sums over the steps of all outputs, in new memory."""
        return [slots.total(self.plan.slots[slot], memory[slot], steps) for slot in self.slots]

    def series(self, memory: dict[int, Tensor], steps: int) -> list[Tensor]:
        """The outputs of all steps [T, B, ...], in new memory."""
        return [slots.series(self.plan.slots[slot], memory[slot], steps).clone() for slot in self.slots]

    def answer(self, means: Sequence[Tensor]) -> Any:
        """What the network returns for these means over time."""
        out = self.plain(means)
        return out if self.plan.tail is None else self.plan.tail(out)

    def plain(self, parts: Sequence[Tensor]) -> Any:
        """Tensors in the place of the outputs."""
        if self.leaves == [Output(self.slots[0])] and self.structure.num_nodes == 1:
            return parts[0]
        found = iter(parts)
        leaves = [next(found) if isinstance(leaf, Output) else leaf for leaf in self.leaves]
        return pytree.tree_unflatten(leaves, self.structure)


class Running:
    """The answers of a network so far, step by step."""

    def __init__(self, readout: Readout) -> None:
        self.readout = readout
        self.sums: list[Tensor] | None = None
        self.done = 0
        self.reached: list[Tensor] = []

    def add(self, parts: Sequence[Tensor]) -> None:
        """See the outputs of the next step [B, ...]."""
        self.sums = [*parts] if self.sums is None else [a + b for a, b in zip(self.sums, parts, strict=True)]
        self.done += 1

    @property
    def mean(self) -> Any:
        """The answer so far: the mean of all steps."""
        assert self.sums is not None
        return self.readout.answer([part / self.done for part in self.sums])

    def step(self) -> Any:
        """What the last step added to the answer, `done` times the mean."""
        leaves, structure = pytree.tree_flatten(self.mean)
        before, self.reached = self.reached, [leaf * self.done for leaf in leaves]
        parts = self.reached if not before else [a - b for a, b in zip(self.reached, before, strict=True)]
        return pytree.tree_unflatten([*parts], structure)
