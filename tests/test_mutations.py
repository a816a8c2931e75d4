"""The check of faults itself: their texts are there, and a fault that no test catches is reported."""

import json
import sys
from dataclasses import replace
from importlib.util import find_spec

import mutations
import pytest
from mutations import FAULTS, ROOT


def test_texts_are_there():
    """Sources that change take their faults along."""
    for fault in FAULTS:
        assert fault.planted(ROOT) != (ROOT / fault.file).read_text()
        assert all((ROOT / tests.partition('::')[0]).exists() for tests in fault.tests)
        assert all((ROOT / f'csrc/kernels/{name}.cu').exists() for name in fault.rebuild)
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    with pytest.raises(ValueError, match='must hold the old text once, holds it 0 times'):
        replace(FAULTS[0], old='no such text').planted(ROOT)


def test_names(capsys, monkeypatch):
    monkeypatch.setattr(sys, 'argv', ['mutations', '--list', '--only', 'moments: no check'])
    assert mutations.main() == 0
    assert 'csrc/kernels/moments.cu' in capsys.readouterr().out
    with pytest.raises(SystemExit, match='--only must be a part of a name'):
        mutations.chosen(['nothing'])


@pytest.mark.slow
def test_a_fault_that_survives_is_reported(tmp_path, monkeypatch, capsys):
    """One is caught; a harmless change, said to be a fault, is not."""
    if find_spec('snnkern._cuda') is None:
        pytest.skip('snnkern._cuda is not built (no nvcc)')
    (fault,) = mutations.chosen(['moments: no check of bounds'])
    harmless = replace(mutations.mutations_others.HARMLESS, harmless=False)
    monkeypatch.setattr(mutations, 'FAULTS', (fault, harmless))
    monkeypatch.setattr(mutations.Workshop.__init__, '__defaults__', (tmp_path / 'faulty',))
    monkeypatch.setattr(sys, 'argv', ['mutations', '--json'])
    assert mutations.main() == 1
    found = capsys.readouterr()
    assert [(o['caught'], o['right']) for o in json.loads(found.out)] == [(True, True), (False, False)]
    assert 'SURVIVES' in found.err
