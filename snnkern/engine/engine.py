"""The engine: a planned network with memory, choices and an order, ready to be called."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from snnkern._checks import whole
from snnkern.convert.evaluate import Early
from snnkern.engine import inputs, precision, report, schedule
from snnkern.engine.choice import Choices
from snnkern.engine.memory import Memory, slot_bytes, state_bytes
from snnkern.engine.plan import Plan
from snnkern.engine.runner import DENSE, Runner, Stretch
from snnkern.engine.session import Readout, Running, Session
from snnkern.engine.stream import Stream

LIMIT = 256 * 2**20
MOST = 8  # images of an example that are looked at
OFTEN = 64  # calls between two looks at what came
WEIGHTS = {'float32': torch.float32, 'bfloat16': torch.bfloat16, 'int8': torch.int8}


class Engine:
    """A network that computes where spikes are; `snnkern.engine.compile` makes it.

    plan: what runs. T: steps of a call. weights: "float32", "bfloat16" or "int8", of event-driven layers. choices:
    which layers those are. memory_limit: bytes that slots and states of a call may take (256 MiB); batches are cut so
    that they fit, but one image always runs. Memory of earlier calls with other numbers of images is kept while all of
    it fits, too. chunk: steps that are computed together; None: as many as move least memory. errors: of the currents
    of each layer on the example, relative to their root mean square, by rounded weights.

    It is inference alone, without gradients, on a CPU; calls of several threads wait for each other. Example:
    `engine(x).argmax(1)`.
    """

    def __init__(self, plan: Plan, T: int, weights: str, threads: int | None, choice: str) -> None:
        self.plan, self.T, self.weights = plan, T, weights
        plan.stem.to(memory_format=torch.channels_last)  # as slots lie, so that nothing is copied
        self.runner = Runner(plan, WEIGHTS[weights], threads)
        self.choices = Choices(self.runner, choice)
        self.readout = Readout(plan)
        self.example: tuple[Tensor, ...] | None = None
        self.errors: dict[str, float] = {}
        self._limit = LIMIT
        self._chunk: int | None = None
        self._alone = threading.Lock()
        self.calls = 0
        self._sessions: dict[int, Session] = {}
        self._ready: dict[Any, tuple[schedule.Schedule, list[Stretch]]] = {}

    @property
    def memory_limit(self) -> int:
        """See the class."""
        return self._limit

    @memory_limit.setter
    def memory_limit(self, value: int) -> None:
        whole('memory_limit', value)
        self._limit = value

    @property
    def chunk(self) -> int | None:
        """See the class."""
        return self._chunk

    @chunk.setter
    def chunk(self, value: int | None) -> None:
        if value is not None:
            whole('chunk', value)
        self._chunk = value

    @torch.no_grad()
    def __call__(self, x: Any, T: int | None = None) -> Any:
        """The mean output of T steps [B, ...], in the structure that the model returns.

        x: inputs as the model takes them, float32: [B, ...], of a network that was planned with time [T, B, ...]; a
        tuple if there are several. T: None, or the T of `compile`: another one is an error. Raises TypeError for
        another dtype, ValueError for another T or shape, no images, and values that are not finite.
        """
        with self._alone:
            groups = [self._means(*group) for group in self._groups(*self._checked(x, T))]
        return self.readout.answer(groups[0] if len(groups) == 1 else _joined(groups, 0))

    predict = __call__  # as converted networks have it

    @torch.no_grad()
    def sequence(self, x: Any, T: int | None = None) -> Any:
        """The outputs of all steps [T, B, ...], whose mean a call returns. x, T, errors: as for a call."""
        groups = []
        with self._alone:
            for group in self._groups(*self._checked(x, T)):
                groups.append(_joined([self.readout.series(memory, steps) for memory, steps in self._run(*group)], 0))
        series = _joined(groups, 1)
        if self.plan.tail is None:
            return self.readout.plain(series)
        running = Running(self.readout)
        steps = []
        for parts in zip(*series, strict=True):
            running.add(parts)
            steps.append(running.step())
        return pytree.tree_map(lambda *parts: torch.stack(parts), *steps)

    @torch.no_grad()
    def steps(self, x: Any, T: int | None = None, chunk: int = 1) -> Iterator[tuple[int, Any]]:
        """The answer after each step: (1, out), (2, out), ..., (T, out), each the mean so far, [B, ...].

        chunk: how many steps are computed together; 1 computes no step before it is asked for. The steps have states of
        their own, so that other calls may come in between, and memory for all images at once, whatever `memory_limit`
        says. x, T, errors: as for a call, at the first step. ValueError for chunk < 1, and for chunk < T if a part that
        runs in torch may need all steps at once.
        """
        whole('chunk', chunk)
        if chunk < self.T:
            self._causal()
        given, count = self._checked(x, T)
        running = Running(self.readout)
        session = Session(self.runner.twin(), count)
        for memory, steps in session.all(given, self.T, chunk, self.choices.stretches(count, chunk)):
            for parts in zip(*self.readout.series(memory, steps), strict=True):
                running.add(parts)
                yield running.done, running.mean

    def predict_confident(self, x: Any, confidence: float, T: int | None = None) -> tuple[Tensor, Tensor]:
        """Logits [B, K] and steps [B] of each input, from the first step at which it is sure enough; at most T.

        confidence: the largest class probability (softmax of the mean logits) that is asked for, in (0, 1]. Steps are
        computed one by one until all inputs of the batch are sure. Raises ValueError for outputs other than [B, K].
        Source: Li et al., SEENN, NeurIPS 2023. Example: `logits, steps = engine.predict_confident(x, 0.95)`.
        """
        found = []
        for given, _ in self._groups(*self._checked(x, T)):
            early = Early(confidence)
            for t, out in self.steps(given):
                early.add(t, out)
                if early.done:
                    break
            found.append((early.out, early.steps))
        logits, steps = _joined(found, 0)
        return logits, steps

    def stream(self) -> Stream:
        """The network for input that comes step by step, with a state of its own.

        Raises ValueError if a part that runs in torch may need all steps at once.
        Example: `stream = engine.stream()`, then `out = stream.step(frame)` for each frame [B, ...].
        """
        self._causal()
        return Stream(self)

    def memory(self, batch: int) -> Memory:
        """Bytes that a call with so many inputs holds. Raises ValueError for batch < 1."""
        whole('batch', batch)
        order = self.order(batch)
        slots = slot_bytes(self.plan, order.images, order.chunk, order.places)
        states, weights = state_bytes(self.plan, order.places), precision.weight_bytes(self.runner)
        return Memory(slots, states, weights, order.images, order.places)

    def report(self, x: Any = None) -> 'report.Report':
        """What each layer does and how dense its spikes are; print it for a table.

        x: inputs to run for it, with the time of each layer; None: those of `compile`, the first eight.
        """
        return report.report(self, self.example if x is None else x)

    def explain(self) -> str:
        """What runs by events, what does not and why, and in what order."""
        return report.explain(self)

    def save(self, path: str | Path) -> None:
        """Write the engine into one safetensors file, which holds no code.

        Raises ValueError for a network with parts, dense or before the first neuron, that are no known layers of torch.
        Example: `engine.save('net.engine.safetensors')`.
        """
        from snnkern.engine import save

        save.save(self, Path(path))

    @torch.no_grad()
    def learn(self, example: Any) -> None:
        """Measure what each layer costs, by events and dense, on some inputs, and choose.

        example: as for a call, whose errors it raises; the first eight images are looked at.
        """
        given, count = self._checked(example, None)
        count = min(count, MOST)
        chunk = self.T if self.runner.ahead else None
        order = schedule.choose(self.plan, 0, self.T, count, 1, self.memory_limit, chunk)
        self.example = tuple(inputs.images(self.plan, given, 0, order.images))
        dense = self.runner.stretches([DENSE] * len(self.runner.steps))
        session = Session(self.runner, order.images)
        for memory, steps in session.all(self.example, self.T, order.chunk, dense):
            self.choices.learn(memory, steps)
            self.errors = precision.errors(self.runner, memory, steps)
            break  # of long calls the first chunk says enough
        self._ready.clear()

    def order(self, images: int) -> schedule.Schedule:
        """How many steps and images run together, of a call with so many images."""
        return self._prepared(images)[0]

    def _prepared(self, images: int) -> tuple[schedule.Schedule, list[Stretch]]:
        key = images, self.chunk, self.memory_limit
        if key not in self._ready:
            threads = self.runner.native_threads
            weights = precision.weight_bytes(self.runner)
            chunk = self.T if self.runner.ahead else self.chunk
            stretches = self.choices.stretches(images, self.T)
            alone = len(stretches) == 1 and stretches[0].compiled
            order = schedule.choose(self.plan, weights, self.T, images, threads, self.memory_limit, chunk, alone)
            if order.places == order.images:  # else memory is such that only these may run
                stretches = self.choices.stretches(order.images, order.chunk)
            self._ready[key] = order, stretches
        return self._ready[key]

    def _checked(self, x: Any, T: int | None) -> tuple[tuple[Tensor, ...], int]:
        if T is not None and T != self.T:
            raise ValueError(f'T must be {self.T}, for which the engine was compiled, got {T}')
        return inputs.checked(self.plan, x, self.T)

    def _causal(self) -> None:
        if self.runner.ahead:
            raise ValueError(f'steps cannot run one by one: {self.runner.ahead[0]} may need all {self.T} at once')

    def _groups(self, given: tuple[Tensor, ...], count: int) -> Iterator[tuple[Sequence[Tensor], int]]:
        """The inputs in groups that fit the memory, and how many images each is."""
        size = self.order(count).images
        for start in range(0, count, size):
            stop = min(start + size, count)
            yield (given if size == count else inputs.images(self.plan, given, start, stop)), stop - start

    def _run(self, given: Sequence[Tensor], count: int) -> Iterator[tuple[dict[int, Tensor], int]]:
        """All steps of a group, chunk by chunk: the memory of the slots, and how many steps it is."""
        order, stretches = self._prepared(count)
        session = self._sessions.get(count)
        if session is None or session.places != order.places:
            self._sessions.pop(count, None)
            session = Session(self.runner, count, order.places)
            session.bytes = self.memory(count).held
            while self._sessions and self._held() + session.bytes > self.memory_limit:
                del self._sessions[next(iter(self._sessions))]
            self._sessions[count] = session
        yield from session.all(given, self.T, order.chunk, stretches, order.together)
        self.calls += 1
        if self.calls % OFTEN == 0 or self.calls.bit_count() == 1:
            if self.choices.see(session.memory[order.chunk], order.chunk):
                self._ready.clear()

    def _held(self) -> int:
        return sum(session.bytes for session in self._sessions.values())

    def _means(self, given: Sequence[Tensor], count: int) -> list[Tensor]:
        totals: list[Tensor] = []
        for memory, steps in self._run(given, count):
            found = self.readout.totals(memory, steps)
            totals = [a.add_(b) for a, b in zip(totals, found, strict=True)] if totals else found
        return [part.div_(self.T) for part in totals]


def _joined(lists: Sequence[Sequence[Tensor]], dim: int) -> list[Tensor]:
    """The first tensors of all lists as one, the second ones, and so on."""
    return [torch.cat(parts, dim) for parts in zip(*lists, strict=True)]
