"""From a network to an engine."""

from typing import Any

from torch import nn

from snnkern._checks import whole
from snnkern.engine.choice import CHOICES
from snnkern.engine.engine import WEIGHTS, Engine
from snnkern.engine.planner import plan


def compile(
    snn: nn.Module,
    example: Any,
    T: int,
    *,
    strict: bool = True,
    weights: str = 'float32',
    threads: int | None = None,
    choice: str = 'auto',
) -> Engine:
    """An engine that runs a spiking network by events on a CPU.

    snn: a converted network (`snnkern.convert`) or one of `snnkern.nn` layers, called as model(x[T, B, ...]); it is not
    changed. example: inputs as it takes them, float32, typical ones: what runs by events and what dense is measured on
    the first eight; best as many as will come in a call. T: steps of every call. strict: False runs parts that have no
    events in torch; True refuses them. weights: of event-driven layers, "float32", or "bfloat16" or "int8", which need
    less memory; `report()` says what they cost in exactness. threads: of native code; None: as many as torch uses then.
    choice: "auto" by measured time, or "events" or "dense" for all layers.

    Raises PlanError (a ValueError) that names the operation which has no events, and TypeError or ValueError for
    arguments that are not as described. Example:
    `engine = snnkern.engine.compile(snn, x[:8], T=8)`, then `engine(x).argmax(1)`.
    """
    if not isinstance(snn, nn.Module):
        raise TypeError(f'snn must be a converted network or a module of snnkern.nn layers, got {type(snn).__name__}')
    whole('T', T)
    if threads is not None:
        whole('threads', threads)
    for name, value, known in (('weights', weights, tuple(WEIGHTS)), ('choice', choice, CHOICES)):
        if value not in known:
            raise ValueError(f'{name} must be one of {", ".join(known)}, got {value!r}')
    engine = Engine(plan(snn, example, T, strict), T, weights, threads, choice)
    engine.learn(example)
    return engine
