"""A network as nodes and edges of NIR: traced by torch.fx, run once on a sample for its shapes."""

import math
import operator
from collections.abc import Iterator
from itertools import chain, count
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, fx, nn

from snnkern.adapters.nir import stateless
from snnkern.adapters.nir.extras import FLAT, Layer, has_v_reset, node_of
from snnkern.adapters.nir.layers import Entry, Membrane, OverSteps, Placed
from snnkern.adapters.nir.neurons import charge_refusal, refusal
from snnkern.convert import SNN, graph
from snnkern.convert.fold import fold_batch_norm
from snnkern.convert.layers import OverTime, Spiking, Timed
from snnkern.nn import Neuron, reset
from snnkern.nn.state import Stateful
from snnkern.resets import Delayed, Soft

PASSING = (*graph.PASSING, OverTime, Entry)
OWN = (Neuron.forward, Placed.forward, Membrane.forward)
ADDING = {operator.add, operator.iadd, torch.add, 'add', 'add_'}
SHAPING = {torch.flatten, torch.reshape, torch.unflatten, 'flatten', 'unflatten', 'reshape', 'view'}
HANDING_ON = {'contiguous', 'detach', 'clone', 'float', *graph.DROPOUTS}
SUPPORTED = (
    'Linear, Conv1d, Conv2d, AvgPool2d, Flatten, Identity, Dropout, BatchNorm behind a layer with weights, sums, and '
    'the neurons of snnkern.nn that emit 0 or 1'
)


class Signal(NamedTuple):
    """The sum of these nodes, whose first `lead` dimensions are time and batch, apart (2) or folded (1)."""

    terms: tuple[str, ...]
    lead: int


class Tracer(fx.Tracer):
    """torch.fx's tracer; our layers stay one call."""

    def is_leaf_module(self, m: nn.Module, name: str) -> bool:
        own = m.__module__.startswith(('snnkern.nn', 'snnkern.adapters', 'snnkern.convert.layers'))
        return own or isinstance(m, Stateful | Timed) or super().is_leaf_module(m, name)

    def iter(self, obj: fx.Proxy) -> Iterator[Any]:
        """The parts of x.shape[:2], as in `T, B = x.shape[:2]`; nothing else is known to have a length."""
        part = obj.node.args[1] if obj.node.target is operator.getitem else None
        if isinstance(part, slice) and isinstance(part.stop, int) and (part.start, part.step) == (None, None):
            return iter([operator.getitem(obj, i) for i in range(part.stop)])  # type: ignore[call-overload]
        return super().iter(obj)


class Shapes(fx.Interpreter):
    """Runs a graph; its nodes learn the shape of what they give."""

    def run_node(self, n: fx.Node) -> Any:
        out = super().run_node(n)
        n.meta['shape'] = tuple(out.shape) if isinstance(out, Tensor) else None
        return out


def graphs(model: nn.Module, sample: Tensor) -> Iterator[fx.GraphModule]:
    """The model as graphs that follow each other, with shapes. Raises ValueError where it cannot be had."""
    if isinstance(model, SNN):
        if not isinstance(model.body, fx.GraphModule):
            raise ValueError('the network was converted without a trace (modules=), so its graph is not known')
        model.reset()
        model.clock.steps, model.clock.start = 1, 0
        values: Any = (sample,)
        for net in (model.stem, model.body):
            assert isinstance(net, fx.GraphModule)
            values = _run(net, values)
            yield net
        model.reset()
        return
    twin = graph.frozen_copy(model)
    reset(twin)
    twin = nn.Sequential(twin) if isinstance(twin, Stateful) else twin
    try:
        net = fx.GraphModule(twin, Tracer().trace(twin))
    except Exception as error:  # a traced forward may raise anything
        raise ValueError(f'torch.fx cannot trace {type(model).__name__}: {error}') from error
    _run(net, (sample,))
    fold_batch_norm(net)
    reset(net)
    _run(net, (sample,))
    yield net


def _run(net: fx.GraphModule, values: Any) -> Any:
    try:
        with torch.no_grad():
            return Shapes(net).run(*values)
    except Exception as error:
        shapes = ' and '.join(str(tuple(v.shape)) for v in values)
        why = str(error).partition('\n')[0]
        raise ValueError(f'sample must be an input of the model, got shape {shapes}: {why}') from error


