"""The pictures of docs/neurons.md: what each preset does with a current, and the surrogate derivatives."""

import math
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

from snnkern import Custom, Neuron
from snnkern.functional import multistep
from snnkern.presets import NEURONS
from snnkern.surrogates import SURROGATES

INK, BLUE, ORANGE, VIOLET, GREY = '#1f2933', '#1769aa', '#d9480f', '#7048b6', '#b6c2cc'
T = 64
COLUMNS = 4


def current() -> Tensor:
    """A step, a pause, a swell that grows, and a negative end [T]."""
    t = torch.arange(T)
    swell = 0.9 + 0.8 * torch.sin((t - 24) / 24 * math.pi)
    return torch.where((t >= 4) & (t < 18), 0.9, 0.0) + torch.where((t >= 24) & (t < 46), swell, 0.0) - 0.8 * (t >= 52)


def lively(neuron: Neuron) -> float:
    """The factor of the current at which the neuron spikes now and then, or several times where it can."""
    several = getattr(neuron.fire, 'max_spikes', 1) > 1
    wanted = 0.8 if several else 0.28 if neuron.fire.negative else 0.2
    gains = [0.05, 0.1, 0.15, 0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 4.0, 6.0]
    rates = [multistep(current() * g, neuron).clamp_min(0).mean().item() for g in gains]
    return min(zip(gains, rates, strict=True), key=lambda pair: abs(pair[1] - wanted))[0]


def _panel(ax: Axes, name: str, neuron: Neuron) -> None:
    gain = lively(neuron)
    x = current() * gain
    s, v = multistep(x, neuron, return_v_seq=True)
    t = torch.arange(T)
    scale = max(v.max().item(), neuron.fire.v_threshold)  # a deep negative potential leaves the panel
    ax.fill_between(t, (x / x.abs().max()).numpy() * 0.8, step='mid', color=GREY, alpha=0.45, lw=0)
    ax.axhline(0, color=GREY, lw=0.6)
    ax.plot(t, (v / scale).numpy(), color=BLUE, lw=1.4, solid_joinstyle='round')
    most = s.abs().max().clamp_min(1e-3)
    for fired, color in ((s > 0, ORANGE), (s < 0, VIOLET)):
        height = 0.25 + 0.4 * (s[fired].abs() / most)
        ax.vlines(t[fired], 1.2, 1.2 + height, color=color, lw=1.6)
    ax.set_title(name, fontsize=10, color=INK, loc='left', pad=3)
    ax.set_ylim(-0.85, 1.95)
    ax.set_xlim(-1, T)
    ax.set_axis_off()


def responses(path: Path) -> None:
    """A panel for each preset, into a PNG file."""
    rows = math.ceil(len(NEURONS) / COLUMNS)
    figure = Figure(figsize=(12, 1.55 * rows), dpi=100, layout='constrained')
    axes = figure.subplots(rows, COLUMNS).flatten()
    for ax, (name, neuron) in zip(axes, NEURONS.items(), strict=False):
        _panel(ax, name, neuron)
    for ax in axes[len(NEURONS) :]:
        ax.set_axis_off()
    _save(figure, path)


def surrogates(path: Path) -> None:
    """A panel for each surrogate's derivative with its default numbers, into a PNG file."""
    kinds = [kind for kind in SURROGATES if kind is not Custom]
    figure = Figure(figsize=(12, 4.2), dpi=100, layout='constrained')
    axes = figure.subplots(2, math.ceil(len(kinds) / 2), sharex=True).flatten()
    z = torch.linspace(-2, 5, 3501)  # as far as the window of Window
    for ax, kind in zip(axes, kinds, strict=True):
        slope = kind().grad(z)
        ax.fill_between(z.numpy(), slope.numpy(), color=BLUE, alpha=0.12, lw=0)
        ax.plot(z.numpy(), slope.numpy(), color=BLUE, lw=1.6)
        ax.set_title(kind.__name__, fontsize=11, color=INK, loc='left')
        ax.set_ylim(0, slope.max().item() * 1.15)
        ax.set_xticks([-2, 0, 2, 4])
        ax.tick_params(labelsize=9, colors=INK, length=3)
        ax.spines[['top', 'right']].set_visible(False)
    figure.supxlabel('z = h - theta', fontsize=11, color=INK)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    """A palette of 48 colours keeps the file small."""
    figure.savefig(path, format='png')
    with Image.open(path) as image:
        image.convert('RGB').quantize(48, dither=Image.Dither.NONE).save(path, optimize=True)
