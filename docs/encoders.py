"""Draws the pictures of docs/encoders.md: `python -m docs.encoders`.

The digit comes with snnkern. The photograph of saccade.png is COCO val2017 000000001675 and does not: it is read from
the folder SNNKERN_DATA (default: ../shared/data), and the picture is left as it is where that is absent.
"""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from torch import Tensor

from docs.panels import BLUE, GREY, INK, ORANGE, _save
from snnkern import encode
from snnkern.data import mnist
from snnkern.encode.frames import TRACES

FOLDER = Path(__file__).parent
DATA = Path(os.environ.get('SNNKERN_DATA', FOLDER.parents[1] / 'shared' / 'data'))
PHOTOGRAPH = '000000001675'
RISE_AND_FALL = LinearSegmentedColormap.from_list('rise and fall', [ORANGE, '#ffffff', BLUE])
T, LONG = 8, 24
DIGIT, COLUMN, LIT = 736, 19, slice(5, 25)  # of the test digits; what the rasters show of it

STRIP: dict[str, Callable[[Tensor], Tensor]] = {
    'direct': lambda x: encode.direct(x, T),
    'poisson': lambda x: encode.poisson(x, T, seed=1),
    'latency, linear': lambda x: encode.latency(x, T, threshold=0.02),
    'latency, log': lambda x: encode.latency(x, T, 'log', threshold=0.02),
    'latency, rc': lambda x: encode.latency(x, T, 'rc', threshold=0.2, tau=2.5),
    'ttfs': lambda x: encode.ttfs(x, T),
    'phase': lambda x: encode.phase(x, T),
    'burst': lambda x: encode.burst(x, T, max_spikes=4),
}
RASTERS: dict[str, Callable[[Tensor], Tensor]] = {
    'poisson': lambda x: encode.poisson(x, LONG, seed=1),
    'latency, linear (x >= 0.02)': lambda x: encode.latency(x, LONG, threshold=0.02),
    'ttfs, size: worth': lambda x: encode.ttfs(x, LONG).sqrt(),
    'phase, size: worth': lambda x: encode.phase(x, LONG, first=1.0),
    'burst': lambda x: encode.burst(x, LONG),
}
VALUES = {0.3: BLUE, 0.75: ORANGE}  # of the population's panels
NEURONS = 10


def digit() -> Tensor:
    """A four [28, 28] in [0, 1], with a stroke of many greys."""
    return torch.from_numpy(mnist().x_test[DIGIT]).float() / 255


def _image(ax: Axes, image: Tensor, **options: object) -> None:
    ax.imshow(image.numpy(), interpolation='nearest', **{'cmap': 'gray_r', 'vmin': 0, 'vmax': 1, **options})
    ax.set_xticks([])
    ax.set_yticks([])
    ax.spines[:].set_color(GREY)


def strip(path: Path) -> None:
    """Each encoder's frames of a digit, step by step, and their sum."""
    x = digit()
    figure = Figure(figsize=(12, 10.4), dpi=100, layout='constrained')
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0)
    axes = figure.subplots(len(STRIP), T + 2)
    for row, (name, code) in zip(axes, STRIP.items(), strict=True):
        s = code(x[None])[:, 0]
        for step, ax in enumerate(row[1:-1]):
            _image(ax, s[step])
        _image(row[0], x)
        _image(row[-1], s.sum(0), vmax=s.sum(0).max().item())
        row[0].set_ylabel(name, fontsize=12, color=INK)
    for ax, title in zip(axes[0], ['x', *(f'step {t}' for t in range(T)), 'sum'], strict=True):
        ax.set_title(title, fontsize=12, color=INK)
    _save(figure, path)


def _dots(ax: Axes, s: Tensor, color: str = BLUE, shift: float = 0.0) -> None:
    """A raster of s [T, n]: the larger the dot, the more a spike is worth."""
    times, lines = s.nonzero(as_tuple=True)
    ax.scatter(times, lines + shift, s=26 * s[times, lines], c=color, linewidths=0)
    ax.set_xlim(-0.7, len(s) - 0.3)
    ax.set_xticks(range(0, len(s), 4))


def _tidy(ax: Axes, title: str, x: str, y: str) -> None:
    ax.set_title(title, fontsize=12, color=INK, loc='left')
    ax.set_xlabel(x, fontsize=11, color=INK)
    ax.set_ylabel(y, fontsize=11, color=INK)
    ax.tick_params(labelsize=10, colors=INK)
    ax.spines[['top', 'right']].set_visible(False)


def _fields(ax: Axes) -> None:
    grid = torch.linspace(0, 1, 301)
    ax.plot(grid, encode.population_activity(grid, NEURONS), color=GREY, lw=1.2)
    for value, color in VALUES.items():
        a = encode.population_activity(torch.tensor(value), NEURONS)
        ax.axvline(value, color=color, lw=1.2)
        ax.plot([value] * NEURONS, a, 'o', color=color, ms=5)
    _tidy(ax, f'population: fields of {NEURONS} neurons', 'x', 'activity')


