"""The convolution of spikes by events: forward and the gradient of the weight; that of the input has no zeros."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from snnkern import backends
from snnkern.backends.events import MOST, Axis
from snnkern.backends.native import convolutions as native
from snnkern.backends.native.convolutions import Packed
from snnkern.ops._library import plain

# Forward and the gradient of a weight by events take, measured beside torch's, FIXED + PASSES / multiplications of an
# input element + GROWTH * stride * density of the time; and a call takes as long as LEAST multiplications.
FIXED, PASSES, GROWTH, LEAST = 0.1, 130, 1.7, 3e7
Pair = tuple[int, int]


class Window(NamedTuple):
    """What of a convolution is no tensor; each of rows and columns."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair

    def axes(self, x: Tensor) -> tuple[Axis, Axis]:
        """Which inputs its outputs look at."""
        found = []
        for size, kernel, stride, padding, dilation in zip(x.shape[2:], *self, strict=True):
            out = (size + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
            found.append(Axis(size, out, kernel, stride, padding, dilation))
        return found[0], found[1]


class SpikeConv2d(torch.autograd.Function):
    """[N, O, OH, OW] of spikes [N, C, H, W]; kept for backward are the packed spikes, a quarter of x."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, packed: Packed, window: Window) -> Tensor:
        ctx.save_for_backward(packed.words, weight)
        ctx.shape, ctx.counted, ctx.window, ctx.axes = x.shape, packed[1:], window, window.axes(x)
        return native.forward(packed, weight, bias, *ctx.axes)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        words, weight = ctx.saved_tensors
        want_x, want_weight, want_bias = ctx.needs_input_grad[:3]
        grad = grad.contiguous(memory_format=torch.channels_last)
        grad_x = grad_weight = None
        if want_x:  # of x the layout alone is looked at
            x = torch.empty(ctx.shape, memory_format=torch.channels_last)
            _, stride, padding, dilation = ctx.window
            how = stride, padding, dilation, False, (0, 0), 1, (True, False, False)
            grad_x = torch.ops.aten.convolution_backward(grad, x, weight, None, *how)[0]
        if want_weight:
            grad_weight = native.weight_grad(Packed(words, *ctx.counted), grad, *ctx.axes)
        return grad_x, grad_weight, grad.sum((0, 2, 3)) if want_bias else None, None, None


def refusal(x: Tensor, weight: Tensor, bias: Tensor | None) -> str | None:
    """Why events cannot run whatever x holds, or None."""
    if x.device.type != 'cpu' or weight.device.type != 'cpu':
        return f'events run on the CPU alone, not on {x.device.type}'
    if not plain(x, weight, bias):
        return 'under torch.compile, torch.func and on subclasses of tensors it is left to torch'
    if torch.is_autocast_enabled('cpu'):
        return 'autocast is on'
    if {t.dtype for t in (x, weight, bias) if t is not None} != {torch.float32}:
        return f'events need float32, not {x.dtype} with weights of {weight.dtype}'.replace('torch.', '')
    if x.dim() != 4 or not x.numel() or x.shape[1] != weight.shape[1]:
        return f'its input has shape {tuple(x.shape)}'
    forced = backends.current()
    return native.refusal() if forced in (None, 'native') else f'backend {forced} has no such kernels'


def densest(x: Tensor, weight: Tensor, window: Window) -> float:
    """Share of spikes in x up to which events are no slower than torch; 0: they never pay."""
    stride = window.stride[0] * window.stride[1]
    each = weight[:, 0].numel() / stride
    if x.numel() * each < LEAST:
        return 0.0
    return max(0.0, 1 - FIXED - PASSES / each) / (GROWTH * stride**0.5)


def spike_conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, window: Window) -> tuple[Tensor | None, str]:
    """The convolution by events, or None where that is no good, and why; for what has no refusal."""
    if min(axis.out for axis in window.axes(x)) < 1:
        return None, 'its input is smaller than the window'
    most = densest(x, weight, window)
    if most == 0:
        return None, 'it is too small for events to pay'
    packed = native.pack(x.detach())
    if packed.invalid:
        return None, f'its input is no spikes: not all are whole numbers of -{MOST} to {MOST}'
    if packed.density > most:
        return None, f'{packed.density:.1%} of its input are spikes, and events pay up to {most:.1%}'
    out: Tensor = SpikeConv2d.apply(x, weight, bias, packed, window)
    return out, f'{packed.density:.1%} of its input were spikes'
