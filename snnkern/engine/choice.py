"""Events or dense, layer by layer: by what each would cost at the density that was seen.

Both are measured once, on an example: a dense layer always takes the same time; one by events takes a time that it
takes in silence, and one more that grows with the share of channels in which anything is.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from snnkern.backends.events import BLOCKS, Layer
from snnkern.engine.density import layer_shares, shares
from snnkern.engine.memory import States
from snnkern.engine.runner import DENSE, Runner, Stretch

CHOICES = ('auto', 'events', 'dense')
WORTH = 0.9  # of the predicted time of what runs so far, or usually: what another way may take at most
ROUNDS, ENOUGH = 7, 0.1  # rounds of a layer's measurement, but no more after so many seconds
SEVERAL, LONG = 4, 0.3  # images that costs are measured on besides one, unless one takes so many seconds


@dataclass(frozen=True)
class Cost:
    """Seconds of a layer for so many images and all steps. dense: in torch. silent, full: by events, by block: with no
    spike at all, and what a share of 1 would take more."""

    images: int
    dense: float
    silent: Mapping[int, float]
    full: Mapping[int, float]

    def events(self, block: int, share: float) -> float:
        """Seconds at this share."""
        return self.silent[block] + self.full[block] * share

    def of(self, choice: int, found: Mapping[int, float]) -> float:
        """Seconds of a choice, a block or DENSE; found: shares by block."""
        return self.dense if choice == DENSE else self.events(choice, found[choice])

    def best(self, found: Mapping[int, float], wanted: str, before: int | None = None) -> int:
        """The block that takes the least time, or DENSE. before: what ran so far."""
        choices = [block for block in self.silent if block in found]
        if wanted == 'auto':
            choices.append(DENSE)
        least = min(choices, key=lambda choice: self.of(choice, found))
        before = max(choices) if before is None else before  # usual are the longest blocks
        if before in choices and self.of(least, found) > WORTH * self.of(before, found):
            return before
        return least


def timed(calls: Mapping[Any, Callable[[], object]]) -> dict[Any, float]:
    """Seconds of each call, the least of some rounds in which all take turns: what disturbs one disturbs all."""
    found = dict.fromkeys(calls, math.inf)
    begin = time.perf_counter()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            found[name] = min(found[name], time.perf_counter() - start)
        if time.perf_counter() - begin > ENOUGH:
            break
    return found


def measure(runner: Runner, memory: Mapping[int, Tensor], steps: int) -> list[Cost | None]:
    """What each step of the program costs; None of one that has no choice. memory: of a run on an example."""
    images = len(next(iter(memory.values())))
    kept = States(runner.plan, images)
    kept.reset()
    states = kept.of
    found: list[Cost | None] = []
    for number, step in enumerate(runner.steps):
        if not isinstance(step, Layer) or not step.synapses or runner.compiled is None:
            found.append(None)
            continue
        used = {slot: memory[slot] for slot in step.sources}
        own = used | {step.target: torch.empty_like(memory[step.target])}
        quiet = own | {s.source: torch.zeros_like(memory[s.source]) for s in step.synapses}
        share = layer_shares(step, {s.source: shares(memory[s.source], steps) for s in step.synapses})

        def call(block: int, memory: Mapping[int, Tensor], number: int = number) -> Callable[[], object]:
            stretch = Stretch((number,), (max(1, block),), block != DENSE)
            return lambda: runner.run(stretch, memory, states, steps)

        calls = {(block, False): call(block, own) for block in (DENSE, *share)}
        seconds = timed(calls | {(block, True): call(block, quiet) for block in share})
        dense = seconds[DENSE, False]
        silent = {block: seconds[block, True] for block in share}
        full = {b: max(0.0, seconds[b, False] - silent[b]) / share[b] if share[b] else 0.0 for b in share}
        found.append(Cost(images, dense, silent, full))
    return found


def choose(
    runner: Runner,
    costs: Sequence[Cost | None],
    found: Mapping[int, Mapping[int, float]],
    wanted: str,
    before: Sequence[int] | None = None,
) -> list[int]:
    """For each step of the program how many steps an event stands for, or DENSE.

    found: shares by slot and block. wanted: one of CHOICES. before: what was chosen last.
    """
    chosen = []
    for number, (step, cost) in enumerate(zip(runner.steps, costs, strict=True)):
        if not isinstance(step, Layer) or not step.synapses:
            chosen.append(1)
        elif cost is None or wanted == 'dense':
            chosen.append(DENSE)
        else:
            last = None if before is None else before[number]
            chosen.append(cost.best(layer_shares(step, found), wanted, last))
    return chosen


class Choices:
    """How the layers of a plan run, for each number of images, and what is known for it.

    wanted: one of CHOICES. costs: by number of images, measured. shares: by slot and block, as last seen. changes: what
    was chosen anew since, in words.
    """

    def __init__(self, runner: Runner, wanted: str) -> None:
        self.runner, self.wanted = runner, wanted
        self.costs: dict[int, list[Cost | None]] = {}
        self.shares: dict[int, dict[int, float]] = {}
        self.blocks: dict[int, list[int]] = {}
        self.changes: list[str] = []

    def learn(self, memory: Mapping[int, Tensor], steps: int) -> None:
        """Measure on what an example left in the slots: on one of its images, and on some."""
        costs: dict[int, list[Cost | None]] = {}
        for count in sorted({1, min(SEVERAL, len(next(iter(memory.values()))))}):
            if sum(cost.dense for each in costs.values() for cost in each if cost) < LONG:
                few = {number: part[:count] for number, part in memory.items()}
                costs[count] = measure(self.runner, few, steps)
        self.use(costs, self.look(memory, steps))

    def use(self, costs: dict[int, list[Cost | None]], found: dict[int, dict[int, float]]) -> None:
        """Choose by costs and shares that are known. Raises LookupError or ValueError if they are of another plan."""
        if self.runner.compiled is None:  # what was measured where there were compiled kernels
            costs = {count: [None] * len(each) for count, each in costs.items()}
        self.blocks = {n: choose(self.runner, each, found, self.wanted) for n, each in costs.items()}
        self.costs, self.shares, self.changes = costs, found, []

    def look(self, memory: Mapping[int, Tensor], steps: int) -> dict[int, dict[int, float]]:
        """The shares of all slots that synapses read."""
        layers = [step for step in self.runner.steps if isinstance(step, Layer)]
        return {s.source: shares(memory[s.source], steps) for layer in layers for s in layer.synapses}

    def see(self, memory: Mapping[int, Tensor], steps: int) -> bool:
        """Look at what some images of a call left in the slots; whether another choice is better by now."""
        found = self.look({number: part[:SEVERAL] for number, part in memory.items()}, steps)
        if any(len(found[slot]) < len(self.shares[slot]) for slot in found):
            return False  # a chunk of fewer steps than were measured says nothing of their blocks
        changed = False
        for count, costs in self.costs.items():
            before = self.blocks[count]
            now = choose(self.runner, costs, found, self.wanted, before)
            if now != before:
                changed = True
                self.blocks[count] = now
                self.changes += [
                    f'{step.name}: {_said(was)} became {_said(new)} ({count} images)'
                    for step, was, new in zip(self.runner.steps, before, now, strict=True)
                    if was != new
                ]
        self.shares = found
        return changed

    def nearest(self, images: int) -> int:
        """The number of images that was measured, of those the most like this one."""
        return min(self.costs, key=lambda count: abs(math.log(count / images)))

    def stretches(self, images: int, steps: int) -> list[Stretch]:
        """How so many images run; no event stands for more steps than there are."""
        blocks = self.blocks[self.nearest(images)]
        most = next((block for block in BLOCKS if block >= steps), BLOCKS[-1])
        return self.runner.stretches([min(block, most) for block in blocks])


def _said(choice: int) -> str:
    return 'dense' if choice == DENSE else f'events of {choice} steps'
