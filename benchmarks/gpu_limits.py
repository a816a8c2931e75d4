"""What a GPU allows at most: threads on a multiprocessor, and bounds on time. No time here was ever measured."""

from dataclasses import dataclass
from typing import NamedTuple

from benchmarks.emulated import ptxsim

REGISTERS = 65536  # of a multiprocessor, from compute capability 5.0 on
REGISTER_UNIT = 256  # registers are given to warps in these
SCHEDULERS = 4  # parts of a multiprocessor, each with its quarter of the registers and one instruction a cycle
SPECIAL_CYCLES = 2  # of a warp's special function on the multiprocessor's 16 units
LATENCY = 700e-9  # s from a load to its value under load: an assumption


class Limits(NamedTuple):
    """Of a multiprocessor: threads, blocks, bytes of shared memory, its unit, and what is kept of it for each block."""

    threads: int
    blocks: int
    shared: int
    unit: int
    kept: int


LIMITS = {
    'sm_75': Limits(1024, 16, 64 << 10, 256, 0),
    'sm_80': Limits(2048, 32, 164 << 10, 128, 1024),
    'sm_89': Limits(1536, 24, 100 << 10, 128, 1024),
    'sm_90': Limits(2048, 32, 228 << 10, 128, 1024),
    'sm_100': Limits(2048, 32, 228 << 10, 128, 1024),
    'sm_120': Limits(1536, 24, 100 << 10, 128, 1024),
}
ARCH_OF = {'a100': 'sm_80', 'h100': 'sm_90', 'rtx4090': 'sm_89', 'b200': 'sm_100'}


def resident(arch: str, registers: int, threads: int, shared: int = 0) -> int:
    """Threads that a multiprocessor of `arch` holds at most, in whole blocks.

    registers: of a thread; threads: of a block; shared: bytes of a block. Source of the method: NVIDIA's
    `cuda_occupancy.h` (CUDA 13.0); of the numbers: it, and the table "Technical Specifications per Compute Capability"
    of the CUDA C++ Programming Guide 13.0. Raises KeyError for an architecture that is not in `LIMITS`.
    Example: `resident('sm_80', 37, 128)` is 1536, of 2048.
    """
    limits, warps = LIMITS[arch], -(-threads // 32)
    of_warp = -(-max(registers, 1) * 32 // REGISTER_UNIT) * REGISTER_UNIT
    of_block = -(-(shared + limits.kept) // limits.unit) * limits.unit
    blocks = min(
        limits.blocks,
        limits.threads // (32 * warps),
        REGISTERS // SCHEDULERS // of_warp * SCHEDULERS // warps,
        limits.shared // max(of_block, 1),
    )
    return blocks * warps * 32


@dataclass(frozen=True)
class Work:
    """What a kernel does for one element-step. loaded, stored: bytes; instructions, special: of a thread; threads:
    resident on a multiprocessor; flight: bytes of a thread's loads that are under way at once at most."""

    loaded: float
    stored: float
    instructions: float
    special: float
    threads: int
    flight: int


def bounds(work: Work, device: str) -> dict[str, float]:
    """Seconds that 10^9 element-steps take at least, by resource; device: 'a100', 'h100', 'rtx4090' or 'b200'.

    bandwidth: all bytes at the peak rate. issue: one instruction a cycle and scheduler. special: the special-function
    units. latency: Little's law, loads of all resident threads under way all the time for LATENCY each.
    """
    rates, steps = ptxsim().DEVICES[device], 1e9
    cycles = rates.multiprocessors * rates.clock
    return {
        'bandwidth': steps * (work.loaded + work.stored) / rates.dram,
        'issue': steps * work.instructions / 32 / (SCHEDULERS * cycles),
        'special': steps * work.special / 32 * SPECIAL_CYCLES / cycles,
        'latency': steps * work.loaded * LATENCY / (rates.multiprocessors * work.threads * work.flight),
    }


def binding(work: Work, device: str) -> tuple[str, float]:
    """The resource that binds, and its bound in seconds; latency, which rests on an assumption, is left out."""
    found = {name: value for name, value in bounds(work, device).items() if name != 'latency'}
    limit = max(found, key=lambda name: found[name])
    return limit, found[limit]
