"""The README's table and picture are those of the stored run."""

import pytest

pytest.importorskip('matplotlib')
from PIL import Image

from docs import overview


def test_table_is_that_of_the_stored_run():
    """If not: `python -m docs.overview`."""
    assert overview.table() in (overview.ROOT / 'README.md').read_text()


def test_picture_is_drawn_again(tmp_path):
    overview.draw(tmp_path / 'again.png')
    with Image.open(tmp_path / 'again.png') as again, Image.open(overview.PICTURE) as stored:
        assert again.size == stored.size
    assert 20_000 < overview.PICTURE.stat().st_size < 200_000
