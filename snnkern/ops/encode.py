"""The Poisson encoder as an op. It has no gradient."""

from torch import Tensor

from snnkern import backends
from snnkern.backends import layout
from snnkern.ops._library import define, plain

OP = 'poisson'


def _run(x: Tensor, T: int, seed: int, offset: int, backend: str) -> Tensor:
    chosen = backends.select(OP, x.device, x.dtype, backend)
    return chosen.poisson(layout.ordered(x), T, seed, offset * x[:1].numel())


def _fake(x: Tensor, T: int, seed: int, offset: int, backend: str) -> Tensor:
    return layout.new_like(layout.ordered(x).unsqueeze(0), T)


_op = define(OP, '(Tensor x, SymInt T, int seed, SymInt offset, str backend) -> Tensor', _run, _fake)


def poisson(x: Tensor, T: int, seed: int, offset: int, backend: str) -> Tensor:
    """Spikes [T, B, ...] of probabilities x [B, ...]; arguments as in the op's schema."""
    x = x.detach()
    return (_run if plain(x) else _op)(x, T, seed, offset, backend)
