"""A folded run done: layers without state on all steps at once, neurons by their kernels, the rest as it was."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from snnkern.adapters._fused import Fused
from snnkern.adapters._unroll.fold import SELECTS, Plan, Work, rebuilt, stacked
from snnkern.adapters._unroll.record import Call, Held, Ref
from snnkern.adapters._unroll.state import has_hooks
from snnkern.functional import max_pool2d

# Layers whose rows do not see each other: [T * B, ...] is as good to them as [T, B, ...] of so many dimensions.
ROWS: dict[Any, Any] = {
    **dict.fromkeys((nn.Linear, nn.Flatten, nn.BatchNorm1d), range(3, 9)),
    **dict.fromkeys((nn.Conv1d, nn.MaxPool1d, nn.AvgPool1d), (4,)),
    **dict.fromkeys((nn.Conv2d, nn.ConvTranspose2d, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d), (5,)),
    **{nn.BatchNorm2d: (5,), nn.Conv3d: (6,), nn.BatchNorm3d: (6,)},
}


class Runner:
    """One run of a plan."""

    def __init__(self, plan: Plan, net: nn.Module, inputs: list[Any]) -> None:
        self.plan = plan
        self.net = net
        self.inputs = inputs
        self.held = {place: place.of(net) for place in plan.held}
        self.values: dict[Work, list[Any]] = {}
        self.pieces: dict[tuple[Work, int], tuple[Tensor, ...]] = {}

    def run(self) -> Any:
        """What forward returns."""
        do = {'single': self.single, 'batch': self.batch, 'slices': self.slices, 'neuron': self.neuron}
        for number, work in enumerate(self.plan.works):
            with nullcontext() if work.calls[0].grad else torch.no_grad():
                self.values[work] = do[work.kind](work)
            for done in self.plan.last.get(number, ()):
                del self.values[done]
                for leaf in done.used:
                    self.pieces.pop((done, leaf), None)
        return tree_map(self.value, self.plan.outputs)

    def value(self, place: Any) -> Any:
        """The tensor that a Ref or Held stands for; of work of several steps, that of its step."""
        if isinstance(place, Held):
            return self.held[place]
        if not isinstance(place, Ref):
            return place
        if place.call < 0:
            return self.inputs[place.leaf]
        work, t = self.plan.home[place.call]
        if work.kind == 'single':
            return self.values[work][place.leaf]
        key = work, place.leaf
        if key not in self.pieces:
            self.pieces[key] = self.values[work][place.leaf].unbind(0)
        return self.pieces[key][t]

    def called(self, call: Call) -> Callable[..., Any]:
        return self.net.get_submodule(call.target) if isinstance(call.target, str) else call.target

    def single(self, work: Work) -> list[Any]:
        call = work.calls[0]
        if found := stacked(call, self.plan.home):
            source, leaf, dim = found
            return [self.values[source][leaf].movedim(0, dim)]
        args, kwargs = rebuilt(call, self.value)
        if call.written is None:
            return tree_leaves(self.called(call)(*args, **kwargs))
        leaves, spec = tree_flatten((args, kwargs))
        leaves[call.written] = leaves[call.written].clone()
        args, kwargs = tree_unflatten(leaves, spec)
        self.called(call)(*args, **kwargs)
        return [leaves[call.written]]

    def slices(self, work: Work) -> list[Any]:
        call, count = work.calls[0], len(work.calls)
        source = self.value(call.args[0])
        if call.target in SELECTS:
            return [source.narrow(call.args[1], 0, count).movedim(call.args[1], 0)]
        index = call.args[1] if isinstance(call.args[1], tuple) else (call.args[1],)
        place = next(i for i, entry in enumerate(index) if type(entry) is int)
        return [source[(*index[:place], slice(0, count), *map(self.value, index[place + 1 :]))].movedim(place, 0)]

    def batch(self, work: Work) -> list[Any]:
        """A call without state on all steps: its own way of doing so, torch.vmap, or one step after the other."""
        call = work.calls[0]
        leaves, spec = tree_flatten((call.args, call.kwargs))
        steps = [i for i, leaf in enumerate(leaves) if self.of_steps(leaf)]
        values = [self.values[self.plan.home[leaves[i].call][0]][leaves[i].leaf] for i in steps]
        rest = [leaf if i in steps else self.value(leaf) for i, leaf in enumerate(leaves)]
        function = self.called(call)

        def once(*given: Tensor) -> Any:
            now = list(rest)
            for i, tensor in zip(steps, given, strict=True):
                now[i] = tensor
            args, kwargs = tree_unflatten(now, spec)
            return function(*args, **kwargs)

        if call.target is F.max_pool2d and len(steps) == 1 and poolable(values[0], call.kwargs):
            options = {name: value for name, value in call.kwargs.items() if name != 'return_indices'}
            return [max_pool2d(values[0], *call.args[1:], **options)]
        if not call.looped and len(leaves) == 1 and by_rows(function, values[0]):
            found = tree_leaves(once(values[0].flatten(0, 1)))
            return [leaf.unflatten(0, values[0].shape[:2]) for leaf in found]
        if not call.looped:
            try:
                return tree_leaves(torch.vmap(once)(*values))
            except (RuntimeError, NotImplementedError, ValueError):
                call.looped = True  # no rule for it
        found = [tree_leaves(once(*now)) for now in zip(*values, strict=True)]
        return [torch.stack(leaf) if isinstance(leaf[0], Tensor) else leaf[0] for leaf in zip(*found, strict=True)]

    def of_steps(self, leaf: Any) -> bool:
        return isinstance(leaf, Ref) and leaf.call >= 0 and self.plan.home[leaf.call][0].kind != 'single'

    def neuron(self, work: Work) -> list[Any]:
        """All steps of a neuron, at once where it can (`many`)."""
        module: Any = self.net.get_submodule(work.calls[0].target)
        for key, place in work.calls[0].before:
            put(module, key, self.value(place))
        x = self.charges(work)
        args, kwargs = work.calls[0].args[1:], work.calls[0].kwargs
        given = tree_map(self.value, (args, kwargs))
        if isinstance(module, Fused) and hasattr(module, 'many') and not has_hooks(module) and self.usual(work):
            found = module.many(x, *given[0], **given[1], trace=bool(work.used - {0}))
            if found is not NotImplemented:
                return tree_leaves(found)
        outputs: list[list[Any]] = []
        for t, now in enumerate(x.unbind(0)):
            if t:
                tree = work.calls[t].args[1:], work.calls[t].kwargs
                given = tree_map(lambda v: outputs[-1][v.leaf] if self.own(v, work) else self.value(v), tree)
            outputs.append(tree_leaves(module(now, *given[0], **given[1])))
        return [torch.stack(leaf) if isinstance(leaf[0], Tensor) else leaf[0] for leaf in zip(*outputs, strict=True)]

    def own(self, place: Any, work: Work) -> bool:
        return isinstance(place, Ref) and place.call >= 0 and self.plan.home[place.call][0] is work

    def usual(self, work: Work) -> bool:
        """Whether each call after the first was given no tensor, or its own results in their order."""
        for call in work.calls[1:]:
            leaves = tree_leaves((call.args, call.kwargs))[1:]
            own = [self.own(leaf, work) and leaf.leaf == i for i, leaf in enumerate(leaves, 1)]
            if not all(own) and any(isinstance(leaf, Ref | Held) for leaf in leaves):
                return False
        return True

    def charges(self, work: Work) -> Tensor:
        """The inputs of all steps [T, ...]."""
        inputs: list[Any] = [call.args[0] for call in work.calls]
        if all(x == inputs[0] for x in inputs):
            x = self.value(inputs[0])
            return x.expand(len(inputs), *x.shape)
        if all(self.of_steps(x) for x in inputs):
            source = self.plan.home[inputs[0].call][0]
            if [self.plan.home[x.call] for x in inputs] == [(source, t) for t in range(len(source.calls))]:
                if len({x.leaf for x in inputs}) == 1:
                    return self.values[source][inputs[0].leaf]
        return torch.stack([self.value(x) for x in inputs])


def put(module: nn.Module, key: Any, value: Any) -> None:
    """Set what `state_of` calls by this key; a type stands for a new one of it."""
    holder, name = (vars(module)[key[0]], key[1]) if isinstance(key, tuple) else (vars(module), key)
    holder[name] = value() if isinstance(value, type) else value


def poolable(x: Tensor, options: dict[str, Any]) -> bool:
    """Whether our own max-pool, which keeps no indices, takes x [T, B, ...]."""
    return x.dim() == 5 and x.is_floating_point() and not options.get('return_indices')


def by_rows(function: Any, x: Tensor) -> bool:
    """Whether a module may take the steps of x [T, B, ...] as rows of its batch."""
    kind = function.original() if isinstance(function, Fused) else type(function)
    if x.dim() not in ROWS.get(kind, ()):
        return False
    own = getattr(function, 'running_mean', x) is None or (hasattr(function, 'running_mean') and function.training)
    return not own and getattr(function, 'start_dim', 1) > 0  # a norm with statistics of a step, a Flatten of all