def rasters(path: Path) -> None:
    """A column of the digit's pixels over time, and a population's answer to two numbers."""
    x = digit()[LIT, COLUMN]
    figure = Figure(figsize=(12, 10), dpi=100, layout='constrained')
    axes = figure.subplots(3, 3).flatten()
    axes[0].barh(range(len(x)), x.numpy(), color=INK, height=0.8)
    _tidy(axes[0], f'column {COLUMN} of the digit, from the top', 'x', 'pixel')
    for ax, (name, code) in zip(axes[1:], RASTERS.items(), strict=False):
        _dots(ax, code(x[None])[:, 0])
        _tidy(ax, name, 'step', 'pixel')
    for ax in axes[:6]:
        ax.set_ylim(len(x) - 0.3, -0.7)
        ax.set_yticks(range(0, len(x), 4))
    _fields(axes[6])
    for ax, code in zip(axes[7:], ('time', 'voltage'), strict=True):
        for value, color in VALUES.items():
            s = encode.population(torch.tensor([value]), LONG, NEURONS, code=code)[:, 0]
            _dots(ax, s, color, 1.0)
        ax.set_ylim(0.3, NEURONS + 0.7)
        ax.set_yticks(range(1, NEURONS + 1))
        _tidy(ax, f'population, {code}: x = 0.3 and 0.75', 'step', 'neuron')
    _save(figure, path)


def photograph() -> Tensor | None:
    """RGB [3, H, W] in [0, 1], or None where the data is absent."""
    if not (DATA / 'load_data.py').exists():
        return None
    spec = importlib.util.spec_from_file_location('load_data', DATA / 'load_data.py')
    assert spec is not None
    assert spec.loader is not None
    data = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(data)
    found = next((row[1] for row in data.coco() if row[0] == PHOTOGRAPH), None)
    return None if found is None else torch.from_numpy(found.copy()).permute(2, 0, 1).float() / 255


def _moves(trace: str) -> list[str]:
    """What the image does on the sensor between two views."""
    down, right = (torch.tensor(axis).diff().tolist() for axis in TRACES[trace])
    return [f'{a:+d} down, {b:+d} right' for a, b in zip(down, right, strict=True)]


def frames(path: Path) -> None:
    """Saccade frames and ODG events of a photograph. Says so and draws nothing where that is absent."""
    photo = photograph()
    if photo is None:
        print(f'{path.name} is left as it is: no load_data.py in {DATA}')
        return
    small = torch.nn.functional.interpolate(photo[None], scale_factor=0.5, mode='area')
    change = encode.saccade(small.mean(1, keepdim=True))[:, 0]
    events = encode.odg(photo[None], resize=254, crop=224)[:, 0]
    figure = Figure(figsize=(11, 13.4), dpi=100, layout='constrained')
    top, middle, bottom = figure.subfigures(3, 1, height_ratios=(0.95, 2, 2.65))
    left, *parts = top.subplots(1, 3)
    _image(left, small[0].permute(1, 2, 0))
    left.set_title('the image (COCO val2017 1675)', fontsize=12, color=INK)
    for ax, (name, (down, right)) in zip(parts, TRACES.items(), strict=True):
        ax.plot(right, down, color=GREY, lw=1.2)
        for a, b in set(zip(down, right, strict=True)):
            there = [str(i) for i, place in enumerate(zip(down, right, strict=True)) if place == (a, b)]
            where = {'xytext': (-6, 5), 'ha': 'right'} if b == 0 else {'xytext': (6, 5)}
            ax.annotate(', '.join(there), (b, a), textcoords='offset points', fontsize=11, color=INK, **where)
        ax.plot(right, down, 'o', color=BLUE, ms=5)
        ax.set(xlim=(-1.4, 2.6), ylim=(2.4, -0.5), xticks=(0, 1, 2), yticks=(0, 1, 2), aspect='equal')
        _tidy(ax, f"views 0 to 8, trace '{name}'", 'shift right', 'shift down')
    _eight(middle, 'saccade: view i + 1 - view i', change[:, 0] - change[:, 1], 0.35)
    _eight(bottom, 'odg, resize=254, crop=224', events[:, 0] - events[:, 1], 1.0)
    _save(figure, path)


def _eight(figure: Figure, title: str, signed: Tensor, most: float) -> None:
    trace = 'repo' if 'odg' in title else 'paper'
    axes = figure.subplots(2, 4).flatten()
    for i, (ax, frame, move) in enumerate(zip(axes, signed, _moves(trace), strict=True)):
        _image(ax, frame, cmap=RISE_AND_FALL, vmin=-most, vmax=most)
        ax.set_title(f'{i}: {move}', fontsize=10, color=INK)
    figure.suptitle(f'{title}; blue: brighter, orange: darker', fontsize=12, color=INK)


def main() -> None:
    strip(FOLDER / 'encoders.png')
    rasters(FOLDER / 'encoders_rasters.png')
    frames(FOLDER / 'encoders_frames.png')


if __name__ == '__main__':
    main()
