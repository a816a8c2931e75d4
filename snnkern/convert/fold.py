"""BatchNorm folded into the layer before or behind it: what runs at every step must not do it again."""

import copy

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from snnkern.convert.graph import module_of, rank, source

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
Layer = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d | nn.Linear


def fold_batch_norm(net: fx.GraphModule) -> None:
    """Fold each BatchNorm into the convolution, transposed convolution or Linear before it, else the one behind it.

    Any groups and dilation. Where neither can take it (another reader, padding behind a shift), it stays: in eval
    mode it is affine. Nodes must know their shapes (`Observing`), since behind a Linear only [B, C] is normalised
    by its features.
    """
    for node in list(net.graph.nodes):
        norm = module_of(net, node)
        if not isinstance(norm, _BatchNorm) or norm.running_mean is None:
            continue
        before = source(node)
        if takes(net, before) and len(before.users) == 1 and channels_are_features(net, before):
            _replace(net, before, _behind(module_of(net, before), *_line(norm)))
        elif (after := _reader(net, node)) is not None:
            _replace(net, after, _ahead(module_of(net, after), *_line(norm)))
        else:
            continue
        node.replace_all_uses_with(before)
        net.graph.erase_node(node)
    net.delete_all_unused_submodules()
    net.recompile()


def takes(net: fx.GraphModule, node: fx.Node) -> bool:
    layer = module_of(net, node)
    return isinstance(layer, (*CONVS, *TRANSPOSED, nn.Linear)) and not _hooked(layer)


def _hooked(layer: nn.Module) -> bool:
    """Whether hooks see its calls: they may make the weight anew."""
    return bool(layer._forward_pre_hooks or layer._forward_hooks)


def channels_are_features(net: fx.GraphModule, node: fx.Node) -> bool:
    return not isinstance(module_of(net, node), nn.Linear) or rank(node) == 2


def _reader(net: fx.GraphModule, node: fx.Node) -> fx.Node | None:
    """The only reader of a BatchNorm, if it can take the line in front of it: no padding would meet the shift."""
    if len(node.users) != 1:
        return None
    (after,) = node.users
    layer = module_of(net, after)
    if layer is None or _hooked(layer):
        return None
    if isinstance(layer, nn.Linear):
        return after if rank(node) == 2 else None
    unpadded = isinstance(layer, CONVS) and not isinstance(layer.padding, str) and not any(layer.padding)
    return after if unpadded else None


def _line(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """BatchNorm in eval mode as y = a * x + b, per channel."""
    mean, var = norm.running_mean, norm.running_var
    assert mean is not None
    assert var is not None
    gamma = torch.ones_like(mean) if norm.weight is None else norm.weight
    beta = torch.zeros_like(mean) if norm.bias is None else norm.bias
    a = gamma / (var + norm.eps).sqrt()
    return a, beta - mean * a


def _replace(net: fx.GraphModule, node: fx.Node, layer: nn.Module) -> None:
    """Let this one call use another layer; other calls of the old one stay as they are."""
    name = f'folded_{node.name}'
    net.add_submodule(name, layer)
    node.target = name


def _behind(layer: nn.Module | None, a: Tensor, b: Tensor) -> nn.Module:
    """The layer that computes a * layer(x) + b."""
    assert isinstance(layer, Layer)
    twin = copy.deepcopy(layer)
    weight, bias = layer.weight, layer.bias
    if isinstance(layer, TRANSPOSED):  # [in, out / groups, ...]: a group's outputs stand behind its inputs
        grouped = weight.unflatten(0, (layer.groups, -1)) * _over(
            a.unflatten(0, (layer.groups, -1)).unsqueeze(1), weight
        )
        twin.weight = _frozen(grouped.flatten(0, 1))
    else:
        twin.weight = _frozen(weight * a.view(-1, *[1] * (weight.dim() - 1)))
    twin.bias = _frozen(b if bias is None else a * bias + b)
    return twin


def _ahead(layer: nn.Module | None, a: Tensor, b: Tensor) -> nn.Module:
    """The layer that computes layer(a * x + b)."""
    assert isinstance(layer, Layer)
    twin = copy.deepcopy(layer)
    weight, bias = layer.weight, layer.bias
    groups = 1 if isinstance(layer, nn.Linear) else layer.groups
    grouped = weight.unflatten(0, (groups, -1))  # [groups, out / groups, in / groups, ...]
    a, b = (t.view(groups, 1, -1, *[1] * (weight.dim() - 2)) for t in (a, b))
    twin.weight = _frozen((grouped * a).flatten(0, 1))
    shift = (grouped * b).flatten(2).sum(2).flatten()
    twin.bias = _frozen(shift if bias is None else bias + shift)
    return twin


def _over(a: Tensor, weight: Tensor) -> Tensor:
    """a [groups, 1, out / groups] with the trailing dimensions of a transposed weight."""
    return a.view(*a.shape, *[1] * (weight.dim() - 2))


def _frozen(t: Tensor) -> nn.Parameter:
    return nn.Parameter(t.detach(), requires_grad=False)
