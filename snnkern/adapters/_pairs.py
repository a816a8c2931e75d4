"""Which BatchNorm feeds a neuron and nothing else, as far as tracing tells."""

import copy
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves


class Tracer(fx.Tracer):
    """Looks into a model as far as its modules are the user's own; those of `whole` are not looked into."""

    def __init__(self, whole: tuple[type, ...]) -> None:
        super().__init__()
        self.whole = whole

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not list(m.children()) or isinstance(m, self.whole)


def adjacent(
    model: nn.Module, norms: tuple[type, ...], neurons: tuple[type, ...], containers: tuple[type, ...] = ()
) -> list[tuple[nn.Module, nn.Module]]:
    """BatchNorms (exactly of the classes `norms`), each with the neuron that seems to be all that reads its output.

    containers: nn.Sequentials that run their modules on [T * B, ...] of an input [T, B, ...].
    """
    found = []
    for first, second in _traced(model, neurons, containers):
        while type(first) in containers and len(first):  # type: ignore[arg-type]
            first = first[-1]  # type: ignore[index]
        if type(first) in norms and isinstance(second, neurons):
            found.append((first, second))
    return found


def _traced(
    model: nn.Module, neurons: tuple[type, ...], containers: tuple[type, ...]
) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Two modules in a row, as forward calls them; where it cannot be traced, as its parts call them.

    A copy, but for what learns, is traced, since forward may keep what it saw. An nn.Sequential counts as called as a
    whole.
    """
    leaves = [t for module in model.modules() for t in tree_leaves(vars(module)) if isinstance(t, Tensor)]
    shared = {id(t): t for t in leaves if t.requires_grad}
    try:
        with torch.random.fork_rng(devices=[]):
            graph = Tracer((*neurons, *containers)).trace(copy.deepcopy(model, shared))
    except Exception:  # whatever the user's forward does with something that is no tensor
        children = list(model.children())
        if type(model) is nn.Sequential:
            yield from pairwise(children)
        for child in children:
            if list(child.children()) and not isinstance(child, (*neurons, *containers)):
                yield from _traced(child, neurons, containers)
        return
    calls = Counter(node.target for node in graph.nodes if node.op == 'call_module')
    for node in graph.nodes:
        if node.op != 'call_module' or len(node.users) != 1 or calls[node.target] != 1:
            continue
        reader = next(iter(node.users))
        if reader.op == 'call_module' and calls[reader.target] == 1:
            yield model.get_submodule(node.target), model.get_submodule(reader.target)
