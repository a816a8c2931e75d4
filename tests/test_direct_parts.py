"""The parts of direct training: the plan of steps, inputs, losses, optimizers."""

import dataclasses

import pytest
import torch
from torch import nn

from snnkern import encode, losses
from snnkern.data import ImageSplit, SampleSet, samples
from snnkern.nn import SpikeConv2d
from snnkern.recipes.direct import config, program
from snnkern.recipes.direct.config import Config
from snnkern.recipes.direct.loop import factor, optimizer_of
from snnkern.recipes.direct.objective import Inputs, Objective
from snnkern.recipes.direct.plan import Plan, loader
from snnkern.recipes.fitting import AUGMENTS

SMALL = Config('mlp', 'mnist', T=3, batch=16, epochs=2, learning_rate=2e-2, coding='poisson')


def test_plans_cover_each_epoch():
    plan = Plan(103, 16, seed=4)
    epochs = [[n for numbers, _, _ in plan.parts(epoch) for n in numbers] for epoch in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(103))
    assert epochs[0] != epochs[1]
    sizes = [len(numbers) for numbers, _, _ in plan.parts(0)]
    assert max(sizes) - min(sizes) <= 1
    assert next(offset for _, offset, _ in plan.parts(1)) == 103


@pytest.mark.parametrize(('count', 'batch', 'processes'), [(50, 9, 2), (50, 9, 3), (51, 8, 4)])
def test_processes_share_each_batch(count, batch, processes):
    """Together they take the samples of one process, with the numbers that one counts."""
    alone = list(Plan(count, batch, 1).parts(1))
    shares = [list(Plan(count, batch, 1, rank, processes).parts(1)) for rank in range(processes)]
    for step, (numbers, offset, _) in enumerate(alone):
        parts = [share[step] for share in shares]
        assert [n for part, _, _ in parts for n in part] == numbers
        assert [offset + i for i in range(len(numbers))] == [o + i for part, o, _ in parts for i in range(len(part))]
        assert sum(share for _, _, share in parts) == pytest.approx(1)


@pytest.mark.parametrize(('count', 'batch', 'processes'), [(367, 2, 2), (100, 8, 8), (5, 2, 2), (3, 3, 3)])
def test_no_process_is_without_samples(count, batch, processes):
    for rank in range(processes):
        parts = [numbers for numbers, _, _ in Plan(count, batch, 0, rank, processes).parts(0)]
        assert all(parts)
        assert len(parts) == Plan(count, batch, 0, 0, processes).steps
    with pytest.raises(ValueError, match='batch: expected a sample for each of 9 processes, got 8 of 100'):
        Plan(100, 8, 0, 0, 9)


def test_batches_are_the_same_from_processes():
    """Augmentation belongs to the sample, not to who makes it."""
    split = samples('mnist').train
    split.change = AUGMENTS['affine']
    numbers = [[3, 1], [5, 3, 0]]
    alone = list(loader(split, numbers, seed=2, workers=0))
    assert not torch.equal(alone[0][0], split.batch([3, 1])[0])
    assert torch.equal(alone[0][0][0], alone[1][0][1])
    for (x, y), (x2, y2) in zip(alone, loader(split, numbers, seed=2, workers=1), strict=True):
        assert torch.equal(x, x2)
        assert torch.equal(y, y2)


def test_learning_rates():
    cosine = dataclasses.replace(SMALL, warmup=0.2)
    rates = [factor(cosine, step, 20) for step in range(20)]
    assert rates[:4] == [pytest.approx(0.2 * i) for i in (1, 2, 3, 4)]
    assert max(rates) == rates[4] == 1
    assert rates[12] == pytest.approx(0.5)
    assert rates[-1] < 0.02
    assert {factor(dataclasses.replace(SMALL, schedule='constant'), step, 20) for step in range(20)} == {1.0}


@pytest.mark.parametrize('name', config.OPTIMIZERS)
def test_optimizers_take_the_groups_of_a_network(name):
    class Grouped(nn.Linear):
        def parameter_groups(self, learning_rate):
            return [{'params': [self.weight]}, {'params': [self.bias], 'lr': learning_rate / 2}]

    made = optimizer_of(Grouped(2, 2), dataclasses.replace(SMALL, optimizer=name))
    assert [group['initial_lr'] for group in made.param_groups] == [SMALL.learning_rate, SMALL.learning_rate / 2]


