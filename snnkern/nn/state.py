"""State that modules carry from call to call: a plain attribute, so that nobody else touches it.

As a buffer it would be saved in the state_dict, broadcast by DistributedDataParallel and cast by `.half()`.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ['Stateful', 'reset']


class Stateful(nn.Module):
    """A module with a state that outlives a call.

    state: [...], or [S, ...] of S variables, or None before the first call and after `reset()`. It follows the
    module from device to device, but keeps its dtype; copies and pickles of the module get their own, without its
    graph. Whoever runs forward again for backward, as torch.utils.checkpoint does, must `reset()` within what is run:
    else it starts where the first run ended. save_state: the state_dict holds it, too (key "state").
    """

    state: Tensor | None
    variables = 1

    def __init__(self, save_state: bool = False) -> None:
        super().__init__()
        self.state = None
        self.save_state = save_state
        self.loaded = False

    @property
    def v(self) -> Tensor | None:
        """The membrane potential [...], the first of the states; assigned, it is where the next call starts."""
        return self.state if self.state is None or self.variables == 1 else self.state[0]

    @v.setter
    def v(self, value: Tensor | None) -> None:
        if value is not None and not isinstance(value, Tensor):
            raise TypeError(f'v must be a tensor or None, got {type(value).__name__}')
        if value is not None and self.variables > 1:
            others = [torch.zeros_like(value)] * (self.variables - 1) if self.state is None else self.state[1:]
            value = torch.stack([value, *others])
        self.state = value

    def reset(self) -> None:
        """Forget the state: the next call starts anew, with any batch shape."""
        self.state = None

    def carried(self, x: Tensor) -> Tensor | None:
        """The state for an input [T, ...]. Raises ValueError if it comes from another shape or device."""
        state = self.state
        if state is None:
            return None
        kept = state.shape if self.variables == 1 else state.shape[1:]
        if kept != x.shape[1:]:
            got = tuple(x.shape[1:])
            raise ValueError(f'a step of x has shape {got}, the state of earlier calls {tuple(kept)}: reset() first')
        if self.loaded:  # where the checkpoint was, which says nothing
            self.state = state = state.to(x.device)
            self.loaded = False
        if state.device != x.device:
            raise ValueError(f'x is on {x.device}, the state of earlier calls on {state.device}: reset() first')
        if not torch.compiler.is_compiling() and state.is_inference() and not torch.is_inference_mode_enabled():
            return state.clone()  # autograd cannot save a tensor that was made in inference mode
        return state

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> 'Stateful':
        super()._apply(fn, recurse)
        if self.state is not None:
            # fn may also cast (`half`) or drop values (`to_empty`): only where it leads matters here.
            device = fn(self.state.new_empty(0)).device
            self.state = None if self.state.is_meta and device.type != 'meta' else self.state.to(device)
        return self

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        if self.save_state and self.state is not None:
            destination[f'{prefix}state'] = self.state if keep_vars else self.state.detach()

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        saved = state_dict.pop(f'{prefix}state', None) if self.save_state else None
        super()._load_from_state_dict(state_dict, prefix, *rest)
        if self.save_state:
            self.state = None if saved is None else saved.detach().clone()
            self.loaded = True

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles take: tensors of earlier calls without their graph, in memory of their own."""
        kept = {k: v.detach().clone() for k, v in self.__dict__.items() if isinstance(v, Tensor)}
        return {**self.__dict__, **kept}


def reset(model: nn.Module) -> None:
    """Reset every neuron in a model, in place: before the next, unrelated sequence.

    Example: `for x, y in loader: snnkern.nn.reset(net); loss(net(x), y).backward()`.
    """
    for module in model.modules():
        if isinstance(module, Stateful):
            module.reset()
