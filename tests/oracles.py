"""How a neuron of another library is compared with ours: one input, then spikes, potentials and gradients."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from snnkern import Neuron
from snnkern.backends import reference
from snnkern.functional import multistep
from snnkern.neurons import Program
from snnkern.testing import assert_first_flip, assert_grads_close, assert_spikes_equal

KINDS = 'grid', 'normal'


@dataclass
class Run:
    """Spikes [T, ...], potentials [T, ...] or None, and what gradients are wanted of: x, then numbers of the neuron."""

    s: Tensor
    v: Tensor | None
    inputs: tuple[Tensor, ...]


def currents(kind: str, *shape: int, gain: float = 1.0, T: int = 16) -> Tensor:
    """Multiples of 0.1, which show any other order of operations, or normal numbers; a leaf."""
    shape = shape or (2000,)
    x = torch.randint(-5, 22, (T, *shape)) / 10 if kind == 'grid' else torch.randn(T, *shape) + 0.5
    return (x * gain).requires_grad_()


def fused(neuron: Neuron, x: Tensor, v0: float | None = None, **coefficients: Tensor) -> Run:
    """Our run of a neuron on x [T, N]; coefficients: functions of the leaves that are compared elsewhere."""
    s, v = multistep(x, neuron, v0=v0, return_v_seq=True, coefficients=coefficients or None)
    return Run(s, v, (x,))


def module(layer: torch.nn.Module, x: Tensor, *numbers: Tensor) -> Run:
    """Our run of a layer that stores its potentials."""
    return Run(layer(x), layer.v_seq, (x, *numbers))


def loop(step: Callable[[Tensor], tuple[Tensor, Tensor]], x: Tensor, *numbers: Tensor) -> Run:
    """A run of another library's single step x_t -> (s, v)."""
    s, v = zip(*map(step, x), strict=True)
    return Run(torch.stack(s), torch.stack(v), (x, *numbers))


def potentials(neuron: Neuron, x: Tensor, v0: float | None = None) -> Tensor:
    """h [T, ...], the potentials before firing."""
    state = None if v0 is None else torch.full_like(x[:1], v0).expand(len(neuron.states), *x.shape[1:]).clone()
    if state is not None:
        state[1:] = 0
    return reference.run(x.detach(), state, Program(neuron), len(x)).h


def check(ours: Run, theirs: Run, h: Tensor | None = None, v_threshold: float = 1.0, least: float = 0.05) -> None:
    """Equal spikes and potentials and close gradients; with h (of ours) up to each neuron's first flip.

    Gradients are those of random sums of the spikes and potentials of all neurons that agree.
    """
    rate = theirs.s.detach().clamp_min(0).mean().item()
    assert least < rate < 0.95 * max(1, theirs.s.max().item()), f'a rate of {rate:.3f} tests little'
    same = torch.ones_like(ours.s[0], dtype=torch.bool)
    if h is None:
        assert_spikes_equal(ours.s, theirs.s)
    else:
        assert_first_flip(theirs.s, ours.s, h, v_threshold)
        same = (ours.s == theirs.s).all(0)
    both, traces = (ours, theirs), ours.v is not None and theirs.v is not None
    weights = [torch.randn_like(ours.s) * same for _ in range(2)]
    totals = [(run.s * weights[0]).sum() + ((run.v * weights[1]).sum() if traces else 0) for run in both]
    if traces:
        if h is None:
            assert_spikes_equal(ours.v, theirs.v)
        torch.testing.assert_close(ours.v[:, same], theirs.v[:, same], rtol=1e-5, atol=2e-6)
    grads = [torch.autograd.grad(total, run.inputs) for total, run in zip(totals, both, strict=True)]
    for i, (actual, expected) in enumerate(zip(*grads, strict=True)):
        assert expected.abs().max() > 0, 'no gradient to compare'
        assert_grads_close(actual.contiguous(), expected.contiguous(), 'sums' if i else None)
