"""What stands before and behind the steps of a plan, as graphs: both run once a call."""

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from snnkern import _arguments as arguments
from snnkern.backends.events import MOST
from snnkern.engine.plan import Output, Plan

if TYPE_CHECKING:
    from snnkern.engine.walk import Walk

# What inputs are: [B, ...]; or [T, B, ...], the same at every step, counts of events, or anything.
KINDS = ('given', 'constant', 'counts', 'currents')


def kind_of(x: Tensor) -> str:
    """What an example [T, B, ...] is: one of KINDS."""
    if len(x) > 1 and _steady(x):
        return 'constant'
    whole = bool((x == x.round()).all()) and bool((x.abs() <= MOST).all())
    return 'counts' if whole and 2 * int(x.count_nonzero()) <= x.numel() else 'currents'


def check(plan: Plan, inputs: Sequence[Tensor]) -> None:
    """Raise ValueError for inputs that differ from step to step where the plan's example did not."""
    if plan.timed and all(plan.slots[i].kind == 'constant' for i in plan.inputs) and not all(map(_steady, inputs)):
        raise ValueError('x must be the same at every step, as the example was that the network was planned for')


def _steady(x: Tensor) -> bool:
    return len(x) == 1 or arguments.repeated(x) or torch.equal(x[1:], x[:-1])


def stem(walk: 'Walk', kind: str) -> tuple[fx.GraphModule, tuple[int, ...]]:
    """The stem of a walk, and the slots that it fills. kind: of the inputs, one of KINDS."""
    graph, net = walk.stem, walk.net
    inputs = [node for node in graph.nodes if node.op == 'placeholder']
    found = [*walk.given.values()]
    if walk.made.constants:
        with graph.inserting_after(inputs[-1]):
            batch = graph.call_method('size', (inputs[0], 0 if kind == 'given' else 1))
        for slot, value in walk.made.constants.items():
            name = f'constant_{slot}'
            net.register_buffer(name, value.contiguous())
            held = graph.get_attr(name)
            found.append(graph.call_method('expand', (held, batch, *value.shape)))
    if kind == 'constant':
        for node in inputs:  # its other steps are the same
            with graph.inserting_after(node):
                first = graph.call_function(operator.getitem, (node, slice(0, 1)))
            node.replace_all_uses_with(first, lambda user, first=first: user is not first)  # type: ignore[misc]
    graph.output(tuple(found))
    return fx.GraphModule(net, graph), (*walk.given, *walk.made.constants)


def ended(walk: 'Walk') -> tuple[Any, fx.GraphModule | None]:
    """The outputs of a plan, and its tail if it needs one."""
    nodes, form = pytree.tree_flatten(walk.run())
    ends = [walk.ended(node) for node in nodes]
    outputs = tuple(map(Output, walk.means.values()))
    if ends == [*walk.means]:
        return pytree.tree_unflatten(outputs, form), None
    graph, means = walk.tail, [*walk.means]
    graph.output(pytree.tree_unflatten(ends, form))
    with graph.inserting_before(next(iter(graph.nodes))):
        given = graph.placeholder('means')
        for i, node in enumerate(means):
            node.replace_all_uses_with(graph.call_function(operator.getitem, (given, i)))
    for node in means:
        graph.erase_node(node)
    return outputs, fx.GraphModule(walk.net, graph)
