"""Layers of spiking neurons: `functional.multistep` as modules that carry v from call to call."""

from typing import Any

from torch import Tensor

from snnkern import neurons
from snnkern.functional import multistep, preset
from snnkern.nn.state import Stateful
from snnkern.surrogates import ATan, Surrogate

__all__ = ['IF', 'LIF', 'Neuron']


class Neuron(Stateful):
    """A layer of any `snnkern.Neuron`: maps input current [T, ...] to spikes [T, ...], time first.

    neuron: what runs, as data. backend: "native", "triton" or "reference"; None: see `snnkern.explain()`.

    The potential after the last step, `v`, is where the next call starts, without its graph. `reset()` (or
    `snnkern.nn.reset(model)`) forgets it. Spikes have the dtype and memory layout of x, v is float32. An
    in-place change of x before backward raises there, since backward reads x.

    Raises ValueError if an input does not fit the state of the last call, and what `functional.multistep`
    raises. Example: `layer = snnkern.nn.Neuron(snnkern.Neuron(snnkern.IF(), snnkern.Burst(1.0, 4)))`.
    """

    def __init__(self, neuron: neurons.Neuron, backend: str | None = None) -> None:
        super().__init__()
        if not isinstance(neuron, neurons.Neuron):
            raise TypeError(f'neuron must be a snnkern.Neuron, got {type(neuron).__name__}')
        self.neuron = neuron
        self.backend = backend

    def forward(self, x: Tensor) -> Tensor:
        """Spikes [T, ...] of the input current x [T, ...]."""
        s, v = multistep(x, self.neuron, v0=self.carried(x), return_state=True, backend=self.backend)
        self.v = v.detach()
        return s

    def _settings(self) -> dict[str, Any]:
        """What `repr` shows."""
        return dict(zip(neurons.AXES, self.neuron.parts, strict=True))

    def extra_repr(self) -> str:
        settings = self._settings()
        if self.backend is not None:
            settings['backend'] = self.backend
        return ', '.join(f'{name}={value!r}' for name, value in settings.items())


class IF(Neuron):
    """A layer of integrate-and-fire neurons, `functional.integrate_fire` with state.

    v_threshold: a spike where the potential reaches it. v_reset: potential after a spike; None: soft reset
    (v_threshold is subtracted). surrogate: derivative of the spike in backward. detach_reset: no gradient
    through the reset. backend, state and errors: see `Neuron`. Parameter names are SpikingJelly's.
    Example: `net = torch.nn.Sequential(torch.nn.Linear(128, 64), snnkern.nn.IF(v_reset=None))`.
    """

    def __init__(
        self,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate: Surrogate = ATan(2.0),  # noqa: B008 (frozen)
        detach_reset: bool = False,
        backend: str | None = None,
    ) -> None:
        super().__init__(preset(None, v_threshold, v_reset, True, surrogate, detach_reset), backend)

    def _settings(self) -> dict[str, Any]:
        _, fire, reset, surrogate = self.neuron.parts
        v_reset = reset.v_reset if hasattr(reset, 'v_reset') else None
        return {
            'v_threshold': fire.v_threshold,
            'v_reset': v_reset,
            'surrogate': surrogate,
            'detach_reset': reset.detach,
        }


class LIF(IF):
    """A layer of leaky integrate-and-fire neurons, `functional.lif` with state.

    tau: membrane time constant in steps, > 0. decay_input: whether the input is divided by tau, too. The
    other arguments: see `IF`. Raises ValueError for tau <= 0. Parameter names are SpikingJelly's.
    Example: `net = torch.nn.Sequential(torch.nn.Linear(128, 64), snnkern.nn.LIF(tau=2.0))`.
    """

    def __init__(
        self,
        tau: float = 2.0,
        decay_input: bool = True,
        v_threshold: float = 1.0,
        v_reset: float | None = 0.0,
        surrogate: Surrogate = ATan(2.0),  # noqa: B008 (frozen)
        detach_reset: bool = False,
        backend: str | None = None,
    ) -> None:
        if tau is None:
            raise TypeError('tau must be a number, got None')
        neuron = preset(tau, v_threshold, v_reset, decay_input, surrogate, detach_reset)
        Neuron.__init__(self, neuron, backend)

    def _settings(self) -> dict[str, Any]:
        charge = self.neuron.parts[0]
        return {'tau': charge.tau, 'decay_input': charge.decay_input, **super()._settings()}
