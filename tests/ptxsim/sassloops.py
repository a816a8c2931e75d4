"""The loops of compiled kernels and what one turn of each executes, read from the machine code.

A loop is what the control-flow graph says it is: a branch back to an instruction that every path to the branch passes.
Code that the compiler moved out of the way and that returns into a loop belongs to it, wherever it lies.
"""

import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from .flow import natural_loops
from .sass import SassCounts
from .toolchain import ToolError, run_cuda_tool

SECTION = re.compile(r'\.text\.(\S+):$')
LABEL = re.compile(r'(\.L\S+|\$\S+):$')
INSTRUCTION = re.compile(r'/\*([0-9a-f]{4,})\*/\s+(@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)\s*(.*?)\s*;')
TARGET = re.compile(r'`\(([^)]+)\)')
TABLE = re.compile(r'BRANCH_TARGETS ([^"]+)"')

CLASSES = {
    'global': 'LD LDG LDGSTS ST STG ATOM ATOMG RED REDG',
    'shared': 'LDS LDSM STS STSM ATOMS',
    'local': 'LDL STL',
    'constant': 'LDC LDCU ULDC',
    'float': 'FADD FMUL FFMA FSEL FSET FSETP FMNMX FMNMX3 FCHK FSWZADD FRND FADD2 FMUL2 FFMA2',
    'half': 'HADD2 HMUL2 HFMA2 HSET2 HSETP2 HMNMX2',
    'double': 'DADD DMUL DFMA DSETP',
    'special': 'MUFU',
    'conversion': 'F2F F2FP F2I F2IP I2F I2FP I2I',
    'integer': 'IADD IADD3 IMAD IABS ISETP IMNMX IDP LEA VIADD VIADDMNMX VIMNMX VIMNMX3',
    'bits': 'LOP3 SHF SHL SHR POPC FLO BREV BMSK SGXT',
    'move': 'MOV SEL PRMT CS2R S2R S2UR R2UR UMOV',
    'predicate': 'PLOP3 P2R R2P',
    'warp': 'SHFL VOTE VOTEU MATCH REDUX REDUXU WARPSYNC',
    'barrier': 'BAR MEMBAR FENCE ERRBAR DEPBAR CCTL',
    'control': 'BRA BRX BRXU BSSY BSYNC BREAK BMOV CALL RET EXIT NOP YIELD NANOSLEEP',
}
"""Base names of the machine's instructions by what they do; the rest that begin with U are 'uniform'."""

CLASS_OF = {name: kind for kind, names in CLASSES.items() for name in names.split()}


def instruction_class(name: str) -> str:
    """The class of an instruction in CLASSES, 'uniform' for the uniform datapath's, or 'other'."""
    if name.startswith('IMAD.MOV'):
        return 'move'
    base = name.split('.')[0]
    return CLASS_OF.get(base) or ('uniform' if base[0] == 'U' else 'other')


@dataclass
class Loop(SassCounts):
    """One loop: `start` and `end` are the byte addresses of its first instruction and of its last branch back to it.

    instructions: the count by full name of what is its own, without nested loops; inner: those, by address; depth: 0 if
    it is in no other. All paths through the loop count: a turn executes at most that many, of an if only one side.
    A call counts as one instruction ('CALL').
    """

    start: int = 0
    end: int = 0
    depth: int = 0
    inner: list['Loop'] = field(default_factory=list)

    @property
    def classes(self) -> Counter:
        """Its own instructions by class, such as 'global', 'float', 'integer' (see CLASSES)."""
        counts: Counter = Counter()
        for name, number in self.instructions.items():
            counts[instruction_class(name)] += number
        return counts

    def innermost(self) -> Iterator['Loop']:
        """The loops in it that contain none, itself if there are none."""
        if not self.inner:
            yield self
        for loop in self.inner:
            yield from loop.innermost()


