"""Output files that are either whole or not there."""

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any


def write(path: Path, save: Callable[[Path], object]) -> None:
    """Let `save` write a temporary file beside `path`, then rename it. The folder must exist."""
    with NamedTemporaryFile(dir=path.parent, prefix='.', suffix=path.suffix, delete=False) as file:
        temporary = Path(file.name)
    try:
        save(temporary)
        temporary.chmod(0o644)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def safetensors(what: str) -> Any:
    """The library of that name, an optional one. Raises ImportError that says what needs it."""
    try:
        import safetensors.torch
    except ImportError:
        raise ImportError(f'to save and load {what} needs safetensors: pip install safetensors') from None
    return safetensors
