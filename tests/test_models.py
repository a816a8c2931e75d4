"""The networks by name: shapes, what is shared, and weights from files."""

import json
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from snnkern.data import cifar10
from snnkern.models import (
    MODELS,
    CifarResNet,
    ResNet,
    WeightsError,
    build,
    clip_rn50,
    load_trained,
    load_weights,
    read_weights,
)
from snnkern.recipes.images import predict

SHARED = Path(__file__).parents[2] / 'shared' / 'data'
WEIGHTS = SHARED / 'pretrained_weights.zip'
needs_shared = pytest.mark.skipif(not WEIGHTS.exists(), reason='no ../shared/data')
OWN = [name for name in MODELS if name not in ('resnet50', 'resnet101', 'clip-rn50')]


def parameters(net):
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize('name', OWN)
def test_shapes_at_full_width(name):
    entry = MODELS[name]
    with torch.device('meta'):
        net = build(name).eval()
        out = net(torch.empty(2, entry.in_channels, entry.size, entry.size))
    if entry.task == 'detect':
        assert out.shape[:2] == (2, net.head.channels)
    else:
        pixels = (entry.size, entry.size) if entry.task == 'segment' else ()
        assert out.shape == (2, entry.num_classes, *pixels)


@pytest.mark.parametrize('name', ['resnet50', 'resnet101'])
def test_bottlenecks_come_from_torchvision(name):
    pytest.importorskip('torchvision')
    with torch.device('meta'):
        net = build(name, in_channels=1, num_classes=7).eval()
        assert net(torch.empty(1, 1, 224, 224)).shape == (1, 7)


@pytest.mark.parametrize(
    ('name', 'count'),
    [
        ('lenet5', 52_186),
        ('lenet-classic', 61_750),
        ('resnet18', 11_173_962),
        ('resnet20', 269_722),
        ('resnet32', 464_154),
        ('unet', 31_036_481),
        ('fastestdet', 244_490),
    ],
)
def test_parameters_are_those_of_the_published_networks(name, count):
    """ResNet-18, -20, -32 FastestDet: as published; LeNets, U-Net (no biases before BatchNorm): by hand."""
    with torch.device('meta'):
        assert parameters(build(name)) == count


def test_width_classes_and_channels_are_free():
    for name in ('vgg18', 'resnet18', 'plain18', 'resnet20', 'resnet101-basic'):
        net = build(name, width=4, num_classes=3, in_channels=1).eval()
        assert net(torch.rand(2, 1, 32, 32)).shape == (2, 3)
    assert build('unet', width=2, num_classes=5, in_channels=3).eval()(torch.rand(1, 3, 16, 32)).shape == (1, 5, 16, 32)


def test_each_block_of_resnet_calls_one_relu_twice():
    net = ResNet(width=4).eval()
    relus = [module for module in net.modules() if isinstance(module, nn.ReLU)]
    calls = dict.fromkeys(relus, 0)

    def count(module, args, out):
        calls[module] += 1

    for relu in relus:
        relu.register_forward_hook(count)
    net(torch.rand(1, 3, 32, 32))
    assert list(calls.values()) == [2] * 8


def test_plain_twin_has_no_shortcut():
    residual, plain = build('resnet18', width=4), build('plain18', width=4)
    assert not [name for name, _ in plain.named_parameters() if 'shortcut' in name]
    for net in (residual, plain):
        with torch.no_grad():
            for block in [m for m in net.modules() if hasattr(m, 'bn2')]:
                block.bn2.weight.zero_()
    x = torch.rand(2, 3, 32, 32)
    assert plain.eval()(x).std(0).abs().max() == 0  # every path goes through the dead BatchNorms
    assert residual.eval()(x).std(0).abs().max() > 0


def test_final_pool_is_the_mean():
    net = ResNet(width=4).eval()
    maps = torch.rand(2, 32, 4, 4)
    torch.testing.assert_close(net.pool(maps).flatten(1), maps.mean((2, 3)))


