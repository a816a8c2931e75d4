"""What an engine does, layer by layer: how dense spikes are, how each layer runs, and how long it takes."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from snnkern.backends.events import Layer, Pool
from snnkern.convert.results import render
from snnkern.engine import density, inputs
from snnkern.engine.plan import Dense, Step
from snnkern.engine.runner import DENSE, Stretch
from snnkern.engine.schedule import Schedule
from snnkern.engine.session import Session

if TYPE_CHECKING:
    from rich.table import Table

    from snnkern.engine.engine import Engine

MANY = 2**20  # images, more than any limit lets through at once


@dataclass(frozen=True)
class Part:
    """One step of the plan.

    kind: "stem", "layer", "pool" or "dense". way: "events", "torch" (dense) or "once" (before the first neuron); block:
    steps that an event stands for. density: share of its additions that spikes cause. events: channels of its inputs in
    a step that are not silent; spikes, synops: spikes and additions, a burst of k counts k; macs: of dense steps. All
    are of one image and all steps. milliseconds: of all images; predicted: by what was measured in `compile`, at the
    density that was seen last. error: of its currents by rounded weights, relative. why: it is not run by events.
    """

    name: str
    kind: str
    way: str
    milliseconds: float
    block: int | None = None
    density: float | None = None
    events: float = 0.0
    spikes: float = 0.0
    synops: float = 0.0
    macs: float = 0.0
    error: float | None = None
    predicted: float | None = None
    why: str = ''


@dataclass(frozen=True)
class Report:
    """What `Engine.report` returns; print it for a table.

    T, images: of the run that was measured. weights, threads: of event-driven layers. chunk, together: steps that are
    computed at a time, and images that a thread takes through a layer before the next. parts: all steps. changes: what
    was chosen anew since `compile`, because other inputs came.
    """

    T: int
    images: int
    weights: str
    threads: int
    chunk: int
    together: int
    parts: tuple[Part, ...]
    changes: tuple[str, ...]

    @property
    def milliseconds(self) -> float:
        """Of all steps, one after another."""
        return sum(part.milliseconds for part in self.parts)

    @property
    def synops(self) -> float:
        """Additions that the spikes of one image cause."""
        return sum(part.synops for part in self.parts)

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        found = {**asdict(self), 'milliseconds': self.milliseconds, 'synops': self.synops}
        return {**found, 'parts': [asdict(part) for part in self.parts]}

    def to_json(self) -> str:
        """All of it as JSON text."""
        return json.dumps(self.as_dict(), indent=2)

    def __rich__(self) -> 'Table':
        from rich.table import Table

        head = f'T = {self.T}, {self.images} images, {self.threads} threads, {self.weights} weights'
        table = Table(title=head, caption='\n'.join(self._remarks()), caption_justify='left')
        table.add_column('layer', overflow='fold')
        table.add_column('runs')
        for name in ('density', 'events', 'SynOps', 'MACs', 'ms'):
            table.add_column(name, justify='right')
        for part in self.parts:
            table.add_row(part.name, _way(part), *_numbers(part), f'{part.milliseconds:.3f}')
        return table

    def _remarks(self) -> list[str]:
        synops, macs = (sum(getattr(part, name) for part in self.parts) for name in ('synops', 'macs'))
        lines = [f'{self.milliseconds:.2f} ms; an image: {synops:,.0f} SynOps, {macs:,.0f} MACs if all were dense']
        lines.append(f'{self.chunk} of {self.T} steps at a time, {self.together} images of a thread together')
        lines += [f'{part.name}: {part.why}' for part in self.parts if part.why]
        errors = [part.error for part in self.parts if part.error is not None]
        if errors:
            lines.append(f'currents by {self.weights} weights are off by at most {max(errors):.2g} of their size')
        return [*lines, *(f'chosen anew: {change}' for change in self.changes)]

    def __str__(self) -> str:
        return render(self, 120)


def _way(part: Part) -> str:
    return part.way if part.block is None else f'events, {part.block} step{"s" if part.block > 1 else ""}'


def _numbers(part: Part) -> tuple[str, ...]:
    if part.density is None:
        return ('',) * 4
    return f'{part.density:.1%}', f'{part.events:,.0f}', f'{part.synops:,.0f}', f'{part.macs:,.0f}'


@torch.no_grad()
def report(engine: 'Engine', x: Any) -> Report:
    """What `Engine.report` does."""
    if x is None:
        raise ValueError('x must be given: an engine that was loaded knows no example')
    given, count = inputs.checked(engine.plan, x, engine.T)
    order = engine.order(count)
    given = tuple(inputs.images(engine.plan, given, 0, order.images))
    ways = [one for stretch in engine.choices.stretches(order.images, order.chunk) for one in stretch.single()]
    for _ in range(2):  # the first pass warms up
        seconds, works = _measured(engine, given, order, ways)
    steps = zip(engine.plan.steps, ways, works, seconds[1:], strict=True)
    return Report(
        engine.T,
        order.images,
        engine.weights,
        engine.runner.native_threads,
        order.chunk,
        order.together,
        (Part('stem', 'stem', 'once', 1e3 * seconds[0]), *(_part(engine, order.images, *one) for one in steps)),
        tuple(engine.choices.changes),
    )


def _measured(
    engine: 'Engine', given: Sequence[Tensor], order: Schedule, ways: Sequence[Stretch]
) -> tuple[list[float], list[density.Work]]:
    """Seconds of the stem and of each step, and the work of each step; step by step, in the order of a call."""
    plan, runner = engine.plan, engine.runner.twin()
    session = Session(runner, order.images)
    session.begin()
    seconds = [0.0] * (1 + len(ways))
    works = [density.Work()] * len(ways)
    for start in range(0, engine.T, order.chunk):
        steps = min(order.chunk, engine.T - start)
        begun = time.perf_counter()
        memory = session.feed(inputs.steps(plan, given, start, steps), steps)
        seconds[0] += time.perf_counter() - begun
        for i, way in enumerate(ways):
            begun = time.perf_counter()
            runner.run(way, memory, session.states.of, steps, start, order.together)
            seconds[i + 1] += time.perf_counter() - begun
            step = plan.steps[i]
            if isinstance(step, Layer):
                works[i] += density.work(step, plan.slots, memory, steps)
    return seconds, works


def _part(engine: 'Engine', images: int, step: Step, way: Stretch, work: density.Work, seconds: float) -> Part:
    if isinstance(step, Dense):
        return Part(step.name, 'dense', 'torch', 1e3 * seconds, why=step.why)
    runs = 'events' if way.compiled else 'torch'
    if isinstance(step, Pool):
        return Part(step.name, 'pool', runs, 1e3 * seconds)
    return Part(
        step.name,
        'layer',
        runs,
        1e3 * seconds,
        way.blocks[0] if way.compiled else None,
        work.density,
        work.events,
        work.spikes,
        work.synops,
        work.macs,
        engine.errors.get(step.name),
        _predicted(engine, way, images),
    )


def _predicted(engine: 'Engine', way: Stretch, images: int) -> float | None:
    """Milliseconds of a layer, by its costs."""
    choices, (number,) = engine.choices, way.numbers
    count = choices.nearest(images)
    cost, step = choices.costs[count][number], engine.runner.steps[number]
    if cost is None or not isinstance(step, Layer):
        return None
    found = density.layer_shares(step, choices.shares)
    choice = way.blocks[0] if way.compiled else DENSE
    return 1e3 * cost.of(choice, found) * images / count if choice == DENSE or choice in found else None


def explain(engine: 'Engine') -> str:
    """What `Engine.explain` does."""
    plan, runner = engine.plan, engine.runner
    layers = [step for step in plan.steps if isinstance(step, Layer)]
    pools = [step for step in plan.steps if isinstance(step, Pool)]
    lines = [f'{len(layers)} layers of neurons and {len(pools)} pools for T = {engine.T}']
    if runner.compiled is None:
        lines.append(f'all of them run in torch: {runner.refusal}')
    else:
        lines.append(f'native code on {runner.native_threads} threads, weights {engine.weights}')
    for count, blocks in engine.choices.blocks.items():
        chosen = zip(runner.steps, blocks, strict=True)
        dense = [step.name for step, block in chosen if block == DENSE]
        lines.append(f'dense for about {count} image{"s" if count > 1 else ""}: {", ".join(dense) or "none"}')
    order = engine.order(MANY)
    lines.append(
        f'{order.chunk} of {engine.T} steps at a time, at most {order.images} images in {engine.memory_limit} bytes'
    )
    lines += [f'{step.name} runs in torch: {step.why}' for step in plan.steps if isinstance(step, Dense)]
    return '\n'.join([*lines, *(f'chosen anew: {change}' for change in engine.choices.changes)])
