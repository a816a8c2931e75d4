"""`snnkern convert`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from snnkern.cli import common
from snnkern.recipes.ann import CLASSIC, Source
from snnkern.recipes.convert_program import CALIBRATION, TIMESTEPS, Settings, run
from snnkern.recipes.files import as_json

STEPS = ','.join(map(str, TIMESTEPS))
SCORES = {
    'soft_dice': 'soft Dice',
    'hard_dice': 'hard Dice',
    'jaccard': 'Jaccard',
    'f1': 'F1',
    'pixel_accuracy': 'pixel\naccuracy',
}

WORK = ('spikes/\nneuron/\nstep', 'SynOps\nM', 'MACs\nM', 'energy\nµJ', 'ANN/SNN\nenergy')


def convert(
    name: Annotated[str | None, typer.Argument(help=f'One of {", ".join(CLASSIC)}.', metavar='NAME')] = None,
    model: Annotated[
        str | None, typer.Option(help='A network of your own: package.module:function, called without arguments.')
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help='.safetensors, .pt, .pth, .th or .zip; without: train the network first.')
    ] = None,
    data: Annotated[
        str | None,
        typer.Option('--data', help='mnist, mnist:DIR, cifar10:DIR, lucchi:DIR or imagefolder:DIR.', metavar='SPEC'),
    ] = None,
    recipe: Annotated[str, typer.Option(help='How to choose neurons and thresholds.')] = 'default',
    timesteps: common.Timesteps = STEPS,
    chosen_for: Annotated[
        str | None,
        typer.Option(
            '--for', metavar='T', help="Steps that thresholds are chosen for, or 'each'; without: the last T up to 8."
        ),
    ] = None,
    calibration: Annotated[int, typer.Option(help='Training images that thresholds are chosen on.')] = CALIBRATION,
    limit: Annotated[int | None, typer.Option(help='Test images, evenly spread; without: all.')] = None,
    crop: Annotated[int | None, typer.Option(help="Pixels of the middle of a segmenter's slices.")] = None,
    size: Annotated[int | None, typer.Option(help="Pixels of an image folder's pictures.")] = None,
    readout: Annotated[
        str | None, typer.Option(help='mean (of logits) or original (as published); without: as the recipe says.')
    ] = None,
    leaf: Annotated[list[str] | None, typer.Option(help='A module that stays whole and analogue.')] = None,
    modules: Annotated[str | None, typer.Option(help="'auto' for networks that torch.fx cannot trace.")] = None,
    epochs: Annotated[int | None, typer.Option(help='Of training without --weights; 0: none.')] = None,
    width: Annotated[int | None, typer.Option(help='Of a network that has several.')] = None,
    threads: common.Threads = 1,
    seed: common.Seed = 0,
    backend: common.Backend = None,
    out: Annotated[Path | None, typer.Option(help='Where all files go; without: a folder named as NAME.')] = None,
    json: common.Json = False,
) -> None:
    """Load or train a network, convert it, evaluate both, and write a table, pictures and the spiking network."""
    steps = common.steps(timesteps)
    target = int(chosen_for) if chosen_for is not None and chosen_for.lstrip('-').isdigit() else chosen_for

    def make() -> Settings:
        source = Source(name, model, weights, data, epochs, width, size, seed, threads)
        leaves = tuple(leaf or ())
        return Settings(source, steps, target, recipe, readout, calibration, limit, crop, leaves, modules, backend)

    settings = common.settings(make, backend)
    folder = out or Path(name or str(model).rpartition(':')[2])
    common.make_folder(folder)
    with common.working() as progress:
        report = run(settings, folder, progress)
    if json:
        typer.echo(as_json(report))
    else:
        _show(report)


def _show(report: dict[str, Any]) -> None:
    """The report for people."""
    console = Console()
    for each in tables(report):
        console.print(each)
    typer.echo(f'Data: {report["data"]}; {report["test_images"]:,} test images, thresholds from ', nl=False)
    typer.echo(f'{report["calibration_images"]:,} training images.')
    if 'weights' in report:
        typer.echo(f'Weights: {report["weights"]["file"]}, sha256 {report["weights"]["sha256"][:16]}.')
    show_replaced(report['conversions'][0]['entries'])
    typer.echo(f'{report["seconds"]:.0f} s in all. Written:')
    for path in report['files'].values():
        typer.echo(f'  {path}')


def show_replaced(entries: Sequence[dict[str, Any]]) -> None:
    """What was replaced by what, and what stays analogue."""
    counts: dict[str, int] = {}
    for entry in entries:
        counts[entry['kind']] = counts.get(entry['kind'], 0) + 1
    typer.echo(f'Replaced: {", ".join(f"{count} {kind}" for kind, count in counts.items())}.')
    for entry in entries:
        if entry['kind'] == 'analogue':
            typer.echo(f'  stays analogue: {entry["was"]} ({entry["why"]})')


def tables(report: dict[str, Any]) -> list[Table]:
    """A row for the ANN and one for each T: of classes in one table, else the scores in one and the work in another."""
    ann, conversions = report['ann'], report['conversions']
    rows = [row for conversion in conversions for row in conversion['rows']]
    names = list(SCORES.values()) if isinstance(ann, dict) else ['accuracy %']
    scores = [_scores(ann), *(_scores(row['score']) for row in rows)]
    works = [work({'macs': rows[0]['ann_macs'], 'energy_pj': rows[0]['ann_energy_pj']}), *map(work, rows)]
    steps = ['ANN', *(str(row['timesteps']) for row in rows)]
    title = f'{report["network"]}, recipe {report["recipe"]}, readout {report["readout"]}'
    chosen = f'thresholds for T = {conversions[0]["timesteps"]}' if len(conversions) == 1 else 'thresholds for each T'
    if isinstance(ann, dict):
        return [table(title, chosen, names, steps, scores), table('', '', WORK, steps, works)]
    joined = [[*a, *b] for a, b in zip(scores, works, strict=True)]
    return [table(title, chosen, [*names, *WORK], steps, joined)]


def table(title: str, caption: str, heads: Sequence[str], steps: list[str], rows: list[list[str]]) -> Table:
    """A table with a row for each of `steps`, the first of which is the ANN."""
    grid = Table(title=title or None, caption=caption or None)
    for head in ('T', *heads):
        grid.add_column(head, justify='right', no_wrap=True)
    for i, (T, row) in enumerate(zip(steps, rows, strict=True)):
        grid.add_row(T, *row, end_section=i == 0)
    return grid


def _scores(score: float | dict[str, float]) -> list[str]:
    return [f'{score[key]:.4f}' for key in SCORES] if isinstance(score, dict) else [f'{score:.2f}']


def work(row: dict[str, Any]) -> list[str]:
    """Spikes, operations and energy of a row (`recipes.measure`), as text, for the heads WORK."""
    rate = row.get('spikes_per_neuron_per_step')
    millions = [row.get(key) and row[key] / 1e6 for key in ('synops', 'macs', 'energy_pj')]
    return ['' if rate is None else f'{rate:.3f}', *map(_number, millions), _number(row.get('energy_ratio'))]


def _number(value: float | None) -> str:
    return '' if value is None else f'{value:,.0f}' if value >= 100 else f'{value:.3g}'
