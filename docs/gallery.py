"""The gallery of neurons, docs/gallery.md and its pictures: `python -m docs.gallery` writes both.

A formula here is a program: a test runs its lines step by step and finds the spikes of the kernel.
"""

import math
import re
from pathlib import Path
from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor

import snnkern
from docs.panels import BLUE, GREY, INK, ORANGE, VIOLET
from snnkern import Neuron
from snnkern.functional import multistep

FOLDER = Path(__file__).parent
PICTURES = FOLDER / 'gallery'
LIBRARIES = ('SpikingJelly', 'snnTorch', 'Norse', 'sinabs', 'BrainCog')
INTRO = """# Gallery

Each neuron with the formula of one step, its numbers, its names elsewhere, and what it does with the same current.

- **Formulas**: x is the input, h the potential before firing, s what is emitted, v the potential that stays; H(z) is 1
  where z >= 0 and S(z) is 1 where z > 0, both 0 elsewhere. They are programs: a test runs them step by step, and finds
  the spikes of the kernels.
- **Pictures**: grey is the current; blue v, cut where it leaves the picture, with the threshold dashed; orange are
  spikes, the higher the more of them in the step; violet negative ones. `python -m docs.gallery` makes this page.
- **Elsewhere**: names of the same recurrence. Default numbers, > or >= at the threshold, and how far each is equal:
  [neurons by name](neurons.md#neurons-by-name).

Every neuron takes any surrogate and any reset ([mathematics](maths.md)), and numbers that learn
([parts](neurons.md#parts)). To add one that no combination of parts gives: [add a neuron](add_a_neuron.md).
"""


class Entry(NamedTuple):
    """A neuron. how: the expression; module: of snnkern.nn. formula: lines of Python; numbers: what they name.

    names: in LIBRARIES' order, '' where a library has none. note: sentences.
    """

    name: str
    how: str
    module: str
    formula: str
    numbers: dict[str, float]
    names: tuple[str, str, str, str, str]
    note: str = ''

    @property
    def neuron(self) -> Neuron:
        return eval(self.how, {name: getattr(snnkern, name) for name in snnkern.__all__})

    @property
    def picture(self) -> str:
        return re.sub(r'\W+', '-', self.name.lower()).strip('-') + '.png'


