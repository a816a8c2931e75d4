"""A model as a torch.fx graph, and what stands in it: tracing, words for calls, calls that do nothing."""

import copy
import inspect
import linecache
import operator
import re
import traceback
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

PASSING = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
DROPOUTS = {F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout}
HANDING_ON = {'detach', 'detach_', 'requires_grad_'}
MAX_POOLS = {F.max_pool2d, torch.max_pool2d}
MAX_POOL_ARGUMENTS = (
    *(('kernel_size', None), ('stride', None), ('padding', 0), ('dilation', 1), ('ceil_mode', False)),
    ('return_indices', False),
)
HERE = str(Path(__file__).parent)
LIBRARIES = (str(Path(torch.__file__).parent), HERE, '<')


class ConversionError(ValueError):
    """A model cannot be converted; the message names the call, its place, and what can be done."""


class Tracer(fx.Tracer):
    """torch.fx's tracer, with modules that stay one call: by name, or by what `whole` says of them.

    Calls know the line that they stand in.
    """

    def __init__(self, leaves: Collection[str], whole: Collection[nn.Module]) -> None:
        super().__init__()
        self.record_stack_traces = True
        self.leaves = leaves
        self.whole = whole

    def is_leaf_module(self, m: nn.Module, name: str) -> bool:
        return name in self.leaves or m in self.whole or super().is_leaf_module(m, name) or kind_of(m) is not None


def trace(
    model: nn.Module, leaves: Collection[str] = (), whole: Callable[[nn.Module], bool] = lambda m: False
) -> fx.GraphModule:
    """A copy of `model` in eval mode as a graph, without Dropout and Identity.

    leaves: names of modules that stay one call; whole: says which others do. Arguments of forward that have a
    default keep it. Raises ConversionError, naming the line, if torch.fx cannot trace the model, and for a leaf
    that is not there.
    """
    check_names(model, leaves)
    twin = frozen_copy(model)
    kept = {module for module in twin.modules() if whole(module)}  # in a trace, their parameters have no values
    try:
        net = fx.GraphModule(twin, Tracer(leaves, kept).trace(twin, _defaults(twin)))
    except Exception as error:  # a traced forward may raise anything
        raise ConversionError(
            f'torch.fx cannot trace {type(model).__name__}{_place(error)}: {error}. A forward must not branch on '
            "values; convert(..., modules='auto') replaces modules without a trace, and leaves=(name,) keeps one whole"
        ) from error
    _drop_defaults(net)
    _drop_passing(net)
    return net


def check_names(model: nn.Module, names: Collection[str]) -> None:
    """Raise ConversionError for a name that no module of the model has."""
    if isinstance(names, str):
        raise ConversionError(f'names of modules must be a collection such as ({names!r},), got the string {names!r}')
    known = {name for name, _ in model.named_modules(remove_duplicate=False)}
    missing = [name for name in names if name not in known]
    if missing:
        raise ConversionError(f'{type(model).__name__} has no module named {missing[0]!r}')


def frozen_copy(model: nn.Module) -> nn.Module:
    """A copy in eval mode without gradients, whose parametrised weights (weight_norm and the like) are plain ones."""
    values = [value for module in model.modules() for value in vars(module).values()]
    # deepcopy refuses tensors with a history, which hooks that compute weights leave.
    known = {id(value): value.detach().clone() for value in values if isinstance(value, Tensor) and not value.is_leaf}
    twin = copy.deepcopy(model, known).eval().requires_grad_(False)
    for module in list(twin.modules()):
        if parametrize.is_parametrized(module):
            _bake(module)
    return twin


def _bake(module: nn.Module) -> None:
    """Make parametrised weights plain ones; torch's own remover would change the class that the original shares."""
    weights = {name: getattr(module, name).detach() for name in module.get_submodule('parametrizations')._modules}
    module.__class__ = type(module).__bases__[0]
    del module._modules['parametrizations']
    for name, value in weights.items():
        module.register_parameter(name, nn.Parameter(value, requires_grad=False))


