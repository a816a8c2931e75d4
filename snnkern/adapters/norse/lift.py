"""Norse's `Lift`: a lifted module gets all steps at once where it treats each sample and each step alone."""

from typing import Any

import torch
from norse.torch.module import lift, sequential
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from snnkern.adapters._fused import Fused
from snnkern.adapters.norse.base import Cell

# Modules that treat each sample alone, with the fewest dimensions of an input that has a batch.
LEAST: dict[type, int] = {
    **{
        getattr(nn, f'{name}{n}d'): n + 2
        for name in ('Conv', 'ConvTranspose', 'MaxPool', 'AvgPool', 'AdaptiveMaxPool', 'AdaptiveAvgPool', 'Dropout')
        for n in (1, 2, 3)
    },
    **dict.fromkeys((nn.BatchNorm2d, nn.ZeroPad2d, nn.PixelShuffle, nn.Upsample), 4),
    nn.BatchNorm3d: 5,
    **dict.fromkeys((nn.BatchNorm1d, nn.GroupNorm, nn.LayerNorm, nn.Linear, nn.Flatten, nn.Identity, nn.Dropout), 2),
    **dict.fromkeys(
        (nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU, nn.ELU, nn.Sigmoid, nn.Tanh, nn.Hardtanh, nn.Softplus), 2
    ),
}


def original(module: nn.Module) -> type:
    return module.original() if isinstance(module, Fused) else type(module)


def watched(module: nn.Module) -> bool:
    """Whether a hook sees what the module is called with."""
    hooks = '_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks'
    return any(getattr(m, name) for m in module.modules() for name in hooks)


def least(module: nn.Module) -> int | None:
    """The fewest dimensions of a step that has a batch, if steps may be a part of it; None: they may not."""
    kind = original(module)
    if kind is nn.Sequential:
        found = [least(m) for m in module.children()]
        return None if None in found else max((n for n in found if n), default=2)
    by_batch = isinstance(module, _BatchNorm) and (module.training or module.running_mean is None)
    at_random = isinstance(module, _DropoutNd) and module.training
    moved = isinstance(module, nn.Flatten) and module.start_dim < 1
    return None if by_batch or at_random or moved else LEAST.get(kind)


def reason(module: Any, stateful: bool) -> str | None:
    """Why a lifted module gets its steps one by one; None: it does not."""
    name = original(module).__name__
    if watched(module):
        return f'a hook of {name} sees single steps'
    if not stateful:
        return None if least(module) else f'{name} may treat steps together otherwise than alone'
    if isinstance(module, Cell):
        why = module.refusal()
        return f'{name}: {why}' if why else None
    if type(module) is not sequential.SequentialState or module.return_hidden:
        return f'{name} is left as it is'
    for layer, has_state in zip(module.children(), module.stateful_layers, strict=True):
        # Steps one after another are what a BatchNorm in training sees, whatever happens between them.
        if (why := reason(layer, has_state)) and not isinstance(layer, _BatchNorm):
            return why
    return None


def each(module: nn.Module, x: Tensor) -> Tensor:
    """What a stateless module gives for each step of x [T, B, ...]."""
    dims = least(module)
    if dims is None or x.dim() <= dims:
        return torch.stack([module(x_t) for x_t in x])
    return module(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def all_steps(module: Any, x: Tensor, state: Any) -> tuple[Tensor, Any]:
    """What a stateful module gives for each step of x [T, ...], and its last state."""
    if isinstance(module, Cell):
        return module.all_steps(x, state) or loop(module, x, state)
    state = [None] * len(module) if state is None else state
    for index, layer in enumerate(module):
        if module.stateful_layers[index]:
            x, state[index] = all_steps(layer, x, state[index])
        else:
            x = each(layer, x)
    return x, state


def loop(module: nn.Module, x: Tensor, state: Any) -> tuple[Tensor, Any]:
    """What Norse does."""
    outputs = []
    for x_t in x:
        out, state = module(x_t, state)
        outputs.append(out)
    return torch.stack(outputs), state


class Lift(Fused, lift.Lift):
    def refusal(self) -> str | None:
        return reason(self.lifted_module, self.is_stateful)

    def forward(self, x: Any) -> Any:
        given, state = x if isinstance(x, tuple) else (x, None)
        if self.refusal() or not isinstance(given, Tensor) or not len(given):
            return self.original().forward(self, x)
        return all_steps(self.lifted_module, given, state) if self.is_stateful else each(self.lifted_module, given)

    def described(self) -> str:
        return 'gets all steps at once'
