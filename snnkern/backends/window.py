"""What a pool does: its rule and its window, as all backends take it."""

from typing import NamedTuple

from torch import Tensor

MODES = ('lateral', 'spike_max', 'plain')  # their order is that of Pooling in csrc/kernels/pool.h
Pair = tuple[int, int]


class Axis(NamedTuple):
    """One of the two directions of a plane: its size before and after, and the window along it."""

    size: int
    out: int
    kernel: int
    stride: int
    padding: int
    dilation: int


class Pool(NamedTuple):
    """mode: one of MODES; the window as torch.nn.MaxPool2d takes it, in pairs; scale: what one spike is worth."""

    mode: str
    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    ceil_mode: bool
    scale: float

    @property
    def counts(self) -> bool:
        """Whether spikes are counted, or values compared as they are."""
        return self.mode != 'plain'

    @property
    def taps(self) -> int:
        """Cells of a window."""
        return self.kernel[0] * self.kernel[1]

    def axes(self, x: Tensor) -> tuple[Axis, Axis]:
        """Rows and columns of x [..., H, W]. Raises ValueError if the window does not fit."""
        rows, cols = (self._axis(size, i) for i, size in enumerate(x.shape[-2:]))
        return rows, cols

    def _axis(self, size: int, i: int) -> Axis:
        kernel, stride, pad, gap = self.kernel[i], self.stride[i], self.padding[i], self.dilation[i]
        if 2 * pad > kernel:
            raise ValueError(f'padding must be at most half of kernel_size, got {pad} and {kernel}')
        room = size + 2 * pad - gap * (kernel - 1) - 1
        if room < 0:
            raise ValueError(f'kernel_size {kernel} with dilation {gap} must fit into {size} + 2 * {pad} cells')
        if pad and gap > size:  # the first window would lie in the padding altogether
            raise ValueError(f'dilation must be at most {size}, as many as there are cells, with padding, got {gap}')
        out = (room + (stride - 1 if self.ceil_mode else 0)) // stride + 1
        if self.ceil_mode and (out - 1) * stride >= size + pad:
            out -= 1
        return Axis(size, out, kernel, stride, pad, gap)
