"""Networks of snnkern.nn layers as graphs: traced together with an example, whose shapes they may ask for."""

import inspect
import math
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils import _pytree as pytree

from snnkern.convert import graph
from snnkern.engine.plan import PlanError
from snnkern.nn import TEP, AvgPool2d, LocalDifference2d, MaxPool2d, Plastic, SeqToANNContainer
from snnkern.nn.layerwise import PerStepContainer
from snnkern.nn.state import Stateful, reset

OWN_FRAME = rf'  File "{re.escape(str(Path(__file__).parent))}.*\n.*\n'
LEAVES = (Stateful, AvgPool2d, LocalDifference2d, MaxPool2d, PerStepContainer, Plastic, TEP)


def shape_of(value: Any) -> Any:
    """The shapes of tensors, and what is none: known of a node."""
    if isinstance(value, torch.Size):
        return tuple(value)  # a number of its own, and no tensor's
    return value.shape if isinstance(value, Tensor) else value


class Sized(fx.Proxy):
    """A proxy that knows the sizes of a sample; those of time and batch stay proxies."""

    tracer: 'Tracer'

    @property
    def _real(self) -> Any:
        return self.tracer.real[self.node]

    @property
    def shape(self) -> tuple[Any, ...]:
        """Of the tensor."""
        real = self._real.shape
        lead = next((i for i in range(1, len(real)) if math.prod(real[:i]) == self.tracer.samples), len(real))
        lengths = (self.tracer.create_proxy('call_method', 'size', (self, i), {}) for i in range(lead))
        return *lengths, *real[lead:]

    def size(self, dim: int | None = None) -> Any:
        """As a tensor's."""
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> int:
        """As a tensor's."""
        return self._real.dim()

    @property
    def ndim(self) -> int:
        """As a tensor's."""
        return self._real.dim()

    def __len__(self) -> int:
        return len(self._real)


class Tracer(fx.Tracer):
    """torch.fx's tracer, which runs each call on the example as well. real: what nodes give; samples: its T * B."""

    def __init__(self, example: Tensor) -> None:
        super().__init__()
        self.record_stack_traces = True
        self.example, self.samples = example, math.prod(example.shape[:2])
        self.real: dict[fx.Node, Any] = {}
        self.running = False  # a call on the example, of which nothing is to be traced

    def is_leaf_module(self, m: nn.Module, name: str) -> bool:
        return isinstance(m, LEAVES) or super().is_leaf_module(m, name) or graph.kind_of(m) is not None

    def call_module(self, m: nn.Module, forward: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.running:
            return forward(*args, **kwargs)
        if not isinstance(m, SeqToANNContainer):
            paths = self.submodule_paths
            if paths is not None and m not in paths:  # made within a forward
                paths[m] = f'made_{len(paths)}'
                self.root.add_module(paths[m], m)
            return super().call_module(m, forward, args, kwargs)
        (x,) = args
        return nn.Sequential.forward(m, x.flatten(0, 1)).unflatten(0, tuple(x.shape[:2]))

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        return attr_val if self.running else super().getattr(attr, attr_val, parameter_proxy_cache)

    def proxy(self, node: fx.Node) -> fx.Proxy:
        return Sized(node, self)

    def create_proxy(self, *call: Any, **more: Any) -> Any:
        made = super().create_proxy(*call, **more)
        self.running = True
        self.value(made.node)
        self.running = False
        return made

    def value(self, node: fx.Node) -> Any:
        """What a node gives for the example."""
        if node not in self.real:
            self.real[node] = self.example if node.op == 'placeholder' else self._run(node, node.target)
        return self.real[node]

    def _run(self, node: fx.Node, target: Any) -> Any:
        if node.op == 'get_attr':
            owner, _, name = target.rpartition('.')
            return getattr(self.root.get_submodule(owner), name)
        args: Any = fx.node.map_arg(node.args, self.value)
        kwargs: Any = fx.node.map_arg(dict(node.kwargs), self.value)
        if node.op == 'call_module':
            return self.root.get_submodule(target)(*args, **kwargs)
        return target(*args, **kwargs) if node.op == 'call_function' else getattr(args[0], target)(*args[1:], **kwargs)


def traced(model: nn.Module, example: Tensor) -> tuple[fx.GraphModule, dict[fx.Node, Any]]:
    """A copy of a model as a graph, in eval mode, and what is known of its nodes. Raises PlanError."""
    twin = graph.frozen_copy(model)
    reset(twin)
    tracer = Tracer(example)
    plain = {k: p.default for k, p in inspect.signature(twin.forward).parameters.items() if p.default is not p.empty}
    try:
        net = fx.GraphModule(twin, tracer.trace(twin, plain))
    except Exception as error:  # a traced forward may raise anything
        raise PlanError(f'torch.fx cannot trace {type(model).__name__}: {error}') from error
    reset(twin)
    names = {node.name: value for node, value in tracer.real.items()}  # a GraphModule copies its graph
    net.graph.eliminate_dead_code()  # what nobody reads need not be computed
    for node in net.graph.nodes:
        node.stack_trace = re.sub(OWN_FRAME, '', node.stack_trace or '')
    return net, {n: pytree.tree_map(shape_of, names[n.name]) for n in net.graph.nodes if n.name in names}
