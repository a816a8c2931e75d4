"""The command line: `snnkern demo`, `snnkern explain`, `snnkern --version`."""

from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

import snnkern
from snnkern.data import DataError, mnist
from snnkern.recipes import demo as recipe
from snnkern.recipes.files import as_json

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
COLUMNS = (
    ('T', 'timesteps', 'd'),
    ('ANN %', 'ann_accuracy', '.2f'),
    ('SNN %', 'snn_accuracy', '.2f'),
    ('spikes/\nneuron/\nstep', 'spikes_per_neuron_per_step', '.3f'),
    ('loop\ns', 'loop_seconds', '.2f'),
    ('snnkern\ns', 'snnkern_seconds', '.2f'),
    ('neurons\ntimes\nfaster', 'neuron_speedup', '.1f'),
    ('network\ntimes\nfaster', 'network_speedup', '.1f'),
)


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


@app.command()
def demo(
    epochs: Annotated[int, typer.Option(help='Passes over the training digits.')] = recipe.EPOCHS,
    timesteps: Annotated[str, typer.Option(help='Numbers of time steps, with commas between.')] = ','.join(
        map(str, recipe.TIMESTEPS)
    ),
    threads: Annotated[int, typer.Option(help='CPU threads of both ways to run the network.')] = 1,
    seed: Annotated[int, typer.Option(help='One seed gives the same accuracies again.')] = 0,
    data: Annotated[
        Path | None, typer.Option(help="A folder with torchvision's MNIST; without: the shipped digits.")
    ] = None,
    download: Annotated[bool, typer.Option('--download', help='Let torchvision fetch the full MNIST.')] = False,
    out: Annotated[Path, typer.Option(help='Where the report and the pictures go.')] = Path('demo'),
    json: Annotated[bool, typer.Option('--json', help='Print the report as JSON and nothing else.')] = False,
    backend: Annotated[
        str | None, typer.Option(help='native, triton or reference; without: the first that can.')
    ] = None,
) -> None:
    """Train LeNet-5 on real digits, convert it, and run it beside the classic simulator loop."""
    settings = _settings(epochs, timesteps, seed, backend, threads)
    _make_folder(out)
    notes = Console(stderr=True)
    try:
        digits = mnist(data, download)
        with _progress(notes) as bar:
            task = bar.add_task('starting', total=1.0)
            report = recipe.run(
                digits, settings, out, lambda what, share: bar.update(task, description=what, completed=share)
            )
    except (DataError, RuntimeError, OSError) as error:
        notes.print(f'error: {error}', style='red', markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
    if json:
        typer.echo(as_json(report))
    else:
        _show(report)


def _progress(console: Console) -> Progress:
    columns = (TextColumn('{task.description:<42}'), BarColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def _settings(epochs: int, timesteps: str, seed: int, backend: str | None, threads: int) -> recipe.Settings:
    """Options as settings; bad ones end the program with one sentence."""
    try:
        steps = tuple(dict.fromkeys(int(word) for word in timesteps.split(',')))
    except ValueError:
        message = f'--timesteps must be integers with commas between, got {timesteps!r}'
        raise typer.BadParameter(message) from None
    try:
        with snnkern.use_backend(backend) if backend else nullcontext():
            return recipe.Settings(epochs, steps, seed, backend, threads)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise typer.BadParameter(f'--out: cannot write into {out} ({error.strerror})') from None


def _show(report: dict[str, Any]) -> None:
    """The report as a table for people."""
    console = Console()
    table = Table(title='Converted LeNet-5: simulator loop and snnkern')
    for head, _, _ in COLUMNS:
        table.add_column(head, justify='right', no_wrap=True)
    for row in report['rows']:
        table.add_row(*[format(row[key], form) for _, key, form in COLUMNS])
    console.print(table)
    differing = report['spikes_differing']
    same = 'equal, spike for spike' if differing == 0 else f'DIFFERENT in {differing} places'
    typer.echo(f'Neurons of loop and snnkern on the same inputs: {same}.')
    typer.echo(f'Data: {report["data"]}.')
    typer.echo(f'Times: all test digits on {report["threads"]} thread(s) of the CPU.')
    typer.echo(f'{report["seconds"]:.0f} s in all, {report["train_seconds"]:.0f} s of training. Written:')
    for path in report['files'].values():
        typer.echo(f'  {path}')


if __name__ == '__main__':
    app()
