"""What a program runs on, and what its report says of it."""

import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

import snnkern
from snnkern.recipes.digits import threads


@contextmanager
def running(count: int, backend: str | None = None) -> Iterator[None]:
    """Run on so many CPU threads, and by that backend if one is named."""
    forced = snnkern.use_backend(backend) if backend else nullcontext()
    with forced, threads(count):
        yield


def facts() -> dict[str, Any]:
    """What figures and times depend on, as JSON."""
    return {
        'backend': str(snnkern.explain()).splitlines(),
        'threads': torch.get_num_threads(),
        'versions': {
            'snnkern': snnkern.__version__,
            'torch': str(torch.__version__),
            'python': platform.python_version(),
        },
        'machine': platform.machine(),
    }


def command() -> str:
    """The command line of this process, the program's name without its folder."""
    return ' '.join(['snnkern', *sys.argv[1:]])
