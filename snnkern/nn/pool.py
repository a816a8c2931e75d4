"""Pooling of spike trains as modules."""

from torch import Tensor, nn

from snnkern.functional import lateral_pool2d

__all__ = ['LateralPool2d']

Window = int | tuple[int, int]


class LateralPool2d(nn.Module):
    """Max-pooling of spike trains by lateral inhibition, `functional.lateral_pool2d`; it keeps no state.

    Maps [T, ..., C, H, W] to [T, ..., C, H', W']; counting starts anew in each call, so a call must hold the
    whole sequence. kernel_size, stride (None: kernel_size), padding, dilation, ceil_mode: as in
    torch.nn.MaxPool2d. scale: what one spike is worth. backend: see `functional.multistep`.
    Raises what the function raises. Example: `snnkern.nn.LateralPool2d(2)`.
    """

    def __init__(
        self,
        kernel_size: Window,
        stride: Window | None = None,
        padding: Window = 0,
        dilation: Window = 1,
        ceil_mode: bool = False,
        scale: float = 1.0,
        backend: str | None = None,
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.ceil_mode = ceil_mode
        self.scale = scale
        self.backend = backend

    def forward(self, x: Tensor) -> Tensor:
        """Pooled spikes [T, ..., C, H', W'] of x [T, ..., C, H, W]."""
        window = self.kernel_size, self.stride, self.padding, self.dilation
        return lateral_pool2d(x, *window, self.ceil_mode, self.scale, self.backend)

    def extra_repr(self) -> str:
        names = ('kernel_size', 'stride', 'padding', 'dilation', 'ceil_mode', 'scale')
        shown = {name: getattr(self, name) for name in (*names, *(['backend'] if self.backend else []))}
        return ', '.join(f'{name}={value!r}' for name, value in shown.items())
