"""One training from a configuration to a folder of results: `snnkern train CONFIG`."""

import math
import time
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import snnkern
from snnkern.data import ImageSplit, SampleSet, samples
from snnkern.models.boxes import head_of
from snnkern.nn import reset, spike_convolutions
from snnkern.recipes import files, machine, training
from snnkern.recipes.direct import checkpoint, runtime, saved
from snnkern.recipes.direct.config import Config
from snnkern.recipes.direct.loop import Loop, Tell
from snnkern.recipes.direct.objective import Inputs
from snnkern.recipes.fitting import AUGMENTS, seeded

CALIBRATION, VALUES = 256, 2**25  # images, and what they may hold together
REPORT, PICTURE = 'report.json', 'curve.png'
OURS = (checkpoint.FILE, f'.{checkpoint.FILE}', saved.FILE, REPORT, PICTURE, 'events.out.tfevents*')


def check(out: Path, existing: str) -> None:
    """See that a run may be written into a folder, and change nothing.

    Raises FileExistsError for a folder that holds anything unless existing is "resume" or "overwrite", and then, too,
    for one with anything beside the files of a run.
    """
    if out.exists() and not out.is_dir():
        raise FileExistsError(f'{out} is a file, expected a folder')
    found = sorted(item.name for item in out.iterdir()) if out.is_dir() else []
    if found and existing == 'stop':
        raise FileExistsError(f'{out} is not empty: --resume goes on with its run, --overwrite deletes it')
    foreign = [name for name in found if not any(fnmatch(name, ours) for ours in OURS)]
    if foreign:
        raise FileExistsError(f'{out} holds {foreign[0]}, which is no part of a run: name another folder')


def clear(out: Path) -> None:
    """Make a run's folder, and delete the files of an earlier run in it."""
    out.mkdir(parents=True, exist_ok=True)
    for item in out.iterdir():
        if any(fnmatch(item.name, ours) for ours in OURS):
            item.unlink()


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
        head = head_of(net)
        if hasattr(head, 'fit') and not (head.given or hasattr(net, 'teacher')):  # what was converted keeps its anchors
            head.fit(_sizes(data))
        if config.init is not None:
            saved.begin_with(net, config.init)
        calibrate: Any = getattr(net, 'calibrate', None)
        if calibrate and config.init is None:  # it would forget the weights
            count = min(CALIBRATION, max(1, VALUES // math.prod(data.shape)), len(data.train))
            x, _ = data.train.batch(range(count))
            calibrate(inputs(x)[0])
    return spike_convolutions(net) if config.event_convolutions else net


def _sizes(data: SampleSet) -> Tensor:
    """Width and height of all boxes to train on, [N, 2]; images are not read."""
    split: Any = data.train
    rows = torch.cat([split.boxes(n) for n in range(len(split))])
    return rows[:, 3:5] - rows[:, 1:3]


@torch.no_grad()
def fits(net: nn.Module, config: Config, data: SampleSet, inputs: Inputs) -> None:
    """Raise ValueError unless the network answers to a sample of the data with what its targets ask for."""
    x, _ = data.train.batch([0])
    wanted, channels = _asked(net, data)
    try:
        out = net.eval()(inputs(x))
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f'model: {config.model} does not take samples of {data.name}, {data.shape}: {error}'
        ) from error
    finally:
        reset(net)
        net.train()
    if out.dim() != wanted or out.shape[2] != channels:
        form = '[T, B, K, h, w]' if wanted == 5 else '[T, B, K]'
        got = tuple(out.shape)
        raise ValueError(f'model: {config.model} must give {form} for {data.name}, K = {channels}, got {got}')


def _asked(net: nn.Module, data: SampleSet) -> tuple[int, int]:
    """Dimensions and channels of the outputs that the data's targets ask for."""
    targets = data.targets
    if targets != 'boxes':
        return (5 if targets == 'masks' else 3), len(data.classes)
    head = head_of(net)
    if head is None:
        raise ValueError(f'model: {type(net).__name__} has no head that finds the boxes of {data.name}')
    return 5, head.channels


def train(config: Config, out: Path, settings: runtime.Settings, tell: Tell) -> dict[str, Any]:
    """Train and write a run's folder: weights, report, curve, TensorBoard's logs, the checkpoint to go on from.

    Every process of torchrun calls this; the first one writes. Returns the report, as JSON. Raises FileExistsError for
    a folder that holds something (settings.existing), DataError, WeightsError or CheckpointError for files that are
    missing, broken or of something else, FloatingPointError if the loss is not finite.
    Example: `train(read('mnist-mlp'), Path('runs/mlp'), Settings(), tell=print)`.
    """
    with machine.running(settings.threads, settings.backend), seeded(config.seed):
        fabric = runtime.fabric(settings, out)
        if fabric.is_global_zero:
            check(out, settings.existing)
        start = time.perf_counter()
        data = read(config)
        inputs = Inputs(config, data.mean, data.std)
        net = network(config, data, inputs)
        fits(net, config, data, inputs)
        loop = Loop(fabric, config, net, data, inputs, out, settings)
        if fabric.is_global_zero and settings.existing == 'overwrite':  # not before all else has been found sound
            clear(out)
        fabric.barrier()
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
            from snnkern.recipes.direct import curves

            training.save(net, out / saved.FILE, facts)
            files.write_json(out / REPORT, report)
            curves.draw(state.losses, state.history, loop.plan.steps, out / PICTURE)
        fabric.barrier()
    return {**report, 'folder': str(out)}
