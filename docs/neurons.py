"""Writes docs/neurons.md and its pictures from the code: `python -m docs.neurons`; a test fails if it is stale."""

import inspect
import re
from collections.abc import Iterable
from dataclasses import MISSING, fields
from pathlib import Path

from docs import libraries, zoo
from docs.zoo import FUSED, OUT, REFERENCE, Entry
from snnkern import neurons, nn

FOLDER = Path(__file__).parent
TABLES = {
    'Charge, as the literature writes it': zoo.CHARGE,
    'Fire': zoo.FIRE,
    'Reset': zoo.RESET,
    'BrainCog': zoo.BRAINCOG,
    'SpikingJelly': libraries.SPIKINGJELLY,
    'snnTorch': libraries.SNNTORCH,
    'Norse': libraries.NORSE,
    'sinabs': libraries.SINABS,
}
INTRO = """\
# Neurons

A neuron is a charge, a fire, a reset and a surrogate. Any of each axis go together (a `Delayed` reset not with a fire
that has a state), all in one kernel, forward and backward:

```python
from snnkern import LIF, ATan, Burst, Neuron, Soft
from snnkern.functional import multistep

spikes = multistep(x, Neuron(LIF(tau=4.0), Burst(1.0, max_spikes=4), Soft(), ATan(2.0)))
```

Numbers marked * may be tensors with gradients, one, one per channel or one per step: `multistep(coefficients=...)`,
or `learn=` of a module. The neurons of the tables below whose line names a preset are `snnkern.presets.NEURONS`:

![Response of the presets](neurons.png)

Grey: the input current, scaled so that the neuron has something to do. Blue: the potential after the step, where it is
not far below 0. Orange: spikes, the higher the more of them in this step; violet: negative ones. The common neurons one
by one, each with its formula: [gallery](gallery.md).

`python -m docs.neurons` makes this page from the code and the names in `docs/zoo.py` and `docs/libraries.py`; a test
compares.
"""
AXES = {
    'charge': 'h = charge(v, x), the potential before firing. v: the potential after the last step.',
    'fire': 's = fire(h), the spikes of the step; theta is v_threshold.',
    'reset': 'v = reset(h, s).',
    'surrogate': 'Derivative of the spike in backward, at z = h - theta (of bursts: at every threshold they count, of'
    ' `MultiSpike`: at the first).',
}
PICTURE = '\n![Surrogate derivatives](surrogates.png)\n'
MODULES = """\
## Modules

`snnkern.nn` holds layers of neurons that carry their state from call to call. All are `nn.Neuron` with names of their
own for the numbers, and take its keyword arguments, too.

| module | parameters | what |
|---|---|---|
"""
NAMED = f"""\
## Neurons by name

**{FUSED}**: one kernel runs the expression, equal to the reference; the note says what torch does around it, if any.
**{REFERENCE}**: it runs, by plain torch. **{OUT}**: no combination of parts gives it, for the reason that the note
says. "Compared" says how far a test found the original package and the expression equal: to the bit (spikes and
potentials, gradients to rounding errors), or up to each neuron's first flip at its threshold, where the original adds
in another order; analogue outputs to rounding errors. Default numbers are those of the originals; others work alike.
"""


def cell(text: str) -> str:
    """Text that stays in its cell of a table."""
    return ' '.join(text.split()).replace('|', '\\|')


def summary(thing: type) -> str:
    """The first paragraph of a docstring, without its source."""
    return cell(inspect.cleandoc(thing.__doc__ or '').split('\n\n')[0].split(' Source: ')[0])


def source(thing: type) -> str:
    """What the docstring says after "Source:", up to its full stop."""
    found = re.search(r'Sources?: (.*?)\.(?:\s+(?:Raises|Example|State|alpha)|\s*$|\s+`)', cell(thing.__doc__ or ''))
    return found.group(1) if found else ''


def parts(axis: str, kinds: Iterable[type]) -> str:
    """The table of one axis."""
    learned = axis == 'surrogate'
    head = ['part', 'what it computes', 'parameters', *(['gradient of alpha'] if learned else []), 'source']
    lines = ['| ' + ' | '.join(head) + ' |', '|' + '---|' * len(head)]
    for kind in kinds:
        free = {*getattr(kind, 'learns', ()), 'v_threshold', *(['alpha'] if getattr(kind, 'learns_alpha', 0) else [])}
        numbers = [
            f'{f.name}{"*" if f.name in free else ""}{"" if f.default is MISSING else f" = {f.default!r}"}'
            for f in fields(kind)  # type: ignore[arg-type]
        ]
        gradient = ['yes' if kind.learns_alpha else 'no'] if learned else []  # type: ignore[attr-defined]
        row = [f'`{kind.__name__}`', summary(kind), ', '.join(numbers) or 'none', *gradient, source(kind)]
        lines.append('| ' + ' | '.join(row) + ' |')
    return '\n'.join(lines) + '\n'


def modules() -> str:
    """The table of snnkern.nn's neurons."""
    lines = []
    for name in nn.__all__:
        kind = getattr(nn, name)
        if not (isinstance(kind, type) and issubclass(kind, nn.Neuron)):
            continue
        parameters = [
            p.name if p.default is p.empty else f'{p.name} = {p.default!r}'
            for p in list(inspect.signature(kind.__init__).parameters.values())[1:]
            if p.kind is not p.VAR_KEYWORD
        ]
        lines.append(f'| `nn.{name}` | {cell(", ".join(parameters))} | {summary(kind)} |')
    return MODULES + '\n'.join(lines) + '\n'


def entries(rows: Iterable[Entry]) -> str:
    """The table of one list of names."""
    lines = ['| neuron | | expression and notes | preset | compared |', '|---|---|---|---|---|']
    for row in rows:
        how = ' '.join(filter(None, [row.how and f'`{row.how}`', cell(row.note)]))
        preset = row.preset and f'`{row.preset}`'
        lines.append(f'| {row.name} | {row.mark} | {how} | {preset} | {row.compared} |')
    return '\n'.join(lines) + '\n'


def document() -> str:
    """docs/neurons.md."""
    sections = [INTRO, '## Parts\n']
    for axis, kinds in neurons.AXES.items():
        picture = PICTURE if axis == 'surrogate' else ''
        sections.append(f'### {axis.capitalize()}\n\n{AXES[axis]}\n{picture}\n{parts(axis, kinds)}')
    sections += [modules(), NAMED]
    sections += [f'### {title}\n\n{entries(rows)}' for title, rows in TABLES.items()]
    return '\n'.join(sections)


if __name__ == '__main__':
    from docs import panels

    (FOLDER / 'neurons.md').write_text(document())
    panels.responses(FOLDER / 'neurons.png')
    panels.surrogates(FOLDER / 'surrogates.png')
