"""Direct training as a user starts it: by torchrun, and killed at any moment."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from snnkern.recipes.direct import checkpoint, saved

pytest.importorskip('lightning')
ROOT = Path(__file__).parents[1]
TORCHRUN = [sys.executable, '-m', 'torch.distributed.run', '--standalone', '--nproc-per-node', '2']
ALONE = [sys.executable]
MLP = """
model = "mlp"
data = "mnist"
coding = "poisson"
T = 4
batch = 200
learning_rate = 5e-3
[options]
hidden = 32
"""
CONV = """
model = "conv"
data = "mnist"
augment = "affine"
T = 2
batch = 500
optimizer = "sgd"
learning_rate = 0.02
"""


def command(start: list[str], config: Path, out: Path, *options: str) -> list[str]:
    return [*start, '-m', 'snnkern', 'train', str(config), '--out', str(out), '--device', 'cpu', *options]


def environment() -> dict[str, str]:
    return {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'}


def trained(start: list[str], config: Path, out: Path, *options: str) -> dict[str, object]:
    """What a command that trains leaves behind: the state of its checkpoint."""
    done = subprocess.run(
        command(start, config, out, *options),
        capture_output=True,
        text=True,
        env=environment(),
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return torch.load(out / checkpoint.FILE, weights_only=True)['state']


@pytest.mark.slow
@pytest.mark.parametrize(
    'text',
    [pytest.param(MLP, marks=pytest.mark.exhaustive, id='mlp-poisson'), pytest.param(CONV, id='conv-batchnorm')],
)
def test_two_processes_learn_as_one(tmp_path, text):
    """The same global batch: encoder noise, augmentation and the statistics of BatchNorm are those of one process."""
    config = tmp_path / 'c.toml'
    config.write_text(text)
    one = trained(ALONE, config, tmp_path / 'one')
    two = trained(TORCHRUN, config, tmp_path / 'two')
    assert len(one['losses']) == len(two['losses']) > 10
    assert one['losses'][0] == pytest.approx(two['losses'][0], rel=1e-5)
    # Sums over two parts round otherwise, and a spike that flips by that is a step of the loss.
    torch.testing.assert_close(torch.tensor(two['losses']), torch.tensor(one['losses']), rtol=0.02, atol=0.01)
    a, b = (state['history'][-1]['accuracy'] for state in (one, two))
    assert abs(a - b) < 2


@pytest.mark.slow
def test_killed_twice_and_resumed(tmp_path):
    """SIGKILL wherever it strikes: the resumed run ends with the weights of one that was left alone."""
    config = tmp_path / 'c.toml'
    config.write_text(MLP + 'neuron = "plif"\n')
    whole = trained(ALONE, config, tmp_path / 'whole', '--checkpoint-every', '4')
    out, file = tmp_path / 'killed', tmp_path / 'killed' / checkpoint.FILE
    for strike in range(2):
        before = file.stat().st_mtime_ns if strike else 0
        run = subprocess.Popen(
            command(ALONE, config, out, '--checkpoint-every', '4', *['--resume'] * strike),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(),
        )  # fmt: skip
        deadline = time.monotonic() + 120
        while run.poll() is None and time.monotonic() < deadline:
            if file.exists() and file.stat().st_mtime_ns != before:
                break
            time.sleep(0.002)
        time.sleep(0.05 * strike)
        run.send_signal(signal.SIGKILL)
        run.wait()
    state = torch.load(file, weights_only=True)['state']
    assert 0 < state['step'] < len(whole['losses'])
    again = trained(ALONE, config, out, '--resume', '--checkpoint-every', '4')
    assert again['losses'] == whole['losses']
    weights = [saved.load(folder).net.state_dict() for folder in (tmp_path / 'whole', out)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_what_the_command_says(tmp_path):
    """One sentence and code 2 for what cannot be; a report as JSON; nothing is overwritten unasked."""
    config = tmp_path / 'c.toml'
    config.write_text(MLP)
    out = tmp_path / 'run'
    small = ('--set', 'options.hidden=4', '--set', 'T=1', '--batch', '4000', '--json')
    done = subprocess.run(command(ALONE, config, out, *small), capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report['direct']['options'] == {'hidden': 4}
    assert report['history'][0]['samples_per_second'] > 0
    again = subprocess.run(command(ALONE, config, out), capture_output=True, text=True, env=environment())
    assert again.returncode == 2
    assert '--resume goes on with its run' in ' '.join(again.stderr.split())
