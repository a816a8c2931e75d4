"""`snnkern predict`."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from snnkern.cli import common
from snnkern.recipes import machine
from snnkern.recipes.direct import predict as program
from snnkern.recipes.direct import saved
from snnkern.recipes.files import as_json


def predict(
    weights: Annotated[Path, typer.Argument(help='The folder of a run of `snnkern train`, or its .safetensors.')],
    inputs: Annotated[list[Path], typer.Argument(help='Pictures, recordings of events, or folders of them.')],
    out: Annotated[Path, typer.Option(help='Where overlays of masks go.')] = Path('predictions'),
    skip_broken: Annotated[
        bool, typer.Option('--skip-broken', help='Leave out files that are broken instead of stopping.')
    ] = False,
    overwrite: Annotated[bool, typer.Option('--overwrite', help='Write over overlays that are there.')] = False,
    threads: common.Threads = 1,
    backend: common.Backend = None,
    json: common.Json = False,
) -> None:
    """Say what a trained spiking network sees in pictures or recordings; masks are drawn over their pictures."""
    with common.working() as tell:
        tell('reading the network', 0.0)
        trained = saved.load(weights)
        if saved.segments(trained):
            common.make_folder(out)
        with machine.running(threads, backend):
            rows = program.predict(trained, inputs, out, skip_broken, tell, overwrite)
    if json:
        typer.echo(as_json({'network': str(weights), 'predictions': rows}))
        return
    table = Table(box=None, show_header=False)
    for line in program.table(rows):
        table.add_row(*line)
    Console(soft_wrap=True).print(table)
