"""Calls that overwrite their input, as calls that do not: what runs once, or later than it stood, must not be lost."""

import operator
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, fx
from torch.nn import functional as F

from snnkern.convert import graph
from snnkern.convert.affine import names
from snnkern.convert.graph import ConversionError

OPERATORS = {
    getattr(operator, f'i{name}'): getattr(operator, name) for name in ('add', 'sub', 'mul', 'matmul', 'truediv', 'pow')
}
VIEWS = names(
    'view view_as reshape flatten unflatten getitem transpose permute chunk split narrow select squeeze unsqueeze',
    'expand expand_as unbind movedim swapaxes swapdims getattr Flatten Unflatten',
)


def out_of_place(net: fx.GraphModule) -> None:
    """Let every call that overwrites its input make a new tensor, which later readers of the input get.

    Raises ConversionError where a view of the same tensor is read later, and for writes that have no such form.
    """
    order = {node: i for i, node in enumerate(net.graph.nodes)}
    for node in list(net.graph.nodes):
        if node.kwargs.get('out') is not None:
            raise ConversionError(f'{graph.where(net, node)} writes into out=, which time steps would share')
        if not _overwrites(net, node):
            continue
        before = graph.source(node)
        later = {user for user in before.users if order[user] > order[node]}
        for alias in _aliases(net, before):
            if alias is not before and any(order[user] > order[node] and user is not node for user in alias.users):
                raise ConversionError(f'{graph.where(net, node)} overwrites a tensor that is read later through a view')
        before.replace_all_uses_with(node, delete_user_cb=later.__contains__)
        _make_plain(net, node)
    net.recompile()


def _overwrites(net: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == 'call_module':
        return getattr(graph.module_of(net, node), 'inplace', False) is True
    if node.op not in ('call_function', 'call_method'):
        return False
    name = node.target if isinstance(node.target, str) else getattr(node.target, '__name__', '')
    named = name.endswith('_') and not name.endswith('__')
    return named or node.target in OPERATORS or node.kwargs.get('inplace') is True


def _aliases(net: fx.GraphModule, node: fx.Node) -> Iterable[fx.Node]:
    """All views of the tensor that a node views, itself included."""
    while _is_view(net, node):
        node = graph.source(node)
    found = {node: None}
    for alias in net.graph.nodes:
        if alias not in found and _is_view(net, alias) and graph.source(alias) in found:
            found[alias] = None
    return found


def _is_view(net: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == 'call_module':
        return type(graph.module_of(net, node)).__name__ in VIEWS
    if node.op not in ('call_function', 'call_method') or not node.all_input_nodes:
        return False
    # Sizes are no views: `getattr` counts as one only of tensors, which shapes are not.
    sizes = node.target is getattr and node.args[1] not in ('data', 'T', 'mT')
    name = node.target if isinstance(node.target, str) else getattr(node.target, '__name__', '')
    return name in VIEWS and not sizes


def _make_plain(net: fx.GraphModule, node: fx.Node) -> None:
    """The same call without the overwriting."""
    if node.op == 'call_module':
        module: Any = graph.module_of(net, node)
        module.inplace = False
        return
    node.kwargs = {name: value for name, value in node.kwargs.items() if name != 'inplace'}
    target: Any = node.target
    name = target if isinstance(target, str) else getattr(target, '__name__', '')
    if target in OPERATORS:
        node.target = OPERATORS[target]
    elif name.endswith('_'):
        plain = name[:-1]
        owner = Tensor if node.op == 'call_method' else next((o for o in (torch, F) if hasattr(o, plain)), None)
        if owner is None or not hasattr(owner, plain):
            raise ConversionError(f'{graph.where(net, node)} writes in place and has no form that does not')
        node.target = plain if node.op == 'call_method' else getattr(owner, plain)
