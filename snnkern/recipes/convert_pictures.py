"""The files that `snnkern convert` writes beside its report: weights and pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from snnkern.convert import SNN
from snnkern.recipes import plots, segment
from snnkern.recipes.convert_program import Job, reading
from snnkern.recipes.files import write
from snnkern.recipes.measure import main_score
from snnkern.recipes.raster import record

PICTURES, SHOWN = 3, 5  # of the overlay: images, and numbers of steps
RASTER = 16  # steps at least


def draw(work: Job, snns: list[SNN], report: dict[str, Any], out: Path) -> list[str]:
    """Write weights and pictures of converted networks into a folder; returns the files' names."""
    written = []

    def put(file: str, save: Callable[[Path], object]) -> None:
        write(out / file, save)
        written.append(file)

    for snn in snns:
        put('snn.safetensors' if len(snns) == 1 else f'snn-T{snn.timesteps}.safetensors', snn.save)
    rows = [row for conversion in report['conversions'] for row in conversion['rows']]
    points = {row['timesteps']: main_score(row['score']) for row in rows}
    what = 'soft Dice of test slices' if work.masks else ''
    title = f'Converted {report["network"]} on {work.data.name}'
    put('accuracy.png', lambda path: plots.accuracy(points, main_score(report['ann']), path, title, what))
    last = max(rows, key=lambda row: row['timesteps'])
    put('rates.png', lambda path: plots.layers(last['rates'], path, f'{title}, T = {last["timesteps"]}'))
    put('raster.png', lambda path: raster(work, snns[-1], path))
    if work.masks:
        put('overlay.png', lambda path: overlay(work, snns, path))
    return written


def raster(work: Job, snn: SNN, path: Path) -> None:
    """Draw the spikes of the first test image."""
    data, image = work.data, work.data.x_test[:1]
    label = 'a slice' if work.masks else f'the image: {data.classes[int(data.y_test[0])]}'
    T = max(RASTER, *work.settings.timesteps)
    found = record(snn, data.normalise(image)[0], label, T, () if work.masks else data.classes, image[0] / 255)
    plots.raster(found, path)


@torch.no_grad()
def overlay(work: Job, snns: list[SNN], path: Path) -> None:
    """Draw some test slices with the masks of both networks."""
    images, truth = work.data.x_test[:PICTURES], work.data.y_test[:PICTURES]
    x, read = work.data.normalise(images), reading(work.settings)
    found = {'ANN': work.net(x)}
    for T in spread(sorted(work.settings.timesteps), snns[-1].timesteps, SHOWN):
        snn = next((snn for snn in snns if snn.timesteps == T), snns[-1])
        p = snn.predict(x, T)
        found[f'SNN, T = {T}'] = p if read is None else read(p)
    segment.draw(images / 255, truth, found, path)


def spread(values: list[int], wanted: int, count: int) -> list[int]:
    """At most `count` of the sorted values, evenly spread, with the first, the last, and the wanted one if it is there.

    Example: `spread([1, 2, 4, 8, 16, 32], 8, 4)` is [1, 4, 8, 32].
    """
    if len(values) <= count:
        return values
    others = [value for value in values if value != wanted]
    room = count - (len(values) - len(others))
    picked = [others[round(i * (len(others) - 1) / max(1, room - 1))] for i in range(room)]
    return sorted({*picked, *(value for value in values if value == wanted)})