def test_shortcut_of_kind_a_drops_pixels_and_frames_channels():
    block = CifarResNet(3).layer2[0].eval()
    with torch.no_grad():
        block.bn2.weight.zero_()
    x = torch.rand(1, 16, 8, 8)
    out = block(x)
    torch.testing.assert_close(out[:, 8:24], x[:, :, ::2, ::2])
    assert out[:, :8].abs().max() == 0
    assert out[:, 24:].abs().max() == 0


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'name': 'resnet19'}, r"no network 'resnet19', expected one of lenet5"),
        ({'name': 'lenet5', 'width': 8}, 'width: lenet5 has one width only, got 8'),
        ({'name': 'resnet18', 'width': 0}, 'width: expected at least 1, got 0'),
        ({'name': 'resnet18', 'num_classes': 0}, 'num_classes: expected at least 1, got 0'),
        ({'name': 'clip-rn50', 'in_channels': 1}, 'in_channels is 3, not 1'),
    ],
)
def test_build_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        build(**arguments)


def test_clip_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, 'open_clip', None)
    with pytest.raises(ImportError, match=r'snnkern\[clip\]'):
        build('clip-rn50')


def test_clip_tower_and_its_head():
    pytest.importorskip('open_clip')
    net = clip_rn50(num_classes=5).eval()
    with torch.no_grad():
        assert net(torch.rand(1, 3, 224, 224)).shape == (1, 5)


@needs_shared
@pytest.mark.parametrize('name', ['resnet20', 'resnet32'])
def test_published_weights_recognise_images(name):
    assert accuracy_of_published(name, 100) >= 88


@needs_shared
@pytest.mark.slow
@pytest.mark.parametrize(('name', 'percent'), [('resnet20', 91.5), ('resnet32', 92.8)])
def test_published_weights_reach_their_accuracy(name, percent):
    assert accuracy_of_published(name, 1000) == percent


def accuracy_of_published(name, count):
    data = cifar10(SHARED)
    net = load_weights(build(name), WEIGHTS, name)
    hits = predict(net, data.x_test[:count], data.normalise).argmax(1) == data.y_test[:count]
    return 100 * int(hits.sum()) / count


def checkpoint(path, net, prefix='', wrapped=False):
    state = {prefix + key: tensor for key, tensor in net.state_dict().items()}
    torch.save({'state_dict': state, 'epoch': 3} if wrapped else state, path)
    return path


@pytest.mark.parametrize('suffix', ['pt', 'pth', 'th', 'safetensors', 'zip'])
def test_every_kind_of_file_gives_the_same_weights(tmp_path, suffix):
    net, other = build('resnet20', width=2), build('resnet20', width=2)
    path = tmp_path / f'weights.{suffix}'
    if suffix == 'safetensors':
        pytest.importorskip('safetensors.torch').save_file(net.state_dict(), path)
    elif suffix == 'zip':
        with zipfile.ZipFile(path, 'w') as archive:
            for name in ('resnet20-1.th', 'resnet200-1.th'):
                archive.write(checkpoint(tmp_path / name, net, 'module.', wrapped=True), f'folder/{name}')
    else:
        checkpoint(path, net, 'module.', wrapped=suffix == 'th')
    load_weights(other, path, 'resnet20')
    assert not other.training
    for own, loaded in zip(net.state_dict().values(), other.state_dict().values(), strict=True):
        assert torch.equal(own, loaded)


def test_missing_count_of_batches_is_no_fault(tmp_path):
    state = {k: t for k, t in build('lenet5').state_dict().items() if not k.endswith('num_batches_tracked')}
    torch.save(state, tmp_path / 'old.pt')
    load_weights(build('lenet5'), tmp_path / 'old.pt')


