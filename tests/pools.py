"""Cases of pools, and one backend against the reference on a case; they stand in the package."""

import torch

from snnkern.selftest.compare import compare
from snnkern.selftest.pools import FUNCTIONS, PoolCase, channels_last

Case = PoolCase
F32, F16, BF16 = DTYPES = torch.float32, torch.float16, torch.bfloat16

__all__ = ['BF16', 'DTYPES', 'F16', 'F32', 'FUNCTIONS', 'Case', 'channels_last', 'check']


def check(case: Case, backend: str) -> None:
    """Outputs and counts equal those of the reference, gradients are close to its; layouts are kept."""
    device = torch.device('cpu')
    found = case.results(backend, device)
    compare(found, case.results('reference', device))
    x = case.input()
    assert found['gradient of x'].tensor.stride() == x.stride() or min(case.size) == 1
