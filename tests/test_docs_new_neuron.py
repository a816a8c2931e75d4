"""docs/add_a_neuron.md shows the steps that tests/test_new_neuron.py takes, all of them and to the letter."""

import textwrap

from pages import ROOT, blocks
from test_new_neuron import STEPS

PAGE = 'docs/add_a_neuron.md'
IMPORT = 'from snnkern.charges import Forget'  # how a copy of the sources gets at what nothing exports


def added(old, new):
    """What a step adds, without the lines and words that it keeps."""
    lines = [line for line in new.splitlines() if line.strip() and line not in old.splitlines()]
    return [line for line in lines if line.strip() not in (old.strip(), IMPORT)]


def test_every_step_is_shown():
    shown = [line.strip() for block in blocks(PAGE) for line in block.text.splitlines()]
    wanted = [line.strip() for steps in STEPS.values() for old, new in steps.items() for line in added(old, new)]
    missing = [line for line in wanted if not any(line in known for known in shown)]
    assert missing == []
    assert len(wanted) >= 20


def test_nothing_else_is_shown():
    text = textwrap.dedent('\n'.join(new for steps in STEPS.values() for new in steps.values()))
    known = {line.strip() for line in text.splitlines()}
    code = [line.strip() for b in blocks(PAGE) if b.language in ('python', 'cpp') for line in b.text.splitlines()]
    assert [line for line in code if line and line not in known] == []


def test_files_are_there():
    text = (ROOT / PAGE).read_text()
    assert [name for name in STEPS if name not in text or not (ROOT / name).is_file()] == []
