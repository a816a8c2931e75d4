"""Which calls between neurons may stay as they are, and which must see the mean over time.

A layer that is affine in its input may stay: the mean of its outputs over time is its output for the mean input.
Anything else (softmax, sigmoid, a product of two signals) stays analogue and reads the running mean (`Analogue`).
Time is folded into the batch, so nothing may work on dimension 0: `probe` has found out what does.
"""

from collections.abc import Collection
from typing import Any

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from snnkern.convert import fold, graph
from snnkern.convert.graph import ConversionError

AFFINE_MODULES = (
    *fold.CONVS,
    *fold.TRANSPOSED,
    *(nn.Linear, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.Flatten, nn.Unflatten, nn.Unfold, nn.Fold),
    *(nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d, nn.PixelShuffle, nn.PixelUnshuffle),
    *(nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d),
    *(nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d, nn.CircularPad1d, nn.CircularPad2d),
    *(nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d, nn.ChannelShuffle),
)


def names(*lines: str) -> frozenset[str]:
    """The words of some lines."""
    return frozenset(' '.join(lines).split())


COPYING_PADS = (nn.ReplicationPad2d, nn.ReflectionPad2d, nn.CircularPad2d, nn.ZeroPad2d)

# Affine in their first argument; the others must not vary.
LAYERS = names(
    'conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear batch_norm masked_fill',
)
AFFINE_NAMES = names(
    'add sub subtract rsub neg negative cat concat concatenate stack hstack flatten unflatten ravel reshape view',
    'permute transpose swapaxes swapdims movedim moveaxis squeeze unsqueeze chunk split tensor_split narrow select',
    'contiguous index_select getitem getattr mean sum cumsum expand expand_as repeat repeat_interleave tile roll',
    'flip clone pad interpolate upsample avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d',
    'adaptive_avg_pool3d pixel_shuffle pixel_unshuffle channel_shuffle unfold fold float double half bfloat16 to',
    'type type_as view_as reshape_as unbind tril triu zeros_like ones_like full_like new_zeros new_ones new_full',
)
PRODUCTS = names('mul matmul bmm baddbmm multiply einsum')  # affine if one factor is constant
QUOTIENTS = names('div truediv divide true_divide')  # affine if the divisor is constant
ANALOGUE_NAMES = names(
    'softmax log_softmax softmin sigmoid logsigmoid tanh gelu silu elu selu celu hardswish hardsigmoid softplus mish',
    'prelu rrelu leaky_relu relu6 hardtanh threshold hardshrink softshrink tanhshrink softsign glu clamp clamp_min',
    'clamp_max clip layer_norm rms_norm group_norm instance_norm normalize local_response_norm max_pool1d max_pool2d',
    'max_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d lp_pool2d max min amax amin maximum',
    'minimum exp log log1p sqrt rsqrt reciprocal pow square abs sign erf sin cos logsumexp norm std var where',
    'cosine_similarity scaled_dot_product_attention',
)
ANALOGUE_MODULES = (
    *(
        nn.Softmax,
        nn.LogSoftmax,
        nn.Softmax2d,
        nn.Softmin,
        nn.Sigmoid,
        nn.LogSigmoid,
        nn.Tanh,
        nn.GELU,
        nn.SiLU,
        nn.ELU,
    ),
    *(nn.SELU, nn.CELU, nn.Hardswish, nn.Hardsigmoid, nn.Softplus, nn.Mish, nn.PReLU, nn.Hardtanh, nn.LeakyReLU),
    *(nn.RReLU, nn.Threshold, nn.Hardshrink, nn.Softshrink, nn.Tanhshrink, nn.Softsign, nn.GLU),
    *(nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d),
    *(nn.LocalResponseNorm, nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.LPPool2d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d, nn.MultiheadAttention),
)
SUPPORTED = (
    'between neurons snnkern keeps convolutions, Linear, BatchNorm, average pools, shapes, interpolation, additions '
    'and concatenations, and computes softmax, sigmoid, products and the like on the running mean; '
    'leaves=(name,) keeps a whole module that way'
)


def name_of(node: fx.Node) -> str:
    """The name of the function or method that a node calls; nothing for functions that are not torch's or Python's."""
    target: Any = node.target
    if isinstance(target, str):
        return target
    home = getattr(target, '__module__', None) or 'torch'
    known = home.partition('.')[0] in ('torch', '_operator', 'operator', 'builtins')
    return getattr(target, '__name__', '').lstrip('_') if known else ''


def is_affine(net: fx.GraphModule, node: fx.Node, timed: Collection[fx.Node], leaves: Collection[str]) -> bool:
    """Whether a call may stay as it is (True) or must read the running mean (False).

    timed: nodes that vary in time. leaves: modules that the caller keeps analogue. Raises ConversionError for a
    call that is neither known as affine nor as free of the batch.
    """
    if node.op == 'call_module':
        return _module(net, node, leaves)
    name = name_of(node)
    varying = [before for before in node.all_input_nodes if before in timed and before.meta['tensor']]
    if name == 'batch_norm' and graph.argument(node, 5, 'training', False):
        raise ConversionError(f'{graph.where(net, node)} has no running statistics, so it mixes the batch')
    if name in AFFINE_NAMES or (name in LAYERS and varying == [graph.source(node)]):
        if node.target is not getattr or node.args[1] in ('data', 'mT', 'values') or not varying:
            return True
    if name in PRODUCTS and len(varying) == 1:
        return node.args.count(varying[0]) < 2  # x * x
    if name in QUOTIENTS and varying == [node.args[0]] and node.args.count(varying[0]) < 2:
        return node.kwargs.get('rounding_mode') is None
    if name in PRODUCTS | QUOTIENTS | ANALOGUE_NAMES:
        return False
    raise ConversionError(f'cannot convert {graph.where(net, node)}: {SUPPORTED}')


def _module(net: fx.GraphModule, node: fx.Node, leaves: Collection[str]) -> bool:
    if str(node.target) in leaves:
        return False
    found = graph.module_of(net, node)
    kind = None if found is None else graph.kind_of(found)
    if isinstance(found, _BatchNorm):
        if found.running_mean is None:
            raise ConversionError(f'{graph.where(net, node)} has no running statistics, so it mixes the batch')
        return True
    if kind in AFFINE_MODULES:
        return True
    if kind in ANALOGUE_MODULES:
        return False
    raise ConversionError(f'cannot convert {graph.where(net, node)}: {SUPPORTED}')


def keeps_counts(net: fx.GraphModule, node: fx.Node) -> bool:
    """Whether a call copies the values of each channel, or sets 0 beside them, so that spikes stay whole numbers."""
    module: Any = graph.module_of(net, node)
    if module is not None:
        constant = graph.kind_of(module) is nn.ConstantPad2d and module.value == 0
        return constant or graph.kind_of(module) in COPYING_PADS
    if name_of(node) != 'pad' or len(graph.argument(node, 1, 'pad', ())) > 4:
        return False
    return graph.argument(node, 2, 'mode', 'constant') != 'constant' or not graph.argument(node, 3, 'value', None)


def mixes(net: fx.GraphModule, node: fx.Node) -> ConversionError:
    """The error for a call whose value does not follow the batch."""
    tensor = 'works on dimension 0, which holds time and batch, or is random'
    what = tensor if node.meta['tensor'] else 'computes with the batch size'
    return ConversionError(f'{graph.where(net, node)} {what}: each input must be treated alone')
