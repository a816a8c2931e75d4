"""Who runs LIF: tau = 2, v_threshold = 1, hard reset to 0, ATan(2) and decay_input."""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.subjects import NATIVE, OPS, REFERENCE, TRITON, Op, Provider, Run
from snnkern import functional, surrogates

TAU, THRESHOLD, ALPHA = 2.0, 1.0, 2.0
SJ, SJ_COMPILED = 'SpikingJelly', 'SpikingJelly op, torch.compile'
LOOP, LOOP_COMPILED = 'torch loop', 'torch loop, torch.compile'
EAGER, FUSED, SLOW = (3.0, 14.0), (3.0, 8.0), (8.0, 40.0)  # what they hold, see `Provider.saves`


class _ATanSpike(torch.autograd.Function):
    """The spike of a plain torch loop: a step forward, the derivative of an arcus tangent backward."""

    @staticmethod
    def forward(ctx: Any, z: Tensor) -> Tensor:
        ctx.save_for_backward(z)
        return (z >= 0).to(z.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (z,) = ctx.saved_tensors
        return grad * (ALPHA / 2) / (1 + (torch.pi / 2 * ALPHA * z) ** 2)


def torch_loop(x: Tensor) -> Tensor:
    """The loop that users write; unbind, because indexing x[t] makes backward quadratic in T."""
    v, out = torch.zeros_like(x[0]), []
    for current in x.unbind(0):
        h = v + (current - v) / TAU
        s = _ATanSpike.apply(h - THRESHOLD)
        v = (1 - s) * h
        out.append(s)
    return torch.stack(out)


def _snnkern(backend: str) -> Run:
    lif = partial(functional.lif, tau=TAU, v_threshold=THRESHOLD, surrogate=surrogates.ATan(ALPHA), backend=backend)
    return lif  # type: ignore[return-value]


def restarted(node: Any) -> Run:
    """A module that forgets its state before each sequence."""

    def run(x: Tensor) -> Tensor:
        node.reset()
        return node(x)

    return run


def _spikingjelly() -> Run:
    from spikingjelly.activation_based import neuron, surrogate

    node = neuron.LIFNode(
        tau=TAU,
        v_threshold=THRESHOLD,
        v_reset=0.0,
        surrogate_function=surrogate.ATan(ALPHA),
        step_mode='m',
    )
    return restarted(node)


def _spikingjelly_functional() -> Run:
    from spikingjelly.activation_based import functional as sj
    from spikingjelly.activation_based import surrogate

    spike = surrogate.ATan(ALPHA)

    def run(x: Tensor) -> Tensor:
        return sj.lif_multi_step(x, torch.zeros_like(x[0]), TAU, True, THRESHOLD, 0.0, spike)[0]

    return run


PROVIDERS = (
    Provider(NATIVE, partial(_snnkern, 'native'), ours=True),
    Provider(REFERENCE, partial(_snnkern, 'reference'), ours=True, saves=SLOW),
    Provider(TRITON, partial(_snnkern, 'triton'), ours=True, absent='its kernels are for GPUs (docs/gpu.md)'),
    Provider(LOOP, lambda: torch_loop, widens=True, saves=EAGER),
    Provider(LOOP_COMPILED, lambda: torch_loop, compiled=True, widens=True, saves=FUSED),
    Provider(SJ, _spikingjelly, ('spikingjelly',), widens=True, saves=EAGER),
    Provider(SJ_COMPILED, _spikingjelly_functional, ('spikingjelly',), compiled=True, widens=True, saves=FUSED),
)
LIF = Op('lif', OPS, PROVIDERS)
