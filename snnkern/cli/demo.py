"""`snnkern demo`."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from snnkern.cli import common
from snnkern.data import mnist
from snnkern.recipes import demo as recipe
from snnkern.recipes.files import as_json

STEPS = ','.join(map(str, recipe.TIMESTEPS))
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


def demo(
    epochs: Annotated[int, typer.Option(help='Passes over the training digits.')] = recipe.EPOCHS,
    timesteps: common.Timesteps = STEPS,
    threads: Annotated[int, typer.Option(help='CPU threads of both ways to run the network.')] = 1,
    seed: common.Seed = 0,
    data: Annotated[
        Path | None, typer.Option(help="A folder with torchvision's MNIST; without: the shipped digits.")
    ] = None,
    download: Annotated[bool, typer.Option('--download', help='Let torchvision fetch the full MNIST.')] = False,
    out: Annotated[Path, typer.Option(help='Where the report and the pictures go.')] = Path('demo'),
    json: common.Json = False,
    backend: common.Backend = None,
) -> None:
    """Train LeNet-5 on real digits, convert it, and run it beside the classic simulator loop."""
    words = common.steps(timesteps)
    settings = common.settings(lambda: recipe.Settings(epochs, words, seed, backend, threads), backend)
    common.make_folder(out)
    with common.working() as progress:
        report = recipe.run(mnist(data, download), settings, out, progress)
    if json:
        typer.echo(as_json(report))
    else:
        _show(report)


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
