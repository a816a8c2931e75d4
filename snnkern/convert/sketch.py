"""Quantiles of any number of activations in bounded memory: a histogram whose bins have equal relative width."""

import torch
from torch import Tensor

PER_OCTAVE = 64
LOWEST, HIGHEST = -24, 24  # powers of two; what is smaller counts as zero
BINS = (HIGHEST - LOWEST) * PER_OCTAVE + 1


class Sketch:
    """How |values| are distributed, for all channels together or for each; a bin is 1.1 % wide.

    channels: one histogram per channel (dimension 1), else one in all. Memory: 12 KiB, times the channels if so.
    highest: the largest |value| of each channel [C]. size: values of one input. count: inputs seen. negative: whether
    any value was. Source: histograms with relative error, as DDSketch (Masson et al., VLDB 2019).
    Example: `sketch.add(y)` for batches y [B, C, ...], then `sketch.quantile(0.99)`.
    """

    def __init__(self, channels: bool = False) -> None:
        self.channels = channels
        self.counts: Tensor | None = None
        self.highest: Tensor | None = None
        self.total: Tensor | None = None
        self.size = self.count = 0
        self.negative = False

    def add(self, y: Tensor) -> None:
        """Count a batch [B, C, ...]. Raises ValueError if a value is NaN or infinite."""
        rows = (y.unsqueeze(1) if y.dim() == 1 else y).detach().float().transpose(0, 1).flatten(1)
        if not torch.isfinite(rows).all():
            raise ValueError('NaN or infinite values')
        size = rows.abs()
        top, total = size.amax(1), rows.double().sum(1)
        self.highest = top if self.highest is None else torch.maximum(self.highest, top)
        self.total = total if self.total is None else self.total + total
        self.negative = self.negative or bool((rows < 0).any())
        self.size, self.count = y[0].numel(), self.count + len(y)
        bins = ((size.log2() - LOWEST) * PER_OCTAVE).floor().add_(1).clamp_(0, BINS - 1).long()
        if self.channels:
            bins += torch.arange(len(rows), device=y.device).unsqueeze(1) * BINS
        found = torch.bincount(bins.flatten(), minlength=BINS * (len(rows) if self.channels else 1)).view(-1, BINS)
        self.counts = found if self.counts is None else self.counts + found

    @property
    def values(self) -> Tensor:
        """The middle of each bin [BINS], 0 for the first."""
        middle = torch.exp2((torch.arange(BINS, dtype=torch.float64) - 0.5) / PER_OCTAVE + LOWEST)
        middle[0] = 0
        return middle

    @property
    def top(self) -> float:
        """The largest |value| of all."""
        return 0.0 if self.highest is None else self.highest.max().item()

    @property
    def mean(self) -> Tensor:
        """The mean value of each channel [C], signs included."""
        assert self.total is not None
        return (self.total / (self.count * self.size / len(self.total))).float()

    def quantile(self, p: float) -> Tensor:
        """The |value| that a share p in (0, 1] does not exceed, [C] or [1]; the largest one where that is 0."""
        assert self.counts is not None and self.highest is not None
        wanted = (p * self.counts.sum(1, keepdim=True)).ceil().clamp_min(1)
        at = (self.counts.cumsum(1) < wanted).sum(1)
        edge = torch.exp2(at.double() / PER_OCTAVE + LOWEST).float().to(self.highest.device)
        highest = self.highest if self.channels else self.highest.max().view(1)
        return torch.where(at > 0, torch.minimum(edge, highest), highest)

    def error(self, theta: Tensor, steps: int, most: int) -> Tensor:
        """Mean squared error of rounding to multiples of theta / steps up to most * theta: [len(theta), C or 1].

        What a neuron that starts at theta / 2 makes of constant activations in `steps` steps. theta: candidates [K]
        or [K, C].
        """
        assert self.counts is not None
        values, counts = self.values, self.counts.double().cpu()
        grid = theta.double().cpu().view(len(theta), -1, 1)  # [K, C or 1, 1]
        rounded = ((values / grid * steps + 0.5).floor().clamp_max(most * steps)) * grid / steps
        return ((rounded - values).square() * counts).sum(2) / counts.sum(1)