class Exporting:
    """Collects nodes and edges. dt: seconds of a step; portable: whether every reader must get the same network."""

    def __init__(self, nir: Any, dt: float, portable: bool) -> None:
        self.nir, self.dt, self.portable = nir, dt, portable
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.scales: list[str] = []  # what spikes in real units are multiplied by
        self.fired: set[nn.Module] = set()

    def add(self, name: str, node: Any, terms: tuple[str, ...], shape: tuple[int, ...]) -> str:
        """A node that reads a sum and gives values of this shape at a step; its name."""
        if len(set(terms)) < len(terms):
            raise ValueError(f'{name} reads a signal that is added to itself, which the edges of NIR cannot say')
        name = name.replace('.', '_')
        names = chain([name], (f'{name}_{number}' for number in count(2)))
        name = next(free for free in names if free not in self.nodes)
        finite(name, node)
        self.nodes[name], self.shapes[name] = node, shape
        self.edges += [(term, name) for term in terms]
        return name

    def run(self, net: fx.GraphModule, inputs: tuple[Any, ...]) -> Any:
        """Walk through a graph whose placeholders are these signals; the signals of its output."""
        env: dict[fx.Node, Any] = {}
        given = iter(inputs)
        for node in net.graph.nodes:
            if node.op == 'output':
                return fx.map_arg(node.args[0], env.__getitem__)
            env[node] = next(given, None) if node.op == 'placeholder' else self.visit(net, node, env)
        return None

    def visit(self, net: fx.GraphModule, node: fx.Node, env: dict[fx.Node, Any]) -> Any:
        """The signal of a call; None if it gives none."""
        reads = [env[before] for before in node.all_input_nodes]
        if node.op == 'get_attr' or not any(reads):
            return None
        if node.op == 'call_module':
            return self.module(str(node.target), net.get_submodule(str(node.target)), reads, node)
        if node.target is operator.getitem:
            return reads[0][int(str(node.args[1]))] if isinstance(reads[0], list) else None
        if node.meta['shape'] is None:
            return None
        if node.target in ADDING:
            parts = [found for part in node.args if isinstance(part, fx.Node) and (found := env[part])]
            if len(parts) == len(node.args) == 2 and not node.kwargs:
                return Signal((*parts[0].terms, *parts[1].terms), parts[0].lead)
        if node.target in SHAPING:
            return self.shaped(node.name, node, reads[0])
        if node.target in HANDING_ON:
            return reads[0]
        options = ''.join(f', {k} = {v}' for k, v in node.kwargs.items())
        raise ValueError(f'{graph.describe(net, node)}{options} has no node in NIR; known are {SUPPORTED}')

    def module(self, name: str, layer: nn.Module, reads: list[Signal], node: fx.Node) -> Any:
        """The signal of a module's output."""
        terms, lead = reads[0]
        before = node.all_input_nodes[0].meta['shape']
        inner = layer.layer if isinstance(layer, OverSteps) else layer
        if isinstance(inner, PASSING):
            return reads[0]
        if isinstance(inner, nn.Flatten | nn.Unflatten):
            return self.shaped(name, node, reads[0])
        if isinstance(inner, Neuron | Spiking):
            return self.neuron(name, inner, reads, before)
        made = stateless.written(self.nir, inner, before[lead:])
        if made is None:
            raise ValueError(f'module {name} ({type(inner).__name__}) has no node in NIR; known are {SUPPORTED}')
        return Signal((self.add(name, made, terms, node.meta['shape'][lead:]),), lead)

    def shaped(self, name: str, node: fx.Node, signal: Signal) -> Signal:
        """A flatten or reshape: of the values of a step, of time and batch, which NIR does not know, or of both."""
        before, after = node.all_input_nodes[0].meta['shape'], node.meta['shape']
        inner = before[signal.lead :]
        for lead in dict.fromkeys((signal.lead, 1, 2)):
            outer = after[lead:]
            if math.prod(after[:lead]) != math.prod(before[: signal.lead]) or len(after) <= lead:
                continue
            if outer == inner:
                return Signal(signal.terms, lead)
            merged = len(inner) - len(outer)
            for start in range(len(outer)):
                end = start + merged
                if merged > 0 and outer == (*inner[:start], math.prod(inner[start : end + 1]), *inner[end + 1 :]):
                    flat = self.nir.Flatten({'input': np.array(inner)}, start, end if inner[end + 1 :] else -1)
                    return Signal((self.add(name, flat, signal.terms, outer),), lead)
        raise ValueError(
            f'{name} reshapes {before} to {after}; NIR can flatten the values of a step, and not mix them with time '
            f'and batch, the first {signal.lead} dimensions: a Flatten of [T, B, ...] starts at 2'
        )

    def neuron(self, name: str, layer: Any, reads: list[Signal], before: tuple[int, ...]) -> Any:
        """The signal of a layer of neurons, in which the second input of shortcuts has its part."""
        if layer in self.fired:
            raise ValueError(f'layer {name} is called twice: the second call goes on from the state of the first')
        self.fired.add(layer)
        signal, *others = reads
        shape = before[signal.lead :]
        found = described(name, layer, shape)
        connect = 'ms' if isinstance(layer, Spiking) else layer.connect
        total = Signal((*signal.terms, *(term for other in others for term in other.terms)), signal.lead)
        out = self.spikes(name, found, total if connect == 'ms' else signal, shape)
        if not others or isinstance(layer, Spiking):
            return out
        return [out, total] if connect == 'ms' else Signal((*out.terms, *others[0].terms), out.lead)

    def spikes(self, name: str, layer: Layer, signal: Signal, shape: tuple[int, ...]) -> Signal:
        """The nodes of neurons: one, and a Scale for what emits its threshold."""
        why = self.refusal(layer)
        if why is not None:
            raise ValueError(f'layer {name} cannot be said in NIR: {why}')
        out = self.add(name, node_of(self.nir, layer, self.dt), signal.terms, shape)
        if layer.neuron.fire.real_units:
            theta = layer.theta.float().numpy()
            out = self.add(f'{out}_scale', self.nir.Scale(np.ascontiguousarray(theta)), (out,), shape)
            self.scales.append(out)
        return Signal((out,), signal.lead)

    def refusal(self, layer: Layer) -> str | None:
        """Why a layer cannot be written, or None."""
        neuron = layer.neuron
        if layer.potential:
            return charge_refusal(neuron.charge, layer.tensors)
        only = '; only metadata can, which portable=True forbids'
        if self.portable and layer.v0 is not None and bool((layer.v0 != neuron.reset.v_start).any()):
            return f'it starts at a potential of its own{only}'
        if self.portable and isinstance(neuron.reset, Delayed):
            return f'its reset comes a step later{only}'
        if self.portable and isinstance(neuron.reset, Soft) and has_v_reset(self.nir.IF):
            return f'it resets by subtraction, and NIR since 1.0.5 to v_reset{only}'
        return refusal(neuron, layer.tensors)


