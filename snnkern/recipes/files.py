"""Output files that are either whole or not there."""

import json
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


def write_json(path: Path, report: dict[str, Any]) -> None:
    """Write a report as JSON."""
    write(path, lambda p: p.write_text(as_json(report) + '\n', encoding='utf-8'))


def as_json(report: dict[str, Any]) -> str:
    """A report as JSON text."""
    return json.dumps(report, indent=2, allow_nan=False)
