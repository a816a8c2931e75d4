"""What `snnkern detect` prints."""

from typing import Any

import typer
from rich.console import Console

from snnkern.cli.convert import WORK, show_replaced, table, work

SCORES = 'AP50', 'AP50:95'


def show_conversion(report: dict[str, Any]) -> None:
    """What was replaced, on which images, and where it is."""
    coding = '' if report['coding'] == 'direct' else f', input coded as {report["coding"]}'
    typer.echo(
        f'{report["network"]}, {len(report["classes"])} classes, {" x ".join(map(str, report["size"]))}: recipe '
        f'{report["recipe"]}{coding}, thresholds for T = {report["timesteps"]} from {report["calibration"]} '
        f'training images of {report["data"]}.'
    )
    show_replaced(report['entries'])
    typer.echo(f'{report["seconds"]:.0f} s. Written:')
    for path in report['files']:
        typer.echo(f'  {path}')


def show_evaluation(report: dict[str, Any]) -> None:
    """A table for each conversion, and what was measured on what."""
    console, ann = Console(), report['ann']
    for conversion in report['conversions']:
        rows = conversion['rows']
        first = _scores(ann) if ann else ['', '']
        costs = work({'macs': rows[0]['ann_macs'], 'energy_pj': rows[0]['ann_energy_pj']})
        lines = [[*first, *costs], *([*_scores(row['score']), *work(row)] for row in rows)]
        steps = ['ANN', *(str(row['timesteps']) for row in rows)]
        title = f'{report["network"]}, {conversion["label"]}'
        console.print(table(title, _caption(conversion), [*SCORES, *WORK], steps, lines))
    if ann:
        classes = ', '.join(f'{name} {value:.3f}' for name, value in list(ann['ap50_by_class'].items())[:10])
        typer.echo(f'ANN, AP50 by class: {classes}.')
    typer.echo(
        f'Data: {report["data"]}; {report["test_images"]:,} test images, boxes of score > {report["score"]}, '
        f'NMS {report["iou"]}.'
    )
    typer.echo(f'{report["seconds"]:.0f} s in all. Written:')
    for path in report['files'].values():
        typer.echo(f'  {path}')


def _caption(conversion: dict[str, Any]) -> str:
    """From which T on the SNN is near the ANN, of those that were evaluated."""
    said = [
        f'{100 * float(far):g} points below the ANN at most: ' + ('never' if T is None else f'from T = {T}')
        for far, T in conversion['within_from'].items()
    ]
    return '; '.join(said)


def _scores(score: dict[str, Any]) -> list[str]:
    return [f'{score[key]:.4f}' for key in ('ap50', 'ap')]
