"""Runs a plan: stretches of event-driven steps in one native call each, everything else in torch."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from snnkern.backends.events import Pool
from snnkern.backends.native import events
from snnkern.backends.reference.events import Program
from snnkern.convert.layers import Timed
from snnkern.engine import slots
from snnkern.engine.dense import Folded
from snnkern.engine.memory import event_steps
from snnkern.engine.plan import Dense, Plan
from snnkern.nn.state import Stateful

DENSE = 0  # in the place of a block: the layer runs in torch


def native() -> tuple[Any, str]:
    """The class of compiled programs, or None and why there is none."""
    reason = events.refusal()
    return (None, reason) if reason else (events.Program, '')


@dataclass(frozen=True)
class Stretch:
    """What runs in one go. numbers: of steps of the program; blocks: of each of them; compiled: by native code, or in
    torch. dense: the part of the network that runs instead."""

    numbers: tuple[int, ...] = ()
    blocks: tuple[int, ...] = ()
    compiled: bool = False
    dense: Dense | None = None

    def single(self) -> list['Stretch']:
        """Its steps one by one."""
        if self.dense is not None:
            return [self]
        return [Stretch((n,), (block,), self.compiled) for n, block in zip(self.numbers, self.blocks, strict=True)]


class Runner:
    """The programs of a plan.

    weights: of event-driven layers. threads: of native code; None: as many as torch uses. steps: the program, the
    layers and pools of the plan.
    """

    def __init__(self, plan: Plan, weights: torch.dtype = torch.float32, threads: int | None = None) -> None:
        self.plan, self.weights, self.threads = plan, weights, threads
        self.steps = event_steps(plan)
        kind, self.refusal = native()
        self.compiled = None if kind is None else kind(plan.slots, self.steps, weights)

    @cached_property
    def torch(self) -> Program:
        """All layers and pools in torch."""
        return Program(self.plan.slots, self.steps)

    def stretches(self, blocks: Sequence[int]) -> list[Stretch]:
        """The steps of the plan, neighbours together that one native call can run.

        blocks: of each step of the program, how many steps of time an event stands for, or DENSE; pools never are.
        """
        found: list[Stretch] = []
        number = 0
        for step in self.plan.steps:
            if isinstance(step, Dense):
                found.append(Stretch(dense=step))
                continue
            compiled = self.compiled is not None and (isinstance(step, Pool) or blocks[number] != DENSE)
            one = Stretch((number,), (max(1, blocks[number]),), compiled)
            if found and found[-1].compiled and compiled:
                one = Stretch(found[-1].numbers + one.numbers, found.pop().blocks + one.blocks, True)
            found.append(one)
            number += 1
        return found

    def run(
        self,
        stretch: Stretch,
        memory: Mapping[int, Tensor],
        states: Mapping[int, Tensor],
        steps: int,
        start: int = 0,
        together: int = 1,
        images: int | None = None,
    ) -> None:
        """Run some steps. memory: of slots; states: by number of the step; start: how many steps were before.

        images: None: of all memory; see the native program.
        """
        if stretch.dense is not None:
            run_dense(stretch.dense, self.plan, memory, steps, start)
            return
        program: Any = self.compiled if stretch.compiled else self.torch
        threads, blocks = self.native_threads, stretch.blocks
        program.run(stretch.numbers, memory, states, steps, blocks, threads, together, images, start == 0)

    @property
    def native_threads(self) -> int:
        """Threads of native code."""
        return self.threads or torch.get_num_threads()

    def twin(self) -> 'Runner':
        """The same programs, with states of its own in what runs in torch."""
        if not self.stateful:
            return self
        twin = copy.copy(self)
        steps = [copy.deepcopy(step) if isinstance(step, Dense) else step for step in self.plan.steps]
        twin.plan = replace(self.plan, steps=steps)
        del twin.__dict__['stateful']
        twin.reset()
        return twin

    def reset(self) -> None:
        """Forget the states of what runs in torch."""
        for module in self.stateful:
            module.reset()

    @cached_property
    def ahead(self) -> list[str]:
        """Names of the dense steps that may need all steps of a call at once, so that no chunk of them can run."""
        return [step.name for step in self.plan.steps if isinstance(step, Dense) and looks_ahead(step)]

    @cached_property
    def stateful(self) -> list[Any]:
        """The modules of dense steps that carry state."""
        return [m for step in self.plan.steps if isinstance(step, Dense) for m in stateful(step.call)]


def looks_ahead(step: Dense) -> bool:
    """Whether a part may need all steps of a call at once: it sees time, and carries nothing from call to call."""
    own = [module for module in stateful(step.call) if module is not step.call]
    if any(isinstance(module, Timed) and not module.causal for module in own):
        return True
    return isinstance(step.call, Folded) and any(step.call.apart) and not own


def stateful(call: nn.Module) -> list[Any]:
    """The modules that carry state from call to call."""
    return [module for module in call.modules() if isinstance(module, Timed | Stateful)]


def run_dense(step: Dense, plan: Plan, memory: Mapping[int, Tensor], steps: int, start: int) -> None:
    """Run a part of the network in torch."""
    for module in stateful(step.call):
        if isinstance(module, Timed):
            module.clock.steps, module.clock.start = steps, start
    sources = []
    for slot in step.sources:
        found = slots.series(plan.slots[slot], memory[slot], steps)
        sources.append(found.flatten(0, 1))
    slots.store(plan.slots[step.target], memory[step.target], step.call(*sources), steps)
