"""`snnkern selftest`."""

from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from snnkern.cli import common
from snnkern.recipes.files import as_json, write_json

HEADS = 'op', 'backend', 'dtype', 'passed', 'worst\ndeviation', 'seconds'
SHOWN = 20  # failures; the others are in the JSON


def selftest(
    device: Annotated[
        str | None,
        typer.Option('--device', help='cpu, cuda or cuda:N; without: cuda where there is one.', metavar='DEVICE'),
    ] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(help='native, triton or reference, several times for several; without: all that run there.'),
    ] = None,
    quick: Annotated[bool, typer.Option('--quick', help='Fewer cases: each kernel, not each combination.')] = False,
    out: Annotated[Path | None, typer.Option(help='Write the report here, too, as JSON.')] = None,
    json: common.Json = False,
) -> None:
    """Compare every op with the reference on this machine's device. Exit code 0: all is right, 1: it is not."""
    from snnkern.selftest.run import Settings, run  # its table of cases takes half a second: not every command's

    name = device or ('cuda' if torch.cuda.is_available() else 'cpu')
    if out is not None:
        common.make_folder(out.parent)
    with common.working() as progress:
        settings = common.settings(lambda: Settings(name, tuple(dict.fromkeys(backend or ())), quick))
        report = run(settings, progress)
        if out is not None:
            write_json(out, report)
    if json:
        typer.echo(as_json(report))
    else:
        show(report)
    if not report['passed']:
        raise typer.Exit(1)


def show(report: dict[str, Any]) -> None:
    """The report for people."""
    Console().print(table(report))
    for key, value in report['machine'].items():
        typer.echo(f'{key}: ' + ('\n  '.join(['', *value]) if isinstance(value, list) else str(value)))
    for row in report['not_run']:
        typer.echo(f'not run: {row["op"]} ({row["backend"]}): {row["why"]}')
    for failure in report['failures'][:SHOWN]:
        typer.echo(f'\nFAILED {failure["op"]} ({failure["backend"]}, {failure["dtype"]}): {failure["error"]}')
        typer.echo(f'  {failure["reproduce"]}')
    if len(report['failures']) > SHOWN:
        typer.echo(f'\n... and {len(report["failures"]) - SHOWN} more: --json prints them all.')
    passed = sum(row['passed'] for row in report['table'])
    verdict = 'PASSED' if report['passed'] else 'FAILED'
    of = f'{passed} of {report["cases"]} cases on {report["device"]} ({", ".join(report["backends"])})'
    typer.echo(f'{verdict}: {of} in {report["seconds"]:.0f} s')


def table(report: dict[str, Any]) -> Table:
    """A line for each op, backend and dtype."""
    grid = Table(title=f'Against the reference on {report["device"]}')
    for head in HEADS:
        grid.add_column(head, justify='left' if head in HEADS[:3] else 'right', no_wrap=True)
    for row in report['table']:
        right = row['passed'] == row['cases']
        counts = f'{row["passed"]} / {row["cases"]}' + ('' if right else ' FAILED')
        worst = '0' if row['worst'] == 0 else f'{row["worst"]:.1e}'
        cells = row['op'], row['backend'], row['dtype'], counts, worst, f'{row["seconds"]:.1f}'
        grid.add_row(*cells, style=None if right else 'red')
    return grid
