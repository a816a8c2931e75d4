"""The arithmetic of `snnkern bench`: targets, lines of cost, regressions, the page. On made times."""

import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import benchmarked
import pytest

from benchmarks import compare, page, plots, registry, report, run, scaling, targets
from benchmarks.registry import COPY, NATIVE, SJ, SJ_COMPILED
from benchmarks.timing import summary


@pytest.fixture(scope='module')
def document():
    return benchmarked.document()


def test_statistics() -> None:
    timing = summary([(s, s / 2) for s in (1.0, 2.0, 3.0, 4.0, 100.0)])
    assert (timing.median, timing.low, timing.high, timing.least) == (3.0, 2.0, 4.0, 1.0)
    assert (timing.cpu, timing.rounds) == (1.5, 5)


@pytest.mark.parametrize(('copied', 'rival', 'met'), [(0.8, 15.0, True), (0.7, 7.0, False)])
def test_targets_beside_measured(copied: float, rival: float, met: bool) -> None:
    case = benchmarked.lif(16, 1 << 18)
    for row, seconds in ((NATIVE, 1.0), (COPY, copied), (SJ, rival)):
        next(r for r in case['rows'] if r['provider'] == row)['seconds'] = benchmarked.seconds(seconds)
    found = {v['what']: v for v in targets.verdicts({'cases': [case]})}
    assert found['at most 1.35 times the copy']['met'] == met
    assert found['at most 1.35 times the copy']['measured'] == pytest.approx(1 / copied)
    assert found['8 times SpikingJelly']['met'] == met
    assert found['14 times SpikingJelly']['met'] == met
    assert {v['rival'] for v in found.values()} >= {COPY, SJ, SJ_COMPILED}


def test_targets_of_the_issue(document) -> None:
    verdicts = document['targets']
    copies = {(v['wanted'], v['case']) for v in verdicts if v['rival'] == COPY}
    names = [f'T16-N{n}-{d}' for n in (1 << 18, 1 << 21) for d in ('float32', 'bfloat16')]
    assert copies == {('at most 1.35', f'lif-forward-{n}') for n in names} | {
        ('at most 1.5', f'lif-forward+backward-{n}') for n in names
    }
    cached = {v['case'] for v in verdicts if 'L2' in v['what']}
    assert 'lif-forward-T16-N16384-float32' in cached
    assert not any('N2097152' in name and 'T16' in name for name in cached)
    assert sum(v['what'] == 'faster than torch.compile' for v in verdicts) == 2 * 64
    assert [v['met'] for v in verdicts if v['case'] == 'import'] == [True]


def test_a_rival_as_fast_is_not_beaten() -> None:
    case = benchmarked.lif(1, 64)
    for row in case['rows']:
        row['seconds'] = benchmarked.seconds(1.0)
    assert [v['met'] for v in targets.verdicts({'cases': [case]})] == [False, False]


def test_a_line_is_found() -> None:
    found = scaling.line([(n, 1e-5 + 2e-9 * n) for n in (64, 1 << 10, 1 << 18, 1 << 25)])
    assert found['a_us'] == pytest.approx(10)
    assert found['b_ns'] == pytest.approx(2)
    assert found['worst_residual'] < 1e-9
    assert scaling.line([(1, 1.0), (10, 1.0), (100, 100.0)])['worst_residual'] > 0.1


def changed(document, factor: float, only: str = '', spread: float = 0.02):
    """A later run in which snnkern native takes `factor` times as long."""
    later = copy.deepcopy(document)
    for case in later['cases']:
        for row in case['rows']:
            if row['provider'] == NATIVE and only in case['name']:
                row['seconds'] = benchmarked.seconds(row['seconds']['median'] * factor, spread)
    return later


def test_a_regression_is_found(document) -> None:
    found = compare.compare(changed(document, 1.5, 'forward-T16-N262144-float32'), document)
    slower = {(c['case'], c['provider']) for c in found['slower']}
    assert slower == {(f'lif-forward-T16-N262144-float32{k}', NATIVE) for k in ('', '-threads1', '-threads2')}
    assert found['slower'][0]['ratio'] == pytest.approx(1.5)
    assert found['differs'] == {}