def test_inputs_of_each_coding():
    x = torch.rand(2, 3, 16, 16)
    shapes = {'direct': (4, 2, 3), 'poisson': (4, 2, 3), 'saccade': (8, 2, 6), 'odg': (8, 2, 2)}
    for coding, shape in shapes.items():
        made = Inputs(dataclasses.replace(SMALL, coding=coding, T=shape[0]), (0.5,) * 3, (0.5,) * 3)
        assert made(x).shape[:3] == shape, coding
    direct = Inputs(dataclasses.replace(SMALL, coding='direct'), (0.5,) * 3, (0.25,) * 3)
    assert torch.equal(direct(x)[0], (x - 0.5) / 0.25)
    far = Inputs(dataclasses.replace(SMALL, coding='saccade', T=8, coding_options={'stride': 2}), (), ())
    assert torch.equal(far(x), encode.saccade(x, stride=2))
    noise = Inputs(SMALL, (), ())
    assert torch.equal(noise(x, 7)[:, 1], noise(x[1:], 8)[:, 0]), 'noise belongs to the sample'
    assert not torch.equal(noise(x, 7), noise(x, 7, test=True))


def test_objective_adds_its_parts():
    out, y = torch.randn(3, 4, 2), torch.tensor([0, 1, 1, 0])
    split = ImageSplit(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), y)
    data = SampleSet('none', split, split, ('a', 'b'), (1, 2, 2), '')
    plain = Objective(dataclasses.replace(SMALL, coding='direct'), data, nn.Identity())
    base = plain(out, y)
    rated = Objective(dataclasses.replace(SMALL, rate_penalty=2.0, rate_target=0.2), data, nn.Identity())
    assert rated(out, y, [torch.tensor(0.7)]).item() == pytest.approx(base.item() + 2 * 0.25)
    taught = Objective(dataclasses.replace(SMALL, distill=0.5), data, nn.Identity())
    assert taught(out, y, (), out.mean(0)).item() == pytest.approx(base.item() / 2)


class Masks:
    """A split of two pictures with masks of three classes, of which one pixel in four does not count."""

    def __len__(self):
        return 2

    def batch(self, index, seed=None):
        g = torch.Generator().manual_seed(0)
        y = torch.randint(3, (2, 4, 6), generator=g)
        y[torch.rand(2, 4, 6, generator=g) < 0.25] = 255
        return torch.rand(2, 3, 4, 6, generator=g)[list(index)], y[list(index)]


def test_losses_of_masks():
    """Maps of half the size are scaled to the masks; TET sees every step, the cross entropy their mean."""
    data = SampleSet('masks', Masks(), Masks(), ('a', 'b', 'c'), (3, 4, 6), '', ignore=255)
    _, y = Masks().batch([0, 1])
    out = torch.randn(5, 2, 3, 2, 3, generator=torch.Generator().manual_seed(1))
    large = torch.stack([nn.functional.interpolate(step, (4, 6), mode='bilinear') for step in out])
    cross = Objective(dataclasses.replace(SMALL, dice=0.5), data, nn.Identity())(out, y)
    wanted = losses.cross_entropy(large, y, ignore_index=255) + 0.5 * losses.dice(large.mean(0), y, 255)
    assert cross.item() == pytest.approx(wanted.item(), rel=1e-5)
    tet = Objective(dataclasses.replace(SMALL, loss='tet'), data, nn.Identity())(out, y)
    assert tet.item() == pytest.approx(losses.tet(large, y, ignore_index=255).item(), rel=1e-5)
    assert Objective(SMALL, data, nn.Identity())(out.requires_grad_(), torch.full_like(y, 255)).item() == 0
    for loss in ('count', 'one-hot'):
        with pytest.raises(ValueError, match=f"loss: of masks expected one of cross-entropy, tet, got '{loss}'"):
            Objective(dataclasses.replace(SMALL, loss=loss), data, nn.Identity())


@pytest.mark.parametrize('wanted', [False, True])
def test_convolutions_by_events_if_wanted(wanted):
    chosen = config.read('mnist-conv', {'event_convolutions': wanted})
    data = program.read(chosen)
    net = program.network(chosen, data, Inputs(chosen, data.mean, data.std))
    found = [type(module) for module in net.modules() if isinstance(module, nn.Conv2d)]
    assert found == [SpikeConv2d if wanted else nn.Conv2d] * 2
