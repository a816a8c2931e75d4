"""Darknet's files of weights: what is in them byte by byte, round trips, and files that do not fit."""

import math
import re
import struct

import numpy as np
import pytest
import torch
from torch import nn

from snnkern.models import TinyYolo, WeightsError
from snnkern.models.darknet import COCO_ANCHORS, VOC_ANCHORS, load_darknet, save_darknet


def small(outputs=4):
    """A convolution with BatchNorm and one with a bias: 2 * 4 + 2 * 1 * 9 and 3 * outputs numbers."""
    return nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, outputs, 1))


def written(path, *numbers, version=(0, 2, 0), seen='<q'):
    path.write_bytes(struct.pack('<3i', *version) + struct.pack(seen, 7) + np.array(numbers, '<f4').tobytes())
    return path


def shaken(net):
    """Statistics and lines that are not trivial."""
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            for tensor in (norm.weight, norm.bias, norm.running_mean):
                nn.init.normal_(tensor)
            nn.init.uniform_(norm.running_var, 1e-4, 1e-2)  # where eps counts
    return net.eval()


@pytest.mark.parametrize(
    ('version', 'seen'),
    [((0, 1, 0), '<i'), ((0, 2, 0), '<q'), ((0, 2, 5), '<q'), ((1, 0, 0), '<q'), ((0, 1002, 0), '<i')],
)
def test_numbers_go_where_darknet_has_them(tmp_path, version, seen):
    numbers = [*range(1, 9), *range(18), 31, 32, 33, 34, *range(40, 48)]
    net = load_darknet(small(), written(tmp_path / 'a.weights', *numbers, version=version, seen=seen))
    conv, norm, _, head = net
    assert not net.training
    assert norm.bias.tolist() == [1, 2]
    assert norm.running_mean.tolist() == [5, 6]
    assert norm.running_var.tolist() == [7, 8]
    assert conv.weight.flatten().tolist() == list(range(18))
    assert head.bias.tolist() == [31, 32, 33, 34]
    assert head.weight.flatten().tolist() == list(range(40, 48))


def test_batch_norm_is_that_of_darknet(tmp_path):
    """scale * (x - mean) / (sqrt(variance) + .000001) + bias, also where the variance is tiny or nothing."""
    bias, scale, mean, var = [0.5, -1.0], [2.0, 3.0], [0.1, 0.0], [4e-6, 0.0]
    net = load_darknet(small(), written(tmp_path / 'a.weights', *bias, *scale, *mean, *var, *[1.0] * 18, *[0.0] * 12))
    x = torch.rand(2, 2, 3, 3, dtype=torch.float64) * 1e-3
    column = [torch.tensor(v, dtype=torch.float64).view(-1, 1, 1) for v in (bias, scale, mean, var)]
    wanted = column[1] * (x - column[2]) / (column[3].sqrt() + 1e-6) + column[0]
    torch.testing.assert_close(net[1](x.float()), wanted.float(), rtol=1e-4, atol=1e-4)


def test_tiny_yolo_comes_back_from_its_own_file(tmp_path):
    net, other = shaken(TinyYolo(num_classes=3, width=2)), TinyYolo(num_classes=3, width=2)
    path = tmp_path / 'tiny.weights'
    save_darknet(net, path, seen=2**33)
    assert struct.unpack_from('<3iq', path.read_bytes()) == (0, 2, 0, 2**33)
    assert [p.name for p in tmp_path.iterdir()] == ['tiny.weights']
    load_darknet(other, path)
    x = torch.rand(1, 3, 64, 64)
    torch.testing.assert_close(other(x), net(x), rtol=1e-4, atol=1e-5 * net(x).abs().max().item())
    save_darknet(other, tmp_path / 'again.weights', seen=2**33)
    first, second = (np.frombuffer(p.read_bytes()[20:], '<f4') for p in (path, tmp_path / 'again.weights'))
    np.testing.assert_allclose(second, first, rtol=2e-7)


