"""What the commands share: options, the progress bar, and errors in one sentence."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryFile
from typing import Annotated, TypeVar

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

import snnkern

Settings = TypeVar('Settings')
OnProgress = Callable[[str, float], None]

Threads = Annotated[int, typer.Option(help='CPU threads.')]
Seed = Annotated[int, typer.Option(help='One seed gives the same figures again.')]
Json = Annotated[bool, typer.Option('--json', help='Print the report as JSON and nothing else.')]
Backend = Annotated[str | None, typer.Option(help='native, triton or reference; without: the first that can.')]
Timesteps = Annotated[str, typer.Option(help='Numbers of time steps, with commas between.')]


def steps(words: str) -> tuple[int, ...]:
    """`1,2,4` as numbers, each once."""
    try:
        return tuple(dict.fromkeys(int(word) for word in words.split(',')))
    except ValueError:
        message = f'--timesteps must be integers with commas between, got {words!r}'
        raise typer.BadParameter(message) from None


def settings(make: Callable[[], Settings], backend: str | None = None) -> Settings:
    """What `make` returns; its ValueError ends the program with one sentence and code 2."""
    try:
        with snnkern.use_backend(backend) if backend else nullcontext():
            return make()
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def make_folder(out: Path, option: str = '--out') -> None:
    """Make the folder, unless it is there, and see that it can be written into."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise typer.BadParameter(f'{option}: cannot write into {out} ({error.strerror})') from None


@contextmanager
def working() -> Iterator[OnProgress]:
    """A progress bar and warnings on stderr; what goes wrong below it ends the program with one sentence and code 1."""
    notes = Console(stderr=True)
    columns = (TextColumn('{task.description:<42}'), BarColumn(), TimeElapsedColumn())
    try:
        bar = Progress(*columns, console=notes, transient=True, disable=not notes.is_terminal)
        with warnings.catch_warnings(), bar:
            warnings.showwarning = lambda message, *_: notes.print(f'warning: {message}', markup=False, soft_wrap=True)
            task = bar.add_task('starting', total=1.0)
            yield lambda what, share: bar.update(task, description=what, completed=share)
    except (RuntimeError, OSError, ValueError, ImportError, ArithmeticError) as error:
        sentence = next(iter(str(error).splitlines()), type(error).__name__)
        notes.print(f'error: {sentence}', style='red', markup=False, soft_wrap=True)
        raise typer.Exit(1) from None
