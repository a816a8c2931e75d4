"""How cost grows: a line through the times of a run, and what an import takes."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.subjects import BOTH, FORWARD, NATIVE
from benchmarks.targets import Row, seconds
from benchmarks.timing import summary

IMPORTS = 'torch', 'snnkern alone', 'its functional and nn', 'snnkern'
PROGRAM = """
from time import perf_counter
a = perf_counter()
import torch
b = perf_counter()
import snnkern
c = perf_counter()
from snnkern import functional, nn
print(b - a, c - b, perf_counter() - c)
"""


def line(points: list[tuple[int, float]]) -> dict[str, float]:
    """a + b * steps through (steps, seconds) by least squares of relative errors; residuals are relative, too."""
    x, y = (np.array(column, dtype=float) for column in zip(*points, strict=True))
    terms = np.stack([np.ones_like(x), x], 1) / y[:, None]
    (a, b), *_ = np.linalg.lstsq(terms, np.ones_like(y), rcond=None)
    off = np.abs((a + b * x) / y - 1)
    return {'a_us': a * 1e6, 'b_ns': b * 1e9, 'median_residual': float(np.median(off)), 'worst_residual': off.max()}


def fits(cases: list[Row]) -> list[Row]:
    """Lines through snnkern native's LIF cases: over N at 16 steps, over T at 2^18 neurons, and over all."""
    found = []
    kinds: dict[str, Callable[[Row], bool]] = {
        'N (T = 16)': lambda case: case['T'] == 16,
        'T (N = 2^18)': lambda case: case['N'] == 1 << 18,
        'T and N': lambda case: True,
    }
    lif = [case for case in cases if case['op'] == 'lif' and not case['threads']]
    for direction in (FORWARD, BOTH):
        for dtype in dict.fromkeys(case['dtype'] for case in lif):
            own = [case for case in lif if (case['direction'], case['dtype']) == (direction, dtype)]
            for over, chosen in kinds.items():
                points = [(c['steps'], s) for c in own if chosen(c) and (s := seconds(c, NATIVE)) is not None]
                if len(points) >= 3:
                    what = {'direction': direction, 'dtype': dtype, 'over': over, 'points': len(points)}
                    found.append({**what, **{key: float(value) for key, value in line(points).items()}})
    return found


def startup(runs: int) -> Row:
    """Seconds of imports one after the other, in fresh processes, after one that does not count; and all of snnkern."""
    command, folder = [sys.executable, '-c', PROGRAM], Path(__file__).parents[1]
    samples: list[tuple[float, ...]] = []
    for _ in range(runs + 1):
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=folder)
        torch_s, package, rest = map(float, done.stdout.split())
        samples.append((torch_s, package, rest, package + rest))
    columns = zip(IMPORTS, zip(*samples[1:], strict=True), strict=True)
    return {name: summary([(t, t) for t in times]).as_dict() for name, times in columns}
