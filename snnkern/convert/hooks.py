"""Hooks that are there while something is open."""

from types import TracebackType
from typing import TypeVar

from torch.utils.hooks import RemovableHandle

Self = TypeVar('Self', bound='Hooked')


class Hooked:
    """A context that hooks modules when it is entered (`hooks`) and lets go of them when it is left."""

    _hooks: tuple[RemovableHandle, ...] = ()

    def hooks(self) -> list[RemovableHandle]:
        """Register what is needed."""
        raise NotImplementedError

    def __enter__(self: Self) -> Self:
        self._hooks = tuple(self.hooks())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks = ()
