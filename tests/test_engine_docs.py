"""docs/engine.md has the tables of the stored results, and the picture can be drawn again."""

import pytest

pytest.importorskip('matplotlib')
from PIL import Image

from docs import engine


def test_tables_are_those_of_the_stored_results() -> None:
    """If not: `python -m docs.engine`."""
    page = engine.PAGE.read_text()
    assert engine.filled(page) == page
    assert all(f'| {" | ".join(table()[0])} |' in page for table in engine.TABLES.values())


def test_picture_is_drawn_again(tmp_path) -> None:
    engine.picture(tmp_path / 'again.png')
    with Image.open(tmp_path / 'again.png') as again, Image.open(engine.PICTURE) as stored:
        assert again.size == stored.size


def test_ratios_are_of_the_fastest_rival() -> None:
    of = {
        engine.ENGINE: 0.5,
        engine.LAYERS: 1.0,
        engine.LOOP: 4.0,
        engine.SJ_STEPS: 3.0,
        engine.SJ_MANY: 2.5,
        'ANN': 0.4,
    }
    found = engine._ratios({name: {'median': seconds} for name, seconds in (of | {'ANN folded': 0.25}).items()})
    assert list(found) == ['500', '2x', '8x', '5x', '2.00']
