"""FastestDet: its blocks, its head, the published weights, and its spiking twin."""

from pathlib import Path

import pytest
import torch
from soundness import kinds, sound, trained
from torch import nn

from snnkern.convert import convert
from snnkern.data.coco_boxes import coco_boxes
from snnkern.models import CellHead, FastestDet, WeightsError, build, detect, load_weights
from snnkern.models.fastestdet import ShuffleBlock
from snnkern.recipes.detect.scores import Scores

SHARED = Path(__file__).parents[2] / 'shared' / 'data'
WEIGHTS = SHARED / 'pretrained_weights.zip'
MEMBER = 'fastestdet_coco/weight_AP05_0.253207_280-epoch.pth'
needs_shared = pytest.mark.skipif(not WEIGHTS.exists(), reason='no ../shared/data')


def test_maps_and_parameters_are_those_of_the_published_network():
    with torch.device('meta'):
        net = build('fastestdet').eval()
        assert net(torch.empty(2, 3, 352, 352)).shape == (2, 85, 22, 22)
        assert build('fastestdet', num_classes=3).eval()(torch.empty(1, 3, 64, 96)).shape == (1, 8, 4, 6)
    assert sum(p.numel() for p in net.parameters()) == 244_490
    activations = {type(m) for m in net.modules() if not list(m.children())}
    assert activations == {nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.MaxPool2d, nn.AvgPool2d, nn.Upsample, CellHead}


def test_even_channels_pass_and_odd_ones_are_convolved():
    block = ShuffleBlock(3).eval()
    x = torch.rand(1, 6, 4, 4)
    out = block(x)
    torch.testing.assert_close(out[:, :3], x[:, [0, 2, 4]])
    torch.testing.assert_close(out[:, 3:], block.branch_main(x[:, [1, 3, 5]]))
    assert ShuffleBlock(3, 2)(torch.rand(1, 3, 8, 8)).shape == (1, 6, 4, 4)


def test_network_reads_blue_first():
    net = FastestDet(num_classes=1).eval()
    seen = []
    net.backbone.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    x = torch.rand(1, 3, 32, 32)
    net(x)
    torch.testing.assert_close(seen[0], x[:, [2, 1, 0]])


def test_head_reads_cells_by_the_formula():
    head = CellHead(2)
    assert head.channels == 7
    maps = torch.zeros(1, 7, 2, 4)
    maps[0, :, 1, 3] = torch.tensor([0.0, 0.5, -0.25, 1.0, -1.0, 0.0, 2.0])
    boxes, scores = head.decode(maps)
    assert boxes.shape == (1, 8, 4)
    assert scores.shape == (1, 8, 2)
    t = torch.tensor([0.5, -0.25])
    x, y = (t.tanh() + torch.tensor([3.0, 1.0])) / torch.tensor([4.0, 2.0])
    w, h = torch.tensor([1.0, -1.0]).sigmoid()
    torch.testing.assert_close(boxes[0, 7], torch.stack([x - w / 2, y - h / 2, x + w / 2, y + h / 2]))
    torch.testing.assert_close(scores[0, 7], torch.tensor([0.0, 2.0]).softmax(0) / 2)
    torch.testing.assert_close(boxes[0, 5], torch.tensor([0.0, 0.25, 0.5, 0.75]))  # row 1, column 1
    torch.testing.assert_close(scores[0, 5], torch.tensor([0.25, 0.25]))


def test_refusals():
    with pytest.raises(ValueError, match='in_channels is 3, not 1'):
        build('fastestdet', in_channels=1)
    with pytest.raises(ValueError, match=r'maps: expected \[B, 85, h, w\], got \(1, 8, 2, 2\)'):
        CellHead(80).decode(torch.zeros(1, 8, 2, 2))


@pytest.fixture(scope='module')
def spiking():
    torch.manual_seed(0)
    x = torch.rand(4, 3, 64, 64)
    net = trained(FastestDet(num_classes=4), x)
    return net, sound(net, x, timesteps=2), x


def test_each_relu_becomes_a_neuron_and_nothing_stays_analogue(spiking):
    net, snn, _ = spiking
    assert kinds(snn) == (sum(isinstance(m, nn.ReLU) for m in net.modules()), 1, 0)


def test_more_steps_come_nearer(spiking):
    net, snn, x = spiking
    off = [(snn(x, T) - net(x)).norm().item() for T in (2, 8, 32)]
    assert off[2] < off[1] < off[0]


@needs_shared
def test_weights_for_other_classes_are_refused():
    with pytest.raises(
        WeightsError, match=r'cls_layers\.conv5x5\.3\.weight is \[80, 96, 1, 1\] in the file and \[3, 96'
    ):
        load_weights(build('fastestdet', num_classes=3), WEIGHTS, MEMBER)


@pytest.fixture(scope='module')
def published():
    return load_weights(build('fastestdet'), WEIGHTS, MEMBER)


def coco():
    pytest.importorskip('torchvision')
    return coco_boxes(SHARED / 'coco_val128.zip', (352, 352), 'none')


@needs_shared
@torch.no_grad()
def test_published_weights_find_the_television(published):
    """The first image shows a living room: a television on the left is surest, then a chair."""
    data = coco()
    x, y = data.test.batch([0])
    boxes, _, labels = detect(published.head, published(x), score=0.3)[0]
    assert [data.classes[label] for label in labels[:2]] == ['tv', 'chair']
    overlap = pytest.importorskip('torchvision').ops.box_iou(boxes[:1], y[0, :, 1:5])[0]
    best = overlap.argmax()
    assert overlap[best] > 0.6
    assert data.classes[int(y[0, best, 0])] == 'tv'


@torch.no_grad()
def ap50(net, head, data):
    pytest.importorskip('torchmetrics')
    pytest.importorskip('faster_coco_eval')
    scores = Scores(head, data.classes)
    for start in range(0, len(data.test), 4):
        x, y = data.test.batch(range(start, start + 4))
        scores.update(net(x), y)
    return scores.compute()['ap50']


@needs_shared
@pytest.mark.slow
def test_published_weights_reach_their_precision(published):
    """.338 was measured with another resize and another suppression."""
    assert ap50(published, published.head, coco()) == pytest.approx(0.338, abs=0.005)


@needs_shared
@pytest.mark.slow
@pytest.mark.exhaustive
def test_spikes_lose_less_than_two_points_in_eight_steps(published):
    data = coco()
    snn = convert(published, data.test.batch(range(16))[0], timesteps=8)
    assert ap50(snn, published.head, data) > 0.338 - 0.02
