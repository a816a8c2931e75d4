"""The library's own launch code, as the emulated runtime sees it: devices, streams, errors, the order of warps."""

from dataclasses import replace

import pytest
import torch
from cases import FEW
from emulator import EVERY_GPU
from parity import check

from snnkern.backends import native
from snnkern.functional import lif


@pytest.fixture
def elsewhere(gpu, monkeypatch):
    """Calls ask for device 1 of 2 and a stream."""
    gpu.devices = 2
    monkeypatch.setitem(native.DEVICES, 'cpu', replace(native.DEVICES['cpu'], where=lambda x: (1, 0x500)))
    return gpu


@pytest.mark.parametrize('gpu', EVERY_GPU, indirect=True)
@pytest.mark.parametrize('case', FEW[:2], ids=str)
def test_every_architecture(gpu, case):
    check(native, case, *case.inputs())
    target = gpu.kernels[gpu.runs[-1].kernel.name].target
    assert target == gpu.arch


def test_device_and_stream_are_passed_on(elsewhere):
    x = torch.randn(4, 70, requires_grad=True)
    lif(x).sum().backward()
    assert [(run.device, run.stream) for run in elsewhere.runs] == [(1, 0x500)] * 2
    assert elsewhere.current_device == 0


@pytest.mark.parametrize(
    ('function', 'error'), [('cudaLaunchKernel', 2), ('cudaSetDevice', 101), ('cudaGetDevice', 700)]
)
def test_errors_are_exceptions(elsewhere, function, error):
    """The device is restored, and the next call is not blamed."""
    x = torch.randn(4, 70)
    elsewhere.fail_next(function, error)
    with pytest.raises(RuntimeError, match='CUDA: cudaError'):
        lif(x)
    assert elsewhere.runs == []
    assert elsewhere.current_device == 0
    assert torch.equal(lif(x), lif(x, backend='reference'))


@pytest.mark.parametrize('seed', [1, 2])
def test_any_order_of_warps(gpu, seed):
    gpu.seed = seed
    for case in FEW[:2]:
        check(native, case, *case.inputs())
