"""What the adapters of Norse's neurons share: numbers and states in named tuples, and how all steps run."""

from functools import reduce
from typing import Any, ClassVar, NamedTuple

import torch
from norse.torch.functional import reset
from torch import Tensor

from snnkern import charges, fires, surrogates
from snnkern.adapters._fused import NUMBERS, FusedNeuron, Part, cached, described
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
# A single step of fewer neurons is as fast in torch (measured: docs).
LEAST = 2**14
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


def broadcasts(shape: torch.Size, to: torch.Size) -> bool:
    """Whether a tensor of this shape expands to that one."""
    return len(shape) <= len(to) and all(a in (1, b) for a, b in zip(reversed(shape), reversed(to), strict=False))


def spread(value: Tensor, x: Tensor) -> Tensor:
    """A state for x [T, ...]."""
    return value.to(x).expand(x.shape[1:])


class Plan(NamedTuple):
    """What calls need to know of the settings of a module.

    why: no kernel runs it, and nothing else is known. values: the numbers. shapes, dtype: theirs, where they are no
    scalars. axis: the dimension that they vary in. rest: fire, reset and surrogate. learned: tensors of these. v_start:
    where the potential of such a neuron starts.
    """

    why: str | None
    values: Values = {}  # noqa: RUF012 (never changed)
    shapes: tuple[torch.Size, ...] = ()
    dtype: torch.dtype | None = None
    axis: int = -1
    rest: tuple[Part, ...] = ()
    learned: dict[str, Tensor] = {}  # noqa: RUF012
    v_start: float = 0.0

    def coefficients(self, x: Tensor, learned: dict[str, Tensor]) -> dict[str, Any]:
        """Keywords of `multistep`."""
        if not learned:
            return {}
        rows = {name: t.to(x.device).reshape(() if t.numel() == 1 else -1) for name, t in learned.items()}
        return {'coefficients': rows, 'channel_dim': self.axis}


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
        return self.plan().why

    def plan(self) -> Plan:
        """What calls need of the settings, made again where one changed or has a gradient."""
        settings = None if torch.compiler.is_compiling() else self.settings()
        kept: Any = self.__dict__.setdefault(NUMBERS, {}).get('plan') if settings else None
        if kept is not None and kept[0] is self.p and kept[1] == settings:
            return kept[2]
        why = self.unfit()
        plan = Plan(why) if why else self.planned()
        if settings and not any(isinstance(value, Tensor) for value in plan.values.values()):
            self.__dict__[NUMBERS]['plan'] = self.p, settings, plan
        return plan

    def settings(self) -> tuple[Any, ...] | None:
        """What a plan depends on, besides p itself; None: changes cannot be told."""
        tensors = [value for value in self.p if isinstance(value, Tensor)]
        if any(value.is_inference() for value in tensors):
            return None
        changes = [(value._version, value.requires_grad) for value in tensors]
        return self.dt, getattr(self, 'activation', None), self.fallback(), torch.is_grad_enabled(), *changes

    def fallback(self) -> Any:
        """The function that makes initial states."""
        initial = getattr(self, 'state_fallback', None)
        return getattr(initial, '__func__', initial)

    def unfit(self) -> str | None:
        """What has no kernel."""
        step: Any = type(self).step
        if getattr(self, 'activation', step) is not step:
            return f'{self.activation.__name__} has no kernel'
        if self.fallback() not in (None, getattr(self.original(), 'initial_state', None)):
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
        if getattr(self.p, 'reset_method', reset.reset_value) not in (reset.reset_value, reset.reset_subtract):
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

    def planned(self) -> Plan:
        values = self.numbers_of_a_step()
        large = [value for value in self.given().values() if isinstance(value, Tensor) and value.dim()]
        shapes = tuple(value.shape for value in large)
        dtype = reduce(torch.promote_types, [value.dtype for value in large]) if large else None
        axis = min(self.axes(), default=-1)
        if self.integrates:
            return Plan(None, values, shapes, dtype, axis, INTEGRATOR)
        fire, threshold = split(fires.Binary, v_threshold=values['v_th'], real_units=False, strict=True)
        surrogate: Any = self.surrogate()
        if getattr(self.p, 'reset_method', None) is reset.reset_subtract:
            return Plan(None, values, shapes, dtype, axis, (fire, (Soft,), surrogate), threshold)
        v_reset = values['v_reset']
        return Plan(None, values, shapes, dtype, axis, (fire, (Hard, v_reset), surrogate), threshold, v_reset)

    def numbers_of_a_step(self) -> Values:
        """Floats, or tensors that a call takes; rates are those of a step."""
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

    def run_steps(self, x: Tensor, state: Any, trace: bool = False) -> tuple[Tensor, Any] | None:
        """What comes out of all steps of x [T, ...], and the states after the last or, with trace, after each; None if
        the library's own code must run."""
        plan = self.plan()
        if plan.why or not isinstance(x, Tensor) or x.layout is not torch.strided or not x.dim() or not len(x):
            return None
        given = [] if state is None else [torch.as_tensor(getattr(state, name)) for name in self.kind._fields]
        if x.is_complex() or not all(
            broadcasts(shape, x.shape[1:]) for shape in (*plan.shapes, *[v.shape for v in given])
        ):
            return None
        dtypes = [x.dtype, plan.dtype or x.dtype, *[torch.result_type(x, value) for value in given]]
        dtype = reduce(torch.promote_types, dtypes)
        if state is None and (self.wide or not x.is_floating_point()):
            dtype = torch.promote_types(dtype, torch.float32)
        x = x.to(dtype)
        start = plan.values[self.start]
        if state is None:
            states = [spread(start.detach(), x) if isinstance(start, Tensor) else start]
        else:
            states = [spread(value, x) for value in given]
        out, *after = self.steps(x, plan, trace, *states)
        return out.to(dtype), self.kind(*[value.to(dtype) for value in after])

    def steps(self, x: Tensor, plan: Plan, trace: bool, v: Number) -> tuple[Tensor, ...]:
        """What comes out of x [T, ...], and the states."""
        return self.charged(x, *self.charge(plan.values), plan, trace, v)

    def charge(self, values: Values) -> tuple[Part, dict[str, Tensor]]:
        k, leak = values['tau_mem_inv'], values['v_leak']
        if isinstance(leak, Tensor):
            return split(charges.PLIF, k=k, v_rest=0.0, decay_input=True, c=k * leak)
        return split(charges.PLIF, k=k, v_rest=leak, decay_input=True)

    def charged(
        self, x: Tensor, charge: Part, learned: dict[str, Tensor], plan: Plan, trace: bool, v: Any
    ) -> tuple[Tensor, Tensor]:
        """What comes out of a charge, and its states after the last step or, with trace, v after each."""
        own = described(charge, *plan.rest)
        v0 = None if isinstance(v, float) and v == plan.v_start else v
        wanted = {'v0': v0, 'return_state': True, 'return_v_seq': trace or self.integrates}
        s, last, *v_seq = self.run(x, own, **wanted, **plan.coefficients(x, {**learned, **plan.learned}))
        return v_seq[0] if self.integrates else s, v_seq[0] if trace else last


