"""Average precision against pycocotools' own evaluation, at every kind of box, alone and in several processes."""

import contextlib
import copy
import io
import sys

import numpy as np
import pytest
import torch
from processes import found_by

from snnkern.models.boxes import Detections

pytest.importorskip('torchmetrics')
pytest.importorskip('faster_coco_eval')

from snnkern.recipes.detect.scores import Scores

CLASSES = ('ant', 'bee', 'cat', 'dog', 'eel')


class Boxes(torch.nn.Module):
    """A head whose maps [B, 6, 1, N] are N boxes: corners and a score for each of two classes."""

    channels = 6

    def decode(self, maps):
        """Boxes [B, N, 4] and scores [B, N, 2]."""
        rows = maps.flatten(2).transpose(1, 2)
        return rows[..., :4], rows[..., 4:]


def random_boxes(count, g):
    """[count, 4] corners."""
    corner, size = torch.rand(count, 2, generator=g) * 0.7, torch.rand(count, 2, generator=g) * 0.25 + 0.05
    return torch.cat([corner, corner + size], 1)


def images(count, seed=0):
    """Truth y [count, 9, 6] and detections near it and elsewhere: class 3 is found but never there, class 4 neither."""
    g = torch.Generator().manual_seed(seed)
    y, found = torch.full((count, 9, 6), -1.0), []
    for i in range(count):
        n = int(torch.randint(0, 10, (1,), generator=g)) if i else 0
        y[i, :n, 0] = torch.randint(0, 3, (n,), generator=g).float()
        y[i, :n, 1:5] = random_boxes(n, g)
        y[i, :n, 5] = (torch.rand(n, generator=g) < 0.2).float()
        near = y[i, :n, 1:5].repeat(2, 1) + 0.03 * torch.randn(2 * n, 4, generator=g)
        boxes = torch.cat([near, random_boxes(6, g)])
        labels = torch.cat([y[i, :n, 0].repeat(2), torch.randint(0, 4, (6,), generator=g)]).long()
        scores = torch.rand(len(boxes), generator=g)
        order = scores.argsort(descending=True)
        found.append(Detections(boxes[order], scores[order], labels[order]))
    return found, y


def oracle(found, y, most=300):
    """AP50 of the classes, AP50 and AP by pycocotools, of boxes in pixels of images 640 x 480."""
    pytest.importorskip('pycocotools')
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def coco_box(box):
        x1, y1, x2, y2 = (box.double() * torch.tensor([640, 480, 640, 480])).tolist()
        return [x1, y1, x2 - x1, y2 - y1]

    truth, guesses = [], []
    for i, (one, rows) in enumerate(zip(found, y, strict=True)):
        for row in rows[rows[:, 0] >= 0]:
            box = coco_box(row[1:5])
            about = {'category_id': int(row[0]) + 1, 'iscrowd': int(row[5]), 'area': box[2] * box[3], 'bbox': box}
            truth.append({'id': len(truth) + 1, 'image_id': i, **about})
        for box, score, label in zip(*one, strict=True):
            guess = {'category_id': int(label) + 1, 'score': float(score), 'bbox': coco_box(box)}
            guesses.append({'image_id': i, **guess})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            'info': {},
            'images': [{'id': i} for i in range(len(y))],
            'categories': [{'id': k + 1} for k in range(len(CLASSES))],
            'annotations': truth,
        }
        coco.createIndex()
        run = COCOeval(coco, coco.loadRes(guesses), 'bbox')
        run.params.maxDets = [1, 10, most]
        run.evaluate()
        run.accumulate()
    precision = run.eval['precision'][:, :, :, 0, -1]
    known = [k for k in range(len(CLASSES)) if precision[0, 0, k] >= 0]
    by_class = {CLASSES[k]: precision[0, :, k].mean() for k in known}
    return by_class, precision[0][:, known].mean(), precision[:, :, known].mean()


def fed(found, y):
    """Scores that have seen these images in two batches."""
    scores = Scores(Boxes(), CLASSES)
    for part in (slice(0, 7), slice(7, None)):
        scores.add(found[part], y[part])
    return scores


@pytest.mark.parametrize('seed', range(3))
def test_scores_are_those_of_pycocotools(seed):
    found, y = images(30, seed)
    by_class, ap50, ap = oracle(found, y)
    got = fed(found, y).compute()
    assert list(got) == ['ap50', 'ap', 'ap50_by_class']
    assert got['ap50'] == pytest.approx(ap50, abs=1e-6)
    assert got['ap'] == pytest.approx(ap, abs=1e-6)
    assert got['ap50_by_class'].keys() == by_class.keys() == {'ant', 'bee', 'cat'}
    assert got['ap50_by_class'] == pytest.approx(by_class, abs=1e-6)
    assert 0.05 < ap < ap50 < 0.9


