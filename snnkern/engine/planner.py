"""`plan`: a network as a program of event-driven steps."""

import copy
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from snnkern._checks import whole
from snnkern.backends.events import Pool
from snnkern.convert.layers import Timed
from snnkern.convert.network import SNN
from snnkern.engine.direct import shape_of, traced
from snnkern.engine.ends import ended, kind_of, stem
from snnkern.engine.plan import Dense, Plan, PlanError
from snnkern.engine.walk import Walk

ROWS = 3  # samples of the example that a trial runs on: few, and no size that a network may have by itself


@torch.no_grad()
def plan(model: nn.Module, example: Any, T: int, strict: bool = True) -> Plan:
    """The program of a network for inputs like `example` and T steps.

    model: an `SNN`, for an example [B, ...], or a tuple of them; or a network of snnkern.nn layers, called as
    model(x[T, B, ...]), in eval mode, for an example [T, B, ...]. strict: refuse what cannot be run by events; else
    it runs in torch, as a `Dense` step. Raises PlanError, naming the operation and its place.
    Example: `plan(snn, images[:8], T=8).steps`.
    """
    whole('T', T)
    return _converted(model, example, strict) if isinstance(model, SNN) else _trained(model, example, T, strict)


def _converted(snn: SNN, example: Any, strict: bool) -> Plan:
    if not isinstance(snn.stem, fx.GraphModule) or not isinstance(snn.body, fx.GraphModule):
        raise PlanError('a network that was converted by modules has no graph; convert(..., modules=None) gives one')
    if snn.warm_up:
        raise PlanError(f'recipe {snn.recipe} runs {snn.warm_up} trial steps first, which event-driven steps do not')
    inputs = _tensors(example)
    net = copy.deepcopy(_merged(snn.stem, snn.body))
    for module in net.modules():
        if isinstance(module, Timed):
            module.clock.steps, module.clock.start = 1, 0
            module.reset()
    try:
        known = observed(net, [_rows(x, 0) for x in inputs])
    except (RuntimeError, IndexError, TypeError) as error:
        shapes = [tuple(x.shape) for x in inputs]
        raise ValueError(f'example must be inputs that the network takes, got {shapes}: {error}') from error
    walk = Walk(net, known, ROWS, strict, linear=True, varying=False)
    for node in net.graph.nodes:
        if node.op == 'placeholder':
            walk.values[node] = walk.early(node)
    return finished(walk, tuple(tuple(x.shape[1:]) for x in inputs))


def _trained(model: nn.Module, example: Any, T: int, strict: bool) -> Plan:
    if not any(type(module).__module__.startswith('snnkern.') for module in model.modules()):
        raise PlanError(f'{type(model).__name__} is no spiking network: convert it, or give one of snnkern.nn layers')
    if not isinstance(example, Tensor) or example.dim() < 3 or len(example) != T or not example.numel():
        got = f'shape {tuple(example.shape)}' if isinstance(example, Tensor) else type(example).__name__
        raise ValueError(f'example must be a tensor [T, B, ...] with T = {T}, got {got}')
    if example.dtype != torch.float32 or example.device.type != 'cpu':
        raise ValueError(f'example must be float32 on the CPU, got {example.dtype} on {example.device}')
    kind = kind_of(example)
    few = _rows(example.float(), 1)
    # One step will do, but for layers that know how many there are.
    few = (
        few
        if any(getattr(m, 'scale', None) is not None or getattr(m, 'n_groups', 1) > 1 for m in model.modules())
        else few[:1]
    )
    net, known = traced(model, few)
    walk = Walk(net, known, few.shape[0] * ROWS, strict, linear=False, varying=kind != 'constant')
    (node,) = (node for node in net.graph.nodes if node.op == 'placeholder')
    walk.values[node] = walk.counted(node) if kind == 'counts' else walk.early(node)
    return finished(walk, (tuple(example.shape[2:]),), kind)


def _tensors(example: Any) -> tuple[Tensor, ...]:
    inputs = tuple(example) if isinstance(example, tuple | list) else (example,)
    for x in inputs:
        known = isinstance(x, Tensor) and x.dtype == torch.float32 and x.device.type == 'cpu'
        if not known or x.dim() < 2 or not x.numel():
            got = f'{x.dtype} {tuple(x.shape)} on {x.device}' if isinstance(x, Tensor) else type(x).__name__
            raise ValueError(f'example must be float32 tensors [B, ...] on the CPU, got {got}')
    return inputs


def _rows(x: Tensor, dim: int) -> Tensor:
    """ROWS samples of x, the first ones again where there are not so many."""
    return x.index_select(dim, torch.arange(ROWS) % x.shape[dim])


def _merged(stem: fx.GraphModule, body: fx.GraphModule) -> fx.GraphModule:
    """Both parts of a converted network as one graph."""
    whole_ = fx.Graph()
    known: dict[fx.Node, fx.Node] = {}
    crossing: Any = whole_.graph_copy(stem.graph, known)
    fed = iter(crossing)
    for node in body.graph.nodes:
        if node.op == 'placeholder':
            known[node] = next(fed)
    whole_.output(whole_.graph_copy(body.graph, known))
    root = {**dict(stem.named_modules()), **dict(body.named_modules())}
    for net in (stem, body):
        root |= {str(n.target): _reached(net, str(n.target)) for n in net.graph.nodes if n.op == 'get_attr'}
    root.pop('', None)
    return fx.GraphModule(root, whole_)


def _reached(net: nn.Module, path: str) -> Any:
    owner, _, name = path.rpartition('.')
    return getattr(net.get_submodule(owner), name)


class _Observing(fx.Interpreter):
    """Runs a graph and keeps the shape of every tensor, and what is none."""

    def __init__(self, net: fx.GraphModule) -> None:
        super().__init__(net)
        self.known: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        found = super().run_node(n)
        self.known[n] = pytree.tree_map(shape_of, found)
        return found


def observed(net: fx.GraphModule, inputs: list[Tensor]) -> dict[fx.Node, Any]:
    """For each node the shape of what it gives in a trial, its value if that is no tensor."""
    seeing = _Observing(net)
    seeing.run(*inputs)
    return seeing.known


def finished(walk: Walk, shapes: tuple[tuple[int, ...], ...], kind: str = 'given') -> Plan:
    """The plan of a walk. kind: of the inputs, one of `ends.KINDS`."""
    outputs, tail = ended(walk)
    if not any(
        isinstance(step, Dense) or step.neuron is not None for step in walk.made.steps if not isinstance(step, Pool)
    ):
        raise PlanError('the network has no neurons')
    first, inputs = stem(walk, kind)
    return Plan(walk.made.slots, walk.made.steps, first, inputs, outputs, shapes, kind != 'given', tail)
