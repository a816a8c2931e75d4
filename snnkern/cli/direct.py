"""What `snnkern train CONFIG` and `snnkern predict` say and print."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from snnkern.cli import common
from snnkern.recipes.direct import checkpoint, config, program, runtime
from snnkern.recipes.files import as_json


def show_names() -> None:
    """The configurations, a line each."""
    table = Table(box=None, show_header=False)
    for name, about in config.names().items():
        table.add_row(name, about)
    Console().print(table)


def parsed(changes: Sequence[str], option: str = '--set') -> dict[str, Any]:
    """`T=8`, `options.hidden=100` as keys and values; what is no value of TOML is text."""
    found = {}
    for change in changes:
        key, equals, value = change.partition('=')
        if not (key and equals):
            raise typer.BadParameter(f'{option} must be KEY=VALUE, got {change!r}')
        found[key] = config.value_of(value)
    return found


def train(name: str, out: Path | None, changes: Mapping[str, Any], how: Mapping[str, Any], json: bool) -> None:
    """Train by a configuration and say what came of it."""
    settings = common.settings(lambda: runtime.Settings(**how), how['backend'])
    chosen = common.settings(lambda: config.read(name, changes))
    folder = out or Path('runs') / Path(name).stem
    first = os.environ.get('RANK', '0') == '0'
    if first:
        try:
            program.check(folder, settings.existing)
        except OSError as error:
            raise typer.BadParameter(f'--out: {error}') from None
        if settings.existing == 'resume' and not (folder / checkpoint.FILE).exists():
            typer.echo(f'no checkpoint in {folder}: the training starts at the beginning', err=True)
    with common.working() as tell:
        report = program.train(chosen, folder, settings, tell)
    if not first:
        return
    if json:
        typer.echo(as_json(report))
        return
    score = ', '.join(f'{key} {value:.4g}' for key, value in report['score'].items() if isinstance(value, int | float))
    typer.echo(f'{name}: test {score}; {report["seconds"]:.0f} s on {report["data"]}.')
    typer.echo(f'Written: {folder}/ ({", ".join(sorted(item.name for item in folder.iterdir()))})')
    sys.stdout.flush()
