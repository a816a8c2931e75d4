"""The demo and its command line: a small run from end to end, and the full one marked slow."""

import json
import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

import snnkern
from snnkern import cli, data
from snnkern.recipes import files
from snnkern.recipes.demo import Settings, run

ROW = {
    'timesteps',
    'ann_accuracy',
    'snn_accuracy',
    'loop_accuracy',
    'same_answers',
    'spikes_per_neuron_per_step',
    'loop_seconds',
    'snnkern_seconds',
    'loop_neuron_seconds',
    'snnkern_neuron_seconds',
    'neuron_speedup',
    'network_speedup',
}
PNG = b'\x89PNG\r\n\x1a\n'


def few(count=500, test=60):
    digits = data.mnist()
    return data.Mnist(
        digits.x_train[:count],
        digits.y_train[:count],
        digits.x_test[:test],
        digits.y_test[:test],
        'a few digits',
    )


@pytest.fixture
def small(monkeypatch):
    """The command line sees few digits."""
    monkeypatch.setattr(cli.demo, 'mnist', lambda root, download: few())


def invoke(*arguments):
    return CliRunner().invoke(cli.app, list(arguments))


def test_small_run_writes_report_and_pictures(tmp_path):
    seen = []
    report = run(few(), Settings(epochs=2, timesteps=(1, 4)), tmp_path, lambda what, share: seen.append(share))
    assert {path.name for path in tmp_path.iterdir()} == {'report.json', 'accuracy.png', 'raster.png'}
    assert json.loads((tmp_path / 'report.json').read_text()) == report
    for name in ('accuracy.png', 'raster.png'):
        assert (tmp_path / name).read_bytes().startswith(PNG)
    assert report['spikes_differing'] == 0
    assert 30 < report['ann_accuracy'] <= 100
    assert [row['timesteps'] for row in report['rows']] == [1, 4]
    for row in report['rows']:
        assert row.keys() == ROW
        assert row['same_answers'] > 98
        assert 0 < row['spikes_per_neuron_per_step'] < 1
        assert 0 < row['snnkern_neuron_seconds'] < row['snnkern_seconds']
        assert 0 < row['loop_neuron_seconds'] < row['loop_seconds']
        assert row['network_speedup'] == row['loop_seconds'] / row['snnkern_seconds']
    assert report['seed'] == 0
    assert report['versions']['snnkern'] == snnkern.__version__
    assert any('multistep' in line for line in report['backend'])
    conversion = report['conversion']
    assert conversion['recipe'] == 'default'
    assert conversion['timesteps'] == 8
    assert [entry['kind'] for entry in conversion['entries']] == ['neuron', 'pool', 'neuron', 'pool', 'neuron']
    assert len(conversion['neurons']) == 3
    assert all(n['v_threshold'] > 0 and n['max_spikes'] >= 1 for n in conversion['neurons'])
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_one_seed_gives_the_same_accuracies(tmp_path):
    def accuracies(seed):
        report = run(few(), Settings(epochs=1, timesteps=(1, 2), seed=seed), tmp_path)
        thresholds = [neuron['v_threshold'] for neuron in report['conversion']['neurons']]
        return [(row['ann_accuracy'], row['snn_accuracy']) for row in report['rows']], thresholds

    first = accuracies(3)
    assert accuracies(3) == first
    assert accuracies(4)[1] != first[1]


def test_json_is_all_that_stdout_gets(small, tmp_path):
    result = invoke('demo', '--epochs', '1', '--timesteps', '2', '--json', '--out', str(tmp_path / 'a' / 'b'))
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == json.loads((tmp_path / 'a' / 'b' / 'report.json').read_text())


def test_table_names_the_files(small, tmp_path):
    result = invoke('demo', '--epochs', '1', '--timesteps', '2,1,2', '--backend', 'reference', '--out', str(tmp_path))
    assert result.exit_code == 0, result.output
    assert 'equal, spike for spike' in result.stdout
    for name in ('report.json', 'accuracy.png', 'raster.png'):
        assert name in result.stdout
    report = json.loads((tmp_path / 'report.json').read_text())
    assert [row['timesteps'] for row in report['rows']] == [2, 1]
    assert report['backend'][0] == 'forced backend: reference'


@pytest.mark.parametrize(
    ('arguments', 'words'),
    [
        (['--timesteps', '0'], 'timesteps must be >= 1, got 0'),
        (['--timesteps', '1,x'], 'must be integers'),
        (['--timesteps', ''], 'must be integers'),
        (['--epochs', '0'], 'epochs must be >= 1, got 0'),
        (['--threads', '0'], 'threads must be >= 1, got 0'),
        (['--seed', '-1'], 'seed must be >= 0, got -1'),
        (['--backend', 'abacus'], 'backend must be one of'),
        (['--out', os.devnull + '/x'], 'cannot write into'),
    ],
)
def test_bad_options_are_one_sentence(arguments, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = invoke('demo', *arguments)
    assert result.exit_code == 2
    assert words in ' '.join(result.stderr.replace('│', ' ').split())
    assert result.stdout == ''
    assert not (tmp_path / 'demo' / 'report.json').exists()


def test_missing_data_is_exit_code_1(tmp_path):
    result = invoke('demo', '--data', str(tmp_path / 'nothing'), '--out', str(tmp_path))
    assert result.exit_code == 1
    assert result.stderr.startswith('error: ')
    assert 'Traceback' not in result.stderr


def test_version_and_explain():
    assert invoke('--version').stdout == f'snnkern {snnkern.__version__}\n'
    assert invoke('explain').stdout.strip() == str(snnkern.explain())


def test_importing_snnkern_imports_no_program():
    programs = ('typer', 'rich', 'matplotlib', 'torchvision')
    code = (
        'import sys, snnkern, snnkern.convert, snnkern.data, snnkern.models;'
        f'print([name for name in {programs} if name in sys.modules])'
    )
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == '[]'


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / 'report.json'
    files.write_json(path, {'a': 1})

    def fail(temporary):
        temporary.write_text('half')
        raise OSError('disk full')

    with pytest.raises(OSError, match='disk full'):
        files.write(path, fail)
    assert json.loads(path.read_text()) == {'a': 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_full_run_meets_its_promises(tmp_path):
    report = run(data.mnist(), Settings(), tmp_path)
    rows = {row['timesteps']: row for row in report['rows']}
    assert report['ann_accuracy'] >= 98.3
    assert report['ann_accuracy'] - rows[8]['snn_accuracy'] <= 0.5
    assert report['spikes_differing'] == 0
    assert all(row['same_answers'] >= 99.9 for row in report['rows'])
