"""An installed snnkern does its work: kernels, gradients, the shipped data, the program."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import torch

import snnkern
from snnkern import data, nn
from snnkern.functional import lateral_pool2d, lif

if 'site-packages' not in snnkern.__file__ and not os.environ.get('SNNKERN_CHECK_ANYWHERE'):
    raise SystemExit(f'{snnkern.__file__} is not what was installed')
print('Python', sys.version.split()[0], 'torch', torch.__version__, 'Triton', bool(importlib.util.find_spec('triton')))
x = (2 * torch.rand(20, 4, 3, 8, 8)).requires_grad_()
native, reference = (lif(x, backend=name) for name in ('native', 'reference'))
assert torch.equal(native, reference)
grads = [torch.autograd.grad(s.sum(), x)[0] for s in (native, reference)]
torch.testing.assert_close(*grads, rtol=1e-4, atol=1e-5)
assert lateral_pool2d(native.detach(), 2).shape == (20, 4, 3, 4, 4)
layer = nn.LIF()
assert torch.equal(layer(x), native)
assert data.mnist().x_train.shape == (8000, 28, 28)
assert (Path(snnkern.__file__).parent / 'py.typed').exists()
print(snnkern.explain())
subprocess.run([sys.executable, '-m', 'snnkern', '--help'], check=True, stdout=subprocess.DEVNULL)
