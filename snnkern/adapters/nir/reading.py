"""Nodes and edges of NIR as a torch module."""

import copy
import re
from collections.abc import Iterable
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np
from torch import Tensor, fx, nn

from snnkern.adapters.nir import stateless
from snnkern.adapters.nir.export import finite
from snnkern.adapters.nir.extras import restored
from snnkern.adapters.nir.layers import Entry, Membrane, Placed
from snnkern.adapters.nir.neurons import KINDS, READINGS, Read, decode
from snnkern.surrogates import Surrogate

SUPPORTED = (*KINDS, 'Linear', 'Affine', 'Conv1d', 'Conv2d', 'AvgPool2d', 'SumPool2d', 'Flatten', 'Scale', 'Identity')
Edge = tuple[str, str]


def flattened(nodes: dict[str, Any], edges: Iterable[Edge]) -> tuple[dict[str, Any], list[Edge]]:
    """The graph without graphs in it: their nodes under "outer.inner", edges to their Input and Output passed on."""
    found, links = dict(nodes), list(dict.fromkeys((str(a), str(b)) for a, b in edges))
    for name, node in nodes.items():
        if type(node).__name__ != 'NIRGraph':
            continue
        inner, within = flattened(node.nodes, node.edges)
        doors = {kind: [n for n, v in inner.items() if type(v).__name__ == kind] for kind in ('Input', 'Output')}
        del found[name]
        found |= {f'{name}.{n}': v for n, v in inner.items() if type(v).__name__ not in doors}
        firsts = [f'{name}.{b}' for a, b in within if a in doors['Input']]
        lasts = [f'{name}.{a}' for a, b in within if b in doors['Output']]
        kept = [(f'{name}.{a}', f'{name}.{b}') for a, b in within if f'{name}.{a}' in found and f'{name}.{b}' in found]
        links = [e for a, b in links for e in ([(a, f) for f in firsts] if b == name else [(a, b)])]
        links = [e for a, b in links for e in ([(last, b) for last in lasts] if a == name else [(a, b)])] + kept
    return found, links


def ordered(nodes: dict[str, Any], edges: list[Edge]) -> list[str]:
    """The names so that each comes behind what it reads. Raises ValueError for what is no feed-forward graph."""
    before: dict[str, list[str]] = {name: [] for name in nodes}
    for a, b in edges:
        if a not in nodes or b not in nodes:
            raise ValueError(f'edge {a} -> {b} leads to a node that the graph does not have')
        before[b].append(a)
    try:
        order = list(TopologicalSorter(before).static_order())
    except CycleError as error:
        loop = ' -> '.join(error.args[1])
        raise ValueError(f'the graph is recurrent ({loop}), and layers run all their steps at once') from None
    for kind in ('Input', 'Output'):
        count = sum(type(node).__name__ == kind for node in nodes.values())
        if count != 1:
            raise ValueError(f'the graph must have one {kind}, got {count}')
    for name in order:
        if not before[name] and type(nodes[name]).__name__ != 'Input':
            raise ValueError(f'node {name} reads nothing: no edge leads to it')
    return order


