"""Pools of spike trains."""

from torch import Tensor

from snnkern import _arguments as arguments
from snnkern._checks import positive
from snnkern.ops.pool import lateral_pool2d as _lateral_pool2d


def lateral_pool2d(
    x: Tensor,
    kernel_size: int | tuple[int, int],
    stride: int | tuple[int, int] | None = None,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    ceil_mode: bool = False,
    scale: float = 1.0,
    backend: str | None = None,
) -> Tensor:
    """Max-pooling of spike trains by lateral inhibition: out_t = M_t - M_{t-1}, M the pooled running count.

    With C_t the cumulative spike count of each input, M_t = maxpool(C_t): after any number of steps the
    output has emitted as many spikes as the busiest input of its window.

    x: [T, ..., C, H, W], all values multiples of `scale`. kernel_size, stride (None: kernel_size), padding,
    dilation, ceil_mode: as in torch.nn.MaxPool2d. scale: what one spike is worth (the threshold of a neuron
    with real units); counts are integers inside, so real units stay exact.

    Returns [T, ..., C, H', W'], contiguous, in the dtype of x. The gradient is that of the reference on every
    backend. Raises TypeError or ValueError for bad arguments.
    Source: LIPool (Li and Zeng, IJCAI 2022) in closed form. Example: `lateral_pool2d(spikes, 2)`.
    """
    x, _ = arguments.steps(x, None)
    if x.dim() < 4:
        raise ValueError(f'x must be [T, ..., C, H, W], got shape {tuple(x.shape)}')
    kernel = arguments.pair('kernel_size', kernel_size, 1)
    step = kernel if stride is None else arguments.pair('stride', stride, 1)
    pad, gaps = arguments.pair('padding', padding, 0), arguments.pair('dilation', dilation, 1)
    scale = arguments.constant(scale)
    positive('scale', scale)
    wanted = arguments.backend(backend)
    return _lateral_pool2d(x, kernel, step, pad, gaps, ceil_mode, float(scale), wanted)
