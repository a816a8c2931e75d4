"""State that modules carry from call to call: a plain attribute, so that nobody else touches it.

As a buffer it would be saved in the state_dict, broadcast by DistributedDataParallel and cast by `.half()`.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ['Stateful', 'reset']


class Stateful(nn.Module):
    """A module with a membrane potential `v` that outlives a call.

    v: [...] without a graph, or None before the first call and after `reset()`. It follows the module from
    device to device, but keeps its dtype; copies and pickles of the module get their own.
    """

    v: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.v = None

    def reset(self) -> None:
        """Forget the potential: the next call starts anew, with any batch shape."""
        self.v = None

    def carried(self, x: Tensor) -> Tensor | None:
        """The potential for an input [T, ...]. Raises ValueError if it comes from another shape or device."""
        v = self.v
        if v is None:
            return None
        if v.shape != x.shape[1:]:
            got, kept = tuple(x.shape[1:]), tuple(v.shape)
            raise ValueError(f'a step of x has shape {got}, the state of earlier calls {kept}: reset() first')
        if v.device != x.device:
            raise ValueError(f'x is on {x.device}, the state of earlier calls on {v.device}: reset() first')
        if not torch.compiler.is_compiling() and v.is_inference() and not torch.is_inference_mode_enabled():
            return v.clone()  # autograd cannot save a tensor that was made in inference mode
        return v

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> 'Stateful':
        super()._apply(fn, recurse)
        if self.v is not None:
            # fn may also cast (`half`) or drop values (`to_empty`): only where it leads matters here.
            device = fn(self.v.new_empty(0)).device
            self.v = None if self.v.is_meta and device.type != 'meta' else self.v.to(device)
        return self

    def __getstate__(self) -> dict[str, Any]:
        """What copies and pickles take: the state without its graph, in memory of its own."""
        v = self.v
        return {**self.__dict__, 'v': None if v is None else v.detach().clone()}


def reset(model: nn.Module) -> None:
    """Reset every neuron in a model, in place: before the next, unrelated sequence.

    Example: `for x, y in loader: snnkern.nn.reset(net); loss(net(x), y).backward()`.
    """
    for module in model.modules():
        if isinstance(module, Stateful):
            module.reset()