def test_wrong_weights_are_one_sentence(tmp_path):
    net = build('resnet20', width=2)
    path = checkpoint(tmp_path / 'hundred.pt', build('resnet20', width=2, num_classes=100))
    before = net.conv1.weight.clone()
    message = r'linear\.weight is \[100, 8\].*the weights are for 100 classes, num_classes is 10'
    with pytest.raises(WeightsError, match=message):
        load_weights(net, path)
    assert torch.equal(net.conv1.weight, before)
    with pytest.raises(WeightsError, match=r'another network than LeNet5: no features\.0\.weight, .* and \d+ more'):
        load_weights(build('lenet5'), path)
    with pytest.raises(WeightsError, match=r'conv1\.weight is \[2, 3, 3, 3\] in the file and \[4, 3, 3, 3\]'):
        load_weights(build('resnet20', width=4), path)


@pytest.mark.parametrize('suffix', ['pt', 'th', 'safetensors', 'zip'])
@pytest.mark.parametrize('content', [b'', b'no weights at all', None], ids=['empty', 'text', 'half'])
def test_broken_file_is_one_sentence(tmp_path, suffix, content):
    if suffix == 'safetensors':
        pytest.importorskip('safetensors')
    path = tmp_path / f'weights.{suffix}'
    if content is None:
        whole = checkpoint(tmp_path / 'whole.pt', build('lenet5')).read_bytes()
        content = whole[: len(whole) // 2]
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=rf'weights\.{suffix} is broken or holds no weights'):
        read_weights(path)


def test_other_files_are_one_sentence(tmp_path):
    with pytest.raises(WeightsError, match=r'no file .*gone\.pt'):
        read_weights(tmp_path / 'gone.pt')
    (tmp_path / 'net.onnx').write_bytes(b'0')
    with pytest.raises(WeightsError, match=r'expected \.safetensors, \.pt, \.pth, \.th or \.zip, got \.onnx'):
        read_weights(tmp_path / 'net.onnx')
    torch.save({'epoch': 3}, tmp_path / 'epoch.pt')
    with pytest.raises(WeightsError, match='holds no dictionary of tensors'):
        read_weights(tmp_path / 'epoch.pt')
    with zipfile.ZipFile(tmp_path / 'two.zip', 'w') as archive:
        archive.writestr('a.pt', b'')
        archive.writestr('b.pt', b'')
    with pytest.raises(WeightsError, match=r'2 members for any network, expected one; it holds a\.pt, b\.pt'):
        read_weights(tmp_path / 'two.zip')
    with pytest.raises(WeightsError, match='no members for resnet20'):
        read_weights(tmp_path / 'two.zip', 'resnet20')


def test_a_trained_file_says_which_network_it_is(tmp_path):
    save_file = pytest.importorskip('safetensors.torch').save_file
    net = build('resnet18', width=2, num_classes=3).eval()
    facts = {'model': 'resnet18', 'in_channels': 3, 'num_classes': 3, 'width': 2, 'test_score': 50.0}
    save_file(net.state_dict(), tmp_path / 'net.safetensors', {'snnkern': json.dumps(facts)})
    loaded, read = load_trained(tmp_path / 'net.safetensors')
    assert read == facts
    x = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(loaded(x), net(x))
    save_file(net.state_dict(), tmp_path / 'bare.safetensors')
    with pytest.raises(WeightsError, match='has no metadata of snnkern'):
        load_trained(tmp_path / 'bare.safetensors')
    save_file(net.state_dict(), tmp_path / 'other.safetensors', {'snnkern': json.dumps({'model': 'net5'})})
    with pytest.raises(WeightsError, match="no network 'net5'"):
        load_trained(tmp_path / 'other.safetensors')


def test_unet_gives_logits_that_see_the_whole_picture():
    net = build('unet', width=2).eval()
    x = torch.rand(1, 1, 32, 32, requires_grad=True)
    out = net(x)
    assert out.min() < 0 or out.max() > 1
    (gradient,) = torch.autograd.grad(out[0, 0, 16, 16], x)
    assert int((gradient != 0).sum()) > 32 * 32 // 2
