"""Pooling of spike trains as modules."""

from typing import Any

from torch import Tensor, nn

from snnkern import functional
from snnkern.nn.state import Stateful

__all__ = ['AvgPool2d', 'LateralPool2d', 'MaxPool2d', 'SpikeMaxPool2d']

Window = int | tuple[int, int]


def _shown(module: nn.Module, always: tuple[str, ...], **defaults: Any) -> str:
    """For `extra_repr`."""
    names = (*always, *(name for name, usual in defaults.items() if getattr(module, name) != usual))
    return ', '.join(f'{name}={getattr(module, name)!r}' for name in names)


class _SpikingPool2d(Stateful):
    """A pool that counts spikes, as a module that carries the counts from call to call."""

    function: Any

    def __init__(
        self,
        kernel_size: Window,
        stride: Window | None = None,
        padding: Window = 0,
        dilation: Window = 1,
        ceil_mode: bool = False,
        scale: float = 1.0,
        backend: str | None = None,
        *,
        step_mode: str = 'm',
        save_state: bool = False,
    ) -> None:
        super().__init__(save_state)
        if step_mode not in ('m', 's'):
            raise ValueError(f'step_mode must be "m" (all steps) or "s" (one), got {step_mode!r}')
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.ceil_mode = ceil_mode
        self.scale = scale
        self.backend = backend
        self.step_mode = step_mode

    def forward(self, x: Tensor) -> Tensor:
        """Pooled spikes [T, ..., C, H', W'] of x [T, ..., C, H, W]; with step_mode "s", of one step."""
        single = self.step_mode == 's'
        x = x.unsqueeze(0) if single else x
        window = self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode
        out, state = type(self).function(x, *window, self.scale, self.backend, state=self.carried(x), return_state=True)
        self.state = state if single else state.detach()
        return out[0] if single else out

    def extra_repr(self) -> str:
        always = ('kernel_size', 'stride', 'padding', 'dilation', 'ceil_mode', 'scale')
        return _shown(self, always, step_mode='m', save_state=False, backend=None)


class LateralPool2d(_SpikingPool2d):
    """Max-pooling of spike trains by lateral inhibition, `functional.lateral_pool2d`, whose counts are carried on.

    Maps [T, ..., C, H, W] to [T, ..., C, H', W']. kernel_size, stride (None: kernel_size), padding, dilation,
    ceil_mode: as in torch.nn.MaxPool2d. scale: what one spike is worth. backend: see `functional.multistep`.
    step_mode: "m", x holds all steps, and the counts are carried without their graph; "s", x [..., C, H, W] is one
    step, and the graph goes on. save_state: the state_dict holds the counts, too.

    The counts after the last step, `state` [..., C, H, W], are where the next call starts: `reset()` (or
    `snnkern.nn.reset(model)`) before another sequence. Raises ValueError if an input does not fit the state of the
    last call, and what the function raises. Example: `snnkern.nn.LateralPool2d(2)`.
    """

    function = staticmethod(functional.lateral_pool2d)


class SpikeMaxPool2d(_SpikingPool2d):
    """Max-pooling of spike trains by a gate, `functional.spike_max_pool2d`, whose counts are carried on.

    Everything else: as `LateralPool2d`. Example: `snnkern.nn.SpikeMaxPool2d(3, 2, 1)`.
    """

    function = staticmethod(functional.spike_max_pool2d)


class MaxPool2d(nn.Module):
    """`functional.max_pool2d`, torch.nn.MaxPool2d at every step of [T, ..., C, H, W]; it keeps no state.

    kernel_size, stride (None: kernel_size), padding, dilation, ceil_mode: as there. backend: see
    `functional.multistep`. Raises what the function raises. Example: `snnkern.nn.MaxPool2d(2)`.
    """

    def __init__(
        self,
        kernel_size: Window,
        stride: Window | None = None,
        padding: Window = 0,
        dilation: Window = 1,
        ceil_mode: bool = False,
        backend: str | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.ceil_mode = ceil_mode
        self.backend = backend

    def forward(self, x: Tensor) -> Tensor:
        """[T, ..., C, H', W'] of x [T, ..., C, H, W]."""
        window = self.kernel_size, self.stride, self.padding, self.dilation
        return functional.max_pool2d(x, *window, self.ceil_mode, self.backend)

    def extra_repr(self) -> str:
        return _shown(self, ('kernel_size', 'stride', 'padding', 'dilation', 'ceil_mode'), backend=None)


class AvgPool2d(nn.Module):
    """`functional.avg_pool2d`, torch.nn.AvgPool2d at every step of [T, ..., C, H, W]; it keeps no state.

    kernel_size, stride (None: kernel_size), padding, ceil_mode, count_include_pad: as there. Raises what the
    function raises. Example: `snnkern.nn.AvgPool2d(2)`.
    """

    def __init__(
        self,
        kernel_size: Window,
        stride: Window | None = None,
        padding: Window = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, x: Tensor) -> Tensor:
        """[T, ..., C, H', W'] of x [T, ..., C, H, W]."""
        window = self.kernel_size, self.stride, self.padding
        return functional.avg_pool2d(x, *window, self.ceil_mode, self.count_include_pad)

    def extra_repr(self) -> str:
        return _shown(self, ('kernel_size', 'stride', 'padding', 'ceil_mode'), count_include_pad=True)
