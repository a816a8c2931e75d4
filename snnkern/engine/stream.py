"""Input that comes step by step, and the state in between."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from snnkern.engine import inputs
from snnkern.engine.session import Running, Session

if TYPE_CHECKING:
    from snnkern.engine.engine import Engine


class Stream:
    """A network that is given one step after another, as an event camera does; `Engine.stream` makes it.

    It has states of its own: calls of the engine and other streams do not disturb it. done: steps so far.
    Example: `stream = engine.stream()`, then `out = stream.step(frame)` for each frame.
    """

    def __init__(self, engine: 'Engine') -> None:
        self.engine = engine
        self.session: Session | None = None
        self.reset()

    def reset(self) -> None:
        """Forget the state: the next step is the first, of any number of images."""
        self.running = Running(self.engine.readout)
        if self.session is not None:
            self.session.begin()

    @property
    def done(self) -> int:
        """Steps since the last `reset`."""
        return self.running.done

    @property
    def mean(self) -> Any:
        """The mean output of all steps so far. Raises ValueError before the first."""
        if not self.done:
            raise ValueError('there is no mean before the first step')
        return self.running.mean

    @torch.no_grad()
    def step(self, frame: Any = None) -> Any:
        """The outputs [B, ...] of one more step, in the structure that the model returns.

        frame: the inputs of this step [B, ...]; a tuple if there are several. None: those of the step before, for a
        network whose input is the same at every step. Raises ValueError and TypeError as a call of the engine does, and
        for another number of images than those whose state this is.
        """
        plan = self.engine.plan
        given = None if frame is None else self._given(frame)
        steady = inputs.steady(plan)
        if given is None and not (steady and self.done):
            raise ValueError(f'frame must be given at {"the first" if steady else "every"} step, got None')
        if given is not None:
            count = given[0].shape[1 if plan.timed else 0]
            if self.session is None or (self.session.images != count and not self.done):
                self.session = Session(self.engine.runner.twin(), count)
                self.session.begin()
            if self.session.images != count:
                raise ValueError(f'frame must hold {self.session.images} images, as before, got {count}: reset() first')
        assert self.session is not None
        stretches = self.engine.choices.stretches(self.session.images, 1)
        memory = self.session.advance(given, 1, stretches, 1)
        outputs = self.engine.readout.series(memory, 1)
        self.running.add([part[0] for part in outputs])
        if plan.tail is None:
            return self.engine.readout.plain([part[0] for part in outputs])
        return self.running.step()

    def _given(self, frame: Any) -> tuple[Tensor, ...]:
        """The inputs with an axis of time, where the network has it."""
        if self.engine.plan.timed:
            parts = frame if isinstance(frame, tuple | list) else (frame,)
            frame = tuple(part.unsqueeze(0) if isinstance(part, Tensor) else part for part in parts)
        return inputs.checked(self.engine.plan, frame, 1)[0]
