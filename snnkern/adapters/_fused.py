"""How a module of another library runs on our kernels: its class is swapped for a subclass with another forward.

The module stays the object that it was, with its parameters, buffers, hooks, attributes and its library's own methods
(reset functions, monitors, checkpoints, `isinstance`), which keep working because nothing of it was rebuilt; `undo`
swaps back. Our class reads the module's attributes at every call, so that a changed threshold counts at once, and
where they ask for what no kernel does, `refusal` says so and the library's own forward runs.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache, wraps
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn

from snnkern.adapters._handed import Handed
from snnkern.functional import batch_norm_neuron, max_pool2d, multistep
from snnkern.neurons import Neuron
from snnkern.nn.norm import momentum_of
from snnkern.ops._library import LAYER

Made = TypeVar('Made')
LARGE = 2**20  # from how many values on a BatchNorm in eval mode is fused on a CPU
Part = tuple[Any, ...]  # a part of a neuron as (class, *arguments)
# Attributes of ours on a module of theirs; `restore` takes them away.
HANDS, NUMBERS, NAME = '_snnkern_hands', '_snnkern_numbers', '_snnkern_name'
GLOBAL = vars(torch.nn.modules.module)


def is_ours(kind: type) -> bool:
    """Whether a class is one of ours for another, not one that torch has made of it (parametrize, FSDP)."""
    return len(kind.__bases__) > 1 and issubclass(kind.__bases__[0], Fused)


class Fused(nn.Module):
    """First base of our classes; the second is the library's class that it stands for, whose name it should have."""

    if TYPE_CHECKING:  # what a library's class has is unknown here

        def __getattr__(self, name: str) -> Any: ...

    @classmethod
    def original(cls) -> type[Any]:
        """The library's class: `self.original().forward(self, x)` is what it would do."""
        return next(kind for kind in cls.__mro__ if is_ours(kind)).__bases__[-1]  # others may derive from it

    def refusal(self) -> str | None:
        """Why the library's own code runs, as the module is set now; None: a kernel does."""
        return None

    def numbers(self, **given: Tensor | float) -> tuple[dict[str, float], dict[str, Tensor]]:
        """Numbers of the neuron apart: constants as floats, and those that calls must take as coefficients.

        Coefficients are what has a gradient, one number per channel, or is traced by torch.compile. Reading a tensor
        of a GPU waits for it, so that it is read once, and again after it changed (but for changes through `.data`,
        which nothing tells).
        """
        floats: dict[str, float] = {}
        tensors: dict[str, Tensor] = {}
        for name, value in given.items():
            if not isinstance(value, Tensor):
                floats[name] = float(value)
            elif value.requires_grad or value.numel() != 1 or torch.compiler.is_compiling():
                tensors[name] = value if value.numel() != 1 else value.reshape(())
            else:
                floats[name] = self._read(name, value)
        return floats, tensors

    def _read(self, name: str, tensor: Tensor) -> float:
        if tensor.is_cpu or tensor.is_inference():
            return float(tensor.detach())
        kept: dict[str, tuple[Tensor, int, float]] = self.__dict__.setdefault(NUMBERS, {})
        found = kept.get(name)
        if found is None or found[0] is not tensor or found[1] != tensor._version:
            kept[name] = found = tensor, tensor._version, float(tensor.detach())
        return found[2]

    def described(self) -> str:
        """What `explain` shows."""
        return 'fused'


