"""`convert`: ANN in, SNN out."""

from collections.abc import Iterable

import torch
from torch import Tensor, fx, nn

from snnkern._checks import finite, whole
from snnkern.convert import graph
from snnkern.convert.graph import ConversionError
from snnkern.convert.layers import LateralPool, Observer, SpikingReLU, over_time
from snnkern.convert.network import SNN, Site


def convert(
    model: nn.Module,
    calibration: Tensor | Iterable[Tensor],
    percentile: float = 0.99,
    max_spikes: int = 5,
) -> SNN:
    """A spiking twin of a trained ReLU network with one input and one output; `model` stays as it is.

    BatchNorm is folded into the layer before it. Each call of a ReLU (module or function; a module called
    twice is two calls) becomes a burst neuron, each MaxPool2d of spikes a lateral pool. Spikes carry real
    units (count * theta), so additions, concatenations and biases need no rescaling.

    calibration: inputs [N, ...] that the model was trained on, or an iterable of such batches (a loader's
    (x, label) tuples will do). percentile: theta of a neuron is this quantile, in (0, 1], of the ReLU's
    outputs, zeros included. max_spikes: most spikes of a neuron in one step.

    Raises ConversionError, naming the call, for what cannot be converted; ValueError for bad arguments.
    Source: Li and Zeng, IJCAI 2022 (arXiv 2204.13271). Example: `snn = convert(net, x_train[:1000])`, then
    `logits = snn(x, T=8)`.
    """
    finite('percentile', percentile)
    if not 0 < percentile <= 1:
        raise ValueError(f'percentile must be in (0, 1], got {percentile}')
    whole('max_spikes', max_spikes)
    net = graph.trace(model)
    graph.fold_batch_norm(net)
    names = _observe_relus(net)
    _calibrate(net, calibration)
    observers = [net.get_submodule(name) for name in names.values()]
    largest = max(o.size for o in observers if isinstance(o, Observer))
    sites = _add_time(net, names, percentile, max_spikes)
    return SNN(net, sites, largest)


def _observe_relus(net: fx.GraphModule) -> dict[fx.Node, str]:
    """Replace every ReLU call by an `Observer` of its own; the new nodes and their names in words."""
    names: dict[fx.Node, str] = {}
    for node in list(net.graph.nodes):
        if not graph.is_relu(net, node):
            continue
        before = graph.source(node)
        if graph.in_place(net, node) and len(before.users) > 1:
            raise ConversionError(f'{graph.describe(net, node)} overwrites an input that is used elsewhere')
        name = f'neuron_{len(names)}'
        net.add_submodule(name, Observer())
        with net.graph.inserting_before(node):
            twin = net.graph.call_module(name, (before,))
        twin.meta['was'] = graph.describe(net, node)
        node.replace_all_uses_with(twin)
        net.graph.erase_node(node)
        names[twin] = name
    if not names:
        raise ConversionError('the model has no ReLU, so there is nothing to convert')
    net.recompile()
    return names


def _calibrate(net: fx.GraphModule, calibration: Tensor | Iterable[Tensor]) -> None:
    """Run the calibration inputs through the observers."""
    batches = calibration.split(256) if isinstance(calibration, Tensor) else calibration
    count = 0
    with torch.no_grad():
        for batch in batches:
            x = batch[0] if isinstance(batch, tuple | list) else batch
            net(x)
            count += len(x)
    if count == 0:
        raise ValueError('calibration must hold at least one input')


def _theta(observer: nn.Module, was: str, percentile: float) -> float:
    assert isinstance(observer, Observer)
    theta = observer.percentile(percentile)
    if not 0 < theta < float('inf'):
        raise ConversionError(f'{was} has no positive finite output in calibration (theta = {theta})')
    return theta


def _add_time(net: fx.GraphModule, names: dict[fx.Node, str], percentile: float, max_spikes: int) -> tuple[Site, ...]:
    """Give the graph a second input T, neurons for observers and lateral pools for max-pools; the sites."""
    inputs = [node for node in net.graph.nodes if node.op == 'placeholder']
    if len(inputs) != 1:
        raise ConversionError(f'the model must take one input, this one takes {len(inputs)}')
    with net.graph.inserting_after(inputs[0]):
        steps = net.graph.placeholder('T')
    sites: list[Site] = []
    scale: dict[fx.Node, float | None] = {}  # nodes with a time axis, and what one of their spikes is worth
    for node in list(net.graph.nodes):
        timed = [before for before in node.all_input_nodes if before in scale]
        if node in names:
            theta = _theta(net.get_submodule(names[node]), node.meta['was'], percentile)
            net.add_submodule(names[node], SpikingReLU(theta, max_spikes, constant_input=not timed))
            node.args = (*node.args, steps)
            sites.append(Site(names[node], node.meta['was'], theta))
            scale[node] = theta
        elif timed and (pool := graph.max_pool(net, node)) is not None:
            sites.append(_replace_pool(net, node, pool, scale, steps))
        elif timed:
            graph.check_affine(net, node)
            _repeat_constants(net, node, scale, steps)
            scale[node] = scale[timed[0]] if graph.passes_spikes(net, node) else None
    _check_output(net, scale)
    net.delete_all_unused_submodules()
    net.graph.lint()
    net.recompile()
    return tuple(sites)


def _replace_pool(
    net: fx.GraphModule,
    node: fx.Node,
    pool: nn.MaxPool2d,
    scale: dict[fx.Node, float | None],
    steps: fx.Node,
) -> Site:
    """Replace a max-pool of spikes by a lateral pool."""
    was, worth = graph.describe(net, node), scale[graph.source(node)]
    if pool.return_indices:
        raise ConversionError(f'{was} returns indices, which spikes do not have')
    if worth is None:
        raise ConversionError(f'{was} must directly follow a ReLU (or another max-pool), to count its spikes')
    name = f'pool_{node.name}'
    net.add_submodule(name, LateralPool(pool, worth))
    with net.graph.inserting_before(node):
        twin = net.graph.call_module(name, (graph.source(node), steps))
    node.replace_all_uses_with(twin)
    net.graph.erase_node(node)
    scale[twin] = worth
    return Site(name, was, worth)


def _repeat_constants(net: fx.GraphModule, node: fx.Node, scale: dict[fx.Node, float | None], steps: fx.Node) -> None:
    """Give tensors without a time axis one where they meet tensors that have it (x + f(x), say)."""
    for before in node.all_input_nodes:
        if before not in scale and graph.is_size(before):
            raise ConversionError(
                f'{graph.describe(net, node)} uses a size taken before the first ReLU, where time is not in '
                'the batch yet: use flatten(1), or take the size from the tensor itself'
            )
        if before not in scale and before.op != 'get_attr':
            with net.graph.inserting_before(node):
                node.replace_input_with(before, net.graph.call_function(over_time, (before, steps)))


def _check_output(net: fx.GraphModule, scale: dict[fx.Node, float | None]) -> None:
    (output,) = [node for node in net.graph.nodes if node.op == 'output']
    if not isinstance(output.args[0], fx.Node) or output.args[0] not in scale:
        raise ConversionError('the model must return one tensor that depends on a ReLU')