def sass_loops(path: str | Path, arch: str | None = None) -> dict[str, list[Loop]]:
    """The outermost loops of every kernel in a file, by mangled name; `arch` ('sm_90') selects one of several targets.

    path: a cubin, fat binary, shared library or extension module. Kernels without loops have an empty list.
    Raises ToolError if cuobjdump or nvdisasm is missing or cannot read the file.

    >>> (loop,) = sass_loops('scale.cubin')['scale']
    >>> inner = next(loop.innermost())
    >>> inner.size, inner.loads, inner.classes['float']
    (8, {'32': 1}, 1)
    """
    loops: dict[str, list[Loop]] = {}
    with tempfile.TemporaryDirectory() as folder:
        select = ['-arch', arch] if arch else []
        run_cuda_tool('cuobjdump', *select, '-xelf', 'all', str(Path(path).resolve()), cwd=folder)
        for cubin in sorted(Path(folder).glob('*.cubin')):
            for name, code in _kernels(run_cuda_tool('nvdisasm', '-c', str(cubin)).splitlines()):
                loops.setdefault(name, code.loops())
    return loops


class Code:
    """The instructions of one kernel and of the functions in its section, and where labels point."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.lines: list[tuple[int, bool, str, str]] = []  # address, guarded, name, operands
        self.labels: dict[str, int] = {}

    def read(self, line: str) -> None:
        """Take in one line of nvdisasm's."""
        if found := LABEL.match(line):
            self.labels[found[1]] = len(self.lines)
        elif found := INSTRUCTION.search(line):
            self.lines.append((int(found[1], 16), found[2] is not None, found[3], found[4]))

    def targets(self, operands: str) -> list[int]:
        """The positions that a branch names."""
        table = TABLE.search(operands)
        names = table[1].split(',') if table else TARGET.findall(operands)
        return [self.labels[name] for name in names if name in self.labels]

    def successors(self, position: int) -> list[int]:
        """Where control may go after an instruction; a call returns to the next one."""
        _, guarded, name, operands = self.lines[position]
        base = name.split('.')[0]
        following = [position + 1] if position + 1 < len(self.lines) else []
        if base in ('EXIT', 'RET'):
            return following if guarded else []
        if base not in ('BRA', 'BRX', 'BRXU'):
            return following
        targets = self.targets(operands)
        if not targets:
            raise ToolError(f'{self.name}: the targets of {name} {operands} are unknown')
        conditional = guarded or (base == 'BRA' and ',' in operands)  # as in BRA.U UP0, `(.L_x_1)
        return [*targets, *(following if conditional else [])]

    def loops(self) -> list[Loop]:
        """The outermost loops, by address."""
        if not self.lines:
            return []
        after = [self.successors(position) for position in range(len(self.lines))]
        called = [t for _, _, name, operands in self.lines if name.startswith('CALL') for t in self.targets(operands)]
        return self._nest(natural_loops(after, [0, *called]))

    def _nest(self, bodies: dict[int, set[int]]) -> list[Loop]:
        outermost: list[Loop] = []
        made: list[tuple[set[int], Loop]] = []
        for header, body in sorted(bodies.items(), key=lambda item: (-len(item[1]), item[0])):
            around = [loop for others, loop in made if header in others]
            last = max(p for p in body if header in self.successors(p))
            loop = Loop(start=self.lines[header][0], end=self.lines[last][0], depth=len(around))
            loop.instructions = self._names(body)
            for outer in around[-1:]:
                outer.inner.append(loop)
            if not around:
                outermost.append(loop)
            made.append((body, loop))
        for body, loop in made:
            nested = [others for others, other in made if other in loop.inner]
            loop.instructions = self._names(body.difference(*nested))
            loop.inner.sort(key=lambda inner: inner.start)
        return sorted(outermost, key=lambda loop: loop.start)

    def _names(self, positions: Iterable[int]) -> Counter:
        return Counter(self.lines[position][2] for position in positions)


def _kernels(lines: list[str]) -> Iterator[tuple[str, Code]]:
    """The kernels of nvdisasm's output."""
    code = None
    for line in map(str.strip, lines):
        if found := SECTION.match(line):
            if code is not None:
                yield code.name, code
            code = Code(found[1])
        elif code is not None:
            code.read(line)
    if code is not None:
        yield code.name, code
