"""From a graph of calls to a program: what each node is, as a map, as part of the stem, or as part of the tail."""

import operator
from typing import Any

import torch
from torch import fx, nn

from snnkern import nn as layers
from snnkern.backends.events import MOST
from snnkern.convert import graph
from snnkern.convert.coding import PoissonInput
from snnkern.convert.layers import Analogue, OverTime, Timed
from snnkern.engine import linear, ops, spiking
from snnkern.engine.build import Builder
from snnkern.engine.dense import dense
from snnkern.engine.nodes import Early, Late, Nodes, Size, attribute, called
from snnkern.engine.plan import PlanError
from snnkern.engine.values import Map, Padded, UnsupportedError

ADDS = ('add', 'iadd')
SIZES = ('getattr', 'size', 'dim', 'len', 'numel')


class Walk(Nodes):
    """The program of a graph, made node by node.

    net, known, samples: see `Nodes`. strict: whether to refuse what is not run by events. linear: whether calls
    behind the last neurons that are no `Analogue` layers are linear, and may be computed from means. varying: whether
    the inputs differ from step to step.
    """

    def __init__(
        self, net: fx.GraphModule, known: dict[fx.Node, Any], samples: int, strict: bool, linear: bool, varying: bool
    ) -> None:
        super().__init__(net, known, samples)
        self.strict, self.linear, self.varying = strict, linear, varying
        self.made = Builder()
        self.values: dict[fx.Node, Any] = {}
        self.stem, self.tail = fx.Graph(), fx.Graph()
        self.given: dict[int, fx.Node] = {}  # slots that the stem fills, and its nodes
        self.currents: dict[fx.Node, int] = {}  # nodes of the stem, and their slots
        self.means: dict[fx.Node, int] = {}  # placeholders of the tail, and their slots
        self.ends: dict[fx.Node, fx.Node] = {}  # maps, and their means in the tail
        self.before = self._before_neurons()

    def run(self) -> Any:
        """Walk all nodes; the output, as a pytree of nodes."""
        for node in self.net.graph.nodes:
            if node.op == 'output':
                return node.args[0]
            if node not in self.values:
                self.values[node] = self._visit(node)
        raise AssertionError('a graph has an output')

    def _before_neurons(self) -> set[fx.Node]:
        """Nodes that neurons or spiking pools depend on, and these."""
        found: set[fx.Node] = set()
        for node in reversed(self.net.graph.nodes):
            if spiking.fires(self.module(node)) or any(user in found for user in node.users):
                found.add(node)
        return found

    def kwargs(self, node: fx.Node) -> dict[str, Any]:
        """Arguments by name."""
        return fx.node.map_arg(dict(node.kwargs), self._plain)

    def _plain(self, node: fx.Node) -> Any:
        value = self.values[node]
        return value.value if isinstance(value, Size) else value

    def mapped(self, value: Any) -> Map:
        """A value as a map: what comes from the stem becomes a slot of currents."""
        if isinstance(value, Map):
            return value
        if not isinstance(value, Early):
            raise UnsupportedError(f'it takes {type(value).__name__} for a signal')
        if value.node not in self.currents:
            kind = 'currents' if self.varying else 'constant'
            self.currents[value.node] = self._input(value.node, kind)
        return self.made.map(self.currents[value.node])

    def counted(self, node: fx.Node) -> Map:
        """An input of the network that is counts of events."""
        return self.made.map(self._input(self.early(node).node, 'counts', bound=MOST))

    def _input(self, node: fx.Node, kind: str, **more: Any) -> int:
        shape = node.meta['known']
        sample = self.sample_of(shape)
        slot = self.made.slot(node.name, kind, sample, **more)
        self.given[slot] = node if len(shape) == len(sample) + 1 else self.stem.call_method('flatten', (node, 0, 1))
        return slot

    def early(self, node: fx.Node) -> Early:
        """The same call in the stem."""
        twin = self.stem.node_copy(node, lambda n: self._twin(n, self.stem, Early))
        twin.meta['known'] = self.known[node]
        return Early(twin)

    def _twin(self, node: fx.Node, where: fx.Graph, kind: type[Early | Late]) -> fx.Node:
        value: Any = self.values[node]
        if isinstance(value, kind):
            return value.node
        if node.op == 'get_attr':
            return where.node_copy(node)
        if kind is Early or isinstance(value, Size):
            raise UnsupportedError('it computes with the size of a batch')
        if node not in self.ends:
            self.ends[node] = self.mean(self.mapped(value), self.label(node))
        return self.ends[node]

    def late(self, node: fx.Node) -> Late:
        """The same call in the tail, on means over time."""
        module = self.module(node)
        if ops.CALLS.get(self.name(node)) is ops.reshape:  # its numbers may be those of a batch
            before = self._twin(graph.source(node), self.tail, Late)
            return Late(self._reshaped(before, self.sample(node)))
        if isinstance(module, OverTime):
            return Late(self._twin(graph.source(node), self.tail, Late))
        twin = self.tail.node_copy(node, lambda n: self._twin(n, self.tail, Late))
        if isinstance(module, Analogue):
            twin.target = f'{node.target}.call'
        return Late(twin)

    def mean(self, value: Map, name: str) -> fx.Node:
        """Its mean over time, for the tail."""
        nodes, shape = [], value.kept
        for number in self.made.rest(name, value):
            slot = self.made.slots[number]
            node = self.tail.placeholder(f'mean_{len(self.means)}')
            self.means[node] = number
            nodes.append(node if slot.flat == (len(shape) == 1) else self._reshaped(node, (slot.channels, *shape[1:])))
        node = nodes[0] if len(nodes) == 1 else self.tail.call_function(torch.cat, (nodes, 1))
        return node if shape == value.shape else self._reshaped(node, value.shape)

    def _reshaped(self, node: fx.Node, sample: tuple[int, ...]) -> fx.Node:
        return self.tail.call_method('reshape', (node, (-1, *sample)))

    def ended(self, node: Any) -> fx.Node:
        """What the network returns, in the tail."""
        if not isinstance(node, fx.Node):
            raise PlanError(f'the network returns {node!r} beside its tensors')
        try:
            return self._twin(node, self.tail, Late)
        except UnsupportedError as error:
            raise PlanError(f'{graph.where(self.net, node)} is no output of an engine: {error}') from error

    def _visit(self, node: fx.Node) -> Any:
        values = [self.values[before] for before in node.all_input_nodes]
        try:
            if any(isinstance(value, Late) for value in values):
                return self.late(node)
            found = self._made(node, values)
        except UnsupportedError as error:
            found = self._otherwise(node, error)
        return self._shared(node, found)

    def _made(self, node: fx.Node, values: list[Any]) -> Any:
        module, signals = self.module(node), [v for v in values if isinstance(v, Map | Padded)]
        if node.op == 'get_attr':
            return attribute(self.net, str(node.target))
        if isinstance(module, spiking.NEURONS):
            return self._neurons(node, module, values)
        if isinstance(module, OverTime):
            return values[0] if isinstance(self.known[node], torch.Size) else Size(self.known[node])
        if isinstance(module, PoissonInput):
            raise UnsupportedError("it codes inputs as random spikes; convert(..., coding='direct') feeds currents")
        if not signals:
            return self._without_signals(node, values)
        if isinstance(module, (*spiking.POOLS, *spiking.MAX_POOLS)):
            return spiking.pool(self, node, values[0])
        if isinstance(module, Analogue) and not module.per_step and node not in self.before:
            return self.late(node)
        if isinstance(module, Timed):
            each = isinstance(module, Analogue) and module.per_step
            raise UnsupportedError('it is applied to every step (readout="original")' if each else 'it is not linear')
        if self.name(node) in SIZES and not isinstance(self.known[node], torch.Size):
            return Size(self.known[node])
        return self._linear(node, module, signals[0])

    def _neurons(self, node: fx.Node, module: nn.Module, values: list[Any]) -> Any:
        normed = isinstance(module, layers.BatchNormNeuron) and module.scale is None
        if normed and isinstance(values[0], Early):  # what is the same at every step is normalised once
            values, normed = [self._normed(node, module, values[0].node), *values[1:]], False
        return spiking.neurons(self, node, [self.mapped(value) for value in values], normed)

    def _normed(self, node: fx.Node, norm: nn.Module, x: fx.Node) -> Early:
        """BatchNorm in the stem."""
        rows = (1,) * (len(self.sample_of(x.meta['known'])) - 1)
        for call, value in zip((operator.mul, operator.add), linear.line(norm), strict=True):
            name = f'{call.__name__}_{node.name}'
            self.net.register_buffer(name, value.view(-1, *rows))
            twin = self.stem.call_function(call, (x, self.stem.get_attr(name)))
            twin.meta['known'] = x.meta['known']
            x = twin
        return Early(x)

    def _without_signals(self, node: fx.Node, values: list[Any]) -> Any:
        if self.name(node) == 'getitem' and isinstance(values[0], tuple):
            at: Any = node.args[1]
            return values[0][at]
        if any(isinstance(value, Early) for value in values):
            return self.early(node)
        if any(isinstance(value, Size) for value in values):
            return Size(self.known[node])
        return called(node, fx.node.map_arg(node.args, self._plain), self.kwargs(node))

    def _linear(self, node: fx.Node, module: nn.Module | None, x: Map | Padded) -> Any:
        handler = (
            ops.CALLS.get(self.name(node)) if module is None else ops.MODULES.get(graph.kind_of(module) or type(module))
        )
        if handler is None:
            raise UnsupportedError('it is not among the operations that become synapses')
        if isinstance(x, Padded):
            raise UnsupportedError('it reads copies of a border')
        return handler(self, node, x, list(fx.node.map_arg(node.args, self._plain)))

    def _otherwise(self, node: fx.Node, error: UnsupportedError) -> Any:
        """What becomes of a call that is no sum of synapses."""
        module = self.module(node)
        if self.linear and node not in self.before and not isinstance(module, Timed):
            try:
                return self.late(node)
            except UnsupportedError as other:
                error = other
        if self.strict:
            raise PlanError(
                f'{graph.where(self.net, node)} cannot be run by events: {error}; strict=False runs it in torch'
            ) from error
        return dense(self, node, str(error))

    def _shared(self, node: fx.Node, value: Any) -> Any:
        """A sum of synapses that several neurons and sums read is computed once; what others read stays a sum."""
        if not isinstance(value, Map) or len(node.users) < 2 or not any(part.dense for part in value.parts):
            return value
        adding = (self.name(user) in ADDS or _reads_sums(self.module(user)) for user in node.users)
        return self.made.rested(self.label(node), value) if all(adding) else value


def _reads_sums(module: nn.Module | None) -> bool:
    return isinstance(module, spiking.NEURONS) and not isinstance(module, layers.BatchNormNeuron)
