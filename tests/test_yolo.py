"""Tiny-YOLO: the network, what its head reads, what its loss asks for, and the choice of boxes."""

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from snnkern.convert import graph
from snnkern.models import TinyYolo, WeightsError, build, detect, load_weights
from snnkern.models.spiking import build as build_over_time
from snnkern.models.spiking.converted import Converted
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
        (lambda: YoloHead(3, 'abc'), "anchors: expected rows of positive width and height, got 'abc'"),
        (lambda: YoloHead(0), 'num_classes must be >= 1'),
        (lambda: TinyYolo(width=0), 'width must be >= 1'),
        (lambda: head().decode(torch.zeros(1, 26, 2, 2)), r'maps: expected \[B, 27, h, w\]'),
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


def overlap(a: list[float], b: list[float]) -> tuple[float, float]:
    """Intersection over union of two boxes, and over the first."""
    inner = max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    own, other = ((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return inner / (own + other - inner), inner / own


def complete(a: list[float], b: list[float]) -> float:
    """1 - CIoU, as Zheng et al. write it."""
    iou, _ = overlap(a, b)
    centres = sum(((a[i] + a[i + 2]) / 2 - (b[i] + b[i + 2]) / 2) ** 2 for i in (0, 1))
    around = sum((max(a[i + 2], b[i + 2]) - min(a[i], b[i])) ** 2 for i in (0, 1))
    turn = [math.atan((box[2] - box[0]) / (box[3] - box[1])) for box in (a, b)]
    v = 4 / math.pi**2 * (turn[0] - turn[1]) ** 2
    return 1 - iou + centres / around + v / (1 - iou + v) * v


def test_the_loss_is_its_formula():
    """Two things that are found roughly, a second candidate on one of them, a large crowd: number by number."""
    own, h, w = head(2), 4, 4
    y = target((1.0, 0.05, 0.05, 0.17, 0.27), (0.0, 0.52, 0.55, 0.84, 0.84), (0.0, 0.0, 0.5, 0.5, 1.0, 1.0))
    maps = torch.randn(1, own.channels, h, w, generator=torch.Generator().manual_seed(3))
    said = maps.view(3, 7, h, w)
    said[0, :4, 0, 0] = torch.tensor([-0.3, 0.4, 0.3, 0.1])  # of the first thing, imperfect
    said[0, :4, 1, 0] = torch.tensor([-0.3, -2.5, 0.2, 0.1])  # beside it
    said[1, :4, 2, 2] = torch.tensor([1.0, 1.1, 0.1, 0.0])
    boxes = own.decode(maps)[0][0].tolist()
    asked = {0 * 16 + 0 * 4 + 0: y[0, 0], 1 * 16 + 2 * 4 + 2: y[0, 1]}
    wanted, spared = 0.0, 0
    for n, box in enumerate(boxes):
        a, row, column = n // 16, n // 4 % 4, n % 4
        t_o, classes = said[a, 4, row, column].item(), said[a, 5:, row, column].tolist()
        if n in asked:
            label, thing = int(asked[n][0]), asked[n][1:5].tolist()
            goal, weight = overlap(box, thing)[0], 1
            wanted += 5 * complete(box, thing) + math.log(sum(map(math.exp, classes))) - classes[label]
            assert 0.3 < goal < 0.95
        else:
            close = any(overlap(box, y[0, i, 1:5].tolist())[0] > 0.6 for i in (0, 1))
            close |= overlap(box, y[0, 2, 1:5].tolist())[1] > 0.6
            goal, weight, spared = 0.0, 0 if close else 1, spared + close
        sure = 1 / (1 + math.exp(-t_o))
        wanted -= weight * (goal * math.log(sure) + (1 - goal) * math.log(1 - sure))
    assert spared > 3
    assert own.loss(maps, y).item() == pytest.approx(wanted / 2, rel=1e-4)


def test_sizes_that_make_no_whole_cells_are_refused():
    with pytest.raises(ValueError, match=r'size: expected multiples of 32, got \(80, 80\)'):
        Converted(TinyYolo(num_classes=2, width=1), (3, 80, 80))


def test_weights_of_other_classes_or_anchors_are_named(tmp_path):
    path = tmp_path / 'weights.pt'
    torch.save(TinyYolo(num_classes=3, width=1).state_dict(), path)
    for classes, anchors in ((2, 5), (3, 4), (2, 4)):
        message = (
            f'the weights are for 3 classes with 5 anchors, the network has {classes} classes with {anchors} anchors'
        )
        with pytest.raises(WeightsError, match=message):
            load_weights(TinyYolo(num_classes=classes, width=1, anchors=anchors), path)
