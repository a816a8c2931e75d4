"""One small function per PTX instruction.

`HANDLERS[name](run, ins, lanes)` executes a per-thread instruction for a set of lanes;
`COLLECTIVES[name](run, ins, lanes, members)` a warp-wide one, `members` being each lane's member mask.
"""

from . import atomics, compare, convert, extrema, floats, integers, loadstore, matrix, move, warp
from .registry import COLLECTIVES, HANDLERS

__all__ = [
    'COLLECTIVES',
    'HANDLERS',
    'atomics',
    'compare',
    'convert',
    'extrema',
    'floats',
    'integers',
    'loadstore',
    'matrix',
    'move',
    'warp',
]
