"""The encoders as modules, to stand in front of a network."""

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from snnkern.encode import fields, frames, rate, temporal


class Encoder(nn.Module):
    """An encoding function with its arguments: `Poisson(T=16)(x)` is `poisson(x, T=16)`.

    Takes the arguments of the function after the first, by position or name; raises TypeError for others. They are
    attributes.
    """

    function: ClassVar[Callable[..., Tensor]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        signature = inspect.signature(cls.function)
        _, *others = signature.parameters.values()
        cls.__signature__ = signature.replace(parameters=others, return_annotation=cls)  # type: ignore[attr-defined]
        cls.__doc__ = cls.__doc__ or f'`encode.{cls.function.__name__}` as a module; arguments as there.'

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        bound = inspect.signature(type(self)).bind(*args, **kwargs)
        bound.apply_defaults()
        self.names = tuple(bound.arguments)
        for name, value in bound.arguments.items():
            setattr(self, name, value)

    def options(self) -> dict[str, Any]:
        """The arguments of the function."""
        return {name: getattr(self, name) for name in self.names}

    def forward(self, x: Tensor) -> Tensor:
        return type(self).function(x, **self.options())

    def extra_repr(self) -> str:
        return ', '.join(f'{name}={value!r}' for name, value in self.options().items())


class Direct(Encoder):
    function = staticmethod(rate.direct)


class Poisson(Encoder):
    """`encode.poisson` as a module; arguments as there.

    Each call moves on by its batch size from `offset`, so that every batch draws anew; `reset()` goes back there.
    Give `forward` an offset where several processes share a batch: then that one counts, and nothing moves.
    """

    function = staticmethod(rate.poisson)
    offset: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.drawn = torch.zeros((), dtype=torch.int64)  # of an int, torch.compile would compile every value

    def forward(self, x: Tensor, offset: int | None = None) -> Tensor:
        if offset is not None:
            return rate.poisson(x, **{**self.options(), 'offset': offset})
        spikes = rate.poisson(x, **{**self.options(), 'offset': self.offset + int(self.drawn.item())})
        self.drawn += len(x)
        return spikes

    def reset(self) -> None:
        """Draw the same again."""
        self.drawn.zero_()


class Latency(Encoder):
    function = staticmethod(temporal.latency)


class TTFS(Encoder):
    function = staticmethod(temporal.ttfs)


class Phase(Encoder):
    function = staticmethod(temporal.phase)


class Burst(Encoder):
    function = staticmethod(temporal.burst)


class Population(Encoder):
    function = staticmethod(fields.population)


class Saccade(Encoder):
    function = staticmethod(frames.saccade)


class ODG(Encoder):
    function = staticmethod(frames.odg)
