"""Training loops: they learn, repeat themselves, leave no trace, and say what does not fit."""

import copy
import dataclasses

import pytest
import torch
from torch import nn

from snnkern.data import ImageSet, dataset
from snnkern.models import build
from snnkern.recipes.fitting import (
    Fit,
    linear_probe,
    pretrain_rotation,
    score,
    train_classifier,
    train_segmenter,
)
from snnkern.recipes.images import predict, quarter_turns, random_crops, shift_and_flip, soft_dice
from snnkern.recipes.training import Settings, default_fit, train


def generator():
    return torch.Generator().manual_seed(0)


def coloured(count, seed=0):
    """Pictures of two classes: the upper half is brighter, or the lower one."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 128, (count, 3, 32, 32), generator=g, dtype=torch.uint8)
    y = torch.randint(2, (count,), generator=g)
    x[y == 0, :, :16] += 100
    x[y == 1, :, 16:] += 100
    return x, y


def discs(count, seed=0):
    """Slices with a bright square each, and its mask."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(0, 100, (count, 1, 48, 64), generator=g, dtype=torch.uint8)
    y = torch.zeros_like(x)
    for i in range(count):
        top, left = torch.randint(8, 24, (2,), generator=g).tolist()
        y[i, :, top : top + 16, left : left + 16] = 1
    return x + 150 * y, y


def images(name, make, classes):
    x, y = make(48)
    x_test, y_test = make(16, seed=1)
    half = (0.5,) * x.shape[1]
    return ImageSet(name, x, y, x_test, y_test, classes, half, half, f'made of {name}')


PICTURES = images('cifar10', coloured, ('up', 'down'))
SLICES = images('lucchi', discs, ('square',))
LABELLED = SLICES._replace(y_train=PICTURES.y_train)
QUICK = Fit(epochs=4, batch=16, learning_rate=0.05, seed=3)


def same(a, b):
    return all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_classifier_learns_and_repeats_itself():
    losses = []
    settings = Settings(dataclasses.replace(QUICK, epochs=16), width=4)
    state = torch.get_rng_state()
    net = train('resnet18', PICTURES, settings, losses.append)
    assert torch.equal(torch.get_rng_state(), state)
    assert len(losses) == 16
    assert losses[-1] < losses[0] - 0.1
    assert not net.training
    assert score(net, PICTURES.x_test, PICTURES.y_test, PICTURES.normalise) >= 90
    torch.rand(5)
    assert same(net, train('resnet18', PICTURES, settings))
    assert not same(*(train('resnet18', PICTURES, Settings(Fit(1, seed), width=2)) for seed in (3, 4)))


def test_segmenter_learns_and_repeats_itself():
    losses = []
    fit = Fit(epochs=3, batch=8, learning_rate=1e-2, optimizer='adamw', crop=32, repeats=5)
    net = train('unet', SLICES, Settings(fit, width=4), losses.append)
    assert losses[-1] < losses[0] - 0.3
    assert score(net, SLICES.x_test, SLICES.y_test, SLICES.normalise) > 0.5  # 0.2 before
    assert same(net, train('unet', SLICES, Settings(fit, width=4)))


def test_rotation_trains_all_but_the_head_and_the_probe_only_the_head():
    net = build('resnet18', width=4, num_classes=2)
    before, losses = copy.deepcopy(net), []
    pretrain_rotation(net, PICTURES.x_train, PICTURES.normalise, QUICK, losses.append)
    assert losses[-1] < losses[0]
    assert torch.equal(net.classifier.weight, before.classifier.weight)
    assert not torch.equal(net.layer4[0].conv1.weight, before.layer4[0].conv1.weight)
    backbone = copy.deepcopy(net)
    fit = dataclasses.replace(QUICK, epochs=10)
    linear_probe(net, PICTURES.x_train, PICTURES.y_train, PICTURES.normalise, fit)
    assert not torch.equal(net.classifier.weight, before.classifier.weight)
    net.classifier = backbone.classifier
    assert same(net, backbone)


def test_method_rotation_is_both():
    losses = []
    settings = Settings(dataclasses.replace(QUICK, epochs=2), 4, 'rotation', probe_epochs=3)
    net = train('resnet18', PICTURES, settings, losses.append)
    assert len(losses) == 5
    assert net.classifier.out_features == 2


def test_digits_are_turned_and_not_mirrored():
    digits = dataset('mnist')
    assert default_fit('lenet5', digits).augment == 'affine'
    assert default_fit('resnet18', PICTURES) == Fit()
    few = digits._replace(x_train=digits.x_train[:320], y_train=digits.y_train[:320])
    losses = []
    train(
        'lenet-classic', few, Settings(dataclasses.replace(default_fit('lenet-classic', few), epochs=3)), losses.append
    )
    assert losses[-1] < losses[0]


