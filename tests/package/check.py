"""An installed snnkern does its work: kernels, gradients, the shipped data, the programs. The last line is JSON.

With the argument `demo`, a short `snnkern demo` runs, too.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

import snnkern
from snnkern import backends, data, nn
from snnkern.functional import lateral_pool2d, lif

CUDA = torch.device('cuda')


def program(*words: str) -> str:
    """What `snnkern WORDS` prints, in a folder of its own."""
    with TemporaryDirectory() as folder:
        command = [sys.executable, '-m', 'snnkern', *words]
        return subprocess.run(command, check=True, cwd=folder, stdout=subprocess.PIPE, text=True).stdout


def check_kernels() -> None:
    x = (2 * torch.rand(20, 4, 3, 8, 8)).requires_grad_()
    native, reference = (lif(x, backend=name) for name in ('native', 'reference'))
    assert torch.equal(native, reference)
    grads = [torch.autograd.grad(s.sum(), x)[0] for s in (native, reference)]
    torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-5)
    assert lateral_pool2d(native.detach(), 2).shape == (20, 4, 3, 4, 4)
    assert torch.equal(nn.LIF()(x), native)


def check_files() -> None:
    assert data.mnist().x_train.shape == (8000, 28, 28)
    assert (Path(snnkern.__file__).parent / 'py.typed').exists()


def check_programs(demo: bool) -> None:
    assert program('--version').split() == ['snnkern', snnkern.__version__]
    assert json.loads(program('selftest', '--quick', '--device', 'cpu', '--json'))['passed']
    if demo:
        program('demo', '--epochs', '1', '--timesteps', '1,4')


def refusal(backend: str) -> str:
    """Why a backend runs nothing on a GPU of this machine; empty if it does."""
    return backends.module(backend).refusal('multistep', CUDA, torch.float32) or ''


def openmp() -> str:
    """The OpenMP runtimes of this process: torch's, the system's, or both."""
    maps = Path('/proc/self/maps')
    files = {line.split()[-1] for line in maps.read_text().splitlines() if 'gomp' in line} if maps.exists() else set()
    return ', '.join(sorted("torch's" if '/torch' in file else "the system's" for file in files)) or '?'


def facts() -> dict[str, str]:
    triton = bool(importlib.util.find_spec('triton'))
    assert triton or refusal('triton') == 'triton is not installed', refusal('triton')
    built = bool(importlib.util.find_spec('snnkern._cuda'))
    assert built or torch.cuda.is_available() is False or '_cuda' in refusal('native'), refusal('native')
    return {
        'Python': sys.version.split()[0],
        'torch': torch.__version__,
        'Triton': 'yes' if triton else 'no',
        '_cuda': 'yes' if built else 'no',
        'OpenMP': openmp(),
    }


if __name__ == '__main__':
    if 'site-packages' not in snnkern.__file__ and not os.environ.get('SNNKERN_CHECK_ANYWHERE'):
        raise SystemExit(f'{snnkern.__file__} is not what was installed')
    check_kernels()
    check_files()
    check_programs('demo' in sys.argv[1:])
    print(snnkern.explain())
    print(json.dumps(facts()))
