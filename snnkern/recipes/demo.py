"""`snnkern demo`: train LeNet-5 on real digits, convert it, and run it beside the classic simulator loop."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from snnkern._checks import whole
from snnkern.convert import SNN, convert
from snnkern.data import Mnist
from snnkern.recipes import digits, machine
from snnkern.recipes.compare import Row, compare, count_spikes
from snnkern.recipes.files import write, write_json
from snnkern.recipes.raster import record

TIMESTEPS = (1, 2, 4, 8, 16, 32, 64)
EPOCHS = 10
CALIBRATION = 1000
STEPS = 8  # that thresholds are chosen for
NOTE = (
    'The loop calls every layer once per step, as step-mode simulators do. snnkern calls each layer once for '
    'all steps, and the layers before the first neuron once in all, since their input is constant. Times are '
    'medians of interleaved runs over all test digits with the same threads and allocator; neuron times '
    'include the pools.'
)

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Settings:
    """What to run: epochs >= 1, timesteps all >= 1, the seed of training, a backend or None (the best).

    threads: of both ways to run the network, >= 1. One by default: on a machine that has other work, two
    threads that wait for each other measure that work.
    """

    epochs: int = EPOCHS
    timesteps: tuple[int, ...] = TIMESTEPS
    seed: int = 0
    backend: str | None = None
    threads: int = 1

    def __post_init__(self) -> None:
        whole('epochs', self.epochs)
        whole('threads', self.threads)
        whole('seed', self.seed, at_least=0)
        if not self.timesteps:
            raise ValueError('timesteps must name at least one number of steps')
        for T in self.timesteps:
            whole('timesteps', T)


def _silent(what: str, share: float) -> None:
    pass


def run(data: Mnist, settings: Settings, out: Path, progress: Progress = _silent) -> dict[str, Any]:
    """Run the demo and write report.json, accuracy.png and raster.png into the existing folder `out`.

    progress: called with what is being done and the share of all work done so far. Returns the report.
    Example: `run(mnist(), Settings(timesteps=(1, 8)), Path('demo'))`.
    """
    start = perf_counter()
    with machine.running(settings.threads, settings.backend):
        report = _measure(data, settings, out, progress)
    report['seconds'] = perf_counter() - start
    report['files'] = {name: str(out / name) for name in ('report.json', 'accuracy.png', 'raster.png')}
    write_json(out / 'report.json', report)
    progress('done', 1.0)
    return report


def _measure(data: Mnist, settings: Settings, out: Path, progress: Progress) -> dict[str, Any]:
    from snnkern.recipes import plots

    x_train, x_test = digits.images(data.x_train), digits.images(data.x_test)
    y_test = digits.labels(data.y_test)
    epochs = iter(range(1, settings.epochs + 1))
    progress('training LeNet-5', 0.0)
    start = perf_counter()
    net = digits.train(
        x_train,
        digits.labels(data.y_train),
        settings.epochs,
        settings.seed,
        lambda loss: progress(f'training LeNet-5, loss {loss:.3f}', 0.4 * next(epochs) / settings.epochs),
    )
    train_seconds = perf_counter() - start
    with torch.no_grad():
        ann_accuracy = digits.accuracy(torch.cat([net(part) for part in x_test.split(250)]), y_test)
    progress('converting', 0.4)
    snn = convert(net, x_train[:CALIBRATION], timesteps=STEPS)
    rows, differing = _rows(snn, x_test, y_test, settings.timesteps, ann_accuracy, progress)
    curve = {row.timesteps: row.snn_accuracy for row in rows}
    write(out / 'accuracy.png', lambda path: plots.accuracy(curve, ann_accuracy, path, 'Converted LeNet-5 on MNIST'))
    raster = record(snn, x_test[0], f'the digit: {y_test[0]}', max(16, *settings.timesteps), tuple('0123456789'))
    write(out / 'raster.png', lambda path: plots.raster(raster, path))
    return {
        'ann_accuracy': ann_accuracy,
        'rows': [asdict(row) for row in rows],
        'spikes_differing': differing,
        'train_seconds': train_seconds,
        'data': data.source,
        'seed': settings.seed,
        'epochs': settings.epochs,
        'conversion': _conversion(snn),
        'note': NOTE,
        **machine.facts(),
    }


def _rows(
    snn: SNN, x: Tensor, y: Tensor, timesteps: Sequence[int], ann_accuracy: float, progress: Progress
) -> tuple[list[Row], int]:
    """One row for each number of steps, and how many spikes of the longest run differ from the loop's."""
    longest, loop = max(timesteps), snn.simulator()
    progress('comparing spikes with the loop', 0.45)
    spikes = count_spikes(snn, x, longest)
    warm_up = x[: snn.batch(1)]
    snn.predict(warm_up, 1), loop.predict(warm_up, 1)
    rows, done = [], 0
    for T in timesteps:
        progress(f'T = {T}: simulator loop and snnkern', 0.55 + 0.4 * done / sum(timesteps))
        rows.append(compare(snn, loop, x, y, T, ann_accuracy, spikes))
        done += T
    progress('drawing', 0.95)
    return rows, spikes.differing


def _conversion(snn: SNN) -> dict[str, Any]:
    return {
        'calibration_digits': CALIBRATION,
        'recipe': snn.recipe,
        'timesteps': snn.timesteps,
        'neurons': [{'v_threshold': n.v_threshold, 'max_spikes': n.max_spikes} for n in snn.neurons],
        'entries': [asdict(entry) for entry in snn.entries],
    }
