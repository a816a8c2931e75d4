"""Drawn pictures with boxes, in YOLO's layout: a set that a small detector learns in seconds."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

CLASSES = ('square', 'disc')
SIDE = 64


def picture(rng: np.random.Generator) -> tuple[npt.NDArray[np.uint8], list[tuple[float, ...]]]:
    """A red square and a green disc of some size, on grey noise; and the lines (class, cx, cy, w, h) of their boxes."""
    image = rng.integers(90, 130, (SIDE, SIDE, 3), dtype=np.uint8)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    lines = []
    for label, left in enumerate(rng.permutation((0, SIDE // 2))):
        size = int(rng.integers(14, 28))
        x, y = left + rng.integers(0, SIDE // 2 - size + 1), rng.integers(0, SIDE - size + 1)
        inside = (abs(rows - y - size / 2 + 0.5) < size / 2) & (abs(columns - x - size / 2 + 0.5) < size / 2)
        if label:
            inside = (rows - y - size / 2 + 0.5) ** 2 + (columns - x - size / 2 + 0.5) ** 2 < (size / 2) ** 2
        image[inside] = (40, 220, 60) if label else (220, 40, 40)
        lines.append((label, *((v / SIDE) for v in (x + size / 2, y + size / 2, size, size))))
    return image, lines


def folder(root: Path, train: int = 128, test: int = 16) -> Path:
    """Write a set into a folder."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for part, count in (('train', train), ('val', test)):
        for place in ('images', 'labels'):
            (root / place / part).mkdir(parents=True)
        for n in range(count):
            image, lines = picture(rng)
            Image.fromarray(image).save(root / 'images' / part / f'{n:03}.png')
            text = '\n'.join(' '.join(map(str, line)) for line in lines)
            (root / 'labels' / part / f'{n:03}.txt').write_text(text)
    (root / 'classes.txt').write_text('\n'.join(CLASSES))
    return root
