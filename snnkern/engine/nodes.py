"""The nodes of a graph: their modules, names and shapes, and what they may be besides maps."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn

from snnkern.convert import graph
from snnkern.convert.affine import name_of
from snnkern.engine.values import UnsupportedError


@dataclass(frozen=True)
class Early:
    """What depends on no spikes: a node of the stem."""

    node: fx.Node


@dataclass(frozen=True)
class Late:
    """What comes behind the means over time: a node of the tail."""

    node: fx.Node


@dataclass(frozen=True)
class Size:
    """Numbers that come from the shape of a map, as they are for the example."""

    value: Any


class Nodes:
    """What is known of the nodes of a graph.

    net: whose graph it is. known: for each node the shape of what it gives for an example, its value if that is no
    tensor. samples: T * B of that example.
    """

    def __init__(self, net: fx.GraphModule, known: dict[fx.Node, Any], samples: int) -> None:
        self.net, self.known, self.samples = net, known, samples

    def module(self, node: fx.Node) -> nn.Module | None:
        """The module that a node calls."""
        return graph.module_of(self.net, node)

    def label(self, node: fx.Node) -> str:
        """What a step that comes from a node is called."""
        return str(node.target) if node.op == 'call_module' else node.name

    def name(self, node: fx.Node) -> str:
        """The function or method that a node calls."""
        return '' if node.op == 'call_module' else name_of(node)

    def shape(self, node: Any) -> tuple[int, ...]:
        """Of a node's tensor for the example, with time and batch."""
        return tuple(self.known[node])

    def sample(self, node: Any) -> tuple[int, ...]:
        """The same without time and batch. Raises UnsupportedError if it has no such shape."""
        return self.sample_of(self.known[node])

    def sample_of(self, shape: Any) -> tuple[int, ...]:
        """A shape without time and batch."""
        if not isinstance(shape, torch.Size):
            raise UnsupportedError('it gives something other than a tensor')
        lead = next((i for i in range(1, len(shape) + 1) if math.prod(shape[:i]) == self.samples), None)
        if lead is None:
            raise UnsupportedError(f'it mixes inputs: shape {tuple(shape)} for {self.samples} samples')
        return tuple(shape[lead:])

    def apart(self, node: Any) -> bool:
        """Whether time and batch are two dimensions of a node's tensor."""
        return len(self.shape(node)) - len(self.sample(node)) == 2

    def place(self, node: Any, dim: int) -> int:
        """A dimension of a node's tensor as one of a sample's; negative for time and batch."""
        shape = self.shape(node)
        return dim % len(shape) - (len(shape) - len(self.sample(node)))


def attribute(net: nn.Module, path: str) -> Any:
    """What a path names; parameters without gradients."""
    owner, _, name = path.rpartition('.')
    value = getattr(net.get_submodule(owner), name)
    return value.detach() if isinstance(value, Tensor) else value


def called(node: fx.Node, args: Any, kwargs: Any) -> Any:
    """A call of constants."""
    target: Any = node.target
    if node.op == 'call_method':
        return getattr(args[0], target)(*args[1:], **kwargs)
    if node.op == 'call_function':
        return target(*args, **kwargs)
    raise UnsupportedError('it takes no signal')
