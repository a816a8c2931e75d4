"""Direct training: it learns, goes on after a kill as if there had been none, and says what does not fit."""

import dataclasses
import json
import math

import pytest
import torch
from torch import nn

from snnkern import losses
from snnkern.data import ImageSplit, SampleSet
from snnkern.models import WeightsError
from snnkern.recipes.direct import checkpoint, config, program, runtime, saved
from snnkern.recipes.direct.config import Config
from snnkern.recipes.direct.loop import factor, optimizer_of
from snnkern.recipes.direct.objective import Inputs, Objective
from snnkern.recipes.direct.plan import Plan, loader

pytest.importorskip('lightning')
pytestmark = pytest.mark.filterwarnings('ignore::DeprecationWarning', 'ignore::matplotlib.MatplotlibDeprecationWarning')
SIZES = {'hidden': 64, 'neuron': 'plif'}
SMALL = Config('mlp', 'mnist', options=SIZES, T=3, batch=16, epochs=2, learning_rate=2e-2, coding='poisson')
QUIET = runtime.Settings(device='cpu', checkpoint_every=3)


class Killed(BaseException):
    """What no handler of errors catches, like the end of a process."""


def silent(what, share):
    pass


@pytest.fixture
def digits(monkeypatch):
    """A few digits in place of the whole set."""
    full = program.samples('mnist')
    few = [ImageSplit(s.images[:n], s.labels[:n]) for s, n in ((full.train, 150), (full.test, 40))]
    data = full._replace(train=few[0], test=few[1])
    monkeypatch.setattr(program, 'samples', lambda spec, T, **options: data)
    return data


def weights(folder):
    return saved.load(folder).net.state_dict()


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_learns_and_writes_a_whole_folder(digits, tmp_path):
    report = program.train(SMALL, tmp_path / 'run', QUIET, silent)
    names = {path.name for path in (tmp_path / 'run').iterdir() if 'tfevents' not in path.name}
    assert names == {'checkpoint.pt', 'curve.png', 'report.json', 'weights.safetensors'}
    found = torch.load(tmp_path / 'run/checkpoint.pt', weights_only=True)['state']['losses']
    assert len(found) == 2 * math.ceil(150 / 16)
    assert sum(found[-5:]) < 0.8 * sum(found[:5])
    assert report['score']['accuracy'] > 40
    assert [row['epoch'] for row in report['history']] == [1, 2]
    assert json.loads((tmp_path / 'run/report.json').read_text())['weights'] == report['weights']
    trained = saved.load(tmp_path / 'run')
    assert trained.config == SMALL
    assert not trained.net.training


def test_the_same_again_and_from_another_seed(digits, tmp_path):
    found = [
        program.train(dataclasses.replace(SMALL, seed=seed), tmp_path / str(i), QUIET, silent)['weights']
        for i, seed in enumerate((0, 0, 1))
    ]
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize('stop', [2, 5, 10, 14])
@pytest.mark.parametrize('options', [{}, {'augment': 'affine', 'coding': 'direct', 'optimizer': 'sgd'}])
def test_goes_on_after_a_kill(digits, tmp_path, monkeypatch, stop, options):
    """Killed between any two steps, within an epoch or at its end: weights and losses are those of one run."""
    chosen = dataclasses.replace(SMALL, **options)
    program.train(chosen, tmp_path / 'whole', QUIET, silent)
    step, taken = program.Loop.step, []

    def killed(self, part):
        if len(taken) == stop:
            raise Killed
        taken.append(1)
        step(self, part)

    with monkeypatch.context() as patched:
        patched.setattr(program.Loop, 'step', killed)
        with pytest.raises(Killed):
            program.train(chosen, tmp_path / 'killed', QUIET, silent)
    again = dataclasses.replace(QUIET, existing='resume')
    program.train(chosen, tmp_path / 'killed', again, silent)
    assert same(weights(tmp_path / 'whole'), weights(tmp_path / 'killed'))
    states = [torch.load(tmp_path / name / checkpoint.FILE, weights_only=True)['state'] for name in ('whole', 'killed')]
    assert states[0]['losses'] == states[1]['losses']
    kept = [[{k: v for k, v in row.items() if k != 'samples_per_second'} for row in s['history']] for s in states]
    assert kept[0] == kept[1]


