"""Runs a kernel: which threads step next, and branches.

All threads of the grid advance in lock-step as far as they can: the scheduler takes the threads with the
lowest program position and runs them until they split, wait, end, or reach threads that are further on.
"""

import struct

import numpy as np

from .meetings import NEVER, RUNNING, Meetings
from .memory import GPU, Allocation, MemorySystem
from .module import Module
from .ops import HANDLERS
from .program import BARRIER, BRANCH, COLLECTIVE, EXIT, PLAIN, Instruction, Kernel, Parameter
from .ptxtypes import PtxError
from .state import Lanes
from .syntax import round_up
from .traffic import Traffic


def encode_argument(parameter: Parameter, value) -> bytes:
    """A launch argument as the raw bytes of its parameter."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, Allocation):
        value = value.base
    if parameter.is_float or isinstance(value, float | np.floating):
        return struct.pack({2: '<e', 4: '<f', 8: '<d'}[parameter.size], value)
    return (int(value) & ((1 << 8 * parameter.size) - 1)).to_bytes(parameter.size, 'little')


class Run(Meetings):
    """One kernel launch and, once `execute` returns, its record.

    races: descriptions of data races (at most 20); steps: instructions stepped through by groups of threads;
    counts: warps that executed each instruction, by position; warp_instructions: their sum; memory: the checks and
    traffic counters; device, stream: where host code launched it (0 for launches without host code).
    """

    device = stream = 0

    def __init__(
        self,
        gpu: GPU,
        module: Module,
        kernel: Kernel,
        grid,
        block,
        args,
        shared,
        race,
        seed,
        blocks,
        max_steps,
    ) -> None:
        super().__init__(kernel, grid, block, blocks)
        self.random = None if seed is None else np.random.default_rng(seed)
        self.max_steps = max_steps
        self.races: list[str] = []
        self.counts: dict[int, int] = {}
        self.warp_instructions = 0
        self.dynamic_shared = shared
        self._place_parameters(args)
        self._place_variables(gpu, module)
        self.memory = MemorySystem(self, gpu.allocations, self.shared_bytes, round_up(kernel.local_size, 16), race)
        for ins in kernel.code:
            if ins.modelled:
                ins.handler = HANDLERS.get(ins.operation)

    def _place_parameters(self, args: list) -> None:
        parameters = self.kernel.parameters
        if len(args) != len(parameters):
            raise PtxError(f'{self.kernel.name} takes {len(parameters)} arguments, got {len(args)}')
        size = max((p.offset + p.size for p in parameters), default=0)
        self.parameters = np.zeros(round_up(size, 16) + 16, np.uint8)
        for parameter, value in zip(parameters, args, strict=True):
            raw = encode_argument(parameter, value)
            end = parameter.offset + parameter.size
            self.parameters[parameter.offset : end] = np.frombuffer(raw, np.uint8)
            self.symbols[parameter.name] = parameter.offset

    def _place_variables(self, gpu: GPU, module: Module) -> None:
        self.symbols |= gpu.variables(module) | self.kernel.local | self.kernel.shared
        size = self.kernel.shared_size
        for variable in module.shared:
            if variable.size:
                size = round_up(size, variable.alignment)
                self.symbols[variable.name] = size
                size += variable.size
        size = round_up(size, 16)
        for variable in module.shared:
            if not variable.size:
                self.symbols[variable.name] = size
        self.shared_bytes = round_up(size + self.dynamic_shared, 16)

    def traffic(self, space: str = 'global') -> Traffic:
        """Bytes and sectors moved in one memory space ('global' or 'shared')."""
        return self.memory.traffic.total(space)

    def execute(self) -> 'Run':
        """Run to the end. Raises PtxError on an illegal access, a deadlock or too many steps."""
        while True:
            active = self.alive & (self.waiting == RUNNING)
            if active.any():
                self._step_group(active)
            elif not self.alive.any():
                return self
            elif not self.release_barriers():
                self._deadlock()

    def _deadlock(self) -> None:
        stuck = np.nonzero(self.alive)[0]
        code = self.kernel.code
        places = sorted(set(self.position[stuck].tolist()))[:4]
        texts = '; '.join(f'{p}: {code[p].text}' for p in places)
        raise PtxError(f'deadlock in {self.kernel.name}: {len(stuck)} threads wait at {texts}')

    def _step_group(self, active: np.ndarray) -> None:
        """Choose the runnable threads that are furthest behind, and run them."""
        candidates = active
        if self.random is not None:
            chosen = self.warp_of[self.random.choice(np.nonzero(active)[0])]
            lucky = self.random.random(self.warps) < 0.5
            candidates = active & ((self.warp_of == chosen) | lucky[self.warp_of])
        start = int(self.position[candidates].min())
        group = candidates & (self.position == start)
        others = self.position[active & ~group]
        ahead = others[others > start]
        stop = int(ahead.min()) if ahead.size else NEVER
        if group.all():
            lanes = Lanes(slice(None), np.arange(self.count))
        else:
            lanes = Lanes.of(np.nonzero(group)[0])
        self._run_group(start, lanes, stop)

    def _run_group(self, position: int | None, lanes: Lanes, stop: int) -> None:
        code, end = self.kernel.code, len(self.kernel.code)
        warps = len(np.unique(self.warp_of[lanes.threads]))
        while position < end:
            ins = code[position]
            self._count(position, warps)
            if ins.kind == PLAIN:
                chosen = lanes if ins.guard is None else self._guarded(ins, lanes)
                if len(chosen):
                    if ins.handler is None:
                        self.fail(ins, 'instruction not supported')
                    ins.handler(self, ins, chosen)
                position += 1
            else:
                position = self._control(ins, lanes)
                if position is None:
                    return
            if position >= stop or (position <= ins.index):
                self.position[lanes.index] = position
                return
        self.alive[lanes.index] = False
        self.release_barriers()

    def _count(self, position: int, warps: int) -> None:
        self.steps += 1
        self.warp_instructions += warps
        self.counts[position] = self.counts.get(position, 0) + warps
        if self.steps > self.max_steps:
            raise PtxError(f'{self.kernel.name}: more than {self.max_steps} steps (endless loop?)')

    def _guarded(self, ins: Instruction, lanes: Lanes) -> Lanes:
        """The lanes whose guard predicate lets them execute."""
        if ins.guard is None:
            return lanes
        return lanes.where(self.registers[ins.guard][lanes.index] != ins.guard_negated)

    def _control(self, ins: Instruction, lanes: Lanes) -> int | None:
        """Execute an instruction that steers threads; the group's next position, or None if it broke up."""
        if not ins.modelled:
            self.fail(ins, 'instruction not supported')
        if ins.kind == BRANCH:
            return self._branch(ins, lanes)
        chosen = self._guarded(ins, lanes)
        if ins.kind == COLLECTIVE:
            return self.collective(ins, lanes, chosen)
        self.position[lanes.index] = ins.index + 1
        if ins.kind == EXIT:
            self.alive[chosen.index] = False
        elif ins.kind == BARRIER and len(chosen):
            self.arrive(ins, chosen)
        self.release_barriers()
        return None

    def _branch(self, ins: Instruction, lanes: Lanes) -> int | None:
        target = self.kernel.labels.get(ins.operands[0].name)
        if target is None:
            self.fail(ins, 'unknown label')
        if ins.guard is None:
            return target
        taken = self.registers[ins.guard][lanes.index] != ins.guard_negated
        if taken.all():
            return target
        if not taken.any():
            return ins.index + 1
        self.position[lanes.threads[taken]] = target
        self.position[lanes.threads[~taken]] = ins.index + 1
        return None
