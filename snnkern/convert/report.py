"""What a conversion did: every replacement, what stayed analogue and why, and what may go wrong."""

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from snnkern import backends
from snnkern.convert.coding import PoissonInput
from snnkern.convert.layers import LateralPool, Spiking, Timed
from snnkern.convert.results import render

if TYPE_CHECKING:
    from rich.table import Table

    from snnkern.convert.network import SNN


@dataclass(frozen=True)
class Part:
    """One replacement.

    kind: "neuron", "pool", "analogue" or "input" (coded as spikes); "network" is a remark on all of it. name: of the
    layer; was: the call that it replaces; layer: its class; theta: value of a spike, the least and the largest over
    channels; channels: how many have their own, 0 for one theta; max_spikes: of one step; neuron: its spec; why: for
    analogue parts, the reason.
    """

    kind: str
    name: str
    was: str
    layer: str = ''
    theta: tuple[float, float] | None = None
    channels: int = 0
    max_spikes: int | None = None
    neuron: str = ''
    constant_input: bool = False
    loops: bool = False
    causal: bool = True
    why: str = ''
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """What `SNN.report` returns; print it for a table.

    recipe, timesteps: what was asked for. parts: all replacements. folded: layers that took in a BatchNorm; unfolded:
    BatchNorms that none could take. loops: layers that run as Python loops over steps; ahead: layers that need all
    steps at once, so that the network cannot be streamed. warnings: of all parts.
    """

    recipe: str
    timesteps: int
    parts: tuple[Part, ...]
    folded: tuple[str, ...]
    unfolded: tuple[str, ...]

    @property
    def loops(self) -> tuple[str, ...]:
        """Layers that run as Python loops over steps."""
        return tuple(part.name for part in self.parts if part.loops)

    @property
    def ahead(self) -> tuple[str, ...]:
        """Layers that need all steps at once."""
        return tuple(part.name for part in self.parts if not part.causal)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What may go wrong, with its place."""
        return tuple(f'{part.was}: {warning}' for part in self.parts for warning in part.warnings)

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        lists = {name: list(getattr(self, name)) for name in ('folded', 'unfolded', 'loops', 'ahead', 'warnings')}
        parts = [{**asdict(part), 'warnings': list(part.warnings)} for part in self.parts]
        return {'recipe': self.recipe, 'timesteps': self.timesteps, 'parts': parts, **lists}

    def to_json(self) -> str:
        """All of it as JSON text."""
        return json.dumps(self.as_dict(), indent=2)

    def __rich__(self) -> 'Table':
        from rich.table import Table

        title = f'{self.recipe} for T = {self.timesteps}'
        table = Table(title=title, caption='\n'.join(self._notes()), caption_justify='left', show_lines=False)
        for name in ('layer', 'in place of', 'theta', 'most spikes', 'neuron'):
            table.add_column(name, overflow='fold')
        for part in self.parts:
            most = '' if part.max_spikes is None else str(part.max_spikes)
            table.add_row(part.name, part.was, _range(part), most, part.neuron or part.why)
        return table

    def _notes(self) -> list[str]:
        said = {
            'BatchNorm folded into': self.folded,
            'BatchNorm kept': self.unfolded,
            'Python loops over T': self.loops,
            'need all T at once': self.ahead,
        }
        return [f'{what}: {", ".join(names)}' for what, names in said.items() if names] + [*self.warnings]

    def __str__(self) -> str:
        return render(self, 140)


def _range(part: Part) -> str:
    if part.theta is None:
        return ''
    low, high = part.theta
    return f'{low:.4g}' if low == high else f'{low:.4g} to {high:.4g} ({part.channels} channels)'


def report(snn: 'SNN') -> Report:
    """What `SNN.report` does."""
    parts = []
    layers = snn.by_name
    for entry in snn.entries:
        found: dict[str, Any] = {}
        layer = layers.get(entry.name)
        if isinstance(layer, Timed):
            found = {'layer': type(layer).__name__, 'loops': layer.loops, 'causal': layer.causal}
        if isinstance(layer, Spiking):
            found |= {
                'max_spikes': layer.max_spikes,
                'neuron': layer.neuron.spec,
                'constant_input': layer.constant_input,
                **_theta(layer.v_threshold),
            }
        elif isinstance(layer, LateralPool | PoissonInput):
            found |= _theta(layer.scale)
        parts.append(Part(entry.kind, entry.name, entry.was, why=entry.why, warnings=tuple(entry.warnings), **found))
    called = dict.fromkeys(name for net in (snn.stem, snn.body) for name in _called(net))
    norms = {name for net in (snn.stem, snn.body) for name, m in net.named_modules() if isinstance(m, _BatchNorm)}
    folded = tuple(name for name in called if name.startswith('folded_'))
    return Report(snn.recipe, snn.timesteps, tuple(parts), folded, tuple(n for n in called if n in norms))


def _called(net: nn.Module) -> list[str]:
    """Names of the modules that a graph calls."""
    nodes = net.graph.nodes if isinstance(net, fx.GraphModule) else ()
    return [str(node.target) for node in nodes if node.op == 'call_module']


def _theta(value: Tensor | float) -> dict[str, Any]:
    """The range of thresholds, and how many channels have their own."""
    values = torch.as_tensor(value, dtype=torch.float32)
    channels = values.numel() if values.numel() > 1 else 0
    return {'theta': (values.min().item(), values.max().item()), 'channels': channels}


def explain(snn: 'SNN') -> str:
    """What `SNN.explain` does."""
    weight = next(snn.parameters(), torch.empty(0))
    where = f'{weight.device.type}, {str(weight.dtype).removeprefix("torch.")}'
    lines = [f'{len(snn.neurons)} neuron layers and {len(snn.pools)} spiking pools on {where}']
    fused = [layer for layer in snn.neurons if not layer.loops]
    if any(entry.kind == 'input' for entry in snn.entries):
        lines.append(f'input: Poisson-coded spikes of seed {snn.seed}, so that the first layer runs at every step')
    for op, layers in (('multistep', fused), ('pool2d', snn.pools)):
        if layers:
            backend = backends.select(op, weight.device, weight.dtype).__name__.removeprefix('snnkern.backends.')
            lines.append(f'{len(layers)} run all steps of a call in one {op} kernel, backend {backend}')
    found = report(snn)
    lines.append(f'Python loops over T: {", ".join(found.loops) or "none"}')
    lines.append(f'need all T at once: {", ".join(found.ahead) or "none, so steps can be streamed"}')
    analogue = [part.name for part in found.parts if part.kind == 'analogue']
    lines.append(f'analogue: {", ".join(analogue) or "nothing behind the first neuron but weights"}')
    return '\n'.join(lines)