def test_a_checkpoint_is_whole_or_the_one_before(digits, tmp_path, monkeypatch):
    """A kill while it is written leaves the last one."""
    program.train(dataclasses.replace(SMALL, epochs=1), tmp_path / 'run', QUIET, silent)
    before = (tmp_path / 'run' / checkpoint.FILE).read_bytes()

    def dies(old, new):
        raise Killed

    fabric = runtime.fabric(QUIET)
    net = nn.Linear(2, 2)
    net, optimizer = fabric.setup(net, torch.optim.SGD(net.parameters(), 0.1))
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint.os, 'replace', dies)
        with pytest.raises(Killed):
            checkpoint.save(fabric, tmp_path / 'run', net, optimizer, checkpoint.State(), {})
    assert (tmp_path / 'run' / checkpoint.FILE).read_bytes() == before


def test_finished_runs_resume_to_themselves(digits, tmp_path):
    one = program.train(SMALL, tmp_path, QUIET, silent)
    two = program.train(SMALL, tmp_path, dataclasses.replace(QUIET, existing='resume'), silent)
    assert one['weights'] == two['weights']
    assert one['history'] == two['history']


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'learning_rate': 1e-4}, 'is of another training: learning_rate is 0.02 there and 0.0001 here'),
        ({'options': {'hidden': 8}}, "options is {'hidden': 64, 'neuron': 'plif'} there and {'hidden': 8} here"),
        ({'epochs': 3}, 'epochs is 2 there and 3 here'),
    ],
)
def test_checkpoints_of_another_training(digits, tmp_path, change, message):
    program.train(SMALL, tmp_path, QUIET, silent)
    before = weights(tmp_path)
    with pytest.raises(checkpoint.CheckpointError, match=message):
        program.train(
            dataclasses.replace(SMALL, **change), tmp_path, dataclasses.replace(QUIET, existing='resume'), silent
        )
    assert same(before, weights(tmp_path))


def test_broken_checkpoints(digits, tmp_path):
    program.train(dataclasses.replace(SMALL, epochs=1), tmp_path, QUIET, silent)
    path = tmp_path / checkpoint.FILE
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(checkpoint.CheckpointError, match=r'checkpoint.pt is broken or no checkpoint'):
        program.train(
            dataclasses.replace(SMALL, epochs=1), tmp_path, dataclasses.replace(QUIET, existing='resume'), silent
        )


def test_folders_that_hold_something(digits, tmp_path):
    out = tmp_path / 'run'
    program.train(dataclasses.replace(SMALL, epochs=1), out, QUIET, silent)
    with pytest.raises(FileExistsError, match='not empty: --resume goes on with its run, --overwrite deletes it'):
        program.train(SMALL, out, QUIET, silent)
    program.train(SMALL, out, dataclasses.replace(QUIET, existing='overwrite'), silent)
    assert saved.load(out).config.epochs == 2
    other = tmp_path / 'thesis'
    other.mkdir()
    (other / 'thesis.tex').write_text('years')
    (other / 'report.json').write_text('{}')
    for existing in ('overwrite', 'resume'):
        with pytest.raises(FileExistsError, match=r'holds thesis.tex, which is no part of a run'):
            program.train(SMALL, other, dataclasses.replace(QUIET, existing=existing), silent)
    assert sorted(item.name for item in other.iterdir()) == ['report.json', 'thesis.tex']
    with pytest.raises(FileExistsError, match='is a file'):
        program.train(SMALL, other / 'thesis.tex', QUIET, silent)


def test_a_run_is_overwritten_only_by_what_can_run(digits, tmp_path):
    """Errors of data, network or loss come before anything is deleted."""
    program.train(dataclasses.replace(SMALL, epochs=1), tmp_path, QUIET, silent)
    before = sorted(item.name for item in tmp_path.iterdir())
    again = dataclasses.replace(QUIET, existing='overwrite')
    wrong = [{'options': {'hidden': 0}}, {'options': {'size': 3}}, {'coding': 'frames'}, {'model': 'vgg16'},
             {'rate_penalty': 1.0, 'options': {'neuron': 'relu'}}]  # fmt: skip
    for change in wrong:
        with pytest.raises(ValueError, match=r'options|coding|model|size|rate_penalty'):
            program.train(dataclasses.replace(SMALL, **change), tmp_path, again, silent)
    assert sorted(item.name for item in tmp_path.iterdir()) == before


def test_the_callers_random_state_stays(digits, tmp_path):
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    program.train(dataclasses.replace(SMALL, epochs=1), tmp_path, QUIET, silent)
    assert torch.equal(torch.rand(4), wanted)


def test_a_loss_that_is_lost(digits, tmp_path):
    wild = dataclasses.replace(SMALL, optimizer='sgd', learning_rate=1e30, coding='direct', options={'neuron': 'relu'})
    with pytest.raises(
        FloatingPointError, match=r'the loss became (nan|inf) in step \d+: lower learning_rate, it is 1e\+30'
    ):
        program.train(wild, tmp_path, QUIET, silent)


