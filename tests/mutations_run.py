"""Runs tests in a process of their own that has torch already: most of the time of a short run is its import."""

import multiprocessing
import os
import shlex
import sys
import tempfile
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OPTIONS = ['-x', '-q', '-p', 'mutations_plugin', '-p', 'no:cacheprovider', '-p', 'no:xdist', '-o', 'addopts=']


@cache
def _server() -> multiprocessing.context.ForkServerContext:
    context = multiprocessing.get_context('forkserver')
    context.set_forkserver_preload(['torch', 'numpy', 'pytest'])
    return context


def _run(tests: str, library: str, package: str, output: str) -> None:
    """In the process of its own: ends with pytest's exit code."""
    with open(output, 'w') as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
    os.chdir(ROOT)
    os.environ.update(SNNKERN_FAULTY=library, OMP_NUM_THREADS='1')
    sys.path[:] = [*dict.fromkeys([package, str(ROOT), str(ROOT / 'tests')]), *filter(None, sys.path)]
    import pytest
    import torch

    torch.set_num_threads(1)
    marks = [] if '-m ' in tests else ['-m', 'not slow']
    os._exit(pytest.main([*OPTIONS, *marks, *shlex.split(tests)]))


def fails(tests: str, library: Path, package: Path) -> bool:
    """Whether a test fails with this `_cuda` and snnkern of the folder `package`. Raises RuntimeError if none ran."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / 'output'
        process = _server().Process(target=_run, args=(tests, str(library), str(package), str(output)))
        process.start()
        process.join()
        if process.exitcode not in (0, 1):
            text = output.read_text() if output.exists() else ''
            raise RuntimeError(f'{tests} ended with {process.exitcode}\n{text[-3000:]}')
    return process.exitcode == 1
