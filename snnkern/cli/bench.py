"""`snnkern bench`."""

import importlib
import os
import sys
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import snnkern
from snnkern.cli import common
from snnkern.recipes.files import as_json, write, write_json

REGRESSION = 3
THREADS = min(2, os.cpu_count() or 1)


def bench(
    file: Annotated[Path | None, typer.Argument(help='With --json: write the JSON here.', metavar='[FILE]')] = None,
    quick: Annotated[bool, typer.Option('--quick', help='Under a minute: few cases, no torch.compile.')] = False,
    full: Annotated[bool, typer.Option('--full', help='The whole grid, each with torch.compile: hours.')] = False,
    filter: Annotated[str, typer.Option(help='Only cases whose name contains one of these, by commas.')] = '',
    providers: Annotated[str, typer.Option(help='Only providers whose name contains one of these, by commas.')] = '',
    compare: Annotated[
        str | None, typer.Option(help='A JSON of an earlier run, or its name in benchmarks/results.', metavar='REF')
    ] = None,
    threshold: Annotated[float, typer.Option(help='How many times slower a regression is at least.')] = 1.15,
    json: Annotated[bool, typer.Option('--json', help='Print everything as JSON, or write it to FILE.')] = False,
    html: Annotated[Path | None, typer.Option(help='Write a report here, as one page with pictures.')] = None,
    stored: Annotated[Path | None, typer.Option(help='Measure nothing: report this JSON of an earlier run.')] = None,
    threads: Annotated[int, typer.Option(help='Of torch, OpenMP and snnkern.')] = THREADS,
    rounds: Annotated[int, typer.Option(help='Interleaved rounds a case; 0: as many as it has time for.')] = 0,
    allocator: Annotated[str, typer.Option(help='default, or tuned: fewer page faults for all.')] = 'default',
    passive: Annotated[bool, typer.Option('--passive', help='Idle threads sleep at once: a busy machine.')] = False,
) -> None:
    """Measure snnkern beside other libraries. Exit code 1: wrong results, or not all; 3: slower than REF, or gone."""
    if file is not None and not json:
        raise typer.BadParameter(f'{file} is for --json, which is not there')
    if quick and full:
        raise typer.BadParameter('--quick and --full exclude each other')
    if not threshold > 1:
        raise typer.BadParameter(f'--threshold must be above 1, got {threshold:g}')
    for path, option in ((file, '--json'), (html, '--html')):
        if path is not None:
            if path.is_dir():
                raise typer.BadParameter(f'{option}: {path} is a folder, expected a file')
            common.make_folder(path.parent, option)
    suite = {name: _part(name) for name in ('run', 'compare', 'report', 'page')}
    size = 'quick' if quick else 'full' if full else 'default'
    settings = common.settings(
        lambda: suite['run'].Settings(size, filter, providers, threads, rounds, allocator, passive)
    )
    if stored is not None and (words := _other_than(suite['run'].Settings(threads=THREADS), settings)):
        raise typer.BadParameter(f'--stored measures nothing: {words} cannot go with it')
    before = None if compare is None else common.settings(lambda: _load(suite, compare))
    if before is not None:
        common.settings(lambda: suite['compare'].check_rounds(before['settings']['rounds'], compare))
        common.settings(lambda: suite['compare'].check_rounds(rounds, 'this run'))
    document = _document(suite, settings, stored)
    _report(suite, document, (before, compare or '', threshold), file if json else None, html, json)


def _part(name: str) -> Any:
    """A module of the suite, which is no installed package: it lies beside this one in a checkout, or is here."""
    folders = Path(snnkern.__file__).parents[1], Path.cwd()
    root = next((folder for folder in folders if (folder / 'benchmarks' / 'registry.py').is_file()), None)
    if root is None:
        where = ' or in '.join(str(folder) for folder in dict.fromkeys(folders))
        raise typer.BadParameter(f'the suite is part of a checkout of snnkern: no folder benchmarks in {where}')
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    return importlib.import_module(f'benchmarks.{name}')


def _other_than(usual: Any, settings: Any) -> str:
    """The options of settings that are not as usual."""
    named = {'size': '--quick or --full'}
    return ', '.join(
        named.get(f.name, f'--{f.name}') for f in fields(usual) if getattr(usual, f.name) != getattr(settings, f.name)
    )


def _load(suite: dict[str, Any], ref: str) -> Any:
    return suite['compare'].load(suite['compare'].find(ref))


def _document(suite: dict[str, Any], settings: Any, stored: Path | None) -> dict[str, Any]:
    """The results: an earlier run's, or those of one that starts now."""
    if stored is not None:
        return dict(common.settings(lambda: suite['compare'].load(stored)))
    notes = Console(stderr=True)
    with common.working() as progress:

        def tell(what: str, share: float) -> None:
            progress(what, share)
            if not notes.is_terminal and what.endswith('starting'):
                notes.print(f'{share:4.0%} {what.removesuffix(": starting")}', markup=False, soft_wrap=True)

        return dict(suite['run'].start(settings, tell))


def _report(
    suite: dict[str, Any],
    document: dict[str, Any],
    earlier: tuple[dict[str, Any] | None, str, float],
    file: Path | None,
    html: Path | None,
    json: bool,
) -> None:
    """Write and print; the exit code."""
    before, ref, threshold = earlier
    wrong = suite['run'].wrong(document)
    compared = None if before is None else suite['compare'].compare(document, before, threshold)
    whole = document if compared is None else {**document, 'compared': {'with': ref, **compared}}
    if file is not None:
        write_json(file, whole)
    elif json:
        typer.echo(as_json(whole))
    if html is not None:
        text = suite['page'].page(document, compared, ref, wrong)
        write(html, lambda path: path.write_text(text, encoding='utf-8'))
    if file is not None or not json:
        _show(suite, document, compared, ref)
        for path in filter(None, (file, html)):
            typer.echo(f'Written: {path}')
    for line in wrong:
        typer.echo(f'WRONG: {line}', err=True)
    if 'incomplete' in document:
        typer.echo(f'INCOMPLETE: {document["incomplete"]}', err=True)
    if wrong or 'incomplete' in document:
        raise typer.Exit(1)
    if compared is not None and (compared['slower'] or compared['missing']):
        raise typer.Exit(REGRESSION)


def _show(suite: dict[str, Any], document: dict[str, Any], compared: dict[str, Any] | None, ref: str) -> None:
    """The tables for people; those of everybody are on the page and in the JSON."""
    report = suite['report']
    for table in (
        *report.case_tables(document),
        report.network_table(document),
        report.overhead_table(document),
        report.fit_table(document),
        report.startup_table(document),
        report.left_out(document),
        report.target_table(document, only=False),
        report.counted(document),
    ):
        if table[2]:
            report.show(table)
    if compared is not None:
        if compared['slower'] or compared['missing']:
            report.show(suite['compare'].table(compared))
        for line in suite['compare'].sentences(compared, ref):
            typer.echo(line)
    typer.echo(f'{len(document["cases"])} cases in {document["seconds"]:.0f} s.')
