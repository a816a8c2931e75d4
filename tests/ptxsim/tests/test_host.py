"""What the stand-in runtime shows of host code: streams, devices, the order of warps, and errors on demand."""

import ctypes
import threading

import numpy as np
import pytest
import torch

from ptxsim import FakeGPU, PtxError

from .lif import pack, packed_reference, unpack


@pytest.fixture
def arrays(gpu: FakeGPU) -> tuple[torch.Tensor, torch.Tensor]:
    """Input and output of `pack`, registered."""
    x, out = torch.randn(4, 300), torch.zeros(4, 10, dtype=torch.int32)
    gpu.register(x)
    gpu.register(out)
    return x, out


def test_launches_know_their_device_and_stream(gpu: FakeGPU, arrays) -> None:
    gpu.devices = 2
    assert gpu.lib.k_device_count() == gpu.devices == 2
    streams = [ctypes.c_void_p() for _ in range(2)]
    for stream in streams:
        assert gpu.runtime.cudaStreamCreate(ctypes.byref(stream)) == 0
    numbers = [stream.value for stream in streams]
    assert 0 not in numbers
    assert numbers[0] != numbers[1]
    for device, stream in ((0, 0), (1, numbers[0]), (0, numbers[1])):
        assert gpu.runtime.cudaSetDevice(device) == 0
        assert gpu.current_device == device
        assert pack(gpu, *arrays, 300, stream) == 0
        assert (gpu.runs[-1].device, gpu.runs[-1].stream) == (device, stream)


def test_absent_devices(gpu: FakeGPU) -> None:
    value = ctypes.c_int()
    for devices in (1, 2):
        gpu.devices = devices
        for absent in (devices, -1):
            assert gpu.runtime.cudaSetDevice(absent) == 101
            assert gpu.runtime.cudaDeviceGetAttribute(ctypes.byref(value), 10, absent) == 101
        assert gpu.current_device == 0


def test_the_current_device_is_a_threads_own(gpu: FakeGPU) -> None:
    gpu.devices = 2
    seen = []

    def other() -> None:
        seen.append(gpu.current_device)
        gpu.runtime.cudaSetDevice(1)
        seen.append(gpu.current_device)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == [0, 1]
    assert gpu.current_device == 0


def test_devices_are_an_option(sample_library) -> None:
    with FakeGPU(sample_library, devices=3) as gpu:
        assert gpu.devices == gpu.lib.k_device_count() == 3


def test_order_of_warps(gpu: FakeGPU, arrays) -> None:
    """Lock-step takes the fewest steps; the same seed gives the same order, and every order the same spikes."""
    x, out = arrays
    steps = []
    for seed in (None, 1, 2, 1):
        gpu.seed = seed
        assert pack(gpu, x, out.zero_(), 300) == 0
        assert np.array_equal(unpack(out.numpy(), 300), packed_reference(x.numpy()))
        steps.append(gpu.runs[-1].steps)
    assert steps[0] < min(steps[1:])
    assert steps[1] == steps[3] != steps[2]
    assert gpu.races == []


@pytest.mark.parametrize('error', [2, 700, 999])
def test_a_chosen_launch_fails(gpu: FakeGPU, arrays, error: int) -> None:
    gpu.fail_next('cudaLaunchKernel', error)
    assert pack(gpu, *arrays, 300) == error
    assert gpu.runs == []
    assert gpu.error is None
    assert pack(gpu, *arrays, 300) == 0
    assert len(gpu.runs) == 1


def test_chosen_calls_fail_in_turn(gpu: FakeGPU) -> None:
    for error in (2, 35):
        gpu.fail_next('cudaGetDeviceCount', error)
    gpu.fail_next('cudaMalloc', 2)
    assert [gpu.lib.k_device_count() for _ in range(3)] == [-2, -35, 1]
    assert gpu.lib.k_count() == -1
    assert gpu.runtime.cudaGetLastError() == 2
    assert gpu.lib.k_count() == 1


def test_calls_that_never_come_are_an_error(gpu: FakeGPU) -> None:
    with pytest.raises(PtxError, match='1 calls that were to fail did not come'), gpu.track():
        gpu.fail_next('cudaMalloc', 2)
    with gpu.track():
        gpu.lib.k_count()
    for name in ('cudaLunchKernel', 'fake_set'):
        with pytest.raises(PtxError, match=f'no function {name}'):
            gpu.fail_next(name, 1)


def test_names_of_errors(gpu: FakeGPU) -> None:
    gpu.runtime.cudaGetErrorName.restype = gpu.runtime.cudaGetErrorString.restype = ctypes.c_char_p
    names = {
        0: b'cudaSuccess',
        2: b'cudaErrorMemoryAllocation',
        719: b'cudaErrorLaunchFailure',
        5: b'cudaErrorFromPtxsim',
    }
    assert {error: gpu.runtime.cudaGetErrorName(error) for error in names} == names
    assert gpu.runtime.cudaGetErrorString(101) == b'invalid device ordinal'
