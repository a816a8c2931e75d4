"""Files of data sets with boxes: a plain picture, and texts."""

import numpy as np
from PIL import Image

H, W = 40, 80


def picture(path, level=99):
    """Write a grey picture, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((H, W, 3), level, np.uint8)).save(path)


def write(path, text):
    """Write a text, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