HARD, SOFT = 'v = where(s > 0, 0, h)', 'v = h - theta * s'
ENTRIES = (
    Entry('Integrate-and-fire', 'Neuron(IF())', 'nn.IF()', f'h = v + x\ns = H(h - theta)\n{HARD}', {'theta': 1.0},
          ('IFNode', '', 'IAFCell', '', 'IFNode'),
          'Norse compares by >, BrainCog too, at a threshold of 0.5.'),
    Entry('Integrate-and-fire with a soft reset', 'Neuron(IF(), Binary(), Soft())', 'nn.IF(v_reset=None)',
          f'h = v + x\ns = H(h - theta)\n{SOFT}', {'theta': 1.0},
          ('IFNode with v_reset=None', '', '', 'IAF with SingleSpike', ''),
          'Nothing of the input is lost, which is why converted networks take this reset.'),
    Entry('Leaky integrate-and-fire', 'Neuron(LIF(2.0))', 'nn.LIF(2.0)',
          f'h = v + (x - v) / tau\ns = H(h - theta)\n{HARD}', {'tau': 2.0, 'theta': 1.0},
          ('LIFNode', '', '', '', 'LIFNode'),
          'The decay takes hold of the input, too, so a current below the threshold never fires. `SLTTLIFNode` and'
          ' `OnlineLIFNode` emit the same and stop gradients between steps: `Hard(detach=True, detach_v=True)`.'),
    Entry('LIF whose input does not decay', 'Neuron(LIF(2.0, decay_input=False))', 'nn.LIF(2.0, decay_input=False)',
          f'h = v - v / tau + x\ns = H(h - theta)\n{HARD}', {'tau': 2.0, 'theta': 1.0},
          ('LIFNode with decay_input=False', '', '', 'LIF with MembraneReset', '')),
    Entry('LIF with a soft reset', 'Neuron(LIF(2.0), Binary(), Soft())', 'nn.LIF(2.0, v_reset=None)',
          f'h = v + (x - v) / tau\ns = H(h - theta)\n{SOFT}', {'tau': 2.0, 'theta': 1.0},
          ('LIFNode with v_reset=None', '', '', 'LIF with SingleSpike', ''),
          'What lies above the threshold stays: strong inputs fire in runs.'),
    Entry('Parametric LIF', 'Neuron(PLIF(0.5))', 'nn.ParametricLIF()',
          f'h = v + (x - v) * k\ns = H(h - theta)\n{HARD}', {'k': 0.5, 'theta': 1.0},
          ('ParametricLIFNode', '', 'LIFBoxCell', '', 'PLIFNode'), 'k = sigmoid(w) = 1 / tau is learned.'),
    Entry('LIF with a bias', 'Neuron(LIF(2.0, c=0.1), Binary(1.0, strict=True), Hard(detach=True))', 'nn.BiasLIF()',
          f'h = v + (x - v) / tau + c\ns = S(h - theta)\n{HARD}', {'tau': 2.0, 'c': 0.1, 'theta': 1.0},
          ('', '', '', '', 'BiasLIFNode')),
    Entry('Leaky', 'Neuron(Affine(0.9), Binary(1.0, strict=True), Delayed(True))', 'nn.Leaky(0.9)',
          'h = beta * v + x - theta * S(v - theta)\ns = S(h - theta)\nv = h', {'beta': 0.9, 'theta': 1.0},
          ('', 'Leaky', '', '', ''), 'The threshold is subtracted one step later, and does not decay. With'
          ' b = dt / C as a factor of x it is `Lapicque`.'),
    Entry('Synaptic (CUBA)', 'Neuron(Synaptic(0.7, decay=0.5), Binary(1.0, strict=True), Delayed(True))',
          'nn.Synaptic(0.5, 0.7)',
          'i = alpha * i + x\nh = beta * v + i - theta * S(v - theta)\ns = S(h - theta)\nv = h',
          {'alpha': 0.5, 'beta': 0.7, 'theta': 1.0}, ('', 'Synaptic', '', '', ''),
          'A current that decays charges the potential.'),
    Entry("Norse's LIF", 'Neuron(Synaptic(0.9, 0.1, decay=0.8), Binary(1.0, strict=True), Hard(), SuperSpike(1.0))',
          'nn.Neuron(...)', f'i = decay * i + x\nh = a * v + b * i\ns = S(h - theta)\n{HARD}',
          {'a': 0.9, 'b': 0.1, 'decay': 0.8, 'theta': 1.0}, ('CUBALIFNode', '', 'LIFCell', '', ''),
          'As the one before, reset to 0 in the same step. SpikingJelly compares by >=, at a threshold of 0.5.'),
    Entry('Adaptive LIF', 'Neuron(LIF(4.0, decay_input=False), Adaptive(1.0, 0.5, 0.9), Soft())',
          'nn.AdaptiveLIF(4.0, 0.5, 0.9)',
          f'h = v - v / tau + x\ns = H(h - (theta + beta * m))\n{SOFT}\nm = rho * m + s',
          {'tau': 4.0, 'beta': 0.5, 'rho': 0.9, 'theta': 1.0}, ('', '', '', '', ''),
          'ALIF of Bellec et al., NeurIPS 2018: every spike raises the threshold. Near it: sinabs `ALIF with'
          ' MembraneReset` is reset to 0; so is Norse `LSNNCell`, charged by a current that decays (`Synaptic`).'),
    Entry('Hybrid', 'Neuron(Affine(0.4), Binary(0.35, strict=True), Soft(), Rectangle(2.0))', 'nn.Neuron(...)',
          f'h = a * v + x\ns = S(h - theta)\n{SOFT}', {'a': 0.4, 'theta': 0.35}, ('', '', '', '', ''),
          'The neuron of hybrid plasticity, Wu et al., Nat. Commun. 2022.'),
    Entry('Burst', 'Neuron(IF(), Burst(1.0, 5), Soft())', 'nn.Burst(1.0, 5)',
          f's = clamp(floor((v + x) / theta), 0, n)\nh = v + x\n{SOFT}', {'theta': 1.0, 'n': 5.0},
          ('', '', '', '', 'SNode'), 'Up to n spikes a step, Li and Zeng, IJCAI 2022.'),
    Entry('Any number of spikes', 'Neuron(IF(), MultiSpike(), Soft())', 'nn.Neuron(...)',
          f'h = v + x\ns = clamp_min(floor(h / theta), 0)\n{SOFT}', {'theta': 1.0}, ('', '', '', 'IAF', ''),
          'Backward takes the surrogate at the first threshold alone, `Burst` at each.'),
    Entry('Bounded below', 'Neuron(IF(), MultiSpike(), Bounded(-1.0))', 'nn.Neuron(...)',
          'h = v + x\ns = clamp_min(floor(h / theta), 0)\nv = clamp_min(h - theta * s - v_min, 0) + v_min',
          {'theta': 1.0, 'v_min': -1.0}, ('', '', '', 'min_v_mem', ''), 'No debt larger than v_min is carried on.'),
    Entry('Integer LIF', 'Neuron(LIF(4 / 3, decay_input=False), Integer(1.0, 4), Soft(), Rectangle(2.0))',
          'nn.IntegerLIF()', f'h = v - v / tau + x\ns = clamp(round(h / theta), 0, n)\n{SOFT}',
          {'tau': 4 / 3, 'theta': 1.0, 'n': 4.0}, ('ILIFNode', '', '', '', ''),
          'Trained with whole numbers, run as so many binary steps (SpikeYOLO, ECCV 2024).'),
    Entry('Ternary', 'Neuron(LIF(2.0), Ternary(), Hard())', 'nn.Neuron(...)',
          'h = v + (x - v) / tau\ns = H(h - theta) - H(-h - theta)\nv = where(s == 0, h, 0)',
          {'tau': 2.0, 'theta': 1.0}, ('TernaryLIFNode', '', '', '', ''), 'Sun et al., AAAI 2024.'),
    Entry('Double-sided PLIF', 'Neuron(PLIF(0.5), Ternary(0.5, strict=True), Hard(detach=True))', 'nn.DoubleSidePLIF()',
          'h = v + (x - v) * k\ns = S(h - theta) - S(-h - theta)\nv = where(s == 0, h, 0)',
          {'k': 0.5, 'theta': 0.5}, ('', '', '', '', 'DoubleSidePLIFNode')),
    Entry('Signed, imbalanced', 'Neuron(IF(), Signed.leaky(0.1), Soft())', 'nn.SignedIF(slope=0.1)',
          'h = v + x\ns = H(h - theta) - H(-h - 10 * theta)\nv = where(s < 0, h + 10 * theta, h - theta * s)',
          {'theta': 1.0}, ('', '', '', '', ''),
          'Spiking-YOLO (Kim et al., AAAI 2020): a negative spike takes ten times as much, for a leaky ReLU of slope'
          ' 0.1.'),
    Entry('Signed bursts with memory', 'Neuron(IF(), SignedMemory(1.0, 15), Soft())', 'nn.Neuron(...)',
          f'h = v + x\ns = maximum(clamp(floor(h / theta), -n, n), -m)\n{SOFT}\nm = m + s', {'theta': 1.0, 'n': 15.0},
          ('STBIFNode', '', '', '', ''), 'The neuron of the default conversion: it takes back what was emitted, and no'
          ' more; there it starts from theta / 2. With one spike a step and other negative thresholds it is SNM (Wang'
          ' et al., IJCAI 2022) and Fast-SNN (Hu et al., 2023).'),
    Entry('Leaky integrator', 'Neuron(LIF(2.0), Binary(), NoReset())', 'nn.Neuron(..., store_v_seq=True)',
          'h = v + (x - v) / tau\ns = H(h - theta)\nv = h', {'tau': 2.0, 'theta': 1.0},
          ('NonSpikingLIFNode', '', '', 'ExpLeak', ''),
          'The potentials are the output: `return_v_seq`. Near it: snnTorch `StateLeaky` takes its input whole'
          ' (`Affine`), Norse `LI` is charged by a current that decays (`Synaptic`).'),
)  # fmt: skip