def _defaults(model: nn.Module) -> dict[str, Any]:
    """The arguments of forward that are plain values unless somebody gives them."""
    known = inspect.signature(model.forward).parameters.items()
    return {k: p.default for k, p in known if p.default is None or isinstance(p.default, bool | int | float | str)}


def _drop_defaults(net: fx.GraphModule) -> None:
    """Remove the arguments that keep their default, and what the tracer asserts of them."""
    for node in reversed(net.graph.nodes):
        asserts = getattr(node.target, '__name__', '') in ('_assert', '_assert_is_none')
        if asserts or (not node.users and (node.target is operator.eq or (node.op == 'placeholder' and node.args))):
            net.graph.erase_node(node)


def _place(error: Exception) -> str:
    """The last line of the model's own code that an error came through, in words."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith(LIBRARIES)]
    if not frames:
        return ''
    last = frames[-1]
    line = last.line or linecache.getline(last.filename, last.lineno or 0).strip()
    return f' at {last.filename}, line {last.lineno}: `{line}`'


def _drop_passing(net: fx.GraphModule) -> None:
    """Remove calls that hand on their input: dropout in eval mode, identities, detach."""
    for node in list(net.graph.nodes):
        known = node.target in DROPOUTS or (node.op == 'call_method' and node.target in HANDING_ON)
        if known or isinstance(module_of(net, node), PASSING) or _stochastic_depth(node):
            node.replace_all_uses_with(source(node))
            net.graph.erase_node(node)
    net.delete_all_unused_submodules()
    net.recompile()


def _stochastic_depth(node: fx.Node) -> bool:
    return node.op == 'call_function' and getattr(node.target, '__name__', '') == 'stochastic_depth'


def kind_of(module: nn.Module) -> type[nn.Module] | None:
    """The class of torch.nn that a module is, or that its own class adds nothing to but a constructor; else None."""
    for kind in type(module).__mro__:
        if kind.__module__.startswith('torch.nn.'):
            return None if kind in (nn.Module, nn.Sequential) else kind
        own = {name for name, value in vars(kind).items() if callable(value) or isinstance(value, property)}
        if own - {'__init__', '__repr__', 'extra_repr'}:
            return None
    return None


def module_of(net: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """The module that a node calls, or None if it calls none."""
    return net.get_submodule(str(node.target)) if node.op == 'call_module' else None


def source(node: fx.Node) -> fx.Node:
    """The tensor that a call works on: its first argument, or the one named input."""
    first = node.args[0] if node.args else node.kwargs.get('input', next(iter(node.all_input_nodes)))
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
    if node.op != 'call_function' or node.target not in MAX_POOLS:
        return None
    given = (argument(node, i + 1, name, default) for i, (name, default) in enumerate(MAX_POOL_ARGUMENTS))
    kernel, stride, padding, dilation, ceil, indices = given
    return nn.MaxPool2d(kernel, stride or None, padding, dilation, indices, ceil)


def describe(net: fx.GraphModule, node: fx.Node) -> str:
    """A node in words, for messages: "module features.3 (GELU)" or "call softmax (node softmax_1)"."""
    if node.op == 'call_module':
        return f'module {node.target} ({type(module_of(net, node)).__name__})'
    name = node.target if isinstance(node.target, str) else getattr(node.target, '__name__', str(node.target))
    return f'call {name} (node {node.name})'


def where(net: fx.GraphModule, node: fx.Node) -> str:
    """A node in words with the line of the model that it stands in, if that is known."""
    frames = re.findall(r'File "(.+?)", line (\d+)', node.stack_trace or '')
    own = max((i for i, (path, _) in enumerate(frames) if path.startswith(HERE)), default=-1)
    lines = [(path, line) for path, line in frames[own + 1 :] if not path.startswith(LIBRARIES)]
    return describe(net, node) + (f' at {lines[-1][0]}, line {lines[-1][1]}' if lines else '')
