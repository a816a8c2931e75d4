"""The steps of a recorded run folded: what every step does with its own values becomes one piece of work for all."""

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from snnkern.adapters._unroll.record import Call, Held, Recording, Ref
from snnkern.adapters._unroll.state import SHOWN, UnrollError

SELECTS = {torch.select, Tensor.select}
NEURON, SLICES = object(), object()


@dataclass(eq=False)
class Work:
    """Calls that are done together: one, or the same one of T steps in order.

    kind: "single", "batch" (a call without state on all steps), "slices" (x[0], x[1], ... of one x), "neuron". used:
    the leaves of the results that others need.
    """

    kind: str
    calls: list[Call]
    used: set[int] = field(default_factory=set)


@dataclass
class Plan:
    """works in order; home: call -> its work and step; last: after which work, by number, others' results go;
    held: what of the network is used, as it is before the first work."""

    works: list[Work]
    home: dict[int, tuple[Work, int]]
    outputs: Any
    last: dict[int, list[Work]]
    held: set[Held]


def refs(tree: Any) -> Iterator[Ref]:
    """The tensors of the run in a tree."""
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Ref))


def split(index: Any) -> tuple[int, Any] | None:
    """The first integer of an index and the index without it, unless something else than slices stands before it."""
    entries = index if isinstance(index, tuple) else (index,)
    for place, entry in enumerate(entries):
        if type(entry) is int:
            return entry, (*entries[:place], '?', *entries[place + 1 :])
        if not isinstance(entry, slice):
            return None
    return None


class Folder:
    """Finds the work of a recording."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.alias: dict[int, int] = {}  # a call that repeats another -> that one
        self.groups: dict[Any, dict[int, Call]] = {}
        self.parents: dict[Any, set[Any]] = {}
        self.group: dict[int, tuple[Any, int]] = {}  # call -> key of its group, step
        self.singles: list[Call] = []

    def same(self, tree: Any) -> Any:
        """A tree with each tensor named by the first call that made it."""
        return tree_map(lambda v: Ref(self.alias.get(v.call, v.call), v.leaf) if isinstance(v, Ref) else v, tree)

    def plan(self) -> Plan:
        """All work in an order that it can be done in. Raises ValueError if there is none."""
        for call in self.recording.calls:
            call.args, call.kwargs, call.before = self.same(call.tree)
            self.sort(call)
        works = [*self.complete(), *(Work('single', [call]) for call in self.singles)]
        interleaved(works)
        home = {call.index: (work, t) for work in works for t, call in enumerate(work.calls)}
        outputs = self.same(self.recording.outputs)
        works = ordered(needed(works, home, outputs), home)
        last: dict[int, list[Work]] = {}
        final = {home[ref.call][0] for ref in refs(outputs) if ref.call >= 0}
        readers = {source: i for i, work in enumerate(works) for source in sources(work, home)}
        for source, i in readers.items():
            if source not in final:
                last.setdefault(i, []).append(source)
        trees = outputs, [call.tree for work in works for call in work.calls]
        held = {leaf for leaf in tree_leaves(trees) if isinstance(leaf, Held)}
        return Plan(works, home, outputs, last, held)

    def sort(self, call: Call) -> None:
        """Put a call to those that do the same at other steps, drop it if it does what another did, or keep it."""
        if call.neuron:
            before = self.groups.get((NEURON, call.target), {})
            if before and before[0].grad != call.grad:
                raise UnrollError(f'{call} is called with and without gradients (torch.no_grad)')
            self.put(call, (NEURON, call.target), len(before))
            return
        if call.written is not None:
            self.singles.append(call)
            return
        key, t, parents = self.key(call)
        found = self.groups.get(key, {}).get(t)
        if call.looped and (found is not None or not parents):
            self.singles.append(call)
        elif found is not None:
            self.alias[call.index] = found.index
        else:
            self.put(call, key, t)
            self.parents[key] = parents

    def put(self, call: Call, key: Any, t: int) -> None:
        self.groups.setdefault(key, {})[t] = call
        self.group[call.index] = key, t

    def key(self, call: Call) -> tuple[Any, int, set[Any]]:
        """What a call does, its step, and the groups that it reads; step -1: it is no part of a step."""
        leaves, spec = tree_flatten((call.args, call.kwargs))
        places = {ref: self.group[ref.call] for ref in refs(leaves) if self.timed(ref)}
        times = {t for _, t in places.values()}
        if not times and (sliced := self.slice(call)):
            return sliced
        if len(times) != 1:
            places = {}
        words = [self.word(leaf, places) for leaf in leaves]
        t = times.pop() if len(times) == 1 else -1
        return (call.target, call.grad, str(spec), *words), t, {key for key, _ in places.values()}

    def timed(self, ref: Ref) -> bool:
        return ref.call in self.group and self.group[ref.call][1] >= 0

    @staticmethod
    def word(leaf: Any, places: dict[Ref, tuple[Any, int]]) -> Any:
        """A part of a key."""
        if isinstance(leaf, Ref):
            return ('step', places[leaf][0], leaf.leaf) if leaf in places else leaf
        shown = isinstance(leaf, SHOWN)
        return leaf if isinstance(leaf, Held) else (type(leaf).__name__, repr(leaf) if shown else id(leaf))

    def slice(self, call: Call) -> tuple[Any, int, set[Any]] | None:
        """The same for x[t]."""
        if call.target in SELECTS and len(call.args) == 3 and not call.kwargs:
            source, dim, t = call.args
            return ((SLICES, call.grad, source, 'select', dim), t, set()) if t >= 0 else None
        if call.target is not Tensor.__getitem__ or not isinstance(call.args[0], Ref):
            return None
        found = split(call.args[1])
        return (
            None
            if found is None or found[0] < 0
            else ((SLICES, call.grad, call.args[0], repr(found[1])), found[0], set())
        )

    def complete(self) -> Iterator[Work]:
        """Groups with a call at each step; the calls of others become single."""
        lengths: dict[Any, int] = {}
        for key, calls in self.groups.items():
            count = len(calls)
            kind = {NEURON: 'neuron', SLICES: 'slices'}.get(key[0], 'batch')
            if kind == 'batch':
                whole = bool(self.parents[key]) and {lengths.get(p) for p in self.parents[key]} == {count}
            else:
                whole = calls.keys() == set(range(count))
            if whole:
                lengths[key] = count
                yield Work(kind, [calls[t] for t in range(count)])
            else:
                self.singles += calls.values()


def interleaved(works: list[Work]) -> None:
    """Raise UnrollError where a module with statistics is called at several places of a step, which takes turns."""
    places: dict[Any, list[str]] = {}
    for work in works:
        if work.calls[0].looped:
            places.setdefault(work.calls[0].target, []).append(work.kind)
    for name, kinds in places.items():
        if len(kinds) > 1 and 'batch' in kinds:
            raise UnrollError(f'module {name!r}, which has hooks or changes its buffers, is called twice in a step')


def sources(work: Work, home: dict[int, tuple[Work, int]]) -> set[Work]:
    """Whose results a work needs; a neuron's own states it has."""
    found = {home[ref.call][0] for call in work.calls for ref in refs(call.tree) if ref.call >= 0}
    return found - {work} if work.kind == 'neuron' and handed(work, home) else found


