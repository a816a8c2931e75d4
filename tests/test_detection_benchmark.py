"""The comparison on Tiny-YOLO runs on a tiny one; how fast anything is, is not tested."""

import importlib
import json
from pathlib import Path

import pytest
import torch

from snnkern.models.boxes import Detections

ROOT = Path(__file__).parents[1]


@pytest.fixture
def detection(monkeypatch: pytest.MonkeyPatch):
    """The module of `benchmarks`, which is no installed package."""
    pytest.importorskip('torchvision')
    monkeypatch.syspath_prepend(ROOT)
    return importlib.import_module('benchmarks.detection')


def found(*rows):
    """Detections of boxes (x1, label)."""
    boxes = torch.tensor([[x, 0.0, 1.0, 1.0] for x, _ in rows]).view(-1, 4)
    return [Detections(boxes, torch.ones(len(rows)), torch.tensor([label for _, label in rows]))]


def test_detections_are_compared(detection) -> None:
    base = found((0.5, 1), (0.25, 0))
    assert detection.differences(base, found((0.50005, 1), (0.25, 0))) == ''
    assert detection.differences(found(), found()) == ''
    assert detection.differences(base, found((0.5, 1))) == 'image 0: 2 boxes and 1'
    assert detection.differences(base, found((0.5, 1), (0.25, 2))) == 'image 0: labels differ'
    assert 'corners differ by 0.1 of' in detection.differences(base, found((0.6, 1), (0.25, 0)))


def test_speed(detection, monkeypatch, capsys) -> None:
    monkeypatch.setenv(detection.CHILD, '1')
    assert detection.main(['--width', '2', '--size', '64', '--T', '3', '--rounds', '1', '--threads', '1']) == 0
    result = json.loads(capsys.readouterr().out)
    rivals = {name for name, rival, _ in detection.SPEED_RIVALS if rival.package == detection.SJ}
    assert {*result['seconds'], *result['skipped']} == {detection.OURS, detection.LOOP, detection.BOUND, *rivals}
    assert result['boxes'] > 0
    assert [v['rival'] for v in result['targets']] == [detection.LOOP]
    _, head, rows = detection.speed_table(result, 1, 3)
    assert {len(row) for row in (head, *rows)} == {5}


def test_a_twin_has_the_same_maps(detection) -> None:
    x = detection.pictures(2, 64)
    net = detection.detector(2, 3, None, x)
    assert detection.relu_twin(net)(x).shape == net(x).shape
    assert not any(isinstance(m, torch.nn.LeakyReLU) for m in detection.relu_twin(net).modules())
    assert 0 <= x.min() < x.max() <= 1
