"""The configuration of a training: a small TOML file, or one that comes with the package under a name."""

import dataclasses
import json
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snnkern._checks import whole
from snnkern.recipes.fitting import AUGMENTS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CONFIGS = Path(__file__).with_name('configs')
CODINGS = ('direct', 'poisson', 'frames', 'saccade', 'odg')
LOSSES = ('cross-entropy', 'tet', 'count', 'one-hot', 'head')
OPTIMIZERS = ('adamw', 'adam', 'sgd')
SCHEDULES = ('cosine', 'constant')
KINDS: dict[Any, Any] = {str: str, dict[str, Any]: dict}
SACCADES = 8  # steps that saccade frames and ODG have


@dataclass(frozen=True)
class Config:
    """What is trained, on what, and how; the keys of a TOML file.

    about: one line for people. model: a key of `snnkern.models.spiking.SPIKING`; options: its own arguments. data: as
    `snnkern.data.samples` takes it, "mnist" or "name:DIR"; data_options: arguments of that data set (size, augment).

    T: time steps. coding: how images become T steps: "direct" (the same current in each), "poisson" (spikes with that
    probability), "saccade" or "odg" (8 steps, `snnkern.encode`; coding_options: their arguments); "frames": the data
    have steps already.

    loss: "cross-entropy" of the mean output, "tet" (Deng et al., ICLR 2022), "count" (mean square error of spike
    counts, .8 T for the class and .2 T otherwise), "one-hot" (mean square error of the mean output), or for boxes
    "head" (what the network's head says of the mean output, as `models.yolo.YoloHead.loss`). label_smoothing: of the
    first two. dice: weight of 1 - Dice, for masks. rate_penalty: weight of the mean square distance of the layers'
    firing rates from rate_target. distill: share of the loss that is the mean square distance from the logits of the
    network's ANN, for a converted network.

    optimizer: "adamw", "adam" or "sgd" (Nesterov's momentum 0.9). schedule: of the learning rate, "cosine" down to 0
    after `warmup` (share of all steps, rising), or "constant". clip: largest norm of the gradient; 0: any.
    augment: of images in bytes, "affine" (digits), "shift-flip" (CIFAR) or "none"; other data have their own options.
    epochs, batch: passes and samples a step (of all processes together). seed: of everything random. init: a file of
    weights to start from, as far as names and shapes fit. event_convolutions: `nn.spike_convolutions` of the network.

    Raises ValueError, naming the key, for a value that is no such. Example: `Config('mlp', 'mnist', T=25, epochs=2)`.
    """

    model: str
    data: str
    about: str = ''
    options: dict[str, Any] = field(default_factory=dict)
    data_options: dict[str, Any] = field(default_factory=dict)
    T: int = 4
    coding: str = 'direct'
    coding_options: dict[str, Any] = field(default_factory=dict)
    loss: str = 'cross-entropy'
    label_smoothing: float = 0.0
    dice: float = 0.0
    rate_penalty: float = 0.0
    rate_target: float = 0.1
    distill: float = 0.0
    optimizer: str = 'adamw'
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: str = 'cosine'
    warmup: float = 0.0
    clip: float = 0.0
    augment: str = 'none'
    epochs: int = 1
    batch: int = 128
    seed: int = 0
    init: str | None = None
    event_convolutions: bool = False

    def __post_init__(self) -> None:
        for name, known in (
            ('coding', CODINGS),
            ('loss', LOSSES),
            ('optimizer', OPTIMIZERS),
            ('schedule', SCHEDULES),
            ('augment', tuple(AUGMENTS)),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f'{name}: expected one of {", ".join(known)}, got {getattr(self, name)!r}')
        for name, least in (('T', 1), ('epochs', 1), ('batch', 1), ('seed', 0)):
            whole(name, getattr(self, name), at_least=least)
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if item.type is float:
                if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
                    raise ValueError(f'{item.name}: expected a number >= 0, got {value!r}')
            elif item.type in KINDS and not isinstance(value, KINDS[item.type]):
                raise ValueError(f'{item.name}: expected a {KINDS[item.type].__name__}, got {value!r}')
        if not isinstance(self.event_convolutions, bool):
            raise ValueError(f'event_convolutions: expected true or false, got {self.event_convolutions!r}')
        if not isinstance(self.init, str | None):
            raise ValueError(f'init: expected a path, got {self.init!r}')
        for name in ('options', 'data_options', 'coding_options'):
            try:
                json.dumps(getattr(self, name), allow_nan=False)
            except (TypeError, ValueError) as error:
                raise ValueError(f'{name}: expected finite numbers, text and lists of them ({error})') from error
        if self.label_smoothing and self.loss not in ('cross-entropy', 'tet'):
            raise ValueError(f'label_smoothing: a loss {self.loss!r} has none, got {self.label_smoothing}')
        if self.learning_rate == 0:
            raise ValueError('learning_rate: expected a positive number, got 0')
        if self.coding_options and self.coding not in ('saccade', 'odg'):
            raise ValueError(f'coding_options: {self.coding!r} has none, got {self.coding_options}')
        if self.coding in ('saccade', 'odg') and self.T != SACCADES:
            raise ValueError(f'T: coding {self.coding!r} has {SACCADES} steps, got {self.T}')
        if self.label_smoothing > 1 or self.distill > 1 or self.warmup >= 1:
            raise ValueError('label_smoothing, distill, warmup: expected shares of 1')


def value_of(text: str) -> Any:
    """What a value of TOML says; other text is itself."""
    try:
        return tomllib.loads(f'value = {text}')['value']
    except tomllib.TOMLDecodeError:
        return text


def names() -> dict[str, str]:
    """The configurations that come with the package: their names, and what each is about."""
    return {path.stem: str(_table(path).get('about', '')) for path in sorted(CONFIGS.glob('*.toml'))}


def read(name: str | Path, changes: Mapping[str, Any] | None = None) -> Config:
    """The configuration of a name, or of a .toml file.

    changes: values of keys, a dot before those of a table ("options.hidden"), that take the place of the file's. Raises
    ValueError for an unknown name, a file that is missing or broken, a key that there is not, and what Config raises.
    Example: `read('mnist-mlp', {'epochs': 1, 'options.hidden': 100})`.
    """
    path = Path(name).expanduser() if str(name).endswith('.toml') else CONFIGS / f'{name}.toml'
    if not path.is_file():
        known = ', '.join(names())
        raise ValueError(f'no configuration {str(name)!r}, expected a .toml file or one of {known}')
    return from_table(_table(path), changes or {}, str(path.name))


def from_table(table: Mapping[str, Any], changes: Mapping[str, Any], source: str = 'the configuration') -> Config:
    """A configuration of its keys and values; errors name the source."""
    values: dict[str, Any] = {key: dict(value) if isinstance(value, Mapping) else value for key, value in table.items()}
    for key, value in changes.items():
        place, _, inner = key.partition('.')
        if inner:
            values.setdefault(place, {})
            if not isinstance(values[place], dict):
                raise ValueError(f'{source}: {place} is no table, got {key} = {value!r}')
            values[place][inner] = value
        else:
            values[key] = value
    known = [item.name for item in dataclasses.fields(Config)]
    for key in values:
        if key not in known:
            raise ValueError(f'{source}: no key {key!r}, expected some of {", ".join(known)}')
    for key in ('model', 'data'):
        if key not in values:
            raise ValueError(f'{source}: the key {key!r} is missing')
    try:
        return Config(**values)
    except (TypeError, ValueError) as error:
        raise ValueError(f'{source}: {error}') from error


def _table(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f'{path} is broken or no TOML file ({error})') from error
