"""Tiny-YOLO: the network, what its head reads, what its loss asks for, and the choice of boxes."""

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from snnkern.convert import graph
from snnkern.models import TinyYolo, build, detect
from snnkern.models.spiking import build as build_over_time
from snnkern.models.yolo import YoloHead, anchors_of

ANCHORS = ((0.1, 0.2), (0.3, 0.3), (0.5, 0.4))


def head(classes: int = 4) -> YoloHead:
    return YoloHead(classes, ANCHORS)


def target(*rows: tuple[float, ...]) -> torch.Tensor:
    """Boxes of one image."""
    return torch.tensor([[row + (0.0,) * (6 - len(row)) for row in rows]])


def test_maps_are_read_as_published():
    """Against the formula, number by number."""
    own, (h, w) = head(), (3, 5)
    maps = torch.randn(2, own.channels, h, w, generator=torch.Generator().manual_seed(0))
    boxes, scores = own.decode(maps)
    assert boxes.shape == (2, 3 * h * w, 4)
    assert scores.shape == (2, 3 * h * w, 4)
    for b, a, row, column in ((0, 0, 0, 0), (1, 2, 1, 4), (1, 1, 2, 3)):
        t = maps[b, a * 9 : a * 9 + 9, row, column].tolist()
        x, y = (1 / (1 + math.exp(-t[0])) + column) / w, (1 / (1 + math.exp(-t[1])) + row) / h
        width, height = ANCHORS[a][0] * math.exp(t[2]), ANCHORS[a][1] * math.exp(t[3])
        place = (a * h + row) * w + column
        wanted = [x - width / 2, y - height / 2, x + width / 2, y + height / 2]
        assert boxes[b, place].tolist() == pytest.approx(wanted, abs=1e-5)
        classes = [math.exp(value) for value in t[5:]]
        sure = 1 / (1 + math.exp(-t[4]))
        assert scores[b, place].tolist() == pytest.approx([sure * v / sum(classes) for v in classes], rel=1e-4)


def said(own: YoloHead, box: tuple[float, ...], h: int = 4, w: int = 4) -> torch.Tensor:
    """Maps that say exactly one box (label, x1, y1, x2, y2), and are sure of it."""
    label, x1, y1, x2, y2 = box
    x, y, width, height = (x1 + x2) / 2 * w, (y1 + y2) / 2 * h, x2 - x1, y2 - y1
    overlaps = [min(width, a) * min(height, b) / max(width * height, a * b) for a, b in ANCHORS]
    best = overlaps.index(max(overlaps))
    a, b = ANCHORS[best]
    maps = torch.zeros(1, len(ANCHORS), 5 + own.num_classes, h, w)
    maps[:, :, 4] = -20
    cell = maps[0, best, :, int(y), int(x)]
    inside = [math.log(p / (1 - p)) for p in (x % 1, y % 1)]
    cell[:5] = torch.tensor([*inside, math.log(width / a), math.log(height / b), 20.0])
    cell[5 + int(label)] = 20
    return maps.flatten(1, 2)


def test_right_maps_lose_nothing_and_are_found():
    own, box = head(), (2.0, 0.3, 0.35, 0.62, 0.7)
    maps = said(own, box)
    assert own.loss(maps, target(box)).item() < 1e-3
    (found,) = detect(own, maps, score=0.5)
    assert found.labels.tolist() == [2]
    assert found.boxes[0].tolist() == pytest.approx(box[1:], abs=1e-5)
    for wrong in ((1.0, *box[1:]), (2.0, 0.3, 0.35, 0.62, 0.9), (2.0, 0.05, 0.35, 0.3, 0.7)):
        assert own.loss(maps, target(wrong)).item() > 0.5


def test_a_loss_falls_to_the_box_that_it_asks_for():
    torch.manual_seed(0)
    own, y = head(), target((0.0, 0.1, 0.1, 0.42, 0.3), (3.0, 0.5, 0.5, 0.9, 0.95))
    maps = torch.randn(1, own.channels, 6, 6, requires_grad=True)
    optimizer = torch.optim.Adam([maps], 0.1)
    for _ in range(200):
        optimizer.zero_grad()
        own.loss(maps, y).backward()
        optimizer.step()
    (found,) = detect(own, maps, score=0.5)
    order = found.labels.argsort()
    assert found.labels[order].tolist() == [0, 3]
    assert torch.allclose(found.boxes[order], y[0, :, 1:5], atol=0.02)


def test_rows_that_are_none_change_nothing():
    own = head()
    maps = torch.randn(1, own.channels, 4, 4)
    box = (1.0, 0.2, 0.2, 0.5, 0.5)
    assert own.loss(maps, target(box)) == own.loss(maps, target(box, (-1.0, 0, 0, 1, 1)))
    nothing = own.loss(maps, target((-1.0, 0, 0, 0, 0)))
    assert nothing.item() == pytest.approx(F.softplus(maps[0, 4::9]).sum().item(), rel=1e-5)


def test_crowds_are_not_asked_for_nor_called_wrong():
    own, box = head(), (2.0, 0.3, 0.35, 0.62, 0.7)
    maps = said(own, box)
    assert own.loss(maps, target((*box, 1.0))).item() < 1e-3
    assert own.loss(maps, target((-1.0, 0, 0, 0, 0))).item() > 10