def test_recalls_are_cocos_to_the_last_bit():
    """Ten boxes, of which three are found: recall .3 is reached exactly, which .3 of float32 would miss."""
    y = torch.full((1, 10, 6), 0.0)
    y[0, :, 1:5] = torch.tensor([[i / 10, 0, i / 10 + 0.08, 1] for i in range(10)])
    found = [Detections(y[0, :3, 1:5], torch.tensor([0.9, 0.8, 0.7]), torch.zeros(3, dtype=torch.long))]
    scores = Scores(Boxes(), ('ant',))
    scores.add(found, y)
    assert scores.compute()['ap50'] == pytest.approx(31 / 101)


def test_crowds_are_neither_right_nor_wrong():
    """A detection on a difficult box does not count; without one beside it there is nothing to score."""
    y = torch.tensor([[[0, 0.1, 0.1, 0.5, 0.5, 0], [0, 0.6, 0.6, 0.9, 0.9, 1]]])
    boxes = y[0, :, 1:5].flip(0)
    found = [Detections(boxes, torch.tensor([0.9, 0.8]), torch.zeros(2, dtype=torch.long))]
    scores = Scores(Boxes(), ('ant', 'bee'))
    scores.add(found, y)
    assert scores.compute() == {'ap50': 1.0, 'ap': 1.0, 'ap50_by_class': {'ant': 1.0}}
    scores.reset()
    scores.add(found, y[:, 1:])
    with pytest.raises(ValueError, match='none of the images has a true box that counts'):
        scores.compute()


def test_nothing_found_scores_nothing():
    _, y = images(4)
    none = Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.long))
    scores = Scores(Boxes(), CLASSES)
    scores.add([none] * 4, y)
    assert (scores.compute()['ap50'], scores.compute()['ap']) == (0, 0)


def test_maps_are_read_by_the_head():
    """Above the score, without repeats; more than a hundred boxes of an image, and no warning."""
    y = torch.zeros(1, 144, 6)
    grid = torch.arange(12) / 12
    corner = torch.cartesian_prod(grid, grid)
    y[0, :, 1:5] = torch.cat([corner, corner + 1 / 13], 1)
    sure = torch.linspace(0.5, 0.9, 144).view(-1, 1)
    rows = torch.cat([y[0, :, 1:5], sure, torch.zeros(144, 1)], 1)
    maps = torch.cat([rows, rows - torch.tensor([0, 0, 0, 0, 0.1, 0]), 0 * rows]).T.view(1, 6, 1, -1)
    scores = Scores(Boxes(), ('ant', 'bee'))
    scores.update(maps, y)
    assert len(scores.found[0]['boxes']) == 144
    assert scores.compute()['ap50'] == pytest.approx(1)
    twin = copy.deepcopy(scores)
    twin.reset()
    assert len(scores.found) == 1
    few = Scores(Boxes(), ('ant', 'bee'), score=0.7)
    few.update(maps, y)
    assert len(few.found[0]['boxes']) == 72


def test_bad_boxes():
    found, y = images(3)
    scores = Scores(Boxes(), ('ant', 'bee'))
    with pytest.raises(ValueError, match=r'y: expected true boxes of shape \[3, M, 6\], got \[2, 9, 6\]'):
        scores.add(found, y[:2])
    with pytest.raises(ValueError, match=r'y: label [23] is none of the 2 classes'):
        scores.add(found, y)
    with pytest.raises(ValueError, match=r'score: expected a number in 0..1, got 1.5'):
        Scores(Boxes(), CLASSES, score=1.5)


@pytest.mark.parametrize('package', ['torchmetrics.detection', 'faster_coco_eval'])
def test_the_extra_is_named(package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=r"detection needs .*: pip install 'snnkern\[detection\]'"):
        Scores(Boxes(), CLASSES)


def shared(rank):
    """The scores in one of two processes, with 7 and 23 of 30 images."""
    found, y = images(30)
    part = slice(0, 7) if rank == 0 else slice(7, None)
    scores = Scores(Boxes(), CLASSES)
    scores.add(found[part], y[part])
    return scores.compute()


@pytest.mark.slow
def test_processes_score_together(tmp_path):
    """However many images each has."""
    alone = fed(*images(30)).compute()
    assert found_by(shared, 2, tmp_path) == [alone, alone]


def test_numbers_are_jsons():
    import json

    found, y = images(30)
    got = fed(found, y).compute()
    assert json.loads(json.dumps(got, allow_nan=False)) == got
    assert all(type(value) is float for value in (got['ap50'], got['ap'], *got['ap50_by_class'].values()))
    assert np.mean(list(got['ap50_by_class'].values())) == pytest.approx(got['ap50'], abs=1e-6)