class Cell(Base):
    """A module of single steps.

    Kernels pay from LEAST neurons on, and for a leaky integrator, which is six additions and products, never; torch's
    own steps are equal to the bit. All steps at once always pay, and torch.compile gets one graph.
    """

    def all_steps(self, x: Tensor, state: Any) -> tuple[Tensor, Any] | None:
        """What comes out of each step of x [T, ...], and the last state; None if no kernel does that."""
        return self.run_steps(x, state)

    def pays(self, x: Any) -> bool:
        """Whether a kernel should take one step x."""
        if not isinstance(x, Tensor) or x.layout is not torch.strided:
            return False
        return torch.compiler.is_compiling() or (x.numel() >= LEAST and not self.integrates)

    def forward(self, input_tensor: Tensor, state: Any = None) -> Any:
        found = self.run_steps(input_tensor.unsqueeze(0), state) if self.pays(input_tensor) else None
        return (found[0][0], found[1]) if found else self.original().forward(self, input_tensor, state)

    def described(self) -> str:
        return 'fused under Lift' if self.integrates else f'fused; single steps of {LEAST} neurons and more'


class Layer(Base):
    """A module of all steps."""

    def forward(self, input_tensor: Tensor, state: Any = None) -> Any:
        found = self.run_steps(input_tensor, state, self.record_states)
        return found if found else self.original().forward(self, input_tensor, state)
