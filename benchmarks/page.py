"""A run as one page of HTML: pictures within, nothing fetched, no scripts; for phones, large screens and paper."""

from collections.abc import Sequence
from html import escape
from typing import Any

from benchmarks import compare, plots, report
from benchmarks.report import Table

STYLE = """
:root { color-scheme: light dark; --line: #8886; --good: #1a7f4b; --bad: #c2352b; --soft: #8882; }
@media (prefers-color-scheme: dark) { :root { --good: #5fd39a; --bad: #ff8b80; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; padding: 1rem; max-width: 76rem; }
h1 { font-size: 1.75rem; line-height: 1.2; } h2 { font-size: 1.3rem; margin: 2.2rem 0 .6rem; }
h3 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
p, li { max-width: 46rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .7rem .3rem 0; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { vertical-align: bottom; font-weight: 600; }
.scroll th { white-space: normal; min-width: 4.5rem; }
th:first-child, td:first-child { text-align: left; }
.scroll td:first-child { white-space: normal; min-width: 8rem; }
.met { color: var(--good); font-weight: 600; } .not { color: var(--bad); font-weight: 600; }
.words td, .words th { text-align: left; white-space: normal; vertical-align: top; }
.words td { overflow-wrap: break-word; } .words .met, .words .not { white-space: nowrap; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1rem; }
figure { margin: 0; } figure svg { width: 100%; height: auto; display: block; max-width: 36rem; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.2rem; padding: 0; max-width: none; }
.legend svg { width: .9rem; height: .9rem; margin-right: .4rem; vertical-align: -.1rem; }
figcaption { font-weight: 600; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; }
dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; white-space: pre-line; }
summary { cursor: pointer; padding: .4rem 0; font-weight: 600; }
@media (max-width: 40rem) {
  dl { grid-template-columns: 1fr; } dt { margin-top: .4rem; }
  .words thead { display: none; }
  .words table, .words tbody, .words tr, .words td { display: block; border: 0; padding: .05rem 0; }
  .words tr { border-bottom: 1px solid var(--line); padding: .5rem 0; }
  .words td::before { content: attr(data-head) ": "; font-weight: 400; opacity: .75; }
  .words td:first-child { font-weight: 600; } .words td:first-child::before { content: none; }
}
@media print {
  :root { color-scheme: light; }
  body { padding: 0; max-width: none; font-size: 10pt; }
  table { font-size: 8pt; } th, td { padding: .1rem .4rem .1rem 0; } .scroll { overflow: visible; }
  figure, tr { break-inside: avoid; } h2, h3 { break-after: avoid; }
  .pictures { grid-template-columns: 1fr 1fr; }
}
"""
LONG = 12  # rows
METHOD = (
    'Right first: on the very inputs that are timed, spikes of every provider equal the reference&rsquo;s and '
    'gradients lie within tolerances; who fails is not timed.',
    'Of networks, outputs, loss and gradients of eight images are compared.',
    'Interleaved: each round runs every provider once, in an order that rotates. Numbers are medians, with quartiles.',
    'A sample is as many calls as fill 4 ms, at most 100; where there are several, after one that does not count.',
    'The copy moves as many bytes as the case must, in the same rounds.',
    'In half precision rivals run on x.float(): their potentials would be rounded otherwise, ours are not.',
    'Memory is the peak of the resident set in one call beyond what was there before it.',
)


def table(found: Table, words: bool = False) -> str:
    """A table that scrolls sideways, or (words) one whose rows stack on a phone."""
    _, head, rows = found
    if not rows:
        return '<p>None.</p>'
    top = ''.join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = ''.join(f'<tr>{"".join(map(_cell, head, row))}</tr>' for row in rows)
    kind = 'words' if words else 'scroll'
    return f'<div class="{kind}"><table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(head: str, text: str) -> str:
    mark = {'met': ' class="met"', 'NOT met': ' class="not"'}.get(text, '')
    return f'<td data-head="{escape(head)}"{mark}>{escape(text)}</td>'


