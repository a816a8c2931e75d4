"""One training from a configuration to a folder of results: `snnkern train CONFIG`."""

import shutil
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

import snnkern
from snnkern.data import ImageSplit, SampleSet, samples
from snnkern.recipes import files, machine, training
from snnkern.recipes.direct import checkpoint, curves, runtime, saved
from snnkern.recipes.direct.config import Config
from snnkern.recipes.direct.loop import Loop, Tell
from snnkern.recipes.direct.objective import Inputs
from snnkern.recipes.fitting import AUGMENTS, seeded

CALIBRATION = 256  # images
REPORT, PICTURE = 'report.json', 'curve.png'


def prepare(out: Path, existing: str) -> None:
    """See that a run's folder may be written into; raises FileExistsError for one with files, unless told otherwise."""
    if out.is_dir() and any(out.iterdir()) and existing == 'stop':
        raise FileExistsError(f'{out} is not empty: --resume goes on with its run, --overwrite deletes it')
    if out.exists() and not out.is_dir():
        raise FileExistsError(f'{out} is a file, expected a folder')
    ours = (out / checkpoint.FILE).is_file() or (out / REPORT).is_file()
    if existing == 'overwrite' and out.is_dir() and any(out.iterdir()):
        if not ours:
            raise FileExistsError(f'{out} holds no run of snnkern: delete it yourself, or name another folder')
        shutil.rmtree(out)
    out.mkdir(parents=True, exist_ok=True)


def read(config: Config) -> SampleSet:
    """The data of a configuration, augmented as it says."""
    data = samples(config.data, config.T, **config.data_options)
    if isinstance(data.train, ImageSplit) and config.augment != 'none':
        data.train.change = AUGMENTS[config.augment]
    elif config.augment != 'none':
        raise ValueError(f'augment: {data.name} has an augmentation of its own (data_options), got {config.augment!r}')
    if (config.coding == 'frames') != (len(data.shape) == 4):
        kind = 'frames of events' if len(data.shape) == 4 else 'images'
        raise ValueError(f'coding: {data.name} has {kind}, got {config.coding!r}')
    return data


def network(config: Config, data: SampleSet, inputs: Inputs) -> nn.Module:
    """The network at the start of a training: drawn from the seed, or from weights, or converted."""
    with seeded(config.seed):
        net = saved.make(config, len(data.classes), data.shape)
        if config.init is not None:
            saved.begin_with(net, config.init)
        calibrate: Any = getattr(net, 'calibrate', None)
        if calibrate:
            x, _ = data.train.batch(range(min(CALIBRATION, len(data.train))))
            calibrate(inputs(x)[0])
    return net


def train(config: Config, out: Path, settings: runtime.Settings, tell: Tell) -> dict[str, Any]:
    """Train and write a run's folder: weights, report, curve, TensorBoard's logs, the checkpoint to go on from.

    Every process of torchrun calls this; the first one writes. Returns the report, as JSON. Raises FileExistsError for
    a folder that holds something (settings.existing), DataError, WeightsError or CheckpointError for files that are
    missing, broken or of something else, FloatingPointError if the loss is not finite.
    Example: `train(read('mnist-mlp'), Path('runs/mlp'), Settings(), tell=print)`.
    """
    with machine.running(settings.threads, settings.backend):
        fabric = runtime.fabric(settings, out)
        if fabric.is_global_zero:
            prepare(out, settings.existing)
        fabric.barrier()
        start = time.perf_counter()
        data = read(config)
        inputs = Inputs(config, data.mean, data.std)
        net = network(config, data, inputs)
        loop = Loop(fabric, config, net, data, inputs, out, settings)
        state = loop.run(tell if fabric.is_global_zero else lambda what, share: None)
        facts = saved.facts_of(config, data) | {
            'score': state.history[-1],
            'parameters': sum(p.numel() for p in net.parameters()),
            'weights': training.digest(net),
            'seconds': round(time.perf_counter() - start, 1),
            'versions': {'snnkern': snnkern.__version__},
        }
        report = {**facts, 'history': state.history, 'settings': asdict(settings), 'machine': machine.facts()}
        if fabric.is_global_zero:
            training.save(net, out / saved.FILE, facts)
            files.write_json(out / REPORT, report)
            curves.draw(state.losses, state.history, loop.plan.steps, out / PICTURE)
        fabric.barrier()
    return {**report, 'folder': str(out)}