def handed(work: Work, home: dict[int, tuple[Work, int]]) -> bool:
    """Whether a neuron's own results come back to it as its states, one step later, and in no other way."""
    for t, call in enumerate(work.calls):
        if any(home[ref.call][0] is work for ref in refs(call.args[:1]) if ref.call >= 0):
            return False
        for ref in refs((call.args[1:], call.kwargs)):
            if ref.call >= 0 and home[ref.call][0] is work and home[ref.call][1] != t - 1:
                return False
    return True


def needed(works: list[Work], home: dict[int, tuple[Work, int]], outputs: Any) -> list[Work]:
    """The works that the outputs, and the states of neurons, depend on; which of their results are used is noted."""
    todo = [work for work in works if work.kind == 'neuron' or any(call.looped for call in work.calls)]
    found = set(todo)
    wanted = list(refs(outputs))
    while todo or wanted:
        if not wanted:
            work = todo.pop()
            own = work if work.kind == 'neuron' else None
            both = (ref for call in work.calls for ref in refs(call.tree) if ref.call >= 0)
            wanted = [ref for ref in both if home[ref.call][0] is not own]
            continue
        ref = wanted.pop()
        if ref.call >= 0:
            source = home[ref.call][0]
            source.used.add(ref.leaf)
            if source not in found:
                found.add(source)
                todo.append(source)
    return [work for work in works if work in found]


def ordered(works: list[Work], home: dict[int, tuple[Work, int]]) -> list[Work]:
    """Works so that each comes after its sources. Raises ValueError where works wait for each other."""
    waits = {work: sources(work, home) for work in works}
    readers: dict[Work, list[Work]] = {work: [] for work in works}
    for work, needs in waits.items():
        for source in needs:
            readers[source].append(work)
    ready = [(work.calls[0].index, id(work), work) for work in works if not waits[work]]
    heapq.heapify(ready)
    found = []
    while ready:
        work = heapq.heappop(ready)[2]
        found.append(work)
        for reader in readers[work]:
            waits[reader].discard(work)
            if not waits[reader]:
                heapq.heappush(ready, (reader.calls[0].index, id(reader), reader))
    if len(found) < len(works):
        raise UnrollError(feedback([work for work in works if waits[work]], waits))
    return found


def feedback(left: list[Work], waits: dict[Work, set[Work]]) -> str:
    """What to say of works that wait for each other: the neurons that do, and what they wait through."""

    def reaches(start: Work) -> set[Work]:
        seen: set[Work] = set()
        todo = list(waits[start])
        while todo:
            work = todo.pop()
            if work not in seen:
                seen.add(work)
                todo += waits[work]
        return seen

    ring = [work for work in left if work in reaches(work)]
    names = list(dict.fromkeys(str(work.calls[0]) for work in sorted(ring, key=lambda w: w.kind != 'neuron')))
    return (
        f'what {names[0]} does at a step depends on its own result of an earlier one, '
        f'by way of {", ".join(names[1:4]) or "itself"} (recurrent)'
    )


def stacked(call: Call, home: dict[int, tuple[Work, int]]) -> tuple[Work, int, int] | None:
    """The work, leaf and dim of a torch.stack of all steps of one work, if it is that."""
    if call.target is not torch.stack or len(call.args) > 2 or set(call.kwargs) - {'dim'}:
        return None
    dim = call.args[1] if len(call.args) > 1 else call.kwargs.get('dim', 0)
    found = list(call.args[0])
    if not found or not all(isinstance(ref, Ref) and ref.call >= 0 and ref.leaf == found[0].leaf for ref in found):
        return None
    work = home[found[0].call][0]
    steps = [home[ref.call] for ref in found]
    whole = work.kind != 'single' and steps == [(work, t) for t in range(len(work.calls))]
    return (work, found[0].leaf, dim) if whole else None


def rebuilt(call: Call, value: Callable[[Any], Any]) -> tuple[Any, Any]:
    """args and kwargs with values for Refs and Helds."""
    leaves, spec = tree_flatten((call.args, call.kwargs))
    return tree_unflatten([value(leaf) if isinstance(leaf, Ref | Held) else leaf for leaf in leaves], spec)
