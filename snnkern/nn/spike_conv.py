"""Convolutions of spikes that go through the spikes alone."""

import torch
from torch import Tensor, nn

from snnkern.ops.spike_conv import Window, refusal, spike_conv2d

__all__ = ['SpikeConv2d', 'spike_convolutions']


class SpikeConv2d(nn.Conv2d):
    """torch.nn.Conv2d that is faster on sparse spikes on the CPU: forward and the gradient of the weight by events.

    Maps [N, C, H, W] to [N, O, H', W'], in the memory format channels_last; time is part of N, as
    `SeqToANNContainer` and `LayerWiseConv2d` fold it. Arguments, parameters, names in state dicts and results (up to
    rounding) are those of torch.nn.Conv2d. The gradient of the input is torch's, and gradients cannot be derived again.

    Where events cannot run, or would be slower, torch's convolution does: other values than whole numbers of -127 to
    127, more of them than pay, groups, other padding than zeros, other types than float32, autocast, torch.compile,
    devices other than the CPU. `explain()` and repr tell what the last call was. Raises what torch.nn.Conv2d raises.
    Example: `snnkern.nn.SpikeConv2d(64, 64, 3, padding=1)(spikes)`.
    """

    last: str = 'it has not run'

    def explain(self) -> str:
        """What ran in the last call, "events: ..." or "torch: ...", and why; calls under torch.compile are not seen.
        Example: `print(conv.explain())`."""
        return self.last

    def _window(self) -> Window | str:
        """For the kernels, or why there is none."""
        if self.groups != 1:
            return f'events know no groups, it has {self.groups}'
        if self.padding_mode != 'zeros':
            return f'events know no padding mode {self.padding_mode!r}'
        left, right, top, bottom = self._reversed_padding_repeated_twice
        if (left, top) != (right, bottom):
            return 'events know no uneven padding'
        return Window(self.kernel_size, self.stride, (top, left), self.dilation)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """[N, O, H', W'] of x [N, C, H, W]."""
        if torch.compiler.is_compiling():
            return super().forward(x)
        window = self._window()
        why = window if isinstance(window, str) else refusal(x, self.weight, self.bias)
        if why is None:
            out, why = spike_conv2d(x, self.weight, self.bias, window)  # type: ignore[arg-type]
            if out is not None:
                self.last = f'events: {why}'
                return out
        self.last = f'torch: {why}'
        return super().forward(x)

    def extra_repr(self) -> str:
        return f'{super().extra_repr()}; {self.last}'


def spike_convolutions(model: nn.Module) -> nn.Module:
    """Make every torch.nn.Conv2d of a network a `SpikeConv2d`, in place, and return the network.

    Parameters, hooks and names stay; subclasses of Conv2d are left alone. Layers whose input is no spikes, such as the
    first one, go on by torch. Example: `net = snnkern.nn.spike_convolutions(net)`.
    """
    for module in model.modules():
        if type(module) is nn.Conv2d:
            module.__class__ = SpikeConv2d
    return model
