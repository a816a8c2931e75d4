"""What each value of a graph has to do with the batch: told from one input alone and the same input with another."""

from typing import Any

import torch
from torch import Tensor, fx
from torch.utils import _pytree as pytree

from snnkern.convert import graph
from snnkern.convert.graph import ConversionError

TOLERANCE = 1e-2  # of the largest value; convolutions differ in their last bits from batch to batch


class Runner(fx.Interpreter):
    """Runs a graph; an error names the call that it comes from."""

    def __init__(self, net: fx.GraphModule) -> None:
        super().__init__(net)
        self.net = net
        self.extra_traceback = False

    def run_node(self, n: fx.Node) -> Any:
        try:
            return super().run_node(n)
        except ConversionError:
            raise
        except Exception as error:  # a call may raise anything
            given, _ = self.fetch_args_kwargs_from_env(n)
            raise ConversionError(f'{graph.where(self.net, n)} fails for {self._words(given)}: {error}') from error

    def _words(self, given: Any) -> str:
        """What a call got, and what the model is made of."""
        tensors = [x for x in pytree.tree_leaves(given) if isinstance(x, Tensor)]
        inputs = ', '.join(f'{list(x.shape)} {x.dtype} on {x.device}' for x in tensors)
        own = next((p for p in self.net.parameters() if p.is_floating_point()), None)
        return inputs + ('' if own is None else f' (the model is {own.dtype} on {own.device})')


class Lockstep(Runner):
    """A graph that is run node by node, beside another."""

    def begin(self, inputs: tuple[Tensor, ...]) -> None:
        self.args_iter = iter(inputs)
        self.env.clear()

    def step(self, node: fx.Node) -> Any:
        self.env[node] = self.run_node(node)
        value = self.env[node]
        for done in self.user_to_last_uses.get(node, []):
            del self.env[done]
        return value


@torch.no_grad()
def probe(net: fx.GraphModule, inputs: tuple[Tensor, ...]) -> None:
    """Note in every node's `meta` what its value is.

    shape: of a tensor, for one input, else None. tensor: whether it holds tensors. batch: True if it grows with the
    batch, input by input (a size: in its first place), False if it is the same for any batch, None if neither: it
    mixes inputs, or a size is lost. Raises ConversionError, naming the call, where one fails or gives NaN.
    """
    one, two = Lockstep(net), Lockstep(net)
    one.begin(tuple(x[:1] for x in inputs))
    two.begin(tuple(_pair(x) for x in inputs))
    for node in net.graph.nodes:
        a, b = one.step(node), two.step(node)
        leaves = pytree.tree_leaves(a)
        node.meta['shape'] = tuple(a.shape) if isinstance(a, Tensor) else None
        node.meta['tensor'] = any(isinstance(leaf, Tensor) for leaf in leaves)
        node.meta['batch'] = _relation(a, b)
        if any(isinstance(leaf, Tensor) and leaf.is_floating_point() and leaf.isnan().any() for leaf in leaves):
            raise ConversionError(f'{graph.where(net, node)} gives NaN in calibration')
        if node.op == 'output' and not all(isinstance(leaf, Tensor) for leaf in leaves):
            kinds = ', '.join(sorted({type(leaf).__name__ for leaf in leaves if not isinstance(leaf, Tensor)}))
            raise ConversionError(f'the model must return tensors, got also {kinds}')


def _pair(x: Tensor) -> Tensor:
    """The first input and one that differs from it."""
    if len(x) > 1:
        return x[:2]
    return torch.cat([x, x / 2 if x.is_floating_point() else x])


def _relation(a: Any, b: Any) -> bool | None:
    """Whether a value grows with the batch (True), is the same (False), or neither."""
    if isinstance(a, Tensor):
        return _tensors(a, b) if isinstance(b, Tensor) else None
    if isinstance(a, torch.Size) or (isinstance(a, tuple | list) and all(isinstance(n, int) for n in a)):
        if tuple(a) == tuple(b):
            return False
        return True if len(a) == len(b) and b[0] == 2 * a[0] and tuple(a[1:]) == tuple(b[1:]) else None
    if isinstance(a, tuple | list | dict):
        first, second = pytree.tree_leaves(a), pytree.tree_leaves(b)
        if len(first) != len(second):
            return None
        parts = {_relation(x, y) for x, y in zip(first, second, strict=True) if x is not None}
        return parts.pop() if len(parts) == 1 else (None if parts else False)
    if isinstance(a, int | float) and a != b:
        return True if b == 2 * a else None
    return False


def _tensors(a: Tensor, b: Tensor) -> bool | None:
    if a.shape == b.shape:
        return False if _alike(a, b) else None
    grows = a.dim() > 0 and b.shape == (2 * a.shape[0], *a.shape[1:])
    return True if grows and _alike(a, b[: len(a)]) else None


def _alike(a: Tensor, b: Tensor) -> bool:
    if not a.is_floating_point():
        return torch.equal(a, b)
    finite = a[a.isfinite()].float()
    scale = finite.abs().max().item() if finite.numel() else 0.0
    return torch.allclose(a.float(), b.float(), rtol=TOLERANCE, atol=TOLERANCE * scale, equal_nan=True)
