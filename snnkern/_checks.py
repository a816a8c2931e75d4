"""One-sentence errors for bad parameters: the argument's name, what came, what was expected."""

import math


def finite(name: str, value: float) -> None:
    """Raise unless `value` is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f'{name} must be a number, got {value!r} ({type(value).__name__})')
    if not math.isfinite(value):
        raise ValueError(f'{name} must be finite, got {value}')


def positive(name: str, value: float) -> None:
    """Raise unless `value` is a finite number above 0."""
    finite(name, value)
    if value <= 0:
        raise ValueError(f'{name} must be > 0, got {value}')


def whole(name: str, value: int, at_least: int = 1) -> None:
    """Raise unless `value` is an integer of at least `at_least`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f'{name} must be an integer, got {value!r} ({type(value).__name__})')
    if value < at_least:
        raise ValueError(f'{name} must be >= {at_least}, got {value}')
