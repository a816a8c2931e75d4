"""Which calls between neurons may stay as they are, and which must see the mean over time.

A layer that is affine in its input may stay: the mean of its outputs over time is its output for the mean input.
Anything else (softmax, sigmoid, a product of two signals) stays analogue and reads the running mean (`Analogue`).
Time is folded into the batch, so nothing may work on dimension 0.
"""

import operator
from collections.abc import Collection
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from snnkern.convert import fold, graph
from snnkern.convert.graph import ConversionError

AFFINE_MODULES = (
    *fold.CONVS,
    *fold.TRANSPOSED,
    *(nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.Flatten, nn.Unflatten),
    *(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d, nn.PixelShuffle, nn.PixelUnshuffle),
    *(nn.ZeroPad1d, nn.ZeroPad2d, nn.ConstantPad1d, nn.ConstantPad2d, nn.ReflectionPad1d, nn.ReflectionPad2d),
    *(nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ChannelShuffle),
)
AFFINE_NAMES = frozenset(
    'add add_ iadd sub sub_ isub neg cat concat stack flatten unflatten reshape view permute transpose movedim squeeze '
    'unsqueeze chunk split narrow select getitem getattr size mean sum expand expand_as repeat_interleave clone pad '
    'interpolate upsample conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear batch_norm '
    'avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d pixel_shuffle '
    'pixel_unshuffle channel_shuffle float half bfloat16 to type_as view_as unbind'.split()
)
PRODUCTS = frozenset('mul mul_ imul matmul bmm multiply einsum'.split())  # affine if one factor is constant
QUOTIENTS = frozenset('div div_ truediv itruediv divide'.split())  # affine if the divisor is constant
ANALOGUE_NAMES = frozenset(
    'softmax log_softmax sigmoid logsigmoid tanh gelu silu elu selu celu hardswish hardsigmoid softplus mish prelu relu6 '
    'hardtanh clamp clip layer_norm group_norm instance_norm normalize local_response_norm max_pool1d max_pool2d '
    'max_pool3d adaptive_max_pool1d adaptive_max_pool2d amax amin maximum minimum exp log sqrt rsqrt pow square abs '
    'rms_norm scaled_dot_product_attention max_pool1d_with_indices max_pool2d_with_indices boolean_dispatch glu '
    'softsign'.split()
)
ANALOGUE_MODULES = (
    *(nn.Softmax, nn.LogSoftmax, nn.Softmax2d, nn.Sigmoid, nn.LogSigmoid, nn.Tanh, nn.GELU, nn.SiLU, nn.ELU, nn.SELU),
    *(nn.CELU, nn.Hardswish, nn.Hardsigmoid, nn.Softplus, nn.Mish, nn.PReLU, nn.Hardtanh, nn.LayerNorm, nn.GroupNorm),
    *(nn.InstanceNorm1d, nn.InstanceNorm2d, nn.LocalResponseNorm, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.RMSNorm, nn.Softsign, nn.GLU, nn.LeakyReLU, nn.RReLU),
)
# The dimension arguments of a call: place, name, default. None as a value means all dimensions.
DIMS: dict[str, tuple[tuple[int, str, Any], ...]] = {
    **dict.fromkeys(('cat', 'concat', 'stack', 'unbind'), ((1, 'dim', 0),)),
    **dict.fromkeys(('mean', 'sum', 'amax', 'amin', 'softmax', 'log_softmax', 'squeeze', 'unsqueeze'), ((1, 'dim', None),)),
    **dict.fromkeys(('flatten', 'unflatten'), ((1, 'start_dim', 0),)),
    **dict.fromkeys(('transpose', 'movedim'), ((1, 'dim0', None), (2, 'dim1', None))),
    **dict.fromkeys(('chunk', 'split'), ((2, 'dim', 0),)),
    **dict.fromkeys(('narrow', 'select', 'repeat_interleave'), ((1, 'dim', None),)),
}
SUPPORTED = (
    'between neurons snnkern keeps convolutions, Linear, BatchNorm, average pools, shapes, interpolation, additions and '
    'concatenations, and computes softmax, sigmoid, products and the like on the running mean; '
    'leaves=(name,) keeps a whole module that way'
)


