"""What stands in a model's torch.fx graph: tracing, BatchNorm folding, and which calls can be converted.

A layer may stay between neurons if it is affine in its input: then the mean of its output over time is its
output for the mean input, and spikes can take the place of activations.
"""

import copy
import operator
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
PASSING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
AFFINE_MODULES = (
    *CONVS,
    *PASSING,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
    nn.Linear,
    nn.BatchNorm1d,
    nn.BatchNorm2d,
    nn.BatchNorm3d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
    nn.Flatten,
    nn.Upsample,
    nn.ZeroPad2d,
)
AFFINE_FUNCTIONS = frozenset(
    {
        operator.add,
        operator.iadd,
        operator.getitem,
        getattr,
        torch.add,
        torch.cat,
        torch.flatten,
        F.avg_pool2d,
        F.adaptive_avg_pool2d,
        F.dropout,
    }
)
AFFINE_METHODS = frozenset({'add', 'add_', 'contiguous', 'flatten', 'reshape', 'size', 'view'})
RELU_FUNCTIONS = frozenset({F.relu, F.relu_, torch.relu, torch.relu_})
MAX_POOL_FUNCTIONS = frozenset({F.max_pool2d, torch.max_pool2d})
SUPPORTED = (
    'between neurons snnkern converts ReLU and MaxPool2d and keeps convolutions, Linear, BatchNorm, average '
    'pools, Flatten, Dropout, Upsample, additions and concatenations'
)


class ConversionError(ValueError):
    """A model cannot be converted; the message names the call and what is supported."""


def trace(model: nn.Module) -> fx.GraphModule:
    """A copy of `model` in eval mode as a graph. Raises ConversionError if torch.fx cannot trace it."""
    twin = copy.deepcopy(model).eval().requires_grad_(False)
    try:
        return fx.symbolic_trace(twin)
    except Exception as error:  # a traced forward may raise anything
        raise ConversionError(
            f'torch.fx cannot trace {type(model).__name__}, whose forward must not branch on values: {error}'
        ) from error


def module_of(net: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """The module that a node calls, or None if it calls none."""
    return net.get_submodule(str(node.target)) if node.op == 'call_module' else None


def source(node: fx.Node) -> fx.Node:
    """The first tensor argument of a call."""
    first = node.args[0] if node.args else node.kwargs['input']
    assert isinstance(first, fx.Node)
    return first


def fold_batch_norm(net: fx.GraphModule) -> None:
    """Fold each BatchNorm into the convolution right in front of it, call by call.

    Elsewhere it stays: in eval mode BatchNorm is affine. (Behind a Linear it normalises the features only if the
    input is 2-D, which a graph does not tell.)
    """
    for node in list(net.graph.nodes):
        norm = module_of(net, node)
        if not isinstance(norm, _BatchNorm) or norm.running_mean is None:
            continue
        before = source(node)
        layer = module_of(net, before)
        if not isinstance(layer, CONVS) or len(before.users) > 1:
            continue
        name = f'folded_{node.name}'
        net.add_submodule(name, fuse_conv_bn_eval(layer, norm))
        before.target = name
        node.replace_all_uses_with(before)
        net.graph.erase_node(node)
    net.delete_all_unused_submodules()
    net.recompile()


def is_relu(net: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node is a ReLU in any spelling."""
    if node.op == 'call_module':
        return type(module_of(net, node)) is nn.ReLU
    return node.target in (RELU_FUNCTIONS if node.op == 'call_function' else ('relu', 'relu_'))


def in_place(net: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a ReLU overwrites its input."""
    if node.op == 'call_module':
        return bool(getattr(module_of(net, node), 'inplace', False))
    return node.target in (F.relu_, torch.relu_, 'relu_') or bool(node.kwargs.get('inplace', False))


def max_pool(net: fx.GraphModule, node: fx.Node) -> nn.MaxPool2d | None:
    """The max-pool of a node as a module, or None if it is none."""
    if node.op == 'call_module':
        found = module_of(net, node)
        return found if isinstance(found, nn.MaxPool2d) else None
    if node.op == 'call_function' and node.target in MAX_POOL_FUNCTIONS:
        args: Any = node.args
        kwargs: Any = node.kwargs
        return _pool_module(*args, **kwargs)
    return None


def _pool_module(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> nn.MaxPool2d:
    """The arguments of F.max_pool2d as a module."""
    return nn.MaxPool2d(kernel_size, stride or None, padding, dilation, return_indices, ceil_mode)


def passes_spikes(net: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a node hands on its input unchanged."""
    if node.op == 'call_module':
        return isinstance(module_of(net, node), PASSING)
    return node.target in (F.dropout, 'contiguous')


def is_size(node: fx.Node) -> bool:
    """Whether a node is (part of) the size of a tensor."""
    return node.target in ('size', getattr, operator.getitem)


def describe(net: fx.GraphModule, node: fx.Node) -> str:
    """A node in words, for messages: "module features.3 (GELU)" or "call softmax (node softmax_1)"."""
    if node.op == 'call_module':
        return f'module {node.target} ({type(module_of(net, node)).__name__})'
    name = node.target if isinstance(node.target, str) else getattr(node.target, '__name__', str(node.target))
    return f'call {name} (node {node.name})'


def check_affine(net: fx.GraphModule, node: fx.Node) -> None:
    """Raise ConversionError unless this call may stand between neurons."""
    found = module_of(net, node)
    if isinstance(found, _BatchNorm) and found.running_mean is None:
        raise ConversionError(f'{describe(net, node)} has no running statistics, so it is not affine')
    if node.op == 'call_module':
        known = type(found) in AFFINE_MODULES
    elif node.op == 'call_function':
        known = node.target in AFFINE_FUNCTIONS
    else:
        known = node.op == 'output' or node.target in AFFINE_METHODS
    if not known:
        raise ConversionError(f'cannot convert {describe(net, node)}: {SUPPORTED}')
    if node.target in (torch.cat, torch.flatten, 'flatten') and _dim(node) == 0:
        raise ConversionError(f'{describe(net, node)} works on dimension 0, which holds time and batch')


def _dim(node: fx.Node) -> object:
    """The dimension argument of cat or flatten."""
    if len(node.args) > 1:
        return node.args[1]
    return node.kwargs.get('dim', node.kwargs.get('start_dim', 0))
