"""Small plans written by hand, for tests of the engine."""

import pytest
import torch
from torch import Tensor, nn

from snnkern.backends.events import Axis, Layer, Pool, Slot, Synapse
from snnkern.charges import IF
from snnkern.engine.ends import Stem, Tail
from snnkern.engine.engine import Engine
from snnkern.engine.plan import Dense, Output, Plan
from snnkern.engine.runner import native
from snnkern.fires import Burst, SignedMemory
from snnkern.neurons import Neuron
from snnkern.resets import Soft

T = 8
SIZE = 8
NEURON = Neuron(IF(), Burst(1.0, 3), Soft())
SIGNED = Neuron(IF(), SignedMemory(1.0, 2), Soft())

compiled = pytest.mark.skipif(native()[0] is None, reason='there are no compiled kernels')


class First(nn.Module):
    """A convolution in front of the first neurons."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)

    def forward(self, x: Tensor) -> tuple[Tensor]:
        return (self.conv(x.flatten(0, -4)),)


def plan(timed: bool = False, tail: nn.Module | None = None, dense: nn.Module | None = None) -> Plan:
    """Convolutions, a pool and a linear layer of [3, 8, 8]; dense: a module in the place of the second convolution."""
    torch.manual_seed(0)
    inside, half = Axis(SIZE, SIZE, 3, 1, 1), Axis(SIZE, SIZE // 2, 2, 2)
    slots = [
        Slot('stem', 'currents' if timed else 'constant', 6, SIZE, SIZE),
        Slot('first', 'counts', 6, SIZE, SIZE, bound=3),
        Slot('second', 'counts', 20, SIZE, SIZE, bound=2),
        Slot('pool', 'counts', 20, SIZE // 2, SIZE // 2, bound=2),
        Slot('out', 'currents', 5, flat=True),
        Slot('dense', 'currents', 20, SIZE, SIZE),
    ]
    between = (Synapse(1, torch.randn(20, 6, 3, 3) / 4, inside, inside),) if dense is None else ()
    whole = Axis(SIZE // 2, 1, SIZE // 2)
    steps = [
        Layer('first', 1, (), None, (0,), NEURON, v0=0.5),
        *([] if dense is None else [Dense('between', 5, (1,), dense, 'it is a test')]),
        Layer(
            'second', 2, between if dense is None else (), torch.randn(20) / 9, () if dense is None else (5,), SIGNED
        ),
        Pool('pool', 3, 2, 'lateral', half, half),
        Layer('out', 4, (Synapse(3, torch.randn(5, 20, 4, 4) / 9, whole, whole),), torch.randn(5)),
    ]
    stem = Stem(First(), [], 'currents' if timed else 'given')
    out = Output(4) if tail is None else (Output(4),)
    return Plan(slots, steps, stem, (0,), out, ((3, SIZE, SIZE),), timed, None if tail is None else Tail(tail))


def made(of: Plan, choice: str = 'auto', weights: str = 'float32', steps: int = T) -> Engine:
    engine = Engine(of, steps, weights, 1, choice)
    engine.learn(images(4, steps, of.timed))
    return engine


def images(count: int, steps: int = T, timed: bool = False) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randn(*([steps] if timed else []), count, 3, 8, 8, generator=generator)


def near(found: Tensor, exact: Tensor) -> None:
    torch.testing.assert_close(found, exact, rtol=1e-4, atol=1e-4)
