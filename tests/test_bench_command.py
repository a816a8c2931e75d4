"""`snnkern bench` as its users run it: options, files, exit codes."""

import copy
import json
from pathlib import Path

import benchmarked
import pytest
from typer.testing import CliRunner

from benchmarks import page, run
from snnkern.cli import app, bench


def called(*words: object):
    return CliRunner().invoke(app, ['bench', *map(str, words)])


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    path = tmp_path / 'run.json'
    path.write_text(json.dumps(benchmarked.document()))
    return path


def test_from_end_to_end(tmp_path: Path) -> None:
    """A real run of two cases, compared with itself."""
    out, html = tmp_path / 'speed.json', tmp_path / 'speed.html'
    words = ['--quick', '--rounds', '3', '--filter', 'T16-N64-', '--providers', 'native,loop', '--threads', '1']
    done = called(*words, '--json', out, '--html', html)
    assert done.exit_code == 0
    document = json.loads(out.read_text())
    assert document['about']['allocator'] == 'default'
    assert [case['direction'] for case in document['cases']] == ['forward', 'forward+backward']
    assert [row['provider'] for row in document['cases'][0]['rows']][:2] == ['snnkern native', 'torch loop']
    assert 'lif-forward-T16-N64-float32' in done.stderr
    assert 'Written: ' in done.stdout
    assert html.read_text().endswith('</html>\n')
    assert called('--stored', out, '--compare', out).exit_code == 0


def test_json_alone_on_stdout(stored: Path) -> None:
    done = called('--stored', stored, '--json')
    assert json.loads(done.stdout) == json.loads(stored.read_text())


def test_a_regression_is_exit_status_3(stored: Path, tmp_path: Path) -> None:
    slow = json.loads(stored.read_text())
    for row in slow['cases'][0]['rows']:
        if row['ours']:
            row['seconds'] = benchmarked.seconds(row['seconds']['median'] * 2)
    path, html = tmp_path / 'slow.json', tmp_path / 'slow.html'
    path.write_text(json.dumps(slow))
    done = called('--stored', path, '--compare', stored, '--html', html)
    assert done.exit_code == 3
    assert slow['cases'][0]['name'] in done.stdout
    assert slow['cases'][0]['name'] in html.read_text().partition('Regressions')[2].partition('<h2>')[0]
    assert called('--stored', path, '--compare', stored, '--threshold', 2.5).exit_code == 0


def test_wrong_results_are_exit_status_1(stored: Path, tmp_path: Path) -> None:
    document = copy.deepcopy(json.loads(stored.read_text()))
    document['cases'][0]['failed'] = {'SpikingJelly': 'values differ'}
    path = tmp_path / 'wrong.json'
    path.write_text(json.dumps(document))
    assert called('--stored', path).exit_code == 0
    document['cases'][0]['failed'] = {'snnkern native': 'values differ'}
    path.write_text(json.dumps(document))
    done = called('--stored', path)
    assert done.exit_code == 1
    assert 'WRONG' in done.stderr


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['--filter', 'no-such-case'], 'no case has'),
        (['--providers', 'nobody'], '--providers: none'),
        (['--quick', '--full'], 'exclude each other'),
        (['--threads', '0'], '--threads must be at least 1, got 0'),
        (['--rounds', '-1'], '--rounds must be at least 0, got -1'),
        (['--allocator', 'other'], '--allocator must be one of'),
        (['--threshold', '1'], '--threshold must be above 1'),
        (['--compare', 'absent'], "no run 'absent'"),
        (['out.json'], 'is for --json'),
        (['--html', '/proc/absent/page.html'], 'cannot write'),
        (['--html', '/tmp'], '--html: /tmp is a folder'),
        (['--json', '/tmp'], '--json: /tmp is a folder'),
        (['--stored', 'a.json', '--threads', '7', '--filter', 'N64-'], '--filter, --threads cannot go with it'),
        (['--stored', 'a.json', '--quick'], '--quick or --full cannot'),
        (['--rounds', '2', '--compare', 'suite'], 'at least 3 rounds'),
    ],
)
def test_bad_options(words: list[str], message: str) -> None:
    done = called(*words)
    assert done.exit_code == 2
    assert message in ' '.join(done.stderr.replace('│', ' ').split())


def test_what_was_measured_is_not_lost(stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by a page that fails; an incomplete run is reported, and is an error."""
    document = {**json.loads(stored.read_text()), 'incomplete': 'interrupted'}
    monkeypatch.setattr(run, 'start', lambda settings, progress: document)
    out = tmp_path / 'out.json'
    done = called('--json', out, '--compare', stored)
    assert done.exit_code == 1
    assert 'INCOMPLETE: interrupted' in done.stderr
    assert json.loads(out.read_text())['cases'] == document['cases']
    out.unlink()
    monkeypatch.setattr(page, 'page', lambda *_: 1 / 0)
    assert called('--json', out, '--html', tmp_path / 'page.html').exit_code == 1
    assert json.loads(out.read_text()) == document


def test_without_a_checkout(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bench.snnkern, '__file__', str(tmp_path / 'site' / 'snnkern' / '__init__.py'))
    monkeypatch.chdir(tmp_path)
    done = called('--quick')
    assert done.exit_code == 2
    assert 'no folder benchmarks' in ' '.join(done.stderr.replace('│', ' ').split())


def test_what_a_failing_child_says(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_):
        raise RuntimeError('the measuring process failed: killed')

    monkeypatch.setattr(run, 'start', fails)
    done = called('--quick')
    assert done.exit_code == 1
    assert 'error: the measuring process failed: killed' in done.stderr
