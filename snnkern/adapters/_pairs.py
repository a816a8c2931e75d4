"""Which BatchNorm feeds a neuron and nothing else: found in containers, and by tracing where forward says it."""

import copy
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from torch import Tensor, fx, nn
from torch.utils._pytree import tree_leaves


class Found(NamedTuple):
    """A norm, the neuron that reads it, and whether the norm is the last of a container with another layout."""

    norm: nn.Module
    neuron: nn.Module
    inside: bool


class Tracer(fx.Tracer):
    """Looks into a model as far as its modules are the user's own; those of `whole` are not looked into."""

    def __init__(self, whole: tuple[type, ...]) -> None:
        super().__init__()
        self.whole = whole

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not list(m.children()) or isinstance(m, self.whole)


def adjacent(
    model: nn.Module, norms: tuple[type, ...], neurons: tuple[type, ...], containers: tuple[type, ...] = ()
) -> list[Found]:
    """Pairs of a BatchNorm (exactly one of the classes `norms`) and the neuron that alone reads its output.

    containers: nn.Sequentials that run their modules on [T * B, ...] of an input [T, B, ...].
    """
    names = Counter(id(module) for _, module in model.named_modules(remove_duplicate=False))
    used = Counter[int]()
    pairs = []
    for first, second in _traced(model, neurons, containers):
        norm, inside = _last(first, containers)
        if type(norm) in norms and isinstance(second, neurons) and names[id(norm)] == names[id(second)] == 1:
            pairs.append(Found(norm, second, inside))
            used.update((id(norm), id(second)))
    return [pair for pair in pairs if used[id(pair.norm)] == used[id(pair.neuron)] == 1]


def _last(module: nn.Module, containers: tuple[type, ...]) -> tuple[nn.Module, bool]:
    """A module, or what comes out of such a container last."""
    inside = False
    while type(module) in containers and len(module):  # type: ignore[arg-type]
        module, inside = module[-1], True  # type: ignore[index]
    return module, inside


def _traced(
    model: nn.Module, neurons: tuple[type, ...], containers: tuple[type, ...]
) -> Iterator[tuple[nn.Module, nn.Module]]:
    """Two modules in a row, as forward calls them; where it cannot be traced, as its parts call them.

    A copy with the same tensors is traced, since forward may keep what it saw. An nn.Sequential counts as called as a
    whole.
    """
    tensors = {id(t): t for module in model.modules() for t in tree_leaves(vars(module)) if isinstance(t, Tensor)}
    try:
        graph = Tracer((*neurons, *containers)).trace(copy.deepcopy(model, tensors))
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
