"""What neurons need not compute and what they can: biases go to the layers before, sums come from them."""

import copy

import torch
from torch import fx, nn

from snnkern.convert import graph
from snnkern.convert.affine import name_of
from snnkern.convert.fold import channels_are_features, takes
from snnkern.convert.layers import Spiking


def absorb_biases(net: fx.GraphModule) -> None:
    """Let the layer with weights that feeds a neuron alone, or through a sum, add the bias of the neuron.

    A neuron without numbers per channel runs in a faster loop. Such a layer gets a bias of its own even if there is
    none to add: what a file restores must not depend on numbers.
    """
    for node in net.graph.nodes:
        neuron = graph.module_of(net, node)
        feeder = _feeder(net, node) if type(neuron) is Spiking else None
        if feeder is None:
            continue
        assert isinstance(neuron, Spiking)
        layer = copy.copy(graph.module_of(net, feeder))
        assert layer is not None
        layer._parameters = {**layer._parameters}  # other calls of the layer keep theirs
        coefficients = neuron.coefficients
        more = coefficients.pop('c', None)
        old = layer.bias if isinstance(layer.bias, torch.Tensor) else _zeros(layer)
        layer.bias = nn.Parameter(old if more is None else (old + more).to(old.dtype), requires_grad=False)
        name = str(feeder.target)
        if sum(n.op == 'call_module' and n.target == name for n in net.graph.nodes) > 1:
            name = f'biased_{feeder.name}'
        net.add_submodule(name, layer)
        feeder.target = name
        neuron.set(neuron.neuron, coefficients, neuron.get_buffer('v0'))
    net.delete_all_unused_submodules()
    net.recompile()


def fuse_sums(net: fx.GraphModule) -> None:
    """Give a neuron that is the only reader of a sum a + b both of its parts (`Spiking.forward(x, residual)`).

    A shortcut then costs one pass less over memory, and spikes stay the same to the bit: v + (a + b) either way.
    Layers derived from Spiking keep the sum.
    """
    for node in list(net.graph.nodes):
        layer = graph.module_of(net, node)
        if type(layer) is not Spiking or layer.constant_input:
            continue
        total = graph.source(node)
        if len(total.users) == 1 and _is_sum(total):
            node.args = total.args
            net.graph.erase_node(total)
    net.recompile()


def _feeder(net: fx.GraphModule, neuron: fx.Node) -> fx.Node | None:
    """The layer whose outputs only this neuron reads."""
    node = graph.source(neuron)
    parts = node.args if len(node.users) == 1 and _is_sum(node) else (node,)
    for part in parts:
        if isinstance(part, fx.Node) and len(part.users) == 1 and takes(net, part) and channels_are_features(net, part):
            return part
    return None


def _is_sum(node: fx.Node) -> bool:
    """Whether a node is a + b of two tensors of one shape."""
    if node.op not in ('call_function', 'call_method') or name_of(node) != 'add' or node.kwargs or len(node.args) != 2:
        return False
    parts = [a.meta for a in node.args if isinstance(a, fx.Node)]
    shapes = [meta.get('shape') for meta in parts if meta.get('batch')]  # what is the same for any batch has no time
    return len(shapes) == 2 and shapes[0] is not None and shapes[0] == shapes[1]


def _zeros(layer: nn.Module) -> torch.Tensor:
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    return weight.new_zeros(layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels)  # type: ignore[arg-type]
