"""ES-ImageNet: a small folder of its form, and errors."""

import numpy as np
import pytest

from snnkern.data.common import DataError
from snnkern.data.es_imagenet import es_imagenet


def es_folder(root, sizes=((254, 190), (170, 254))):
    """A folder as ES-ImageNet's, with two photographs in each part; the frames of all, [part][n, 8, 2, 224, 224]."""
    rng = np.random.default_rng(0)
    expected = []
    for part in ('train', 'val'):
        lines, made = [], np.zeros((len(sizes), 8, 2, 224, 224), np.float32)
        for n, (height, width) in enumerate(sizes):
            name = f'class{n}/class{n}_7' if part == 'train' else f'ILSVRC2012_val_0000000{n}'
            (root / part / name).parent.mkdir(parents=True, exist_ok=True)
            events = {}
            for channel, key in enumerate(('neg', 'pos')):
                row, column = rng.integers(17, 240, (2, 300))
                row, column = row % (height + 3), column % (width + 3)
                step = rng.integers(1, 9, 300)
                events[key] = np.unique(np.stack([row, column, step], 1), axis=0).astype(np.uint8)
                y, x, t = events[key].T.astype(int)
                canvas = np.zeros((8, 256 + 8, 256 + 8), np.float32)
                canvas[t - 1, y + (254 - height) // 2, x + (254 - width) // 2] = 1
                made[n, :, channel] = canvas[:, 16:240, 16:240]
            np.savez_compressed(root / part / f'{name}.npz', **events)
            lines.append(f'{name}.npz {n + 5} {height} {width}\n')
        (root / f'{part}label.txt').write_text(''.join(lines))
        expected.append(made)
    return expected


def test_es_imagenet(tmp_path):
    train, val = es_folder(tmp_path)
    found = es_imagenet(tmp_path)
    assert (len(found.train), len(found.test), found.shape) == (2, 2, (8, 2, 224, 224))
    for split, expected in ((found.train, train), (found.test, val)):
        x, y = split.batch([1, 0])
        assert y.tolist() == [6, 5]
        np.testing.assert_array_equal(x, expected[[1, 0]])
    assert es_imagenet(tmp_path, size=56, flip=True).train.batch([0], seed=1)[0].shape == (1, 8, 2, 56, 56)


def test_es_imagenet_errors(tmp_path):
    with pytest.raises(DataError, match=r'no ES-ImageNet in .*expected train/, val/, trainlabel\.txt'):
        es_imagenet(tmp_path)
    es_folder(tmp_path)
    with pytest.raises(ValueError, match='T: ES-ImageNet has 8 frames, got 4'):
        es_imagenet(tmp_path, T=4)
    file = tmp_path / 'train' / 'class1' / 'class1_7.npz'
    for content in (b'', file.read_bytes()[:300]):
        file.write_bytes(content)
        with pytest.raises(DataError, match=r'class1_7\.npz is missing, broken or not of ES-ImageNet'):
            es_imagenet(tmp_path).train.batch([0, 1])
    for line in ('a.npz 5 254', 'a.npz 1000 254 254', 'a.npz 5 255 20'):
        (tmp_path / 'vallabel.txt').write_text(line)
        with pytest.raises(DataError, match=rf'vallabel\.txt, line 1: expected .*{line}'):
            es_imagenet(tmp_path)
