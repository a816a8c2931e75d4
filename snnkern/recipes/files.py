"""The output files of programs: pictures, and reports as JSON."""

import hashlib
import json
from pathlib import Path
from typing import Any

from snnkern._files import write

__all__ = ['as_json', 'write', 'write_json']


def write_json(path: Path, report: dict[str, Any]) -> None:
    """Write a report as JSON."""
    write(path, lambda p: p.write_text(as_json(report) + '\n', encoding='utf-8'))


def as_json(report: dict[str, Any]) -> str:
    """A report as JSON text."""
    return json.dumps(report, indent=2, allow_nan=False)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
