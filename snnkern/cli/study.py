"""`snnkern study`: experiments on several networks."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from snnkern.cli import common
from snnkern.recipes import convert_program, study
from snnkern.recipes.ann import Source
from snnkern.recipes.files import as_json

STEPS = ','.join(map(str, study.TIMESTEPS))
app = typer.Typer(no_args_is_help=True, help='Experiments on several networks.')


@app.callback()
def main() -> None:
    """Experiments on several networks."""


@app.command()
def backbones(
    folder: Annotated[Path, typer.Argument(help='Of .safetensors files from `snnkern train`.', metavar='DIR')],
    data: Annotated[str, typer.Option('--data', help='The data they were trained on, as for convert.', metavar='SPEC')],
    pretrained: Annotated[
        Path | None, typer.Option(help='An archive with trained resnet20 and resnet32, to study too.')
    ] = None,
    recipe: Annotated[str, typer.Option(help='How to choose neurons and thresholds.')] = 'default',
    published: Annotated[bool, typer.Option(help='Convert by the published recipe, too.')] = True,
    timesteps: common.Timesteps = STEPS,
    chosen_for: Annotated[
        int | None, typer.Option('--for', metavar='T', help='Steps thresholds are chosen for.')
    ] = None,
    calibration: Annotated[int, typer.Option(help='Training images that thresholds are chosen on.')] = 256,
    limit: Annotated[int | None, typer.Option(help='Test images, evenly spread; without: all.')] = None,
    threads: common.Threads = 1,
    seed: common.Seed = 0,
    backend: common.Backend = None,
    out: Annotated[Path, typer.Option(help='Where table and picture go.')] = Path('study'),
    json: common.Json = False,
) -> None:
    """Convert every trained network of a folder: does it matter if it is residual, deep, or trained without labels?"""
    steps = common.steps(timesteps)

    def make() -> study.Settings:
        source = Source('resnet18', data=data, seed=seed, threads=threads)
        job = convert_program.Settings(
            source, steps, chosen_for, recipe, calibration=calibration, limit=limit, backend=backend
        )
        return study.Settings(folder, job, pretrained, published)

    settings = common.settings(make, backend)
    common.make_folder(out)
    with common.working() as progress:
        report = study.run(settings, out, progress)
    if json:
        typer.echo(as_json(report))
        return
    console = Console()
    for heads, *rows in study.tables(report):
        table = Table(*heads)
        for row in rows:
            table.add_row(*row)
        console.print(table)
    for line in study.legend(report):
        typer.echo(line)
    typer.echo('Written:')
    for path in report['files'].values():
        typer.echo(f'  {path}')
