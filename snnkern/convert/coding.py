"""Input coded as spikes, in front of a converted network."""

from collections.abc import Iterator

import torch
from torch import Tensor

from snnkern import encode
from snnkern.convert.layers import Timed
from snnkern.encode._inputs import floating, within

CODINGS = ('direct', 'poisson')
SEEDS = 2**32
_DRAWN = 4  # steps that one call of the generator gives for the price of one
_KEYS, _INPUTS = 2**31, 2**4  # keys of a seed, and parts of them: one for each input


class PoissonInput(Timed):
    """Spikes of 1 with probability x at each step, from x [B, ...] in 0..1: mean output over T steps ~ x.

    index: which input of the network it codes; each draws for itself. The clock's `seed` and `offset` (index of the
    first sample) say which numbers: spikes depend on nothing but x, these, and the step, so that neither chunks of
    steps nor batches change them. Raises ValueError, naming x, for values outside 0..1. Steps 4 k to 4 k + 3 are
    `encode.poisson(x, 4, seed * 2**31 + index * 2**27 + k, offset)`, without gradients.
    """

    scale = 1.0

    def __init__(self, index: int = 0) -> None:
        super().__init__()
        self.index = index

    def forward(self, x: Tensor) -> Tensor:
        start = self.clock.start
        if start == 0:
            check('x', x)
        skipped = start % _DRAWN
        steps = torch.cat(list(self._blocks(x, start // _DRAWN, -(-(start + self.T) // _DRAWN))))
        return steps[skipped : skipped + self.T].flatten(0, 1)

    def _blocks(self, x: Tensor, first: int, end: int) -> Iterator[Tensor]:
        key = self.clock.seed * _KEYS + self.index % _INPUTS * (_KEYS // _INPUTS)
        for block in range(first, end):
            yield encode.poisson(x, _DRAWN, key + block, self.clock.offset, check=False)


def check(name: str, x: Tensor) -> None:
    """Raise TypeError or ValueError, naming it, for what is no probability."""
    floating(name, x)
    within(x, 0.0, 1.0, name)
