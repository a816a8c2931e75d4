"""README and docs/: every program runs, from the first block of a page to the last, and every command is one."""

import pytest
from pages import PAGES, blocks
from pages_given import GIVEN, NOT_RUN

PROGRAMS = {page: [b for b in blocks(page) if b.language == 'python' and not b.why_not] for page in PAGES}
SKIPPED = [block for page in PAGES for block in blocks(page) if block.why_not]


@pytest.mark.parametrize('page', [page for page in PAGES if PROGRAMS[page]])
@pytest.mark.filterwarnings('ignore::DeprecationWarning', 'ignore::FutureWarning', 'ignore:Overwriting:UserWarning')
def test_programs_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {'__name__': '__main__'}
    for block in PROGRAMS[page]:
        exec(block.given, names)
        exec(compile('\n' * (block.line - 1) + block.text, PAGES[page], 'exec'), names)


@pytest.mark.parametrize('block', SKIPPED, ids=lambda block: f'{block.page}:{block.line}')
def test_what_is_not_run_says_why(block):
    pytest.skip(block.why_not)


@pytest.mark.parametrize('table', [GIVEN, NOT_RUN], ids=['given', 'not run'])
def test_no_note_is_left_over(table):
    """Each belongs to a block of its page."""
    for page, notes in table.items():
        texts = [block.text for block in blocks(page)]
        assert [start for start in notes if not any(text.startswith(start) for text in texts)] == [], page
