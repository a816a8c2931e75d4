"""Direct training: it learns, goes on after a kill as if there had been none, and says what does not fit."""

import dataclasses
import json
import math

import pytest
import torch
from torch import nn

from snnkern.data import ImageSplit
from snnkern.models import WeightsError
from snnkern.recipes.direct import checkpoint, program, runtime, saved
from snnkern.recipes.direct.config import Config

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
