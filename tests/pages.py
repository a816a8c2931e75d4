"""The blocks of code in README and docs/: what they are, and what pages take as given."""

from functools import cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from pages_given import GIVEN, NOT_RUN

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path
    for path in chain([ROOT / 'README.md', ROOT / 'CONTRIBUTING.md'], sorted((ROOT / 'docs').rglob('*.md')))
}
# What a fence may say it holds.
LANGUAGES = ('python', 'sh', 'toml', 'cpp', 'diff', 'text', 'math')


class Block(NamedTuple):
    """page: its path; line: of the file, from 1; language: as the fence says."""

    page: str
    line: int
    language: str
    text: str

    @property
    def why_not(self) -> str | None:
        """Why it does not run here, or None."""
        notes = NOT_RUN.get(self.page, {})
        return next((why for start, why in notes.items() if self.text.startswith(start)), None)

    @property
    def given(self) -> str:
        """What it takes as given."""
        notes = GIVEN.get(self.page, {})
        return next((code for start, code in notes.items() if self.text.startswith(start)), '')


@cache
def blocks(page: str) -> list[Block]:
    """All blocks of a page, in order; indented code says nothing: 'indented'."""
    found = []
    for token in MarkdownIt().parse(PAGES[page].read_text()):
        if token.type == 'fence':
            found.append(Block(page, token.map[0] + 2, token.info.strip(), token.content))
        elif token.type == 'code_block':
            found.append(Block(page, token.map[0] + 1, 'indented', token.content))
    return found


def of(language: str) -> list[Block]:
    return [block for page in PAGES for block in blocks(page) if block.language == language]
