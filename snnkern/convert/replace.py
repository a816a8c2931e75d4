"""Neurons for activations, lateral pools for max-pools, and everything else in its place in time."""

from collections.abc import Collection
from dataclasses import dataclass, field

import torch
from torch import fx, nn

from snnkern.convert import graph
from snnkern.convert.affine import is_affine, keeps_counts, mixes
from snnkern.convert.coding import PoissonInput
from snnkern.convert.fuse import absorb_biases, fuse_sums
from snnkern.convert.graph import ConversionError
from snnkern.convert.layers import Analogue, Clock, LateralPool, OverTime, Spiking, Timed
from snnkern.convert.recipe import Recipe, Site


@dataclass
class Entry:
    """One replacement. kind: "neuron", "pool", "analogue" or "input"; name: of the layer; was: the call; why: for
    analogue parts, the reason; warnings: what may go wrong there."""

    kind: str
    name: str
    was: str
    why: str = ''
    warnings: list[str] = field(default_factory=list)


class Replacing:
    """Turns a folded graph into one whose tensors behind neurons have time folded into the batch.

    clock: of the new layers. entries: what was replaced. layers: the neurons by their site's node, pools: the lateral
    pools with the neuron whose spikes they count. largest: values of the largest tensor with time, per input.
    """

    def __init__(
        self, net: fx.GraphModule, sites: dict[fx.Node, Site], recipe: Recipe, leaves: Collection[str]
    ) -> None:
        self.net, self.sites, self.recipe, self.leaves = net, sites, recipe, leaves
        self.clock = Clock()
        self.entries: list[Entry] = []
        self.layers: dict[str, tuple[Spiking, Site]] = {}
        self.pools: dict[str, tuple[LateralPool, Spiking]] = {}
        self.timed: set[fx.Node] = set()
        self.counted: dict[fx.Node, Spiking] = {}  # nodes that carry whole numbers of a neuron's spikes
        self.largest = 1

    def run(self) -> None:
        """Replace what there is to replace. Raises ConversionError for what cannot be converted."""
        if self.recipe.coding == 'poisson':
            self._code_inputs()
        for node in list(self.net.graph.nodes):
            varying = [before for before in node.all_input_nodes if before in self.timed]
            if node in self.sites:
                self._neuron(node, constant=not varying)
            elif varying and node.op == 'output':
                self._repeat_constants(node)
            elif varying:
                self._between(node)
        if not any(node.op == 'output' and set(node.all_input_nodes) & self.timed for node in self.net.graph.nodes):
            raise ConversionError('the model must return something that depends on a ReLU')
        self.net.delete_all_unused_submodules()
        self.net.graph.lint()
        self.net.recompile()

    def _code_inputs(self) -> None:
        """Let every input become spikes before anything reads it."""
        first = next(node for node in self.net.graph.nodes if node.op != 'placeholder')
        inputs = [node for node in self.net.graph.nodes if node.op == 'placeholder']
        for i, node in enumerate(inputs):
            if not node.users:
                continue
            readers = list(node.users)
            layer, entry = coded(i, f'input {node.target}')
            layer.name = entry.name
            twin = self._call(entry.name, layer, first, node)
            for reader in readers:
                reader.replace_input_with(node, twin)
            self.entries.append(entry)
            self._note(twin, node.meta['shape'])

    def _neuron(self, node: fx.Node, constant: bool) -> None:
        if node.meta['batch'] is None:
            raise mixes(self.net, node)
        site = self.sites[node]
        layer, entry = spiking(self.recipe, site, constant)
        twin = self._put(node, site.name, layer, (graph.source(node),), entry)
        self.layers[site.name] = layer, site
        if layer.integral:
            self.counted[twin] = layer

    def _between(self, node: fx.Node) -> None:
        """A call that is no activation, on something that has time."""
        if node.meta['batch'] is False:
            return  # a length, or a tensor made from lengths: the same at every step
        if not node.meta['tensor']:
            if node.meta['batch'] is None:
                raise mixes(self.net, node)
            self._repeat_constants(node)
            self.timed.add(node)
            return
        asked = node.op == 'call_module' and node.target in self.leaves
        pool = None if asked else graph.max_pool(self.net, node)
        if pool is not None and pool.return_indices:
            raise ConversionError(f'{graph.where(self.net, node)} returns indices, which spikes do not have')
        affine = pool is None and is_affine(self.net, node, self.timed, self.leaves)
        if node.meta['batch'] is None:
            raise mixes(self.net, node)
        neuron = self.counted.get(graph.source(node)) if pool is not None else None
        if pool is not None and neuron is not None:
            self._pool(node, pool, neuron)
        elif affine:
            self._repeat_constants(node)
            self._note(node, node.meta['shape'])
            if keeps_counts(self.net, node) and graph.source(node) in self.counted:
                self.counted[node] = self.counted[graph.source(node)]
        else:
            self._analogue(node)

    def _pool(self, node: fx.Node, pool: nn.MaxPool2d, neuron: Spiking) -> None:
        layer = LateralPool(pool, neuron.v_threshold, self.recipe.gated)
        name = f'pool_{len(self.pools)}'
        entry = Entry('pool', name, graph.describe(self.net, node))
        if node.meta.get('negative'):
            entry.warnings.append('inputs can be negative')
        self.counted[self._put(node, name, layer, (graph.source(node),), entry)] = neuron
        self.pools[name] = layer, neuron

    def _analogue(self, node: fx.Node) -> None:
        self._repeat_constants(node)
        inputs = tuple(node.all_input_nodes)
        varying = tuple(before in self.timed and before.meta['tensor'] for before in inputs)
        if any(varies and before.meta['shape'] is None for varies, before in zip(varying, inputs, strict=True)):
            raise ConversionError(f'{graph.where(self.net, node)} takes a tuple of signals; give them one by one')
        layer = Analogue(_alone(self.net, node, inputs), varying, self.recipe.original_readout)
        named = str(node.target) in self.leaves and node.op == 'call_module'
        why = 'kept whole as asked (leaves)' if named else 'not affine, so it reads the mean over time'
        entry = Entry('analogue', f'analogue_{node.name}', graph.describe(self.net, node), why)
        if node.meta.get('negative'):
            entry.warnings.append('a max-pool of signals that are no spikes of one neuron layer, some of them negative')
        self._put(node, entry.name, layer, inputs, entry)

    def _put(self, node: fx.Node, name: str, layer: Timed, inputs: tuple[fx.Node, ...], entry: Entry) -> fx.Node:
        """Let a new layer take the place of a call."""
        layer.name = name
        twin = self._call(name, layer, node, *inputs)
        twin.meta = dict(node.meta)
        node.replace_all_uses_with(twin)
        self.net.graph.erase_node(node)
        self.entries.append(entry)
        self._note(twin, node.meta['shape'])
        return twin

    def _call(self, name: str, layer: Timed, before: fx.Node, *inputs: fx.Node) -> fx.Node:
        """A call of a new layer in front of a node; it knows of itself what its first input does."""
        layer.clock = self.clock
        self.net.add_submodule(name, layer)
        with self.net.graph.inserting_before(before):
            twin = self.net.graph.call_module(name, inputs)
        twin.meta = dict(inputs[0].meta)
        return twin

    def _note(self, node: fx.Node, shape: tuple[int, ...] | None) -> None:
        self.timed.add(node)
        if shape:
            self.largest = max(self.largest, torch.Size(shape[1:]).numel())

    def _repeat_constants(self, node: fx.Node) -> None:
        """Give what has no time a time where it meets what has it: x + f(x), or a batch size from before.

        What is the same for any batch meets it as it is, but for outputs.
        """
        for before in node.all_input_nodes:
            if before in self.timed or (before.meta['batch'] is False and node.op != 'output'):
                continue
            if before.meta['batch'] is None:
                raise mixes(self.net, before)
            twin = self._call(f'over_time_{node.name}_{before.name}', OverTime(), node, before)
            node.replace_input_with(before, twin)

    def split(self) -> tuple[fx.GraphModule, fx.GraphModule]:
        """What runs once for a constant input, and what runs every step."""
        absorb_biases(self.net)
        every = self._every_step()
        stem, body = fx.Graph(), fx.Graph()
        first: dict[fx.Node, fx.Node] = {}
        second: dict[fx.Node, fx.Node] = {}
        crossing = [n for n in self.net.graph.nodes if n not in every and n.op != 'get_attr' and n.users.keys() & every]
        for node in crossing:
            second[node] = body.placeholder(node.name)
        for node in self.net.graph.nodes:
            if node.op == 'get_attr':
                first[node], second[node] = (g.node_copy(node) for g in (stem, body))
            elif node in every:
                second[node] = body.node_copy(node, second.__getitem__)
            else:
                first[node] = stem.node_copy(node, first.__getitem__)
        stem.output(tuple(first[node] for node in crossing))
        nets = fx.GraphModule(self.net, stem, 'Stem'), fx.GraphModule(self.net, body, 'Body')
        fuse_sums(nets[1])
        for net in nets:
            net.graph.eliminate_dead_code()
            net.delete_all_unused_submodules()
            net.recompile()
        return nets

    def _every_step(self) -> set[fx.Node]:
        """Nodes with time, and those that give others time."""
        found: set[fx.Node] = set()
        for node in self.net.graph.nodes:
            module = graph.module_of(self.net, node)
            if isinstance(module, Timed) or set(node.all_input_nodes) & found:
                found.add(node)
        return found