def test_no_batch_of_one_is_left_over():
    x, y = PICTURES.x_train[:33], PICTURES.y_train[:33]
    net = nn.Sequential(nn.Flatten(), nn.Linear(3072, 2), nn.BatchNorm1d(2))
    train_classifier(net, x, y, PICTURES.normalise, Fit(epochs=1, batch=16))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'epochs': 0}, 'epochs: expected at least 1, got 0'),
        ({'threads': 0}, 'threads: expected at least 1, got 0'),
        ({'learning_rate': 0.0}, 'learning_rate: expected a positive number, got 0.0'),
        ({'learning_rate': float('nan')}, 'learning_rate: expected a positive number, got nan'),
        ({'augment': 'mixup'}, "augment: expected one of affine, shift-flip, none, got 'mixup'"),
        ({'optimizer': 'lion'}, "optimizer: expected one of sgd, adamw, got 'lion'"),
    ],
)
def test_fit_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        Fit(**change)


@pytest.mark.parametrize(
    ('name', 'data', 'change', 'message'),
    [
        ('unet', PICTURES, {}, 'data: unet learns from masks, cifar10 has labels'),
        ('vgg18', SLICES, {}, 'data: vgg18 learns from labels, lucchi has masks'),
        ('unet', SLICES, {'method': 'rotation'}, 'method: unet learns supervised, not by rotation'),
        ('unet', SLICES, {'width': 2}, 'crop: 128 pixels do not fit into slices of 48 x 64'),
        (
            'vgg18',
            SLICES._replace(y_train=PICTURES.y_train),
            {},
            'data: vgg18 takes 32 x 32 pixels, lucchi has 48 x 64',
        ),
        ('resnet18', PICTURES, {'method': 'jigsaw'}, "method: expected one of supervised, rotation, got 'jigsaw'"),
        ('resnet18', PICTURES, {'probe_epochs': 0}, 'probe_epochs: expected at least 1, got 0'),
    ],
)
def test_train_refuses(name, data, change, message):
    with pytest.raises(ValueError, match=message):
        train(name, data, Settings(**{'fit': QUICK, 'width': 1, **change}))


def test_a_backbone_without_linear_layer_is_refused():
    with pytest.raises(ValueError, match='net: ReLU has no linear layer'):
        pretrain_rotation(nn.ReLU(), PICTURES.x_train, PICTURES.normalise, QUICK)


def test_targets_for_other_pictures_are_refused():
    net, x, y = build('resnet18', width=1), PICTURES.x_train, PICTURES.y_train
    for fitted in (train_classifier, train_segmenter, linear_probe):
        with pytest.raises(ValueError, match='y: expected a target for each of 48 pictures, at least one, got 47'):
            fitted(net, x, y[:-1], PICTURES.normalise, QUICK)


def test_a_loss_that_is_not_finite_is_named():
    net, fit = nn.Sequential(nn.Flatten(), nn.Linear(3072, 2)), Fit(epochs=30, batch=16, learning_rate=1e30)
    with pytest.raises(FloatingPointError, match=r'the loss became (nan|inf): lower learning_rate, it is 1e\+30'):
        train_classifier(net, PICTURES.x_train, PICTURES.y_train, PICTURES.normalise, fit)


def test_shift_and_flip_moves_each_picture_on_its_own():
    x = torch.arange(1.0, 65).view(1, 1, 8, 8).expand(64, 2, 8, 8)
    out = shift_and_flip(x, generator(), padding=2)
    assert out.shape == x.shape
    assert len({picture.numpy().tobytes() for picture in out}) > 25  # of 2 * 5 * 5
    padded = nn.functional.pad(x[0, 0], (2, 2, 2, 2))
    windows = [padded[i : i + 8, j : j + 8] for i in range(5) for j in range(5)]
    windows += [window.flip(1) for window in windows]
    for picture in out:
        assert any(torch.equal(picture[0], window) for window in windows)
        assert torch.equal(picture[0], picture[1])


def test_quarter_turns():
    x = torch.rand(4, 2, 5, 5)
    out = quarter_turns(x, torch.tensor([0, 1, 2, 3]))
    for k in range(4):
        assert torch.equal(out[k], torch.rot90(x[k], k, (1, 2)))


def test_crops_of_slices_and_masks_stay_together():
    x = torch.randint(0, 256, (3, 1, 40, 50), generator=generator(), dtype=torch.uint8)
    crops, marks = random_crops(x, x // 2, torch.tensor([0, 2, 2, 1]), 16, generator())
    assert crops.shape == (4, 1, 16, 16)
    assert torch.equal(crops // 2, marks)
    assert not torch.equal(crops[1], crops[2])


def test_predict_leaves_the_mode():
    net = nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(3072, 2)).train()
    out = predict(net, PICTURES.x_test, PICTURES.normalise, batch=5)
    assert net.training
    assert torch.equal(out, predict(net, PICTURES.x_test, PICTURES.normalise, batch=5))
    assert out.shape == (16, 2)


def test_soft_dice():
    p, y = torch.tensor([[0.5, 1.0, 0.0], [0.0, 0.0, 0.0]]), torch.tensor([[1, 1, 0], [0, 0, 0]])
    assert soft_dice(p, y).tolist() == pytest.approx([(2 * 1.5 + 1) / (1.5 + 2 + 1), 1.0])


def test_lucchi_like_slices_train_segmenter_directly():
    fit = Fit(epochs=1, batch=8, learning_rate=1e-2, optimizer='adamw', crop=16, repeats=1)
    net = build('unet', width=2)
    assert train_segmenter(net, SLICES.x_train, SLICES.y_train, SLICES.normalise, fit) is net