@pytest.mark.parametrize(('factor', 'spread'), [(1.1, 0.01), (1.5, 0.4), (0.5, 0.02)])
def test_noise_is_no_regression(document, factor: float, spread: float) -> None:
    """Within the threshold, within the quartiles, or faster."""
    found = compare.compare(changed(document, factor, spread=spread), document)
    assert found['slower'] == []
    assert found['compared'] > 60
    assert (found['faster'] > 0) == (factor < 1)


def test_a_slow_hour_is_no_regression(document) -> None:
    later = copy.deepcopy(document)
    for case in later['cases'][:-1]:
        for row in case['rows']:
            row['seconds'] = benchmarked.seconds(row['seconds']['median'] * 3)
    assert compare.compare(later, document)['slower'] == []


def test_a_copy_that_was_quick_once_is_no_regression(document) -> None:
    """And one of uncertain speed explains nothing."""
    quick, vague = copy.deepcopy(document), changed(document, 1.5)
    for later, factor, spread in ((quick, 0.5, 0.02), (vague, 1.0, 0.5)):
        for row in (r for case in later['cases'] for r in case['rows'] if r['provider'] == COPY):
            row['seconds'] = benchmarked.seconds(row['seconds']['median'] * factor, spread)
    assert compare.compare(quick, document)['slower'] == []
    assert {c['case'] for c in compare.compare(vague, document)['slower']} == {'train mlp'}, 'which has no copy'


def test_what_is_gone_is_a_regression(document) -> None:
    later = copy.deepcopy(document)
    for case in later['cases']:
        case['rows'] = [row for row in case['rows'] if row['provider'] != NATIVE]
    later['cases'][0]['skipped'] = {NATIVE: 'why'}
    lost = compare.compare(later, document)['missing']
    assert len(lost) > 60
    assert lost[0] == {'case': document['cases'][0]['name'], 'provider': NATIVE, 'why': 'why'}
    assert f'{len(lost)} times of REF are missing' in compare.sentences(compare.compare(later, document), 'REF')[0]
    for chosen in ({'filter': 'T4-N64-float32'}, {'providers': 'SpikingJelly'}, {'size': 'quick'}):
        few = compare.compare({**later, 'settings': {**later['settings'], **chosen}}, document)['missing']
        assert len(few) < len(lost) / 5
    assert compare.compare({**later, 'cases': [], 'incomplete': 'interrupted'}, document)['missing'] == []


def test_other_surroundings_are_said(document) -> None:
    later = copy.deepcopy(document)
    later['about']['torch'] = '3.0'
    later['cases'], later['settings']['filter'] = [], 'other'
    found = compare.compare(later, document)
    said = compare.sentences(found, 'REF')
    assert 'torch was 2.x, is 3.0' in said[0]
    assert 'Nothing to compare' in said[1]


@pytest.mark.parametrize('text', ['no json', '{"format": "other"}', '[]', '\xff'])
def test_a_bad_ref(tmp_path: Path, text: str) -> None:
    path = tmp_path / 'ref.json'
    path.write_bytes(text.encode('latin1'))
    with pytest.raises(ValueError, match='is no run of'):
        compare.load(path)
    with pytest.raises(ValueError, match=r"no run 'absent'"):
        compare.find('absent')
    assert compare.find(str(path)) == path


def test_a_run_that_lacks_something(tmp_path: Path, document) -> None:
    path = tmp_path / 'ref.json'
    broken = copy.deepcopy(document)
    del broken['cases'][3]['cache'], broken['cases'][2]['rows'][0]['seconds']['low'], broken['settings']['rounds']
    for found, lacks in (
        (broken, 'cases.cache, seconds.low, settings.rounds'),
        ({'format': run.FORMAT}, 'about, cases'),
    ):
        path.write_text(json.dumps(found))
        with pytest.raises(ValueError, match=f'it lacks {lacks}'):
            compare.load(path)
    assert compare.load(compare.RESULTS / 'suite.json')


