"""What the adapters of Norse's neurons share: numbers and states in named tuples, and how all steps run."""

from functools import reduce
from typing import Any, ClassVar

import torch
from norse.torch.functional import reset
from torch import Tensor

from snnkern import charges, fires, surrogates
from snnkern.adapters._fused import FusedNeuron, Part, cached, described
from snnkern.resets import Hard, NoReset, Soft

Number = Any  # a tensor or a float
Values = dict[str, Number]
# Parameters that are no numbers of the neuron.
OPTIONS = 'method', 'alpha', 'reset_method'
# Norse's thresholds; those whose derivative is one of ours, with the alpha (None: any) at which it is.
METHODS: dict[str, tuple[float | None, Part] | None] = {
    'super': (None, (surrogates.SuperSpike, 1.0)),
    'triangle': (1.0, (surrogates.Triangle, 1.0)),
    'tanh': (2.0, (surrogates.Sigmoid, 4.0)),
    'heavi_erfc': (2.0, (surrogates.Erf, 2.0)),
    'heaviside': None,
    'circ': None,
}
RESETS: dict[Any, Any] = {reset.reset_value: Hard, reset.reset_subtract: Soft}
INTEGRATOR: tuple[Part, ...] = (fires.Binary,), (NoReset,), (surrogates.STE,)


@cached
def rate(dt: float, inverse: float, dtype: torch.dtype) -> float:
    """dt * inverse, rounded as a tensor of Norse is."""
    return float(dt * torch.tensor(inverse, dtype=dtype))


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def constant(tensor: Tensor) -> float:
    """A number that becomes a constant of torch.compile's graph, since no call takes it as a tensor."""
    return float(tensor)


def split(kind: type, **numbers: Number) -> tuple[Part, dict[str, Tensor]]:
    """A part of a neuron, and which of its numbers are tensors that a call takes."""
    tensors = {name: value for name, value in numbers.items() if isinstance(value, Tensor)}
    return (kind, *[1.0 if name in tensors else value for name, value in numbers.items()]), tensors


def product(a: Number, b: Number) -> Number:
    """a * b, a number where b is 0."""
    return a * b if isinstance(b, Tensor) or b else 0.0


