"""Compile Triton's kernels on all cores before the cases run: one after another they take minutes.

Each process runs a part of the cases, whatever comes of it, and leaves the kernels in Triton's cache on disk.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from time import monotonic

import torch

from snnkern.selftest import suite

MOST = 8  # processes: each takes some hundred MiB of the device
LONGEST = 90  # seconds
CHILD = 'import sys; from snnkern.selftest import ahead; ahead.compile_part(*map(int, sys.argv[1:4]), sys.argv[4])'


def compile_all(device: torch.device, quick: bool, progress: Callable[[str, float], None]) -> None:
    """Returns when every process has ended. With one core it does nothing, since cases compile what they need."""
    count = min(MOST, os.cpu_count() or 1)
    if count == 1:
        return
    progress(f'triton: compiling in {count} processes', 0.0)
    children, last = [], monotonic() + LONGEST
    try:
        for i in range(count):
            command = [sys.executable, '-c', CHILD, str(i), str(count), str(int(quick)), str(device)]
            children.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        for child in children:
            child.wait(max(0.0, last - monotonic()))
    except subprocess.TimeoutExpired:
        pass  # what is not compiled by now is compiled where it runs
    finally:
        for child in children:
            child.kill()
        for child in children:
            child.wait()


def compile_part(number: int, count: int, quick: int, device: str) -> None:
    """Every count-th case from `number` on. What is wrong with a case shows when it runs for its own sake."""
    for case in suite.cases(bool(quick), True)[number::count]:
        if case.refusal(torch.device(device)) is None:
            with suppress(Exception):
                case.results('triton', torch.device(device))
