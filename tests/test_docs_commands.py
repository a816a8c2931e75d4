"""README and docs/: commands are commands, with options that they have, files that are there, and known names."""

import importlib.util
import re
import shlex
import sys
from pathlib import Path

import pytest
import typer
from pages import LANGUAGES, PAGES, ROOT, blocks, of
from programs import invoke

from snnkern.cli import app
from snnkern.models import MODELS
from snnkern.recipes.direct import config

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TARGETS = set(re.findall(r'^([\w-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE))
EXTRAS = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']['optional-dependencies']


def commands(text: str) -> list[list[str]]:
    """The lines that are commands, as words: without comments, prompts and settings of the environment."""
    found = []
    for line in text.replace('\\\n', ' ').splitlines():
        words = shlex.split(line.removeprefix('$ '), comments=True)
        while words and re.fullmatch(r'[A-Z_]+=.*', words[0]):
            words.pop(0)
        words = words[: words.index('>')] if '>' in words else words
        if words:
            found.append(words)
    return found


ALL = {' '.join(words): words for block in of('sh') for words in commands(block.text)}
# Those that need no data and take seconds run, too.
QUICK = ('snnkern --version', 'snnkern explain', 'snnkern train --list')


def options(words: list[str]) -> list[str]:
    return [word.partition('=')[0] for word in words if word.startswith('-') and not re.fullmatch(r'-[\d.]+', word)]


def check_snnkern(words: list[str]) -> None:
    """A command of the program, its options, and the configurations and networks that it is given."""
    command, path = typer.main.get_command(app), []
    words = list(words)
    while hasattr(command, 'commands') and words and not words[0].startswith('-'):
        assert words[0] in command.commands, f'no command {words[0]}'
        path.append(words[0])
        command = command.commands[words.pop(0)]
    known = {name for parameter in command.params for name in parameter.opts} | {'--help'}
    assert set(options(words)) <= known
    if path == ['train'] and words and not words[0].startswith('-') and not words[0].endswith('.toml'):
        assert words[0] in {*config.names(), *MODELS}, f'no configuration {words[0]}'


def check_python(words: list[str]) -> None:
    """A module or file that is there, and options that it adds to its parser."""
    if words[:1] == ['-m'] and words[1] == 'snnkern':
        return check_snnkern(words[2:])
    if words[:1] == ['-m'] and words[1] == 'pytest':
        return check_pytest(words[2:])
    if words[:1] == ['-m']:
        found = importlib.util.find_spec(words[1])
        assert found is not None, f'no module {words[1]}'
        source, words = found.origin, words[2:]
    else:
        source, words = ROOT / words[0], words[1:]
    known = re.findall(r"add_argument\(\s*'(--[\w-]+)'", Path(source).read_text())
    assert set(options(words)) <= {*known, '--help'}


def check_pytest(words: list[str]) -> None:
    """Files that are there."""
    places = [word for word in words if not word.startswith('-') and '/' in word]
    assert [place for place in places if not (ROOT / place.partition('::')[0]).exists()] == []


def check(words: list[str]) -> None:
    name, rest = words[0], words[1:]
    if name == 'snnkern':
        check_snnkern(rest)
    elif name == 'python':
        check_python(rest)
    elif name == 'torchrun':
        check_python(rest[rest.index('-m') :])
    elif name == 'make':
        assert {word for word in rest if '=' not in word} <= TARGETS
    elif name == 'pytest':
        check_pytest(rest)
    else:
        assert (name, rest[0]) == ('pip', 'install'), f'no command {name}'
        asked = re.findall(r'\[([\w,]+)\]', ' '.join(rest))
        assert {extra for word in asked for extra in word.split(',')} <= EXTRAS.keys()


@pytest.mark.parametrize('line', ALL)
def test_commands(line):
    check(ALL[line])


@pytest.mark.parametrize(
    'line', [*QUICK, 'snnkern bench --help', pytest.param('snnkern selftest --quick', marks=pytest.mark.slow)]
)
def test_quick_commands_run(line):
    assert line in ALL or line.endswith('--help')
    assert invoke(*line.split()[1:]).exit_code == 0


@pytest.mark.parametrize(
    'line',
    [
        'snnkern trian',
        'snnkern train --epoch 3',
        'snnkern train mnist-mpl',
        'make tset',
        'python -m benchmarks.nothing',
        'python -m benchmarks.run --slow',
        'python -m benchmarks.pools --round',
        'pip install snnkern[vison]',
        'cargo build',
        'pytest tests/test_nothing.py',
    ],
)
def test_what_is_no_command_is_seen(line):
    with pytest.raises(AssertionError):
        check(line.split())


def test_there_are_many():
    assert len(ALL) > 40


@pytest.mark.parametrize('block', of('toml'), ids=lambda block: f'{block.page}:{block.line}')
def test_configurations(block, tmp_path):
    path = tmp_path / 'mine.toml'
    path.write_text(block.text)
    assert config.read(str(path)).model


def test_languages():
    """Every fence says what it holds; indented code, which cannot, is none."""
    assert {(b.page, b.line, b.language) for p in PAGES for b in blocks(p) if b.language not in LANGUAGES} == set()


def test_options_of_a_build():
    """Each that setup.py hands on has a row."""
    names = re.findall(r"'(SNNKERN_\w+)'", (ROOT / 'setup.py').read_text())
    assert names
    text = PAGES['docs/install.md'].read_text()
    assert [name for name in names if f'| `{name}` |' not in text] == []
