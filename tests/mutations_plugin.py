"""For pytest, within a check of faults: the emulated library is the faulty one, which holds PTX of one architecture."""

import os
from pathlib import Path
from typing import Any

from benchmarks import emulated

FAULTY = Path(os.environ['SNNKERN_FAULTY'])


def library(name: str = '', archs: tuple[int, ...] = ()) -> Path:
    """Whatever was asked for."""
    return FAULTY


def add(gpus: emulated.GPUs, path: Path, arch: int) -> None:
    """Every architecture is the one that there is."""
    if 90 in gpus:
        gpus[arch] = gpus[90]
    else:
        ADD(gpus, path, 90)


ADD: Any = emulated.GPUs._add
emulated.library, emulated.USUAL = library, (90,)
emulated.GPUs._add = add  # type: ignore[method-assign]
