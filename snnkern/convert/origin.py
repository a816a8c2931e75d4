"""What a conversion was asked for, as far as it takes to do it again with the numbers that it found."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Origin:
    """What `convert` was called with. inputs: shape [...] of one and dtype, of each; leaves, modules: as given;
    gated: how pools work; original_readout: whether analogue parts run at every step; coding: of the input. prepared:
    the numbers that the recipe's `prepare` took from statistics."""

    inputs: tuple[tuple[tuple[int, ...], str], ...]
    leaves: tuple[str, ...] = ()
    modules: str | dict[str, str] | None = None
    gated: bool = False
    original_readout: bool = False
    prepared: dict[str, float] = field(default_factory=dict)
    coding: str = 'direct'

    @staticmethod
    def shapes(inputs: tuple[Tensor, ...]) -> tuple[tuple[tuple[int, ...], str], ...]:
        """What `inputs` says of a batch."""
        return tuple((tuple(x.shape[1:]), str(x.dtype).removeprefix('torch.')) for x in inputs)

    def examples(self, device: torch.device) -> tuple[Tensor, ...]:
        """Two inputs like those then: in 0..1, or 0 for whole numbers."""
        draw = torch.Generator().manual_seed(0)
        found = []
        for shape, name in self.inputs:
            x, dtype = torch.rand(2, *shape, generator=draw), getattr(torch, name)
            found.append((x if dtype.is_floating_point else x * 0).to(device, dtype))
        return tuple(found)

    @staticmethod
    def read(found: Mapping[str, Any]) -> 'Origin':
        """From what JSON makes of it."""
        inputs = tuple((tuple(shape), str(dtype)) for shape, dtype in found['inputs'])
        return Origin(**{**found, 'inputs': inputs, 'leaves': tuple(found['leaves'])})
