"""What a BatchNorm hands to the neuron behind it: its input, and normalised for anyone else who looks.

The neuron takes the input and normalises while it runs. Whether the norm's output goes to a neuron alone is a guess
from how the network was traced; where it is wrong, since a hook, a list of features, another module or a part of the
network reads it, any torch function sees the normalised values, which are computed then.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from snnkern.functional import multistep
from snnkern.neurons import Neuron

# What says nothing of values.
SHAPES = {
    *(getattr(Tensor, name).__get__ for name in ('shape', 'dtype', 'device', 'is_cpu', 'is_cuda', 'ndim', 'layout')),
    *(getattr(Tensor, name) for name in ('dim', 'size', 'numel', 'is_floating_point', '__len__')),
}
# What leaves a BatchNorm's output a BatchNorm's output, of the same input in another shape.
VIEWS = {
    *(getattr(Tensor, name) for name in ('view', 'reshape', 'flatten', 'unflatten', 'unsqueeze')),
    *(torch.reshape, torch.flatten, torch.unflatten, torch.unsqueeze),
}


def refused(grad: Tensor) -> None:
    """A hand-written `autograd.Function` takes a tensor around torch functions: its gradient would stop here."""
    raise RuntimeError(
        'an autograd.Function was applied to the output of a BatchNorm that its neuron computes, which has no gradient '
        'of its own: accelerate(net, norms=False)'
    )


class Handed(Tensor):
    """A tensor without memory: what goes around torch functions raises an error.

    raw: the input of the norm, in the shape of the output; `view` makes it from that of `source`, which has the norm.
    channel_dim: of the source.
    """

    raw: Tensor
    norm: Any
    channel_dim: int
    source: 'Handed'
    view: Any
    value: Tensor | None
    consumed: bool

    @staticmethod
    def of(raw: Tensor, norm: Any = None, channel_dim: int = 1, source: Any = None, view: Any = None) -> 'Handed':
        """What stands for norm(raw), or for a view of a source."""
        made: Any = Tensor._make_wrapper_subclass(Handed, raw.shape, raw.stride(), dtype=raw.dtype, device=raw.device)  # type: ignore[attr-defined]
        made.raw, made.norm, made.channel_dim, made.value, made.consumed = raw, norm, channel_dim, None, False
        made.source, made.view = made if source is None else source, view
        parameters = made.source.norm.parameters()
        if torch.is_grad_enabled() and (raw.requires_grad or any(p.requires_grad for p in parameters)):
            with torch._C.DisableTorchFunctionSubclass():
                made.requires_grad_().register_hook(refused)
        return made  # type: ignore[no-any-return]

    def normalised(self) -> Tensor:
        """The values, as the library's own norm computes them; statistics are kept of the first reader alone."""
        if self.value is None:
            self.value = self.compute() if self.view is None else self.view(self.source.normalised())
        return self.value

    def compute(self) -> Tensor:
        norm = self.norm
        if not (self.consumed and norm.training):
            return norm.original().forward(norm, self.raw)  # type: ignore[no-any-return]
        x = self.raw.movedim(self.channel_dim, 1)
        return F.batch_norm(x, None, None, norm.weight, norm.bias, True, 0.0, norm.eps).movedim(1, self.channel_dim)

    def run(self, neuron: Neuron, **wanted: Any) -> Any:
        """`functional.multistep` of the normalised values."""
        source = self.source
        dim = source.channel_dim + self.raw.dim() - source.raw.dim()
        fits = dim >= 1 and self.raw.shape[dim:] == source.raw.shape[source.channel_dim :]
        if source.value is not None or not fits or neuron.charge.extra or 'channel_dim' in wanted:
            return multistep(self.normalised(), neuron, **wanted)
        source.consumed = True
        return source.norm.run(self.raw, neuron, channel_dim=dim, **wanted)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        own: Any = args[0] if args else None
        if func in SHAPES:
            return func(own.raw, *args[1:], **kwargs)
        if func in VIEWS and isinstance(own, Handed) and own.source.value is None:
            return own.viewed(lambda t: func(t, *args[1:], **kwargs))
        args, kwargs = tree_map(lambda v: v.normalised() if isinstance(v, Handed) else v, (args, kwargs))
        return func(*args, **kwargs)

    def viewed(self, view: Any) -> 'Handed':
        before = self.view
        return Handed.of(view(self.raw), source=self.source, view=view if before is None else lambda t: view(before(t)))

    @classmethod  # type: ignore[override]
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        raise RuntimeError(
            f'{func} got the output of a BatchNorm that its neuron computes: accelerate(net, norms=False)'
        )
