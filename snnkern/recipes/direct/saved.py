"""Trained spiking networks as files: weights, and beside them all that is needed to build and use the network."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

from snnkern.data.common import first_line
from snnkern.data.samples import SampleSet
from snnkern.models import WeightsError, load_weights, read_metadata, read_weights
from snnkern.models.spiking import build
from snnkern.recipes.direct.config import Config, from_table

FILE = 'weights.safetensors'
KEY = 'direct'
LISTS: dict[str, Any] = {'classes': str, 'shape': int, 'mean': int | float, 'std': int | float}
WRONG = (ValueError, LookupError, TypeError, AttributeError, RuntimeError, MemoryError, ArithmeticError)
TASKS = {'labels': 'classify', 'masks': 'segment', 'boxes': 'detect'}


class Trained(NamedTuple):
    """A trained network in eval mode, the configuration that made it, and what else its file says.

    facts: classes, shape (of one sample), mean, std, source, score, seconds, and the versions that made it.
    """

    net: nn.Module
    config: Config
    facts: dict[str, Any]


def facts_of(config: Config, data: SampleSet) -> dict[str, Any]:
    """What is saved beside weights so that `load` can build the network again, as JSON."""
    known = data._asdict()
    kept = {name: known[name] for name in ('classes', 'shape', 'mean', 'std', 'ignore')}
    task = TASKS[data.targets]
    framing = getattr(data.train, 'framing', None)
    if framing is not None:
        kept |= {'sensor': data.train.sensor, 'framing': dataclasses.asdict(framing)}  # type: ignore[attr-defined]
    return {KEY: dataclasses.asdict(config), 'task': task, 'data': data.source, **kept}


def make(config: Config, classes: int, shape: tuple[int, ...]) -> nn.Module:
    """The untrained network of a configuration for samples of that shape, (C, H, W) or (T, C, H, W)."""
    taken = sorted({'in_channels', 'size', 'num_classes'} & config.options.keys())
    if taken:
        raise ValueError(f'options: {taken[0]} is what the data have, got {config.options[taken[0]]!r}')
    channels, height, width = shape[-3:]
    channels = {'saccade': 2 * channels, 'odg': 2}.get(config.coding, channels)
    return build(config.model, in_channels=channels, size=(height, width), num_classes=classes, **config.options)


def load(path: str | Path) -> Trained:
    """A network that `snnkern train` made; path: the file, or the folder of the run.

    Raises WeightsError for a file that is missing, broken, or of something else.
    Example: `net, config, facts = load('runs/mnist-mlp')`.
    """
    path = Path(path).expanduser()
    path = path / FILE if path.is_dir() else path
    facts = read_metadata(path)
    if KEY not in facts:
        raise WeightsError(f'{path} holds {facts.get("model", "a network")}, expected one of `snnkern train CONFIG`')
    try:
        _check(facts)
        config = from_table(facts[KEY], {}, KEY)
        # What a network was made from is in its own weights by now.
        bare = {name: value for name, value in config.options.items() if name != 'weights'}
        net = make(dataclasses.replace(config, options=bare), len(facts['classes']), tuple(facts['shape']))
    except WRONG as error:
        raise WeightsError(f'{path}: {first_line(error)}') from error
    return Trained(load_weights(net, path), config, facts)


def _check(facts: dict[str, Any]) -> None:
    """Raise ValueError, naming the key, unless these are facts as `facts_of` makes them."""
    if not isinstance(facts[KEY], dict):
        raise ValueError(f'{KEY}: expected a table, got {facts[KEY]!r}')
    for key, kind in LISTS.items():
        value = facts.get(key)
        if not isinstance(value, list) or not all(isinstance(v, kind) and not isinstance(v, bool) for v in value):
            raise ValueError(f'{key}: expected a list of {"names" if kind is str else "numbers"}, got {value!r}')
    if len(facts['shape']) not in (3, 4) or min(facts['shape']) < 1:
        raise ValueError(f'shape: expected 3 or 4 sizes above 0, got {facts["shape"]}')
    if len(facts['mean']) != len(facts['std']) or 0 in facts['std']:
        raise ValueError(f'mean, std: expected numbers for each channel, got {facts["mean"]}, {facts["std"]}')
    if facts.get('task') not in TASKS.values():
        raise ValueError(f'task: expected one of {", ".join(TASKS.values())}, got {facts.get("task")!r}')


def segments(trained: Trained) -> bool:
    """Whether the network answers with masks."""
    return trained.facts['task'] == 'segment'


def begin_with(net: nn.Module, path: str | Path) -> list[str]:
    """Put the weights of a file into a network, as far as names and shapes fit; returns the names of what fitted.

    A network with `adapt(tensors) -> tensors` changes them first (a segmenter takes those of a classifier). Raises
    WeightsError for a file that is missing or broken, and where nothing fits.
    """
    tensors = read_weights(path)
    adapt: Any = getattr(net, 'adapt', None)
    tensors = adapt(tensors) if adapt else tensors
    own = net.state_dict()
    fitting: dict[str, Tensor] = {k: t for k, t in tensors.items() if k in own and t.shape == own[k].shape}
    if not fitting:
        raise WeightsError(f'{path} holds nothing that fits {type(net).__name__}: {", ".join(list(tensors)[:3])}, ...')
    net.load_state_dict({**own, **fitting})
    return sorted(fitting)