class Reader(HTMLParser):
    """Tags that are closed, names that are there once, and what a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: list[str] = []
        self.fetched: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        values = {key: value or '' for key, value in attrs}
        self.names += [values['id']] if 'id' in values else []
        self.fetched += [v for k, v in values.items() if k in ('src', 'href') and not v.startswith('#')]
        assert tag not in ('script', 'link', 'img', 'iframe')
        if tag not in ('meta', 'br'):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag) -> None:
        assert self.open.pop() == tag


SECTIONS = [
    'Targets',
    'Targets that are not met',
    'Regressions',
    'Roofline',
    'Speed-up by rival',
    'Neurons of other libraries',
    'Networks',
    'Scaling',
    'Threads',
    'Memory',
    'Cost of a call',
    'Call overhead',
    'Import',
    'Whole networks',
    'Cases',
    'Not timed',
    'Machine and versions',
    'Method',
    'Everybody',
]


def test_the_page_is_whole_and_by_itself(document) -> None:
    later = changed(document, 1.5, 'T16-N64')
    text = page.page(later, compare.compare(later, document), '<REF>', ['lif, snnkern native: <wrong>'])
    reader = Reader()
    reader.feed(text)
    assert reader.open == []
    assert reader.fetched == []
    assert len(reader.names) == len(set(reader.names))
    assert not re.search(r'url\((?!#)|@import|http', text)
    headings = re.findall(r'<h2[^>]*>([^<]*)</h2>', text)
    assert headings == ['Wrong results of snnkern', *SECTIONS]
    assert text.count('<figure>') == 13
    for escaped in ('&lt;REF&gt;', '&lt;wrong&gt;', 'a &lt;processor&gt; &amp; more'):
        assert escaped in text
    assert 'name="viewport"' in text
    assert '@media print' in text
    assert plots.INK not in text


def test_a_page_of_little(document) -> None:
    """A run with a filter has no pictures of what it did not measure."""
    small = {**document, 'cases': document['cases'][-1:], 'targets': [], 'fits': []}
    small.pop('startup')
    text = page.page(small)
    assert text.count('<figure>') == 1, 'of the network'
    assert 'Not compared' in text
    assert 'snntorch is not installed' in text


def test_what_was_not_measured_is_said(document) -> None:
    rows = {(row[0], row[1]): row for row in report.counted(document)[2]}
    copied = rows['at most 1.35 times the copy', COPY]
    assert (copied[2].split()[-1], copied[3], copied[-1]) == ('4', '0', 'met' if copied[2] == '4 of 4' else 'NOT met')
    assert rows['faster than torch.compile', SJ_COMPILED][3] == str(2 * 2 * 2 * 4), '2^10 and 2^12'
    nothing = {**document, 'targets': [], 'cases': []}
    assert {row[-1] for row in report.counted(nothing)[2]} == {'not measured'}
    assert {row[0] for row in report.counted(nothing)[2]} >= {t.what for t in targets.TARGETS if t.rival != SJ}


def test_numbers_and_reasons() -> None:
    assert [report.number(v) for v in (3.1e-5, 0.123456, 12345.6, None, 0.0)] == [
        '0.000031',
        '0.123',
        '12,346',
        '-',
        '0',
    ]
    case = {'name': 'a case', 'skipped': {}, 'failed': {NATIVE: 'fails: x', SJ: 'values differ'}}
    said = [row[1] for row in report.left_out({'cases': [case]})[2]]
    assert said == ['fails: x', 'gives other results: values differ']


def test_threads_of_large_cases_alone() -> None:
    """No picture, no error."""
    assert plots.threads({'cases': [benchmarked.lif(16, 1 << 21, threads=k) for k in (1, 2)]}, 'forward') == ''


def test_tables(document) -> None:
    titles = [title for title, *_ in report.case_tables(document)]
    assert 'lif, forward, float32' in titles
    for title, head, rows in (*report.case_tables(document), report.provider_table(document), report.counted(document)):
        assert rows, title
        assert {len(row) for row in rows} == {len(head)}
    missed = changed(document, 100)
    missed['targets'] = targets.verdicts(missed)
    assert len(report.target_table(missed, only=False)[2]) == len(missed['targets']) - 1
    assert {row[-1] for row in report.counted(missed)[2]} == {'met', 'NOT met'}
    assert json.dumps(document)
    assert registry.DEFAULT in registry.SIZES
