"""A model as a torch.fx graph, and what stands in it: tracing, words for calls, calls that do nothing."""

import copy
import linecache
import traceback
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

PASSING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
DROPOUTS = {F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout}
MAX_POOLS = {F.max_pool2d, torch.max_pool2d}
LIBRARIES = (str(Path(torch.__file__).parent), str(Path(__file__).parent), '<')


class ConversionError(ValueError):
    """A model cannot be converted; the message names the call, its place, and what can be done."""


class Tracer(fx.Tracer):
    """torch.fx's tracer, with modules that stay one call: those of these names, and `whole` ones."""

    def __init__(self, leaves: Collection[str], whole: Collection[nn.Module]) -> None:
        super().__init__()
        self.leaves = leaves
        self.whole = whole

    def is_leaf_module(self, m: nn.Module, name: str) -> bool:
        return name in self.leaves or m in self.whole or super().is_leaf_module(m, name)


def trace(
    model: nn.Module, leaves: Collection[str] = (), whole: Callable[[nn.Module], bool] = lambda m: False
) -> fx.GraphModule:
    """A copy of `model` in eval mode as a graph, without Dropout and Identity.

    leaves: names of modules that stay one call; whole: says which others do. Raises ConversionError, naming the
    line, if torch.fx cannot trace the model, and for a leaf that is not there.
    """
    missing = [name for name in leaves if name not in dict(model.named_modules())]
    if missing:
        raise ConversionError(f'{type(model).__name__} has no module named {missing[0]!r}')
    twin = copy.deepcopy(model).eval().requires_grad_(False)
    kept = {module for module in twin.modules() if whole(module)}  # in a trace, their parameters have no values
    try:
        net = fx.GraphModule(twin, Tracer(leaves, kept).trace(twin))
    except Exception as error:  # a traced forward may raise anything
        raise ConversionError(
            f'torch.fx cannot trace {type(model).__name__}{_place(error)}: {error}. A forward must not branch on '
            "values; convert(..., modules='auto') replaces modules without a trace, and leaves=(name,) keeps one whole"
        ) from error
    _drop_passing(net)
    return net


def _place(error: Exception) -> str:
    """The last line of the model's own code that an error came through, in words."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(LIBRARIES)]
    if not frames:
        return ''
    last = frames[-1]
    line = last.line or linecache.getline(last.filename, last.lineno or 0).strip()
    return f' at {last.filename}, line {last.lineno}: `{line}`'


def _drop_passing(net: fx.GraphModule) -> None:
    """Remove calls that hand on their input: dropout in eval mode, identities, contiguous."""
    for node in list(net.graph.nodes):
        known = node.target in DROPOUTS or (node.op == 'call_method' and node.target in ('contiguous', 'detach'))
        if known or isinstance(module_of(net, node), PASSING) or _stochastic_depth(node):
            node.replace_all_uses_with(source(node))
            net.graph.erase_node(node)
    net.delete_all_unused_submodules()
    net.recompile()


def _stochastic_depth(node: fx.Node) -> bool:
    return node.op == 'call_function' and getattr(node.target, '__name__', '') == 'stochastic_depth'


def module_of(net: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """The module that a node calls, or None if it calls none."""
    return net.get_submodule(str(node.target)) if node.op == 'call_module' else None


def source(node: fx.Node) -> fx.Node:
    """The first tensor argument of a call."""
    first = node.args[0] if node.args else next(iter(node.kwargs.values()))
    assert isinstance(first, fx.Node)
    return first


def argument(node: fx.Node, place: int, name: str, default: Any) -> Any:
    """An argument of a call by place or name."""
    return node.args[place] if len(node.args) > place else node.kwargs.get(name, default)


def rank(node: fx.Node) -> int | None:
    """How many dimensions a node's value has, if a calibration run has left word."""
    shape = node.meta.get('shape')
    return None if shape is None else len(shape)


def max_pool(net: fx.GraphModule, node: fx.Node) -> nn.MaxPool2d | None:
    """The max-pool of a node as a module, or None if it is none."""
    if node.op == 'call_module':
        found = module_of(net, node)
        return found if isinstance(found, nn.MaxPool2d) else None
    named = node.target in MAX_POOLS or getattr(node.target, '__name__', '') == 'boolean_dispatch'
    if node.op != 'call_function' or not named:
        return None
    kernel, stride, padding, dilation, ceil, indices = (
        argument(node, i + 1, name, default)
        for i, (name, default) in enumerate(
            (
                ('kernel_size', None),
                ('stride', None),
                ('padding', 0),
                ('dilation', 1),
                ('ceil_mode', False),
                ('return_indices', False),
            )
        )
    )
    return nn.MaxPool2d(kernel, stride or None, padding, dilation, indices, ceil)


def describe(net: fx.GraphModule, node: fx.Node) -> str:
    """A node in words, for messages: "module features.3 (GELU)" or "call softmax (node softmax_1)"."""
    if node.op == 'call_module':
        return f'module {node.target} ({type(module_of(net, node)).__name__})'
    name = node.target if isinstance(node.target, str) else getattr(node.target, '__name__', str(node.target))
    return f'call {name} (node {node.name})'
