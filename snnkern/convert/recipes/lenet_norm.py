"""Conversion by weight normalisation: every neuron has threshold 1, and the weights carry the scales."""

import copy
import operator
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import fx, nn

from snnkern.convert import fold, graph
from snnkern.convert.affine import name_of
from snnkern.convert.graph import ConversionError
from snnkern.convert.recipe import Choice, Recipe, Site, burst, threshold
from snnkern.convert.recipes.thresholds import percentiles

WEIGHTED = (*fold.CONVS, *fold.TRANSPOSED, nn.Linear)
POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)
SHAPES = (nn.Flatten, nn.Unflatten, nn.ZeroPad1d, nn.ZeroPad2d)
SCALING = (
    'avg_pool',
    'adaptive_avg_pool',
    'flatten',
    'unflatten',
    'reshape',
    'view',
    'permute',
    'transpose',
    'mean',
    'sum',
)


def lenet_norm(
    percentile: float = 0.999,
    max_spikes: int = 2,
    act_shrink: float = 2.0,
    data_norm: bool = True,
    lateral: bool = False,
    v0: float = 0.0,
) -> Recipe:
    """Weight normalisation, as in the LeNet-5 port of the IJCAI code: theta = 1, W *= m_before / m, b /= m.

    m is the percentile of a layer's activations, those above 1 divided by act_shrink before; the first layer has
    m_before = 1. A layer without an activation behind it, the last one, is scaled back (W *= m_before), so the SNN's
    logits have the units of the network's. For chains only: where branches meet, their units would differ. The
    thresholds of `layerwise` give the same spikes, and on any network.

    percentile: in (0, 1]. max_spikes: most spikes of a step (gamma). act_shrink: >= 1; the original divides in place,
    so its thresholds of later layers see altered activations; here the network runs as it is. data_norm: False keeps
    the weights and takes m as theta. lateral: pool by lateral inhibition, else by the gate, as the original; pair
    v0 = 0.5 with lateral=True. v0: the potential before the first step, in thetas.
    Raises ValueError for bad numbers; the conversion raises ConversionError, naming the call, for what is no chain.
    Sources: Diehl et al., IJCNN 2015; Brain-Cog-Lab/Conversion_Burst, fuse_norm_replace.
    Example: `convert(lenet, digits, recipe=lenet_norm(lateral=True, v0=0.5), timesteps=4)`.
    """
    recipe = percentiles('lenet_norm', percentile, max_spikes, v0, False, not lateral, act_shrink)
    if not data_norm:
        return recipe

    def choose(site: Site) -> Choice:
        return burst(site, 1.0, max_spikes, v0)

    def prepare(net: fx.GraphModule, sites: dict[fx.Node, Site]) -> None:
        normalise(net, sites, lambda site: threshold(site, site.sketch.quantile(percentile, act_shrink))[0])

    return replace(recipe, choose=choose, prepare=prepare)


def normalise(net: fx.GraphModule, sites: dict[fx.Node, Site], largest: Callable[[Site], float]) -> None:
    """Divide what every weighted layer emits by largest(the site behind it), and undo that for the next one.

    The sites' statistics and caps change with it. Raises ConversionError for what is no chain of weighted layers,
    activations, pools and shapes.
    """
    unit, fresh = 1.0, False  # what a value of 1 stands for; whether a weighted layer set it for the next activation
    nodes = chain(net)
    for i, node in enumerate(nodes):
        layer = graph.module_of(net, node)
        if isinstance(layer, WEIGHTED):
            site = next((sites.get(n) for n in nodes[i + 1 :] if n in sites or _weighted(net, n)), None)
            m = 1.0 if site is None else largest(site)
            _put(net, node, _scaled(layer, unit / m, 1 / m))
            unit, fresh = m, site is not None
        elif node in sites:
            if not fresh:
                raise ConversionError(f'{sites[node].was} has no layer with weights before it to normalise')
            fresh = False
            _rescale(sites[node], unit)
        elif unit != 1 and not _scales(net, node):
            raise ConversionError(f'{graph.describe(net, node)} does not scale with its input: {ONLY}')
    _scale_back(net, nodes[-1], unit)
    net.delete_all_unused_submodules()
    net.recompile()


ONLY = 'weight normalisation takes chains of layers with weights, ReLU, pools and shapes; recipe layerwise takes any'


def chain(net: fx.GraphModule) -> list[fx.Node]:
    """The calls from input to output, if each reads the one before it only. Raises ConversionError otherwise."""
    node, *others = [n for n in net.graph.nodes if n.op == 'placeholder']
    if others:
        raise ConversionError(f'{graph.describe(net, others[0])} is a second input: {ONLY}')
    found: list[fx.Node] = []
    while True:
        readers = _tensors(node.users)
        if len(readers) != 1:
            raise ConversionError(f'{graph.describe(net, node)} is read by {len(readers)} calls: {ONLY}')
        node = readers[0]
        if len(_tensors(node.all_input_nodes)) != 1:
            raise ConversionError(f'{graph.describe(net, node)} joins several tensors: {ONLY}')
        if node.op == 'output':
            return found
        found.append(node)


def _tensors(nodes: 'list[fx.Node] | dict[fx.Node, None]') -> list[fx.Node]:
    return [n for n in nodes if n.meta.get('tensor', True)]


def _weighted(net: fx.GraphModule, node: fx.Node) -> bool:
    return isinstance(graph.module_of(net, node), WEIGHTED)


def _scales(net: fx.GraphModule, node: fx.Node) -> bool:
    """Whether f(a * x) = a * f(x)."""
    if graph.max_pool(net, node) is not None:
        return True
    if node.op == 'call_module':
        return isinstance(graph.module_of(net, node), (*POOLS, *SHAPES))
    return name_of(node).rstrip('123d') in SCALING


def _put(net: fx.GraphModule, node: fx.Node, layer: nn.Module) -> None:
    """Let this one call use another layer; other calls of the old one stay as they are."""
    node.target = f'normalised_{node.name}'
    net.add_submodule(node.target, layer)


def _scaled(layer: fold.Layer, weight: float, bias: float) -> nn.Module:
    """A twin with other scales of weight and bias."""
    twin = copy.deepcopy(layer)
    with torch.no_grad():
        twin.weight *= weight
        if twin.bias is not None:
            twin.bias *= bias
    return twin


def _rescale(site: Site, unit: float) -> None:
    """Let a site's statistics and bounds be in this unit."""
    site.sketch.rescale(1 / unit)
    a = site.activation
    own = None if a.v_threshold is None else a.v_threshold / unit
    site.activation = replace(a, cap=None if a.cap is None else a.cap / unit, v_threshold=own)


def _scale_back(net: fx.GraphModule, last: fx.Node, unit: float) -> None:
    """Let the network return its values in units of 1."""
    if unit == 1:
        return
    (output,) = (n for n in net.graph.nodes if n.op == 'output')
    with net.graph.inserting_before(output):
        back = net.graph.call_function(operator.mul, (last, unit))
    back.meta = dict(last.meta)
    output.replace_input_with(last, back)
