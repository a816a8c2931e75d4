"""On a real GPU: the selftest on every device, graphs, streams and devices, and the cases of the other tests."""

import pytest
import torch

from snnkern import backends
from snnkern.backends import native, triton
from snnkern.selftest import Settings, check, run, suite
from snnkern.selftest.cases import CASES, FEW
from snnkern.selftest.device import CHECKS, DeviceCase
from snnkern.selftest.parity import check as parity

WHY = f'needs a real GPU: torch {torch.__version__} sees no CUDA device'
COUNT = torch.cuda.device_count()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason=WHY)]


@pytest.fixture(params=['native', 'triton'])
def backend(request):
    """The name of each that runs on a GPU here."""
    reason = backends.module(request.param).refusal('multistep', torch.device('cuda'), torch.float32)
    if reason:
        pytest.skip(f'{request.param}: {reason}')
    return request.param


@pytest.mark.parametrize('index', range(max(1, COUNT)))
def test_selftest(index):
    report = run(Settings(f'cuda:{index}'))
    assert report['failures'] == []
    assert report['machine']['gpu']


@pytest.mark.filterwarnings(
    'ignore:.*should not be instantiated:DeprecationWarning'
)  # torch 2.11's own, while it traces
@pytest.mark.parametrize('name', CHECKS)
def test_device(backend, name):
    case = DeviceCase(name)
    if reason := case.refusal(torch.device('cuda')):
        pytest.skip(reason)
    check(case, backend, 'cuda')


@pytest.mark.parametrize('dtype', suite.DTYPES, ids=str)
def test_cases_of_neurons(backend, dtype):
    """The reference on the same device, as the tests of emulated GPUs have it on theirs."""
    module = {'native': native, 'triton': triton}[backend]
    for case in [case for case in (*(CASES if backend == 'native' else ()), *FEW) if case.dtype == dtype]:
        x, state = case.inputs()
        parity(module, case, x.cuda(), None if state is None else state.cuda())


def test_a_wrong_launch_is_an_exception():
    """What CUDA refuses comes out as Python's RuntimeError, from the raw module, too."""
    module = native.DEVICES['cuda'].load()
    if isinstance(module, str):
        pytest.skip(module)
    x = torch.rand(4, 33, device='cuda')
    with pytest.raises(RuntimeError):
        module.poisson(0, 4, 33, 1, x.data_ptr(), x.data_ptr(), 0, 1, 1, COUNT, 0)  # no such device
    torch.cuda.synchronize()


def test_benchmark(backend):
    """Its kernels are right before they are timed, and its tables fill."""
    from benchmarks import gpu as benchmark

    report = benchmark.measure(benchmark.parse(['--quick', '--device', 'cuda']))
    assert report['failed'] == {}
    assert all(row['gb_per_s'] > 0 for row in report['rows'])