def stimulus() -> Tensor:
    """The current [T] that all neurons get: single pulses, a step, a swell, and a negative end."""
    x, t = torch.zeros(64), torch.arange(64)
    x[[3, 8, 9]] = 0.8
    x[15:27] = 0.6
    x[33:49] = 1.3 * torch.sin((t[33:49] - 32) / 17 * math.pi)
    x[54:] = -1.2
    return x


def draw(entry: Entry, path: Path) -> None:
    """What the neuron does with the current, into a PNG file."""
    x = stimulus()
    s, v = multistep(x, entry.neuron, return_v_seq=True)
    t = torch.arange(len(x))
    figure = Figure(figsize=(6.4, 1.6), dpi=100, layout='constrained')
    ax = figure.subplots()
    ax.fill_between(t, x.numpy(), step='mid', color=GREY, alpha=0.4, lw=0)
    ax.axhline(entry.neuron.fire.v_threshold, color=INK, lw=0.6, ls='--')
    ax.axhline(0, color=GREY, lw=0.6)
    ax.plot(t, torch.where((v < 2.2) & (v > -1.6), v, torch.nan).numpy(), color=BLUE, lw=1.4)
    for fired, color in ((s > 0, ORANGE), (s < 0, VIOLET)):
        if not isinstance(entry.neuron.reset, snnkern.NoReset):
            ax.vlines(t[fired], 2.4, 2.7 + 0.3 * (s[fired].abs() - 1), color=color, lw=2)
    ax.set_ylim(-1.7, 3.4)
    ax.set_axis_off()
    figure.savefig(path, pil_kwargs={'optimize': True})


def section(entry: Entry) -> str:
    """One neuron's part of the page."""
    numbers = ', '.join(f'{name} = {value:.4g}' for name, value in entry.numbers.items())
    names = [f'{library} `{name}`' for library, name in zip(LIBRARIES, entry.names, strict=True) if name]
    known = f'\n\nElsewhere: {", ".join(names)}.' if names else ''
    note = f'\n\n{entry.note}' if entry.note else ''
    return (
        f'## {entry.name}\n\n`{entry.module}`, `{entry.how}`\n\n![{entry.name}](gallery/{entry.picture})\n\n'
        f'```text\n{entry.formula}\n```\n\nHere {numbers}.{known}{note}\n'
    )


def document() -> str:
    """docs/gallery.md."""
    return '\n'.join([INTRO, *map(section, ENTRIES)])


if __name__ == '__main__':
    (FOLDER / 'gallery.md').write_text(document())
    PICTURES.mkdir(exist_ok=True)
    for one in ENTRIES:
        draw(one, PICTURES / one.picture)
