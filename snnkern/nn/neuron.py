"""Layers of spiking neurons: `functional.multistep` as a module that carries its state from call to call."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from snnkern import neurons
from snnkern.functional import multistep
from snnkern.nn.state import Stateful

__all__ = ['Neuron']

# How a parameter becomes a number of the neuron, and a number the parameter that it starts from.
FORMS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[float], float]]] = {
    'plain': (lambda p: p, lambda value: value),
    'sigmoid': (torch.sigmoid, lambda value: -math.log(1 / value - 1)),
    'clamp': (lambda p: p.clamp(0, 1), lambda value: value),
}


class Neuron(Stateful):
    """A layer of any `snnkern.Neuron`: maps input current [T, ...] to spikes [T, ...], time first.

    neuron: what runs, as data. learn: numbers of it that become parameters (`neuron.coefficients`): names, or a
    mapping from name to form: "plain" (the default), "sigmoid" (the parameter `w` of k, `w_NAME` of others, goes
    through a sigmoid) or "clamp" (to 0..1). channels: None for one parameter of all neurons, C for one per channel.
    tensors: numbers that are given tensors, one or [C]: Parameters are learned, others are buffers. channel_dim: the
    dimension of [T, ...] that C counts (2 in [T, B, C, ...], -1 for tokens). step_mode: "m", x holds all steps, and
    the state is carried without its graph; "s", x [...] is one step, and the graph goes on. store_v_seq: keep the
    potentials after every step as `v_seq` [T, ...], with gradients ("m" only). save_state: the state_dict holds the
    state, too. connect: what a second input `layer(x, residual)` does: "sew" adds it to the spikes (SEW-ResNet), "ms"
    to x (MS-ResNet), and the result is (spikes, x + residual), the latter for the next shortcut. backend: "native",
    "triton" or "reference"; None: see `snnkern.explain()`.

    The state after the last step, `v` (with other variables: `state` [S, ...]), is where the next call starts.
    `reset()` (or `snnkern.nn.reset(model)`) forgets it. Spikes have the dtype and memory layout of x, the state is
    float32. An in-place change of x before backward raises there, since backward reads x.

    Raises ValueError if an input does not fit the state of the last call, and what `functional.multistep`
    raises. Example: `layer = snnkern.nn.Neuron(snnkern.Neuron(snnkern.IF(), snnkern.Burst(1.0, 4)))`.
    """

    def __init__(
        self,
        neuron: neurons.Neuron,
        backend: str | None = None,
        *,
        learn: Iterable[str] | Mapping[str, str] = (),
        channels: int | None = None,
        tensors: Mapping[str, Tensor] | None = None,
        channel_dim: int = 2,
        step_mode: str = 'm',
        store_v_seq: bool = False,
        save_state: bool = False,
        connect: str = 'sew',
    ) -> None:
        super().__init__(save_state)
        if not isinstance(neuron, neurons.Neuron):
            raise TypeError(f'neuron must be a snnkern.Neuron, got {type(neuron).__name__}')
        if step_mode not in ('m', 's'):
            raise ValueError(f'step_mode must be "m" (all steps) or "s" (one), got {step_mode!r}')
        if connect not in neurons.CONNECTS[1:]:
            raise ValueError(f'connect must be one of {", ".join(neurons.CONNECTS[1:])}, got {connect!r}')
        self.neuron = neuron
        self.connect = connect
        self.backend = backend
        self.channel_dim = channel_dim
        self.step_mode = step_mode
        self.store_v_seq = store_v_seq
        self.v_seq: Tensor | None = None
        self.forms: dict[str, tuple[str, str]] = {}  # number -> name of the tensor, form
        if isinstance(learn, str):
            raise TypeError(f'learn must be a list or mapping of names, got the text {learn!r}')
        if channels is not None and not learn:
            raise ValueError(f'channels must come with numbers to learn, got {channels} and none')
        for name, form in (learn if isinstance(learn, Mapping) else dict.fromkeys(learn, 'plain')).items():
            self._learn(name, form, channels)
        for name, tensor in (tensors or {}).items():
            self._hold(name, name, 'plain', tensor)

    @property
    def variables(self) -> int:  # type: ignore[override]
        """How many state variables a neuron has."""
        return len(self.neuron.states)

    def _learn(self, name: str, form: str, channels: int | None) -> None:
        if form not in FORMS:
            raise ValueError(f'learn must give a form among {", ".join(FORMS)}, got {form!r} for {name}')
        parts = self.neuron.charge, self.neuron.fire, self.neuron.surrogate
        value = next((getattr(part, name) for part in parts if hasattr(part, name)), 0.5)
        if form == 'sigmoid' and not 0 < value < 1:
            raise ValueError(f'{name} must be between 0 and 1 to be a sigmoid, got {value}')
        start = torch.full(() if channels is None else (channels,), FORMS[form][1](value))
        own = name if form != 'sigmoid' else 'w' if name == 'k' else f'w_{name}'
        self._hold(name, own, form, nn.Parameter(start))

    def _hold(self, name: str, own: str, form: str, tensor: Tensor) -> None:
        if name not in self.neuron.coefficients:
            raise ValueError(f'{name} must be one of {", ".join(self.neuron.coefficients)} for this neuron')
        if not isinstance(tensor, Tensor):
            raise TypeError(f'{name} must be a tensor, got {type(tensor).__name__}')
        if name in self.forms:
            raise ValueError(f'{name} must be given once, got it by both learn and tensors')
        if not tensor.is_meta and not torch.isfinite(tensor).all():
            raise ValueError(f'{name} must be finite, got {tensor.detach().flatten()[:8].tolist()}')
        if isinstance(tensor, nn.Parameter):
            self.register_parameter(own, tensor)
        else:
            self.register_buffer(own, tensor.detach().clone())
        self.forms[name] = own, form

    def coefficients(self) -> dict[str, Tensor]:
        """The numbers of the neuron that are tensors, as they are now."""
        return {name: FORMS[form][0](getattr(self, own)) for name, (own, form) in self.forms.items()}

    def reset(self) -> None:
        """Forget the state and the trace."""
        super().reset()
        self.v_seq = None

    def _multistep(self, x: Tensor, **wanted: Any) -> Any:
        """All steps of x [T, ...]; wanted: keywords of `functional.multistep`."""
        return multistep(x, self.neuron, **wanted)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Any:
        """Spikes [T, ...] of the input current x [T, ...]; with step_mode "s", [...] of one step [...]."""
        single = self.step_mode == 's'
        x = x.unsqueeze(0) if single else x
        trace = self.store_v_seq and not single
        wanted: dict[str, Any] = {'return_v_seq': trace, 'channel_dim': self.channel_dim, 'backend': self.backend}
        if residual is not None:
            wanted['residual'] = residual.unsqueeze(0) if single else residual
            wanted |= {'connect': 'ms', 'return_sum': True} if self.connect == 'ms' else {}
        coefficients = self.coefficients() if self.forms else None
        s, state, *others = self._multistep(
            x, v0=self.carried(x), return_state=True, coefficients=coefficients, **wanted
        )
        self.state = state if single else state.detach()
        self.v_seq = others.pop(0) if trace else None
        outputs = [t[0] if single else t for t in (s, *others)]
        return tuple(outputs) if others else outputs[0]

    def _settings(self) -> dict[str, Any]:
        """What `repr` shows."""
        return dict(zip(neurons.AXES, self.neuron.parts, strict=True))

    def extra_repr(self) -> str:
        settings = self._settings()
        if self.forms:
            settings['tensors'] = '/'.join(
                f'{n}{tuple(getattr(self, own).shape)}' for n, (own, _) in self.forms.items()
            )
        defaults = {
            'channel_dim': 2,
            'step_mode': 'm',
            'store_v_seq': False,
            'save_state': False,
            'connect': 'sew',
            'backend': None,
        }
        settings |= {name: getattr(self, name) for name, usual in defaults.items() if getattr(self, name) != usual}
        return ', '.join(f'{name}={value!r}' for name, value in settings.items())
