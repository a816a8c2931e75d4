"""What the tests of the programs share: the command line, and tiny data of the real forms."""

import numpy as np
import torch
from PIL import Image
from typer.testing import CliRunner

from snnkern import cli
from snnkern.data import ImageSet

PNG = b'\x89PNG\r\n\x1a\n'


def invoke(*arguments):
    """Run the command line."""
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def words(text):
    """Text without frames and line breaks."""
    return ' '.join(text.replace('│', ' ').split())


def picture_folder(root, count=12, size=32):
    """Two classes of colour pictures in the form of an image folder: brighter above, or below."""
    draw = np.random.default_rng(0)
    for split in ('train', 'test'):
        for name in ('above', 'below'):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = draw.integers(0, 100, (size, size, 3), dtype=np.uint8)
                half = slice(None, size // 2) if name == 'above' else slice(size // 2, None)
                pixels[half] += 120
                Image.fromarray(pixels).save(folder / f'{i}.png')
    return root


def slices(count, seed=0, height=32, width=48):
    """Slices with a bright square each, and its mask."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 100, (count, 1, height, width), generator=g, dtype=torch.uint8)
    y = torch.zeros_like(x)
    for i in range(count):
        top, left = torch.randint(8, 14, (2,), generator=g).tolist()
        y[i, :, top : top + 10, left + 8 : left + 18] = 1
    return x + 150 * y, y


def slice_set():
    """Slices as the loader of Lucchi gives them."""
    return ImageSet('lucchi', *slices(12), *slices(4, 1), ('square',), (0.5,), (0.5,), 'made of squares')
