"""Which implementation runs an op, and why.

A backend is a module with the functions of the table below and `refusal(op, device, dtype)`, the reason why
it cannot run there or None. The first in ORDER without a refusal is taken, once per (op, device type, dtype).

| function | arguments | returns |
|---|---|---|
| multistep_fwd | x, *tensors, residual, spec, T, save, *wants | s; last states, v_seq, sum, checkpoints or None |
| multistep_bwd | *grads, x, *tensors, checkpoints, line, spec, T, *wants | gradients of x and of the tensors or None |
| moments | x, channel_dim | [2, C] float64: mean and variance of x by channel |
| poisson | x, T, seed, first | s |
| pack_spikes | x [n], kind, scale, check | data, or None if checked and x holds something else |
| unpack_spikes | data, kind, scale, n, dtype | x [n] |
| pool2d_fwd | x, state, pool, want_state | out; last counts or None |
| pool2d_bwd | grad, grad_last, x, last, pool, want_state | grad_x; gradient of the first counts or None |

A backend may have `adds_lines(x)` and `add_line(to, x, line, channel_dim)`, to += line[0] * x + line[1] in place: where
it says so, that is cheaper than to run multistep_bwd once more with `line`.

tensors: state, coefficients; grads: of s, last states, v_seq and sum, of which only the first must be there; wants: of
forward, whether last states, v_seq and sum are wanted, of backward, whether the gradients are. residual: a second input
like x; sum: x + residual, where that is what neurons see. line: [2, 1|C], grad_x gets line[0] * x + line[1] more. They
arrive as `layout.py` leaves them: x is dense with time outermost, states
[S, ...] (`Neuron.states`) and v_seq [T, ...] are float32 in x's layout, gradients have x's strides, coefficients are
[P, 1|T, 1|C], contiguous, float32; spec is the text of a `Program`. checkpoints [count * S, ...]: the states before
steps K, 2K, ..., K = `checkpoint_interval(dtype)`. pool: a `window.Pool`; its x is contiguous or channels-last, out
in the same layout, counts [1, ...] are float32; backward gets the last ones, from which it goes back exactly.
"""

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import ModuleType

import torch

ORDER = ('native', 'triton', 'reference')
CUSTOM = 'multistep, Custom'  # with a surrogate that is a Python function
OPS = ('multistep', CUSTOM, 'moments', 'pool2d', 'poisson', 'pack_spikes')
_forced = os.environ.get('SNNKERN_BACKEND') or None


def checkpoint_interval(dtype: torch.dtype) -> int:
    """Steps between two stored potentials: one chunk of a 16-byte vector of neurons fits into registers."""
    return 16 if dtype == torch.float32 else 8


def checkpoint_count(T: int, dtype: torch.dtype) -> int:
    """How many potentials forward stores for backward: one before each chunk of steps but the first."""
    return -(-T // checkpoint_interval(dtype)) - 1


def current() -> str | None:
    """The backend forced by `use_backend` or SNNKERN_BACKEND, or None."""
    return _forced


@contextmanager
def use_backend(name: str | None) -> Iterator[None]:
    """Force one backend in the whole process: "reference", "native" or "triton"; None chooses again.

    What it cannot run raises RuntimeError instead of running elsewhere. The environment variable
    SNNKERN_BACKEND does the same from outside. Example: `with use_backend('reference'): y = net(x)`.
    Raises ValueError for an unknown name.
    """
    global _forced
    if name is not None:
        module(name)
    previous, _forced = _forced, name
    try:
        yield
    finally:
        _forced = previous


@cache
def module(name: str) -> ModuleType:
    """The backend of this name. Raises ValueError for an unknown one."""
    if name not in ORDER:
        raise ValueError(f'backend must be one of {", ".join(ORDER)}, got {name!r}')
    return importlib.import_module(f'snnkern.backends.{name}')


def select(op: str, device: torch.device, dtype: torch.dtype, wanted: str | None = None) -> ModuleType:
    """The backend that runs `op` there. Raises RuntimeError with the reason if a wanted one cannot."""
    return _select(op, device.type, dtype, wanted or _forced)


@cache
def _select(op: str, device_type: str, dtype: torch.dtype, wanted: str | None) -> ModuleType:
    device = torch.device(device_type)
    if wanted:
        if reason := module(wanted).refusal(op, device, dtype):
            raise RuntimeError(f'backend {wanted!r} cannot run {op}: {reason}')
        return module(wanted)
    return next(m for m in map(module, ORDER) if m.refusal(op, device, dtype) is None)


def forget() -> None:
    """Choose anew from now on (after a backend's abilities changed; tests)."""
    _select.cache_clear()


@dataclass(frozen=True)
class Choice:
    """What runs an op on a device and dtype: the backend, and why those before it in ORDER do not."""

    op: str
    device: str
    dtype: str
    backend: str
    refused: dict[str, str]

    def __str__(self) -> str:
        reasons = ''.join(f'; not {name}: {reason}' for name, reason in self.refused.items())
        return f'{self.op:<17} {self.device:<5} {self.dtype:<9} {self.backend}{reasons}'


@dataclass(frozen=True)
class Explanation:
    """The answer of `explain()`: one `Choice` per op, device and dtype; str() is a table for people."""

    forced: str | None
    choices: tuple[Choice, ...]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        head = f'forced backend: {self.forced or "none, the first of " + ", ".join(ORDER) + " that can"}'
        return '\n'.join([head, *map(str, self.choices), *self.notes])


def explain() -> Explanation:
    """Say which backend runs each op on each device and dtype of this machine, and why the others do not.

    Example: `print(snnkern.explain())`.
    """
    devices = ['cpu', *(['cuda'] if torch.cuda.is_available() else [])]
    dtypes = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
    choices = [_choice(op, torch.device(d), dtype) for op in OPS for d in devices for dtype in dtypes]
    notes = [note for name in ORDER for note in getattr(module(name), 'notes', list)()]
    return Explanation(_forced, tuple(choices), tuple(notes))


def _choice(op: str, device: torch.device, dtype: torch.dtype) -> Choice:
    refused: dict[str, str] = {}
    for name in (_forced,) if _forced else ORDER:
        reason = module(name).refusal(op, device, dtype)
        if reason is None:
            return Choice(op, device.type, str(dtype).removeprefix('torch.'), name, refused)
        refused[name] = reason
    return Choice(op, device.type, str(dtype).removeprefix('torch.'), 'none', refused)