class Importing:
    """Builds a module of nodes. reading: the library whose reading of NIR counts; None: our metadata, where there are
    any, else NIR's own equations. soft: the file knows no v_reset."""

    def __init__(
        self,
        nodes: dict[str, Any],
        edges: list[Edge],
        like: str | None,
        dt: float | None,
        reset: str | None,
        v_min: float | None,
        surrogate: Surrogate | None,
        soft: bool,
    ) -> None:
        self.nodes, self.edges = {name: in_numpy(node) for name, node in nodes.items()}, edges
        self.believe = like is None and dt is None and reset is None and v_min is None
        self.reading = READINGS[like or 'nir']
        if soft and self.reading.reset is None:
            self.reading = replace(self.reading, reset='soft')
        self.dt, self.reset, self.v_min, self.surrogate = dt, reset, v_min, surrogate
        self.root = nn.Module()
        self.same: dict[str, str] = {}  # Scales that real units stand for, by their neuron
        self.attributes: dict[str, str] = {}

    def build(self) -> fx.GraphModule:
        """The module. Raises ValueError, naming the node, for what cannot be read."""
        net = fx.Graph()
        known: dict[str, fx.Node] = {}
        for name in ordered(self.nodes, self.edges):
            node = self.nodes[name]
            kind = type(node).__name__
            if kind == 'Input':
                self.hold(name, Entry(shape_of(node)))
                known[name] = net.call_module(self.attributes[name], (net.placeholder('x'),))
                continue
            total = self.sum(net, [known[a] for a, b in self.edges if b == name])
            if kind == 'Output':
                net.output(total)
            elif name in self.same:
                known[name] = total
            else:
                self.hold(name, self.layer(name, node, kind))
                known[name] = net.call_module(self.attributes[name], (total,))
        self.root.eval()
        return fx.GraphModule(self.root, net, 'NIRNetwork')

    @staticmethod
    def sum(net: fx.Graph, parts: list[fx.Node]) -> fx.Node:
        """The sum of what edges bring."""
        total = parts[0]
        for part in parts[1:]:
            total = net.call_method('add', (total, part))
        return total

    def hold(self, name: str, layer: nn.Module) -> None:
        """Register a layer under its name, as far as an attribute can have it."""
        own = re.sub(r'\W', '_', name)
        while own in self.attributes.values() or hasattr(nn.Module, own):
            own += '_'
        self.attributes[name] = own
        self.root.add_module(own, layer)

    def layer(self, name: str, node: Any, kind: str) -> nn.Module:
        """The module of a node."""
        try:
            finite(name, node)
            if kind in KINDS:
                return self.neuron(name, node, kind)
            made = stateless.read(node, kind)
        except ValueError as error:
            raise ValueError(f'node {name} ({kind}): {error}') from error
        if made is None:
            raise ValueError(f'node {name} is a {kind}, which is not supported; these are: {", ".join(SUPPORTED)}')
        return made

    def neuron(self, name: str, node: Any, kind: str) -> nn.Module:
        """The layer of neurons of a node."""
        found = restored(node, kind) if self.believe else None
        if found is None:
            found = decode(node, kind, self.reading, self.dt, self.reset, self.v_min)
        if kind in ('I', 'LI'):
            return Membrane(found.neuron.charge, found.tensors, found.flat)
        neuron = found.neuron
        if neuron.fire.real_units and not self._scaled(name, found):
            neuron = replace(neuron, fire=replace(neuron.fire, real_units=False))  # type: ignore[type-var]
        if self.surrogate is not None:
            neuron = replace(neuron, surrogate=self.surrogate)
        tensors = {
            name: t for name, t in found.tensors.items() if name in neuron.coefficients
        }  # another surrogate may have no alpha
        return Placed(neuron, tensors, found.flat, found.v0)

    def _scaled(self, name: str, found: Read) -> bool:
        """Whether the only reader of a neuron multiplies by its threshold: then the spikes carry it themselves."""
        readers = [b for a, b in self.edges if a == name]
        if len(readers) != 1 or type(self.nodes[readers[0]]).__name__ != 'Scale':
            return False
        if len([a for a, b in self.edges if b == readers[0]]) != 1:
            return False
        scale, theta = self.nodes[readers[0]].scale, np.asarray(self.nodes[name].v_threshold)
        if np.shape(scale) != theta.shape or (scale != theta).any():
            return False
        self.same[readers[0]] = name
        return True


def in_numpy(node: Any) -> Any:
    """A node whose numbers are arrays, which some libraries leave as tensors while they are in memory."""
    twin = copy.copy(node)
    for name, value in vars(node).items():
        if isinstance(value, Tensor):
            setattr(twin, name, value.detach().cpu().numpy())
    return twin


def shape_of(node: Any) -> tuple[int, ...] | None:
    """Of one step of one sample, as an Input says it."""
    shape = node.input_type['input']
    return None if shape is None else tuple(int(n) for n in np.atleast_1d(shape))
