"""`snnkern convert`, `train`, `predict`, `detect`, `study`, `demo`, `selftest`, `bench`, `explain`."""

from typing import Annotated

import typer

import snnkern
from snnkern.cli import bench, convert, demo, detect, predict, selftest, study, train

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f'snnkern {snnkern.__version__}')
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option('--version', callback=_version, is_eager=True, help='Print the version and exit.')
    ] = False,
) -> None:
    """Fused kernels for spiking neural networks."""


@app.command()
def explain() -> None:
    """Say which backend runs each op on this machine, and why the others do not."""
    typer.echo(str(snnkern.explain()))


app.command()(demo.demo)
app.command()(convert.convert)
app.command()(train.train)
app.command()(predict.predict)
app.command()(selftest.selftest)
app.command()(bench.bench)
app.add_typer(detect.app, name='detect')
app.add_typer(study.app, name='study')
