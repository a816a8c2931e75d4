"""What runs where in a network: `explain(model)`."""

from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from snnkern import backends
from snnkern.adapters._fused import Fused
from snnkern.adapters._swap import adapter, packages
from snnkern.nn import Neuron


@dataclass(frozen=True)
class Row:
    """One module: its name and class, whether kernels run it, and how or why not."""

    name: str
    kind: str
    fused: bool
    how: str

    def __str__(self) -> str:
        return f'{self.name or "(model)":<28} {self.kind:<24} {self.how}'


@dataclass(frozen=True)
class Explanation:
    """The answer of `explain(model)`: one row per neuron and per max-pool or BatchNorm that snnkern knows; str() is a
    table for people, `dict()` for programs."""

    rows: tuple[Row, ...]

    @property
    def fused(self) -> int:
        """How many modules run on kernels."""
        return sum(row.fused for row in self.rows)

    def dict(self) -> dict[str, Any]:
        """The rows as plain data."""
        return {'fused': self.fused, 'modules': [asdict(row) for row in self.rows]}

    def __str__(self) -> str:
        return '\n'.join([f'{self.fused} of {len(self.rows)} modules run on kernels', *map(str, self.rows)])


def explain(model: nn.Module | None = None) -> Any:
    """What runs where. Without a model: which backend runs each op here, and why the others do not. With one: for each
    of its neurons, and what else is known, whether a kernel runs it, and why not.

    model: a network of another library, accelerated or not, or of snnkern's own modules, converted ones too. Returns
    an object whose str() is a table. Raises TypeError if model is no module.
    Example: `print(snnkern.explain(snnkern.accelerate(net)))`.
    """
    if model is None:
        return backends.explain()
    if not isinstance(model, nn.Module):
        raise TypeError(f'model must be a torch.nn.Module or None, got {type(model).__name__}')
    if hasattr(type(model), 'explain'):  # a converted network knows more
        return model.explain()  # type: ignore[operator]
    rows = (_row(name, module) for name, module in model.named_modules())
    return Explanation(tuple(row for row in rows if row is not None))


def _row(name: str, module: nn.Module) -> Row | None:
    kind = type(module).__name__
    if isinstance(module, Fused):
        why = module.refusal()
        return Row(name, kind, why is None, module.described() if why is None else f'left: {why}')
    if isinstance(module, Neuron):
        return Row(name, kind, module.neuron.fused, 'fused' if module.neuron.fused else 'reference: Custom surrogate')
    for library in packages(module):
        kinds = adapter(library)
        if isinstance(module, kinds.NEURONS):
            known = type(module) in kinds.FUSED
            return Row(name, kind, False, f'left: {"not accelerated" if known else _unknown(module, kinds)}')
    return None


def _unknown(module: nn.Module, kinds: Any) -> str:
    """Why a neuron has no class of ours: what LEFT of the adapter says, or what it is."""
    reasons: dict[type, str] = getattr(kinds, 'LEFT', {})
    if type(module) in reasons:
        return reasons[type(module)]
    for base in type(module).__mro__[1:]:
        if base in kinds.FUSED:
            return f'a subclass of {base.__name__}, which may do something else'
    return f'no kernel for {type(module).__name__}'