def _alone(net: fx.GraphModule, node: fx.Node, inputs: tuple[fx.Node, ...]) -> fx.GraphModule:
    """One call as a graph of its own."""
    alone = fx.Graph()
    named: dict[fx.Node, fx.Node] = {before: alone.placeholder(before.name) for before in inputs}
    alone.output(alone.node_copy(node, named.__getitem__))
    return fx.GraphModule(net, alone)


def coded(index: int, was: str) -> tuple[PoissonInput, Entry]:
    """The layer that codes an input as spikes, and what a report says of it."""
    return PoissonInput(index), Entry('input', f'coded_{index}', was, 'a spike of 1 with probability x at every step')


def spiking(recipe: Recipe, site: Site, constant: bool) -> tuple[Spiking, Entry]:
    """The layer that a recipe chooses for a site, and what a report says of it."""
    try:
        choice = recipe.choose(site)
    except ValueError as error:
        raise ConversionError(str(error)) from error
    entry = Entry('neuron', site.name, site.was)
    highest = site.sketch.highest
    dead = 0 if highest is None else int((highest == 0).sum())
    if highest is not None and dead:
        entry.warnings.append(f'{dead} of {len(highest)} channels were silent in calibration')
    layer = recipe.layer(choice.neuron, choice.coefficients, choice.v0, constant, **choice.options)
    layer.activation = site.activation
    return layer, entry