def losses_with(tmp_path, name, **options):
    """Of a training with other settings."""
    program.train(SMALL, tmp_path / name, dataclasses.replace(QUIET, **options), silent)
    return torch.tensor(torch.load(tmp_path / name / checkpoint.FILE, weights_only=True)['state']['losses'])


@pytest.mark.parametrize(
    ('options', 'rtol'),
    [
        ({'backend': 'reference'}, 1e-3),
        ({'precision': 'bf16'}, 0.15),
        pytest.param({'compile': True}, 1e-3, marks=pytest.mark.slow),
        pytest.param({'workers': 1}, 0.0, marks=pytest.mark.slow),
    ],
    ids=['reference', 'bf16', 'compile', 'workers'],
)
def test_settings_change_nothing_but_rounding(digits, tmp_path, options, rtol):
    usual, other = losses_with(tmp_path, 'usual'), losses_with(tmp_path, 'other', **options)
    torch.testing.assert_close(other, usual, rtol=rtol, atol=0)
    if 'precision' in options:
        assert not torch.equal(other, usual)
    if 'compile' in options:
        assert torch._dynamo.utils.counters['frames']['ok'] > 0


def test_starts_with_weights_that_fit(digits, tmp_path):
    program.train(SMALL, tmp_path / 'first', QUIET, silent)
    path = str(tmp_path / 'first' / saved.FILE)
    net = saved.make(SMALL, 10, (1, 28, 28))
    fitting = saved.begin_with(net, path)
    assert fitting == sorted(net.state_dict())
    assert same(net.state_dict(), weights(tmp_path / 'first'))
    fewer = saved.make(SMALL, 7, (1, 28, 28))
    kept = saved.begin_with(fewer, path)
    assert 0 < len(kept) < len(fitting), 'the last layer has other shapes'
    with pytest.raises(WeightsError, match='holds nothing that fits Linear'):
        saved.begin_with(nn.Linear(3, 3), path)


def test_files_of_other_networks(tmp_path):
    with pytest.raises(WeightsError, match='no file'):
        saved.load(tmp_path / 'none.safetensors')
    (tmp_path / saved.FILE).write_bytes(b'nothing')
    with pytest.raises(WeightsError, match='has no metadata of snnkern'):
        saved.load(tmp_path)


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


def test_batches_are_the_same_from_processes(digits):
    """Augmentation belongs to the sample, not to who makes it."""
    split = digits.train
    split.change = program.AUGMENTS['affine']
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
    noise = Inputs(SMALL, (), ())
    assert torch.equal(noise(x, 7)[:, 1], noise(x[1:], 8)[:, 0]), 'noise belongs to the sample'
    assert not torch.equal(noise(x, 7), noise(x, 7, test=True))


def test_objective_adds_its_parts():
    out, y = torch.randn(3, 4, 2), torch.tensor([0, 1, 1, 0])
    split = ImageSplit(torch.zeros(4, 1, 2, 2, dtype=torch.uint8), y)
    data = SampleSet('none', split, split, ('a', 'b'), (1, 2, 2), '')
    plain = Objective(dataclasses.replace(SMALL, coding='direct'), data)
    base = plain(out, y)
    rated = Objective(dataclasses.replace(SMALL, rate_penalty=2.0, rate_target=0.2), data)
    assert rated(out, y, [torch.tensor(0.7)]).item() == pytest.approx(base.item() + 2 * 0.25)
    taught = Objective(dataclasses.replace(SMALL, distill=0.5), data)
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
    cross = Objective(dataclasses.replace(SMALL, dice=0.5), data)(out, y)
    wanted = losses.cross_entropy(large, y, ignore_index=255) + 0.5 * losses.dice(large.mean(0), y, 255)
    assert cross.item() == pytest.approx(wanted.item(), rel=1e-5)
    tet = Objective(dataclasses.replace(SMALL, loss='tet'), data)(out, y)
    assert tet.item() == pytest.approx(losses.tet(large, y, ignore_index=255).item(), rel=1e-5)
    assert Objective(SMALL, data)(out.requires_grad_(), torch.full_like(y, 255)).item() == 0
    for loss in ('count', 'one-hot'):
        with pytest.raises(ValueError, match=f"loss: of masks expected one of cross-entropy, tet, got '{loss}'"):
            Objective(dataclasses.replace(SMALL, loss=loss), data)