def _surroundings(document: dict[str, Any]) -> str:
    def told(value: Any) -> str:
        if isinstance(value, dict):
            return ', '.join(f'{key} {each}' for key, each in value.items())
        return '\n'.join(map(str, value)) if isinstance(value, list) else str(value)

    about = {key: told(value) for key, value in document['about'].items() if key != 'backends'}
    about |= {'run': ', '.join(f'{key}: {value}' for key, value in document['settings'].items() if value)}
    about |= {'cases': str(len(document['cases'])), 'minutes': f'{document["seconds"] / 60:.1f}'}
    return f'<dl>{"".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in about.items())}</dl>'


def _details(title: str, body: str, shown: bool = False) -> str:
    return f'<details{" open" if shown else ""}><summary>{escape(title)}</summary>{body}</details>'


def _folded(title: str, found: Table) -> str:
    """A table that is folded where it is long."""
    body = table(found, words=True)
    return _details(title, body) if len(found[2]) > LONG else body


def _pictures(document: dict[str, Any]) -> str:
    colours = ''.join(
        f'<li><svg viewBox="0 0 10 10"><rect width="10" height="10" fill="{colour}"/></svg>{escape(name)}</li>'
        for name, colour in plots.legend(document)
    )
    parts = []
    for title, found in plots.all_of(document):
        drawn = [f'<figure><figcaption>{escape(what)}</figcaption>{svg}</figure>' for what, svg in found if svg]
        named = '' if title in plots.ONE_COLOUR else f'<ul class="legend">{colours}</ul>'
        body = f'{named}<div class="pictures">{"".join(drawn)}</div>' if drawn else '<p>Not measured in this run.</p>'
        parts.append(f'<h2>{escape(title)}</h2>{body}')
    return ''.join(parts)


def _regressions(compared: dict[str, Any] | None, ref: str) -> str:
    if compared is None:
        return '<p>Not compared: <code>--compare</code> names an earlier run.</p>'
    said = ''.join(f'<p>{escape(line)}</p>' for line in compare.sentences(compared, ref))
    return said + (table(compare.table(compared), words=True) if compared['slower'] or compared['missing'] else '')


def _wrong(wrong: Sequence[str]) -> str:
    items = ''.join(f'<li>{escape(line)}</li>' for line in wrong)
    return f'<h2 class="not">Wrong results of snnkern</h2><ul>{items}</ul>' if wrong else ''


def page(
    document: dict[str, Any], compared: dict[str, Any] | None = None, ref: str = '', wrong: Sequence[str] = ()
) -> str:
    """The whole page."""
    about = document['about']
    missed = report.target_table(document, only=False)
    sections = [
        ('Targets', table(report.counted(document), words=True)),
        ('Targets that are not met', _folded(f'{len(missed[2])} cases', missed)),
        ('Regressions', _regressions(compared, ref)),
    ]
    tables = [(title, table((title, *rest))) for title, *rest in report.case_tables(document)]
    more = [
        ('Cost of a call', table(report.fit_table(document))),
        ('Call overhead', f'<p>Microseconds a call at N = 64.</p>{table(report.overhead_table(document))}'),
        ('Import', f'<p>Milliseconds, in fresh processes.</p>{table(report.startup_table(document))}'),
        ('Whole networks', table(report.network_table(document))),
        ('Cases', ''.join(_details(title, body, i < 2) for i, (title, body) in enumerate(tables))),
        ('Not timed', _folded('Who and why', report.left_out(document))),
        ('Machine and versions', _surroundings(document)),
        ('Method', f'<ul>{"".join(f"<li>{line}</li>" for line in METHOD)}</ul>'),
        ('Everybody', _details('All times', table(report.provider_table(document)))),
    ]
    join = lambda parts: ''.join(f'<section><h2>{t}</h2>{body}</section>' for t, body in parts)  # noqa: E731
    threads = f'threads: {document["settings"]["threads"]}'
    head = f'{about["cpu"]}, {threads}; torch {about["torch"]}, snnkern {about["snnkern"]}'
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>snnkern bench</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<style>{STYLE}</style></head><body><h1>snnkern beside other libraries</h1><p>{escape(head)}</p>'
        f'{_wrong(wrong)}{join(sections)}{_pictures(document)}{join(more)}</body></html>\n'
    )
