"""Checkpoints of a training: whole or not there, and only of the training that goes on."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from snnkern.recipes.direct.config import Config

FILE = 'checkpoint.pt'


class CheckpointError(RuntimeError):
    """A checkpoint is broken, or of another training."""


@dataclasses.dataclass
class State:
    """How far a training is. step: steps done. losses: of each. history: a row for each epoch done."""

    step: int = 0
    losses: list[float] = dataclasses.field(default_factory=list)
    history: list[dict[str, float]] = dataclasses.field(default_factory=list)


def save(fabric: Any, folder: Path, net: nn.Module, optimizer: Any, state: State, about: Mapping[str, Any]) -> None:
    """Write the checkpoint of a run's folder: the one before stands until this one is whole."""
    path, temporary = folder / FILE, folder / f'.{FILE}'
    content = {'about': dict(about), 'net': net, 'optimizer': optimizer, 'state': dataclasses.asdict(state)}
    try:
        fabric.save(temporary, content)
        if fabric.is_global_zero:
            os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fabric.barrier()


def load(fabric: Any, folder: Path, net: nn.Module, optimizer: Any, about: Mapping[str, Any]) -> State:
    """Put a run's checkpoint into network and optimizer; a fresh state where there is none.

    Raises CheckpointError for a broken file, or one of another training, naming what differs.
    """
    path = folder / FILE
    if not path.is_file():
        return State()
    try:
        content = fabric.load(path, weights_only=True)
        there, parts = content['about'], (content['net'], content['optimizer'])
        state = State(**content['state'])
    except Exception as error:  # what torch raises for broken files is of many kinds
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise CheckpointError(f'{path} is broken or no checkpoint ({reason})') from error
    compare(path, there, about)
    try:
        net.load_state_dict(parts[0])
        optimizer.load_state_dict(parts[1])
    except (RuntimeError, ValueError, KeyError) as error:
        raise CheckpointError(f'{path} is of another network: {error}') from error
    return state


def compare(path: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Raise CheckpointError, naming the first difference, unless a checkpoint is of this training."""
    for key in here:
        if there.get(key) != here[key]:
            raise CheckpointError(
                f'{path} is of another training: {key} is {there.get(key)!r} there and {here[key]!r} here'
            )


def about(config: Config, source: str) -> dict[str, Any]:
    """What must be the same for a training to go on: the configuration, and which data it reads, wherever they lie."""
    return {key: value for key, value in dataclasses.asdict(config).items() if key not in ('about', 'data')} | {
        'source': source
    }