class Base(FusedNeuron):
    """What all share: numbers and states in named tuples, the first state v.

    step, kind: Norse's function, and the tuple of its states. start: the number that v starts from. wide: states, and
    with them outputs, are at least float32. integrates: v is what comes out.
    """

    takes_norms = False
    step: ClassVar[Any]
    kind: ClassVar[Any]
    start: ClassVar[str] = 'v_leak'
    wide: ClassVar[bool] = False
    integrates: ClassVar[bool] = False

    def given(self) -> dict[str, Any]:
        """The numbers of p."""
        return {name: value for name, value in self.p._asdict().items() if name not in OPTIONS}

    def axes(self) -> set[int]:
        """Dimensions, from the end, in which the numbers vary."""
        tensors = [value for value in self.given().values() if isinstance(value, Tensor)]
        return {d - t.dim() for t in tensors if t.numel() != 1 for d, size in enumerate(t.shape) if size != 1}

    def refusal(self) -> str | None:
        step: Any = type(self).step
        if getattr(self, 'activation', step) is not step:
            return f'{self.activation.__name__} has no kernel'
        fallback = getattr(self, 'state_fallback', None)
        if fallback is not None and getattr(fallback, '__func__', None) is not self.original().initial_state:
            return 'state_fallback is not that of its class'
        if isinstance(self.dt, Tensor):
            return 'dt is a tensor'
        if len(self.axes()) > 1:
            return 'the tensors of p vary in more than one dimension'
        return None if self.integrates else self.unlike()

    def unlike(self) -> str | None:
        """What in firing and reset has no kernel."""
        v_reset = self.given()['v_reset']
        if isinstance(v_reset, Tensor) and (v_reset.requires_grad or v_reset.numel() != 1):
            return 'p.v_reset is learned or differs between neurons'
        if getattr(self.p, 'reset_method', reset.reset_value) not in RESETS:
            return f'p.reset_method={self.p.reset_method.__name__} has no kernel'
        if self.surrogate() is None:
            known = ', it has one under torch.no_grad()' if self.p.method in METHODS else ''
            return f'p.method={self.p.method!r} with alpha={float(self.p.alpha):g} has no kernel{known}'
        return None

    def surrogate(self) -> Part | None:
        """Ours for the method; where nobody asks for gradients, any will do."""
        method = self.p.method
        if not torch.is_grad_enabled():
            return (surrogates.STE,) if method in METHODS else None
        alpha, ours = METHODS.get(method) or (None, None)
        return ours if alpha is None or self.numbers(alpha=self.p.alpha)[0].get('alpha') == alpha else None

    def values(self) -> Values:
        """The numbers as floats, or as tensors that a call takes; rates are those of a step."""
        given = self.given()
        floats, tensors = self.numbers(**given)
        if torch.compiler.is_compiling():
            for name in tensors.keys() & {'v_reset', 'tau_syn_inv'}:
                if tensors[name].numel() == 1 and not tensors[name].requires_grad:
                    floats[name] = constant(tensors.pop(name))
        for name in floats.keys() & {'tau_mem_inv', 'tau_syn_inv'}:
            floats[name] = rate(self.dt, floats[name], getattr(given[name], 'dtype', torch.float64))
        for name in tensors.keys() & {'tau_mem_inv', 'tau_syn_inv'}:
            tensors[name] = self.dt * tensors[name]
        return {**floats, **tensors}

    def fits(self, x: Any, state: Any) -> bool:
        """Whether x [T, ...] is dense, and no state or number has more neurons."""
        if not isinstance(x, Tensor) or x.layout is not torch.strided or x.is_complex() or not x.dim() or not len(x):
            return False
        shapes = [t.shape for t in (*self.given().values(), *(state or ())) if isinstance(t, Tensor)]
        try:
            return torch.broadcast_shapes(x.shape[1:], *shapes) == x.shape[1:]
        except RuntimeError:
            return False

    def run_steps(self, x: Tensor, state: Any, trace: bool = False) -> tuple[Tensor, Any] | None:
        """What comes out of all steps of x [T, ...], and the states after the last or, with trace, after each; None if
        the library's own code must run."""
        if self.refusal() or not self.fits(x, state):
            return None
        states = [] if state is None else [torch.as_tensor(getattr(state, name)) for name in self.kind._fields]
        dtype = reduce(torch.promote_types, [torch.result_type(x, value) for value in states], x.dtype)
        wide = state is None and (self.wide or not x.is_floating_point())
        x = x.to(torch.promote_types(dtype, torch.float32) if wide else dtype)
        values = self.values()
        start = values[self.start]
        if state is not None:
            states = [value.to(x).expand(x.shape[1:]) for value in states]
        else:
            states = [start.detach().to(x).expand(x.shape[1:]) if isinstance(start, Tensor) else start]
        out, *after = self.steps(x, values, trace, *states)
        return out.to(x.dtype), self.kind(*[value.to(x.dtype) for value in after])

    def steps(self, x: Tensor, values: Values, trace: bool, v: Number) -> tuple[Tensor, ...]:
        """What comes out of x [T, ...], and the states."""
        return self.charged(x, *self.charge(values), values, trace, v)

    def charge(self, values: Values) -> tuple[Part, dict[str, Tensor]]:
        k, leak = values['tau_mem_inv'], values['v_leak']
        if isinstance(leak, Tensor):
            return split(charges.PLIF, k=k, v_rest=0.0, decay_input=True, c=k * leak)
        return split(charges.PLIF, k=k, v_rest=leak, decay_input=True)

    def charged(
        self, x: Tensor, charge: Part, learned: dict[str, Tensor], values: Values, trace: bool, v: Any
    ) -> tuple[Tensor, Tensor]:
        """What comes out of a charge, and its states after the last step or, with trace, v after each."""
        rest: tuple[Any, ...] = INTEGRATOR
        v_start = 0.0
        if not self.integrates:
            fire, threshold = split(fires.Binary, v_threshold=values['v_th'], real_units=False, strict=True)
            learned = {**learned, **threshold}
            kind = RESETS[getattr(self.p, 'reset_method', reset.reset_value)]
            v_start = values['v_reset'] if kind is Hard else 0.0
            rest = fire, (kind, v_start) if kind is Hard else (kind,), self.surrogate()
        wanted = {
            'v0': None if isinstance(v, float) and v == v_start else v,
            'return_state': True,
            'return_v_seq': trace or self.integrates,
        }
        wanted |= self.coefficients(x, learned)
        s, last, *v_seq = self.run(x, described(charge, *rest), **wanted)
        return v_seq[0] if self.integrates else s, v_seq[0] if trace else last

    def coefficients(self, x: Tensor, learned: dict[str, Tensor]) -> dict[str, Any]:
        """Keywords of `multistep`."""
        rows = {name: t.to(x.device).reshape(() if t.numel() == 1 else -1) for name, t in learned.items()}
        return {'coefficients': rows, 'channel_dim': min(self.axes(), default=-1)}


class Cell(Base):
    """A module of single steps."""

    def all_steps(self, x: Tensor, state: Any) -> tuple[Tensor, Any] | None:
        """What comes out of each step of x [T, ...], and the last state; None if no kernel does that."""
        return self.run_steps(x, state)

    def forward(self, input_tensor: Tensor, state: Any = None) -> Any:
        dense = isinstance(input_tensor, Tensor) and input_tensor.layout is torch.strided
        found = self.run_steps(input_tensor.unsqueeze(0), state) if dense else None
        return (found[0][0], found[1]) if found else self.original().forward(self, input_tensor, state)


class Layer(Base):
    """A module of all steps."""

    def forward(self, input_tensor: Tensor, state: Any = None) -> Any:
        found = self.run_steps(input_tensor, state, self.record_states)
        return found if found else self.original().forward(self, input_tensor, state)