@pytest.mark.parametrize(
    ('sizes', 'header', 'published'),
    [
        ({'num_classes': 20, 'anchors': VOC_ANCHORS}, 16, 63_471_556),  # tiny-yolo-voc.weights
        ({'num_classes': 80, 'last': 32, 'anchors': COCO_ANCHORS}, 20, 44_948_600),  # yolov2-tiny.weights
    ],
)
def test_networks_have_the_size_of_published_files(sizes, header, published):
    net = TinyYolo(**sizes)
    numbers = [m.num_features for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    numbers = 2 * sum(numbers) + sum(p.numel() for p in net.parameters())
    assert header + 4 * numbers == published


def test_anchors_are_shares_of_the_image():
    assert torch.tensor(VOC_ANCHORS).mul(13)[1].tolist() == pytest.approx([3.42, 4.41])
    assert torch.tensor(COCO_ANCHORS).mul(13)[4].tolist() == pytest.approx([9.77052, 9.16828])


def test_head_channels_are_in_darknets_order(tmp_path):
    """Per anchor x, y, width, height, objectness, classes: the bias alone says where a box lies."""
    net = TinyYolo(num_classes=2, width=1, anchors=((0.5, 0.25), (0.1, 0.2)))
    with torch.no_grad():
        net.maps.weight.zero_()
        net.maps.bias.copy_(torch.tensor([-50.0, -50, 0, 0, 50, 50, -50, 50, 50, 0, math.log(2), -50, 0, 0]))
    save_darknet(net, tmp_path / 'a.weights')
    net = load_darknet(TinyYolo(num_classes=2, width=1, anchors=((0.5, 0.25), (0.1, 0.2))), tmp_path / 'a.weights')
    boxes, scores = net.head.decode(net(torch.rand(1, 3, 32, 32)))
    torch.testing.assert_close(boxes[0], torch.tensor([[-0.25, -0.125, 0.25, 0.125], [0.95, 0.8, 1.05, 1.2]]))
    torch.testing.assert_close(scores[0], torch.tensor([[1.0, 0.0], [0.0, 0.0]]))


@pytest.mark.parametrize(
    ('count', 'message'),
    [
        (37, r'too short by 1 numbers: it ends in layer 3, which lacks 1 of 12; the layers before .* another network'),
        (35, r'too short by 3 numbers.*; 3 channels of that layer would fit, not 4 \(classes or anchors differ\)'),
        (20, r'too short by 18 numbers: it ends in layer 0, which lacks 6 of 26'),
        (0, r'too short by 38 numbers: it ends in layer 0, which lacks 26 of 26'),
        (44, r'too long: 6 numbers are left behind layer 3; 6 channels of that layer would fit, not 4'),
        (39, r'too long: 1 numbers are left behind layer 3; .* another network'),
    ],
)
def test_files_of_another_length(tmp_path, count, message):
    net = small()
    before = net[0].weight.clone()
    with pytest.raises(WeightsError, match=rf'a\.weights is {message}'):
        load_darknet(net, written(tmp_path / 'a.weights', *[1.0] * count))
    assert torch.equal(net[0].weight, before)


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'', r'is no Darknet file: 0 bytes'),
        (b'PK\3\4' * 9, r'is no Darknet file: its header says version 67324752\.67324752'),
        (struct.pack('<3iq', -1, 2, 0, 0), r'is no Darknet file: its header says version -1\.2'),
        (struct.pack('<3iq', 0, 2, 0, 0) + b'123456', r'is broken: it ends in the middle of a number'),
    ],
)
def test_files_of_another_kind(tmp_path, content, message):
    (tmp_path / 'a.weights').write_bytes(content)
    with pytest.raises(WeightsError, match=rf'a\.weights {message}'):
        load_darknet(small(), tmp_path / 'a.weights')


@pytest.mark.parametrize(('place', 'value'), [(6, -1.0), (0, math.nan), (30, math.inf)])
def test_numbers_that_cannot_be(tmp_path, place, value):
    numbers = [1.0] * 38
    numbers[place] = value
    net = small()
    before = net[0].weight.clone()
    with pytest.raises(WeightsError, match=f'layer {3 if place == 30 else 0} would get NaN, infinite'):
        load_darknet(net, written(tmp_path / 'a.weights', *numbers))
    assert torch.equal(net[0].weight, before)


def test_missing_file(tmp_path):
    with pytest.raises(WeightsError, match=r'no file .*gone\.weights'):
        load_darknet(small(), tmp_path / 'gone.weights')


@pytest.mark.parametrize(
    ('net', 'message'),
    [
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(2, 2)), '2 (Linear) has no place'),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)), '0 must have either a bias or a BatchNorm'),
        (nn.Sequential(nn.Conv2d(1, 2, 3, bias=False)), '0 must have either a bias or a BatchNorm'),
        (nn.Sequential(nn.BatchNorm2d(2)), '0 (BatchNorm2d) has no place'),
        (
            nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.BatchNorm2d(2, track_running_stats=False)),
            'the BatchNorm behind 0 must have running statistics',
        ),
        (nn.ReLU(), 'ReLU has no convolution'),
    ],
)
def test_networks_that_darknet_has_no_place_for(tmp_path, net, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        save_darknet(net, tmp_path / 'a.weights')
    assert not list(tmp_path.iterdir())


def test_seen_is_a_count(tmp_path):
    with pytest.raises(ValueError, match='seen: expected at least 0, got -1'):
        save_darknet(small(), tmp_path / 'a.weights', seen=-1)
