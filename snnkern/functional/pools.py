"""Pools of spike trains."""

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from snnkern import _arguments as arguments
from snnkern._checks import positive
from snnkern.backends.window import Pool
from snnkern.ops.pool import pool2d

Window = int | tuple[int, int]


def _input(x: Tensor) -> Tensor:
    x, _ = arguments.steps(x, None)
    if x.dim() < 4:
        raise ValueError(f'x must be [T, ..., C, H, W], got shape {tuple(x.shape)}')
    return x


def _pool(
    mode: str,
    kernel_size: Window,
    stride: Window | None,
    padding: Window,
    dilation: Window,
    ceil_mode: bool,
    scale: float = 1.0,
) -> Pool:
    """The checked window."""
    kernel = arguments.pair('kernel_size', kernel_size, 1)
    step = kernel if stride is None else arguments.pair('stride', stride, 1)
    pad, gaps = arguments.pair('padding', padding, 0), arguments.pair('dilation', dilation, 1)
    scale = arguments.constant(scale)
    positive('scale', scale)
    return Pool(mode, kernel, step, pad, gaps, bool(ceil_mode), float(scale))


def _spiking(x: Tensor, pool: Pool, state: Tensor | None, return_state: bool, backend: str | None) -> Any:
    """A pool that counts."""
    x = _input(x)
    if state is not None:
        if not isinstance(state, Tensor) or not state.dtype.is_floating_point:
            kind = state.dtype if isinstance(state, Tensor) else type(state).__name__
            raise TypeError(f'state must be a floating-point tensor or None, got {kind}')
        if state.shape != x.shape[1:]:
            raise ValueError(f'state must have the shape of one step, {tuple(x.shape[1:])}, got {tuple(state.shape)}')
        if state.device != x.device:
            raise ValueError(f'state must be on the device of x, got {state.device} and {x.device}')
        state = state.unsqueeze(0)
    out, last = pool2d(x, state, pool, return_state, arguments.backend(backend))
    return out if last is None else (out, last.squeeze(0))


def lateral_pool2d(
    x: Tensor,
    kernel_size: Window,
    stride: Window | None = None,
    padding: Window = 0,
    dilation: Window = 1,
    ceil_mode: bool = False,
    scale: float = 1.0,
    backend: str | None = None,
    *,
    state: Tensor | None = None,
    return_state: bool = False,
) -> Any:
    """Max-pooling of spike trains by lateral inhibition: out_t = M_t - M_{t-1}, M the pooled running count.

    With C_t the cumulative spike count of each input, M_t = maxpool(C_t): after any number of steps the
    output has emitted as many spikes as the busiest input of its window.

    x: [T, ..., C, H, W], all values multiples of `scale` (what is none counts as the nearest). kernel_size, stride
    (None: kernel_size), padding, dilation, ceil_mode: as in torch.nn.MaxPool2d. scale: what one spike is worth (the
    threshold of a neuron with real units); counts are integers inside, so real units stay exact. backend: see
    `multistep`. state: counts [..., C, H, W] before the first step, whole numbers; None: 0. return_state: the counts
    after the last step, float32 (float64 for float64), come out too.

    Returns [T, ..., C, H', W'] in the dtype of x, contiguous or channels-last as x is; with return_state (out, state).
    Backward keeps x and the last counts. Gradients flow to x, to `state` and from the returned state: what a window
    emits goes back to its busiest input, of equal ones to the first, and the scale cancels.

    Raises TypeError or ValueError for bad arguments. Source: LIPool (Li and Zeng, IJCAI 2022) in closed form.
    Example: `lateral_pool2d(spikes, 2)`.
    """
    pool = _pool('lateral', kernel_size, stride, padding, dilation, ceil_mode, scale)
    return _spiking(x, pool, state, return_state, backend)


def spike_max_pool2d(
    x: Tensor,
    kernel_size: Window,
    stride: Window | None = None,
    padding: Window = 0,
    dilation: Window = 1,
    ceil_mode: bool = False,
    scale: float = 1.0,
    backend: str | None = None,
    *,
    state: Tensor | None = None,
    return_state: bool = False,
) -> Any:
    """Max-pooling of spike trains by a gate: the window passes on what its busiest input emits now.

    With C_t the cumulative spike count of each input, the present step included, out_t is the largest x_t among
    the inputs of the window whose C_t is the window's maximum. It emits too often while the lead changes
    (docs/pools.md); `lateral_pool2d` does not.

    Arguments, layouts and errors: as in `lateral_pool2d`. Outputs are values of x.

    Backward keeps x and the last counts; the gradient of each step goes to the input that was passed on, of equal
    ones to the first. The gate has none, so that no gradient flows to `state` or from the returned state.

    Source: the gated max-pool of Rueckauer et al. (arXiv 1612.04052), compared exactly: its usual form,
    maxpool(x + 1000 C) - maxpool(1000 C), rounds. Example: `spike_max_pool2d(spikes, 3, 2, 1)`.
    """
    pool = _pool('spike_max', kernel_size, stride, padding, dilation, ceil_mode, scale)
    return _spiking(x, pool, state, return_state, backend)


def max_pool2d(
    x: Tensor,
    kernel_size: Window,
    stride: Window | None = None,
    padding: Window = 0,
    dilation: Window = 1,
    ceil_mode: bool = False,
    backend: str | None = None,
) -> Tensor:
    """torch.nn.functional.max_pool2d at every step: [T, ..., C, H, W] to [T, ..., C, H', W'], layout and dtype of x.

    Backward keeps x alone and looks for the largest inputs again; torch keeps 8 bytes for each output besides. The
    gradient goes to the first of equal inputs. Raises TypeError or ValueError for bad arguments.
    Example: `max_pool2d(spikes, 2)`.
    """
    pool = _pool('plain', kernel_size, stride, padding, dilation, ceil_mode)
    return pool2d(_input(x), None, pool, False, arguments.backend(backend))[0]


def avg_pool2d(
    x: Tensor,
    kernel_size: Window,
    stride: Window | None = None,
    padding: Window = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """torch.nn.functional.avg_pool2d at every step: [T, ..., C, H, W] to [T, ..., C, H', W'], layout and dtype of x.

    torch's own operation; nothing is kept for backward but a reference to x. Raises TypeError or ValueError for bad
    arguments. Example: `avg_pool2d(spikes, 2)`.
    """
    pool = _pool('plain', kernel_size, stride, padding, 1, ceil_mode)
    rows, cols = pool.axes(_input(x))
    if not x.numel():
        return x.new_zeros((*x.shape[:-2], rows.out, cols.out)) + x.sum()  # torch refuses to pool nothing
    # Steps and batch as one dimension: a view of contiguous and channels-last x alike.
    out: Tensor = F.avg_pool2d(x.flatten(0, -4), pool.kernel, pool.stride, pool.padding, ceil_mode, count_include_pad)
    return out.unflatten(0, x.shape[:-3])


__all__ = ['avg_pool2d', 'lateral_pool2d', 'max_pool2d', 'spike_max_pool2d']