def described(name: str, layer: Any, shape: tuple[int, ...]) -> Layer:
    """A layer of neurons as data."""
    kind = type(layer)
    if kind is Spiking:
        v0 = layer.get_buffer('v0')
        v0 = v0.view(-1, *[1] * (len(shape) - 1)) if v0.dim() == 1 else v0
        return Layer(layer.neuron, layer.coefficients, shape, 0, v0)
    if isinstance(layer, Spiking) or kind._multistep is not Neuron._multistep or kind.forward not in OWN:
        raise ValueError(f'layer {name} cannot be said in NIR: {kind.__name__} is more than a neuron of NIR')
    tensors = {k: t.detach() for k, t in layer.coefficients().items()}
    dim = layer.channel_dim
    axis = FLAT if getattr(layer, 'flat', False) else dim - 2 if dim >= 0 else len(shape) + dim
    return Layer(layer.neuron, tensors, shape, axis, layer._buffers.get('v0'), potential=isinstance(layer, Membrane))


def finite(name: str, node: Any) -> None:
    """Raise ValueError for NaN or infinity among the numbers of a node."""
    for field, value in vars(node).items():
        if isinstance(value, np.ndarray) and value.dtype.kind == 'f' and not np.isfinite(value).all():
            raise ValueError(f'{field} of node {name} must be finite, got NaN or infinity')
