"""Still images as what a sensor sees that moves: saccade frames, and the events of ES-ImageNet (ODG)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from snnkern._checks import positive, whole
from snnkern.encode._inputs import choice, pictures, within

# Shifts (down, right) of the nine views, in units of the stride.
TRACES = {
    'paper': ((0, 1, 2, 1, 0, 2, 1, 1, 2), (0, 2, 1, 0, 2, 1, 1, 2, 1)),
    'repo': ((1, 0, 2, 1, 0, 2, 1, 1, 2), (0, 2, 1, 0, 1, 2, 0, 1, 1)),
}
REACH = 2  # the longest shift


def saccade(images: Tensor, stride: int = 1, signed_negative: bool = False) -> Tensor:
    """Saccade frames: differences of nine shifted views of an image, rising and falling parts apart.

    View i holds image[y + a, x + b] at (y, x), a and b the stride times the shift of the trace (down 0 1 2 1 0 2 1
    1 2, right 0 2 1 0 2 1 1 2 1), and 0 within a rows and b columns of any border. d = view i + 1 - view i.

    images: [B, C, H, W], any real values, H and W > 4 stride. stride: pixels of one unit of the trace.
    signed_negative: falling parts as they are, min(d, 0), as the original has them; else their magnitude.
    Returns [8, B, 2C, H, W] in the dtype of images, first the C channels of max(d, 0), then the C of max(-d, 0).
    Gradients reach the images. Raises TypeError or ValueError for bad arguments.
    Source: the segmentation SNN on COCO that this library covers; there stride is twice this, in the trace.
    Example: `encode.saccade(images).shape  # [8, B, 6, H, W] of RGB images`.
    """
    height, width = pictures(images)
    whole('stride', stride)
    if min(height, width) <= 2 * REACH * stride:
        raise ValueError(f'images must be larger than 4 * stride = {4 * stride} pixels, got {height} x {width}')
    views = []
    for down, right in zip(*TRACES['paper'], strict=True):
        a, b = down * stride, right * stride
        views.append(F.pad(images[..., 2 * a :, 2 * b :], (b, b, a, a)))
    change = torch.stack(views).diff(dim=0)
    falling = change.clamp_max(0) if signed_negative else (-change).clamp_min(0)
    return torch.cat([change.clamp_min(0), falling], dim=2)


def odg(
    images: Tensor,
    threshold: float = 0.18,
    trace: str = 'repo',
    resize: int | None = None,
    crop: int | None = None,
    check: bool = True,
) -> Tensor:
    """Omnidirectional discrete gradient: the events of ES-ImageNet, where the largest of R, G and B changes enough.

    V is the largest channel; view t holds V shifted by the trace, one pixel a unit; an event of polarity 0 is where
    a view exceeds the one before by more than the threshold, of polarity 1 where it falls by more. Rows and columns
    that only one of the two views covers have no events: else every border would be an edge.

    images: [B, C, H, W] in [0, 1]; check: look whether they are (see `poisson`). threshold: > 0. trace: "repo", the
    shifts of the published code, down 1 0 2 1 0 2 1 1 2, right 0 2 1 0 1 2 0 1 1, of which the data set was made;
    "paper": those of `saccade`. resize: first scale so that the longest side is this (nearest neighbour; ES-ImageNet:
    254). crop: None: the H x W pixels under the view of shift (1, 1); else a square of this side, made as
    ES-ImageNet does (224): centred, after events outside of rows and columns 17 to 239 (in general: m + 1 to
    m + crop - 1, m = (side + 2 - crop) // 2, side the longest) counted from the shifted image's own corner are gone.

    Returns [8, B, 2, H, W] of 0 and 1 in the dtype of images; no gradient flows. ES-ImageNet leaves out images with
    fewer than 1000 events, which `odg(...).sum((0, 2, 3, 4))` counts. Raises TypeError or ValueError for bad arguments.
    Source: Lin, Ding, Qiang, Deng, Li, "ES-ImageNet", Front. Neurosci. 15:726582 (2021), and its traconvert.py.
    Example: `events = encode.odg(images, resize=254, crop=224)  # as in ES-ImageNet`.
    """
    height, width = pictures(images)
    positive('threshold', threshold)
    choice('trace', trace, tuple(TRACES))
    if min(images.shape[1:]) == 0:
        raise ValueError(f'images must have channels and pixels, got shape {tuple(images.shape)}')
    if check:
        within(images, 0.0, 1.0, 'images')
    value = images.detach().amax(1, keepdim=True)
    value = value.to(torch.promote_types(value.dtype, torch.float32))
    if resize is not None:
        whole('resize', resize)
        longest = max(height, width)
        height, width = (max(1, int(side * resize / longest)) for side in (height, width))
        value = F.interpolate(value, (height, width), mode='nearest')
    shifts = tuple(zip(*TRACES[trace], strict=True))
    views = torch.stack([F.pad(value, (b, 2 * REACH - b, a, 2 * REACH - a)) for a, b in shifts])
    change = views.diff(dim=0)
    seen = [_covered(side, axis, images.device) for side, axis in zip((height, width), TRACES[trace], strict=True)]
    both = (seen[0][:, :, None] & seen[1][:, None])[:, None, None]
    events = (torch.cat([change > threshold, change < -threshold], dim=2) & both).to(images.dtype)
    if crop is None:
        return events[..., 1 : height + 1, 1 : width + 1].contiguous()
    return _cropped(events, height, width, crop)


def _covered(side: int, shifts: tuple[int, ...], device: torch.device) -> Tensor:
    """Which of the side + 4 rows (or columns) both views of a difference cover or neither does, [8, side + 4]."""
    place = torch.arange(side + 2 * REACH, device=device)
    inside = torch.stack([(place >= a) & (place < a + side) for a in shifts])
    return inside[1:] == inside[:-1]


def _cropped(events: Tensor, height: int, width: int, crop: int) -> Tensor:
    """The square of ES-ImageNet: what its generator keeps, where its loader puts it."""
    whole('crop', crop)
    side = max(height, width)
    if crop > side + 2:
        raise ValueError(f'crop must be at most the longest side + 2 = {side + 2}, got {crop}')
    margin = (side + 2 - crop) // 2
    pads: list[int] = []
    for size, dim in ((width, -1), (height, -2)):
        place = torch.arange(size + 2 * REACH, device=events.device)
        kept = (place > margin) & (place < margin + crop)
        events = events * (kept if dim == -1 else kept[:, None])
        before = (side - size) // 2 - margin
        pads += [before, crop - before - size - 2 * REACH]
    return F.pad(events, pads)