class FusedNorm(Fused):
    """A BatchNorm that leaves its work to the neuron behind it: see `Handed`."""

    def refusal(self) -> str | None:
        if not self.__dict__.get(HANDS):
            return 'its neuron is gone'
        kinds = '_forward_hooks', '_forward_pre_hooks', '_backward_hooks', '_backward_pre_hooks'
        watched = any(getattr(self, kind) for kind in kinds) or any(GLOBAL[f'_global{kind}'] for kind in kinds)
        return 'a hook needs its output' if watched else None

    def pays(self, x: Tensor) -> bool:
        """Whether one op is faster for x: in eval mode on a CPU, torch's BatchNorm is while all lies in its caches."""
        return self.training or not x.is_cpu or x.numel() >= LARGE

    def forward(self, x: Tensor) -> Tensor:
        if torch.compiler.is_compiling() or self.refusal() or not x.is_floating_point() or not self.pays(x):
            return self.original().forward(self, x)  # type: ignore[no-any-return]
        return Handed.of(x, self, self.channels())

    def channels(self) -> int:
        """The dimension of its input that counts channels: behind the steps, if it gets them."""
        return 2 if getattr(self, 'step_mode', 's') == 'm' else 1

    def factor(self) -> Tensor | None:
        """A factor [T] for each step of the normalised input, or None."""
        return None

    def run(self, x: Tensor, neuron: Neuron, **wanted: Any) -> Any:
        """`functional.multistep` of x [T, B, C, ...], normalised."""
        kept = self.track_running_stats or not self.training
        mean, variance = (self.running_mean, self.running_var) if kept else (None, None)
        tensors = mean, variance, self.weight, self.bias, self.factor()
        found = batch_norm_neuron(x, neuron, *tensors, self.training, momentum_of(self), self.eps, **wanted)
        if self.training and kept and self.num_batches_tracked is not None and x.numel():
            self.num_batches_tracked.add_(1)
        return found

    def described(self) -> str:
        return 'fused with the neuron behind it'


class BatchNorm1d(FusedNorm, nn.BatchNorm1d): ...


class BatchNorm2d(FusedNorm, nn.BatchNorm2d): ...


class BatchNorm3d(FusedNorm, nn.BatchNorm3d): ...


class FusedNeuron(Fused):
    """What neurons of all libraries share.

    takes_norms: whether a BatchNorm before it can be a part of its charge.
    """

    takes_norms: ClassVar[bool] = True

    def joins(self) -> bool:
        """Whether, as the module is set, the channels of a BatchNorm before it are its own."""
        return True

    def run(self, x: Tensor, neuron: Neuron, **wanted: Any) -> Any:
        """All steps of x [T, B, ...] at once; with the BatchNorm before it, where that handed its input on.

        wanted: keywords of `functional.multistep`.
        """
        found = x.run(neuron, **wanted) if isinstance(x, Handed) else multistep(x, neuron, **wanted)
        s = found[0] if isinstance(found, tuple) else found
        if not torch.compiler.is_compiling() and s.grad_fn is not None:
            s.grad_fn.metadata[LAYER] = self.__dict__.get(NAME, 'neurons')  # for errors of backward
        return found


def cached(make: Callable[..., Made]) -> Callable[..., Made]:
    """Keep what `make` returned, but for torch.compile, which warns of caches."""
    kept = lru_cache(maxsize=1024)(make)

    @wraps(make)
    def call(*arguments: Any) -> Made:
        return make(*arguments) if torch.compiler.is_compiling() else kept(*arguments)

    return call


@cached
def described(*parts: Part) -> Neuron:
    """The neuron of these: charge, fire, reset, surrogate."""
    return Neuron(*[kind(*arguments) for kind, *arguments in parts])


class MaxPool2d(Fused, nn.MaxPool2d):
    """torch.nn.MaxPool2d that keeps no indices for backward (see `functional.max_pool2d`)."""

    def refusal(self) -> str | None:
        return 'return_indices=True' if self.return_indices else None

    def forward(self, x: Tensor) -> Tensor:
        if self.refusal() or x.dim() != 4 or not x.is_floating_point():
            return super().forward(x)
        return self.pooled(x.unsqueeze(0))[0]

    def pooled(self, x: Tensor) -> Tensor:
        """[T, B, C, H', W'] of x [T, B, C, H, W]."""
        return max_pool2d(x, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode)


def by_original(*classes: type[Fused]) -> Mapping[type[nn.Module], type[Fused]]:
    """Which of our classes stands for which of theirs."""
    return {kind.original(): kind for kind in classes}


def restore(module: nn.Module) -> None:
    """Give a module its own class back. Raises TypeError if another was made of ours since (parametrize, FSDP)."""
    if not isinstance(module, Fused):
        return
    if not is_ours(type(module)):
        raise TypeError(f'{type(module).__name__} was made of an accelerated class: undo what made it first')
    module.__class__ = module.original()
    for name in [name for name in vars(module) if name.startswith('_snnkern_')]:
        del module.__dict__[name]
