"""Quantiles of any number of activations in bounded memory: a histogram whose bins have equal relative width."""

import copy

import torch
from torch import Tensor

PER_OCTAVE = 64
LOWEST, HIGHEST = -24, 24  # powers of two; what is smaller counts as zero
BINS = (HIGHEST - LOWEST) * PER_OCTAVE + 1


class Sketch:
    """How |values| are distributed, for all channels together or for each; a bin is 1.1 % wide.

    channels: one histogram per channel (dimension 1), else one in all. Memory: 12 KiB, times the channels if so.
    highest: the largest |value| of each channel [C]. size: values of one input; rank: dimensions of a batch. count:
    inputs seen. negative: whether any value was. unit: what a value of 1 in the histogram stands for.
    Source: histograms with relative error, as DDSketch (Masson et al., VLDB 2019).
    Example: `sketch.add(y)` for batches y [B, C, ...], then `sketch.quantile(0.99)`.
    """

    def __init__(self, channels: bool = False) -> None:
        self.channels = channels
        self.counts: Tensor | None = None
        self.highest: Tensor | None = None
        self.total: Tensor | None = None
        self.size = self.count = self.rank = 0
        self.unit = 1.0
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
        self.size, self.rank, self.count = y[0].numel(), y.dim(), self.count + len(y)
        bins = (((size / self.unit).log2() - LOWEST) * PER_OCTAVE).floor().add_(1).clamp_(0, BINS - 1).long()
        if self.channels:
            bins += torch.arange(len(rows), device=y.device).unsqueeze(1) * BINS
        found = torch.bincount(bins.flatten(), minlength=BINS * (len(rows) if self.channels else 1)).view(-1, BINS)
        self.counts = found if self.counts is None else self.counts + found

    def together(self) -> 'Sketch':
        """The same values without a distinction of channels."""
        assert self.counts is not None
        twin = copy.copy(self)
        twin.channels, twin.counts = False, self.counts.sum(0, keepdim=True)
        return twin

    def rescale(self, factor: float) -> None:
        """Make it the sketch of factor * values, factor > 0."""
        assert self.highest is not None
        assert self.total is not None
        self.unit, self.highest, self.total = self.unit * factor, self.highest * factor, self.total * factor

    @property
    def values(self) -> Tensor:
        """The middle of each bin [BINS], 0 for the first."""
        middle = torch.exp2((torch.arange(BINS, dtype=torch.float64) - 0.5) / PER_OCTAVE + LOWEST) * self.unit
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

    def quantile(self, p: float, shrink: float = 1.0) -> Tensor:
        """The |value| that a share p in (0, 1] does not exceed, [C] or [1]; the largest one where that is 0.

        shrink: >= 1; values above 1 are divided by it first.
        """
        assert self.counts is not None
        assert self.highest is not None
        highest = self.highest if self.channels else self.highest.max().view(1)
        edges = torch.exp2(torch.arange(BINS, dtype=torch.float64) / PER_OCTAVE + LOWEST) * self.unit
        edges, order = _shrunk(edges, shrink).sort(stable=True)
        edges = edges.float().to(highest.device)
        # Less a little, so that 0.07 of 100 is 7 and not 7.000000000000001.
        wanted = (p * self.counts.sum(1, keepdim=True).double() - 1e-6).ceil().clamp_min(1)
        at = (self.counts[:, order.to(highest.device)].cumsum(1) < wanted).sum(1)
        top = torch.where(highest > 1, _shrunk(highest, shrink).clamp_min(1), highest) if shrink > 1 else highest
        return torch.where(at > 0, torch.minimum(edges[at], top), top)

    def error(self, theta: Tensor, steps: int, most: int) -> Tensor:
        """Mean squared error of rounding to multiples of theta / steps up to most * theta: [len(theta), C or 1].

        What a neuron that starts at theta / 2 makes of constant activations in `steps` steps. theta: candidates [K]
        or [K, C].
        """
        assert self.counts is not None
        found = self.counts.cpu()
        seen = found.any(0)
        values, counts = self.values[seen], found[:, seen].double()

        def of(grid: Tensor) -> Tensor:
            rounded = (values / grid * steps + 0.5).floor().clamp_max(most * steps) * grid / steps
            return ((rounded - values).square() * counts).sum(1) / counts.sum(1)

        # One candidate at a time: all of them, times channels and bins, would not fit.
        return torch.stack([of(grid.unsqueeze(1)) for grid in theta.double().cpu().view(len(theta), -1)])


def _shrunk(values: Tensor, factor: float) -> Tensor:
    """Values above 1 divided by a factor."""
    return torch.where(values > 1, values / factor, values)
