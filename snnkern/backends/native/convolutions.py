"""Convolutions of spikes in training: arguments as csrc/kernels/events.h and event_grad.h want them."""

from typing import NamedTuple

import torch
from torch import Tensor

from snnkern.backends.events import Axis, Layer, Slot, Synapse
from snnkern.backends.native.device import DEVICES
from snnkern.backends.native.events import Program

LARGE = 1 << 19  # bytes of weights that are read for some images together
TOGETHER = 8


def refusal() -> str | None:
    """Why these kernels cannot run here, or None."""
    device = DEVICES['cpu']
    module = device.load()
    if isinstance(module, str):
        return module
    return None if hasattr(module, 'EventConvolution') else 'no EventConvolution in snnkern._cpu, rebuild it'


class Packed(NamedTuple):
    """Spikes [N, C, H, W] as words [N / steps, 1, H, W, C]: of images n, n + N / steps and so on, so that those of one
    picture at different times share a word where time is folded into the batch.

    found: how many elements are not 0. invalid: how many are no whole numbers of -127 .. 127.
    """

    words: Tensor
    steps: int
    found: int
    invalid: int

    @property
    def density(self) -> float:
        """Share of elements that are not 0."""
        return self.found / (self.words.numel() * self.steps)


def pack(x: Tensor) -> Packed:
    """Of float32 x [N, C, H, W], N > 0."""
    x = x.contiguous(memory_format=torch.channels_last)
    N, C, H, W = x.shape
    steps = 4 if N % 4 == 0 else 2 if N % 2 == 0 else 1
    words = torch.empty(N // steps, 1, H, W, C, dtype=torch.int32)
    device = DEVICES['cpu']
    found, invalid = device.load().EventConvolution.pack(  # type: ignore[union-attr]
        x.data_ptr(), words.data_ptr(), steps, words.numel(), *device.where(x)
    )
    return Packed(words, steps, found, invalid)


def forward(packed: Packed, weight: Tensor, bias: Tensor | None, rows: Axis, cols: Axis) -> Tensor:
    """[N, O, OH, OW], channels last, of weight [O, C, kernel rows, kernel columns]."""
    images, steps = len(packed.words), packed.steps
    slots = [
        Slot('spikes', 'counts', weight.shape[1], rows.size, cols.size),
        Slot('currents', 'currents', len(weight), rows.out, cols.out),
    ]
    program = Program(slots, [Layer('convolution', 1, (Synapse(0, weight, rows, cols),), bias)])
    out = torch.empty(slots[1].shape(images, steps))
    together = TOGETHER if weight.nbytes > LARGE else 1
    program.run([0], {0: packed.words, 1: out}, {}, steps, [steps], torch.get_num_threads(), together)
    return out.transpose(0, 1).flatten(0, 1).permute(0, 3, 1, 2)


def weight_grad(packed: Packed, grad: Tensor, rows: Axis, cols: Axis) -> Tensor:
    """[O, C, kernel rows, kernel columns] of grad [N, O, OH, OW]."""
    grad = grad.contiguous(memory_format=torch.channels_last)
    images, _, _, _, inputs = packed.words.shape
    outputs = grad.shape[1]
    weight = torch.empty(inputs, rows.kernel, cols.kernel, outputs)
    device = DEVICES['cpu']
    windows = [(a.size, a.out, a.kernel, a.stride, a.padding, a.dilation) for a in (rows, cols)]
    sizes = packed.steps, images, inputs, outputs
    places = packed.words.data_ptr(), grad.data_ptr(), weight.data_ptr()
    device.load().EventConvolution.weight_grad(*places, *sizes, *windows, *device.where(grad))  # type: ignore[union-attr]
    return weight.permute(3, 0, 1, 2)