def name_of(node: fx.Node) -> str:
    """The name of the function or method that a node calls."""
    target: Any = node.target
    if isinstance(target, str):
        return target
    return 'getitem' if target is operator.getitem else getattr(target, '__name__', str(target)).lstrip('_')


def is_affine(net: fx.GraphModule, node: fx.Node, timed: Collection[fx.Node], leaves: Collection[str]) -> bool:
    """Whether a call may stay as it is (True) or must read the running mean (False).

    timed: nodes that vary in time. leaves: modules that the caller keeps analogue. Raises ConversionError for a
    call that is neither known as affine nor as free of the batch.
    """
    if node.op == 'output' or not node.meta.get('tensor', True):
        return True
    _check_dimensions(net, node)
    if node.op == 'call_module':
        return _module(net, node, leaves)
    name = name_of(node)
    varying = sum(arg in timed for arg in node.all_input_nodes)
    if name in AFFINE_NAMES and not (name in ('linear', 'batch_norm') and varying > 1):
        return True
    if name in PRODUCTS and (varying == 1 or name == 'einsum'):
        return varying == 1
    if name in QUOTIENTS and varying == 1 and node.args[0] in timed:
        return True
    if name in PRODUCTS | QUOTIENTS | ANALOGUE_NAMES:
        return False
    raise ConversionError(f'cannot convert {graph.describe(net, node)}: {SUPPORTED}')


def _module(net: fx.GraphModule, node: fx.Node, leaves: Collection[str]) -> bool:
    found = graph.module_of(net, node)
    if str(node.target) in leaves:
        return False
    if isinstance(found, _BatchNorm):
        if found.running_mean is None:
            raise ConversionError(f'{graph.describe(net, node)} has no running statistics, so it mixes the batch')
        return True
    if type(found) in AFFINE_MODULES:
        if isinstance(found, nn.Flatten) and found.start_dim == 0:
            raise ConversionError(_on_dimension_0(net, node))
        return True
    batch_first = isinstance(found, nn.MultiheadAttention) and found.batch_first
    if type(found) in ANALOGUE_MODULES or batch_first:
        return False
    raise ConversionError(f'cannot convert {graph.describe(net, node)}: {SUPPORTED}')


def _on_dimension_0(net: fx.GraphModule, node: fx.Node) -> str:
    return f'{graph.describe(net, node)} works on dimension 0, which holds time and batch'


def _check_dimensions(net: fx.GraphModule, node: fx.Node) -> None:
    name = name_of(node)
    if node.op == 'call_module':
        return
    before = next(iter(node.all_input_nodes), node)
    rank = (graph.rank(before) or 1) + (name in ('stack', 'unsqueeze'))
    dims: list[Any] = [graph.argument(node, *place) for place in DIMS.get(name, ())]
    if name == 'permute':
        first = node.args[1] if len(node.args) > 1 else node.kwargs['dims']
        kept = first[0] if isinstance(first, tuple | list) else first
        if kept not in (0, -rank):
            raise ConversionError(_on_dimension_0(net, node))
    if name == 'getitem' and before.meta.get('tensor') and not isinstance(before.meta.get('shape'), type(None)):
        index = node.args[1]
        first = index[0] if isinstance(index, tuple) and index else index
        if first is not Ellipsis and first != slice(None):
            raise ConversionError(_on_dimension_0(net, node))
    for dim in dims:
        several = dim if isinstance(dim, tuple | list) else (dim,)
        if any(d is None or d in (0, -rank) for d in several):
            raise ConversionError(_on_dimension_0(net, node))