@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(1, 6), st.integers(0, 5))
def test_any_boxes_have_a_finite_loss_and_gradient(seed, h, w, count):
    generator = torch.Generator().manual_seed(seed)
    own, maps = head(), 30 * torch.randn(2, 27, h, w, generator=generator)
    maps.requires_grad_(True)
    places = torch.rand(2, count, 2, 2, generator=generator).sort(2).values.flatten(2)
    places[..., 2:] = (places[..., 2:] + 1e-3).clamp(max=1.001)
    label = torch.randint(-1, 4, (2, count, 1), generator=generator).float()
    y = torch.cat([label, places, torch.zeros(2, count, 1)], 2)
    loss = own.loss(maps, y)
    loss.backward()
    assert loss.isfinite()
    assert maps.grad is not None
    assert bool(maps.grad.isfinite().all())


def test_anchors_are_the_shapes_that_there_are():
    generator = torch.Generator().manual_seed(0)
    wanted = torch.tensor([[0.05, 0.08], [0.3, 0.1], [0.4, 0.6]])
    sizes = wanted[torch.randint(0, 3, (300,), generator=generator)]
    sizes = sizes * (1 + 0.05 * torch.randn(300, 2, generator=generator))
    assert torch.allclose(anchors_of(sizes, 3), wanted, atol=0.01)
    own = YoloHead(2, 3)
    own.fit(sizes)
    assert torch.allclose(own.anchors, wanted, atol=0.01)


@pytest.mark.parametrize(
    ('call', 'message'),
    [
        (lambda: anchors_of(torch.rand(3, 2), 5), 'expected at least 5 boxes to choose them from, got 3'),
        (lambda: anchors_of(torch.zeros(9, 2), 5), 'boxes without area'),
        (lambda: YoloHead(3, ((0.1, -1.0),)), 'anchors: expected rows of positive width and height'),
        (lambda: YoloHead(3, 0), 'anchors must be >= 1'),
        (lambda: head().loss(torch.zeros(1, 8, 2, 2), target((0, 0, 0, 1, 1))), r'maps: expected \[B, 27, h, w\]'),
        (lambda: detect(head(), torch.zeros(8, 2, 2)), r'maps: expected \[B, 27, h, w\], got \(8, 2, 2\)'),
        (
            lambda: build_over_time('tiny-yolo', in_channels=3, size=(400, 416), num_classes=3),
            r'size: expected multiples of 32, got \(400, 416\)',
        ),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def reading(boxes: list[list[float]], scores: list[list[float]]) -> SimpleNamespace:
    """A head that reads these boxes from any maps."""
    found = torch.tensor([boxes]), torch.tensor([scores])
    return SimpleNamespace(channels=1, decode=lambda maps: found)


def test_boxes_that_repeat_a_surer_one_are_left_out():
    boxes = [[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.45], [0, 0, 0.5, 0.48], [0.6, 0.6, 1.2, 0.9], [0, 0, 0.1, 0.1]]
    scores = [[0.9, 0.0], [0.6, 0.1], [0.1, 0.7], [0.0, 0.95], [0.005, 0.001]]
    (found,) = detect(reading(boxes, scores), torch.zeros(1, 1, 1, 1))
    assert found.scores.tolist() == pytest.approx([0.95, 0.9, 0.7])
    assert found.labels.tolist() == [1, 0, 1]
    assert found.boxes[0].tolist() == pytest.approx([0.6, 0.6, 1.0, 0.9])
    (first,) = detect(reading(boxes, scores), torch.zeros(1, 1, 1, 1), most=1)
    assert first.scores.tolist() == pytest.approx([0.95])
    (none,) = detect(reading(boxes, scores), torch.zeros(1, 1, 1, 1), score=0.99)
    assert none.boxes.shape == (0, 4)


def test_the_network_is_tiny_yolo():
    """Of the size that the published tiny-yolo-voc.weights has: 63,471,556 bytes, 16 of them a header."""
    net = build('tiny-yolo')
    convolutions = [m for m in net.modules() if isinstance(m, torch.nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [16, 32, 64, 128, 256, 512, 1024, 1024, 125]
    numbers = sum(t.numel() for t in (*net.parameters(), *net.buffers()) if t.dim() and t is not net.head.anchors)
    assert 4 * numbers + 16 == 63_471_556
    small = TinyYolo(num_classes=2, width=2, last=32, anchors=3).eval()
    assert small(torch.rand(2, 3, 64, 96)).shape == (2, 21, 2, 3)
    assert graph.trace(small) is not None


def test_the_sixth_pool_pads_with_the_smallest():
    stage = TinyYolo(width=1).stages[5]
    x = torch.randn(2, 3, 5, 7)
    wanted = F.max_pool2d(F.pad(x, (0, 1, 0, 1), value=-math.inf), 2, 1)
    assert torch.equal(torch.nn.Sequential(*stage[3:])(x), wanted)


def test_over_time_each_step_is_a_batch():
    net = build_over_time('tiny-yolo', in_channels=3, size=(64, 64), num_classes=2, width=2).eval()
    alone = TinyYolo(num_classes=2, width=2).eval()
    alone.load_state_dict(net.state_dict())
    x = torch.rand(3, 2, 3, 64, 64)
    assert torch.allclose(net(x), torch.stack([alone(step) for step in x]), atol=1e-6)
