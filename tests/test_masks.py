"""Scores of masks against a confusion matrix in numpy, and pictures of them."""

import numpy as np
import pytest
import torch
from PIL import Image

from snnkern.data.camvid import CLASSES as CAMVID
from snnkern.data.voc import CLASSES as VOC

pytest.importorskip('torchmetrics')

from snnkern.recipes.direct.masks import Scores
from snnkern.recipes.direct.overlays import draw, overlay, palette

K, IGNORE = 5, 11


def matrix(y, found):
    """Rows: truth, columns: prediction; of pixels that count."""
    y, found = y.numpy().ravel(), found.numpy().ravel()
    counted = y != IGNORE
    total = np.zeros((K, K), np.int64)
    np.add.at(total, (y[counted], found[counted]), 1)
    return total


@pytest.mark.parametrize('labels', [False, True])
def test_scores_are_those_of_the_confusion_matrix(labels):
    """Class 3 is in neither truth nor prediction, class 4 is predicted only."""
    scores, total = Scores(K, IGNORE), np.zeros((K, K), np.int64)
    for size in (4, 1):
        out, y = torch.randn(size, K, 9, 7), torch.randint(0, 3, (size, 9, 7))
        out[:, 3] = -99
        y[torch.rand(size, 9, 7) < 0.2] = IGNORE
        scores.update(out.argmax(1) if labels else out, y)
        total += matrix(y, out.argmax(1))
    hits, pairs = np.diag(total), total.sum(0) + total.sum(1)
    occur = pairs > 0
    assert occur.tolist() == [True, True, True, False, True]
    iou = hits[occur] / (pairs - hits)[occur]
    got = scores.compute()
    assert got['iou'][3] is None
    np.testing.assert_allclose([value for value in got['iou'] if value is not None], iou, rtol=1e-6)
    assert got['iou'][4] == 0
    assert got['miou'] == pytest.approx(iou.mean())
    assert got['dice'] == pytest.approx((2 * hits[occur] / pairs[occur]).mean())
    assert got['pixel_accuracy'] == pytest.approx(hits.sum() / total.sum())


def test_perfect_and_forgotten():
    scores, y = Scores(K), torch.randint(0, K, (2, 8, 8))
    scores.update(1 - torch.nn.functional.one_hot(y, K).movedim(-1, 1).float(), y)
    assert scores.compute()['pixel_accuracy'] == 0
    scores.reset()
    scores.update(y, y)
    assert scores.compute() == {'miou': 1.0, 'dice': 1.0, 'pixel_accuracy': 1.0, 'iou': [1.0] * K}


def test_bad_masks():
    scores, y = Scores(K, IGNORE), torch.zeros(2, 8, 8, dtype=torch.long)
    with pytest.raises(ValueError, match=r'out: expected shape \(2, 5, 8, 8\) or labels \(2, 8, 8\), got'):
        scores.update(torch.zeros(2, K, 4, 4), y)
    with pytest.raises(ValueError, match='y: label 7 is none of the 5 classes'):
        scores.update(torch.zeros(2, K, 8, 8), y + 7)
    with pytest.raises(ValueError, match='out: label 11 is none of the 5 classes'):
        scores.update(y + 11, y)
    with pytest.raises(ValueError, match='ignore: expected a label that is none of the 5 classes, got 4'):
        Scores(K, 4)
    with pytest.raises(ValueError, match='num_classes must be >= 2, got 1'):
        Scores(1)
    scores.update(y, y + IGNORE)
    with pytest.raises(ValueError, match='no scores: none of the pixels has a label other than 11'):
        scores.compute()


def test_palettes():
    assert palette(VOC)[:3] == [(0, 0, 0), (128, 0, 0), (0, 128, 0)]
    assert palette(VOC)[20] == (0, 64, 128)
    assert palette(CAMVID)[3] == (128, 64, 128)
    assert len(set(palette([str(i) for i in range(256)]))) == 256


def test_overlay_colours_things_and_leaves_the_background():
    image, mask = torch.full((3, 4, 6), 0.5), torch.zeros(4, 6, dtype=torch.long)
    image[0], mask[:, 2:4], mask[:, 4:] = 0.8, 1, 255
    picture = overlay(image, mask, VOC)
    assert (picture.dtype, picture.shape) == (torch.uint8, (3, 4, 6))
    assert len(picture[:, 0, 0].unique()) == 1  # grey
    red, green, blue = picture[:, 0, 2].tolist()
    assert green == blue < red
    assert picture[:, 0, 4].min() > 200
    assert overlay(image[:1], mask, VOC).shape == (3, 4, 6)
    with pytest.raises(ValueError, match=r'mask: expected shape \(4, 6\) as the image, got \(4, 5\)'):
        overlay(image, mask[:, 1:], VOC)


def test_picture_file(tmp_path):
    x, y = torch.rand(2, 3, 18, 24), torch.randint(0, 12, (2, 18, 24))
    y[1] = 11
    draw(x, y, {'twin': y.clamp(max=10), 'spiking': y.clamp(max=9)}, CAMVID, tmp_path / 'a.png')
    draw(x, None, y.clamp(max=10), CAMVID, tmp_path / 'b.png')
    draw(x[:1], torch.full((1, 18, 24), 255), torch.zeros(1, 18, 24, dtype=torch.long), VOC, tmp_path / 'c.png')
    with Image.open(tmp_path / 'a.png') as wide, Image.open(tmp_path / 'b.png') as narrow:
        assert wide.width == 2 * narrow.width
    with pytest.raises(ValueError, match=r'prediction: expected masks of shape \(2, 18, 24\), got \(1, 18, 24\)'):
        draw(x, y, y[:1], CAMVID, tmp_path / 'd.png')
    assert not (tmp_path / 'd.png').exists()
