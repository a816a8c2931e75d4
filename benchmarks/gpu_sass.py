"""How many machine instructions a launch executes, and how many loads of a thread are under way at once: estimates.

The emulator counts PTX instructions. To carry its counts over, every basic block of the PTX gets a marker that the
assembler keeps (`pmevent.mask`, in machine code PMTRIG), and a block of machine code was executed as often as the
markers that it holds. The assembler's own blocks (around a division, say) have none and take their neighbours' count;
what is behind a call, such as the division of subnormals, counts as never run. A loop that the assembler unrolls holds
a marker several times, each of which gets its share. Behind a marker the assembler does not know that an address is the
same for all threads: R2UR, which then fetches it anew, is not counted. What is left is within some per cent of the code
without markers (`distortion`).
"""

import re
import shutil
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from functools import cache, lru_cache
from math import inf
from pathlib import Path
from typing import Any

from benchmarks.emulated import ptxsim

ENTRY = re.compile(r'(?:\.visible|\.weak)?\s*\.entry\s+([\w$]+)')
TOKEN = re.compile(r'\s+|[\w$]+\s*:(?!:)|[{}]|[^;{]*(?:\{[^}]*\}[^;{]*)*;')
LINE = re.compile(r'/\*([0-9a-f]{4,})\*/\s+(@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)\s*([^;]*);')
TARGETED = re.compile(r'\.target\s+(\w+)')
TARGET = re.compile(r'0x([0-9a-f]+)')
REGISTER = re.compile(r'\bR(\d+)\b')
NOT_COUNTED = ('NOP', 'PMTRIG', 'R2UR')
ENDS = ('BRA', 'EXIT', 'RET', 'CALL', 'BRX', 'JMP', 'BREAK')
BYTES = {'U8': 1, 'S8': 1, 'U16': 2, 'S16': 2, '64': 8, '128': 16, '256': 32}


@dataclass
class Block:
    """Machine instructions (address, name, operands) without a branch but at the end. runs: warps that went through."""

    lines: list[tuple[int, str, str]]
    next: list[int] = field(default_factory=list)
    runs: float = inf

    @property
    def marks(self) -> list[int]:
        """The markers in it."""
        return [int(operands, 16) for _, name, operands in self.lines if name.startswith('PMTRIG')]

    def has(self, *names: str) -> bool:
        """Whether an instruction of one of these base names is in it."""
        return any(name.split('.')[0] in names for _, name, _ in self.lines)


@dataclass(frozen=True)
class Executed:
    """Of one launch: warp instructions, those of the special-function unit, global loads (all estimates; loads is what
    the emulator counts exactly, as a check), the most loads of a thread under way at once and their bytes."""

    instructions: float
    special: float
    loads: float
    loads_in_flight: int
    bytes_in_flight: int


def alone(text: str, name: str) -> str:
    """A module's PTX, without comments, with no other kernel than `name`."""
    syntax, kept, position = ptxsim().syntax, [], 0
    text = syntax.strip_comments(text)
    for found in ENTRY.finditer(text):
        kept.append(text[position : found.start()])
        position = syntax.skip_braces(text, found.end())
        if found[1] == name:
            kept.append('\n' + text[found.start() : position] + '\n')
    return ''.join([*kept, text[position:]])


def marked(text: str, kernel: Any) -> tuple[str, dict[int, int]]:
    """The kernel's PTX with a marker before each basic block, and the position of the block's first instruction."""
    text = alone(text, kernel.name)
    brace = text.index('{', ENTRY.search(text).end())  # type: ignore[union-attr]
    end = ptxsim().syntax.skip_braces(text, brace)
    out, places, position, fresh = [], {}, 0, True
    for token in TOKEN.findall(text, brace + 1, end - 1):
        stripped = token.strip()
        if stripped.endswith(':'):
            fresh = True
        elif stripped.endswith(';') and not stripped.startswith('.') and stripped != ';':
            if fresh:
                places[len(places) + 1] = position
                out.append(f'pmevent.mask {len(places)};\n')
            fresh = kernel.code[position].operation in ('bra', 'ret', 'exit')
            position += 1
        out.append(token)
    assert position == len(kernel.code), f'{kernel.name}: {position} of {len(kernel.code)} instructions found'
    return text[: brace + 1] + ''.join(out) + text[end - 1 :], places


@cache
def assemblers() -> list[str]:
    """The assemblers that are here, nvcc's first: it understands its own PTX, Triton's an older one."""
    found = [shutil.which('ptxas')]
    try:
        import triton
    except ImportError:
        return [path for path in found if path]
    folder = Path(triton.__file__).parent / 'backends' / 'nvidia' / 'bin'
    return [path for path in (*found, str(folder / 'ptxas'), str(folder / 'ptxas-blackwell')) if path]


@lru_cache(maxsize=256)
def machine_code(ptx: str, arch: str) -> str:
    """The listing of what the assembler makes of it. Raises RuntimeError if none can."""
    errors = []
    with tempfile.TemporaryDirectory() as folder:
        source, cubin = Path(folder) / 'kernel.ptx', Path(folder) / 'kernel.cubin'
        source.write_text(ptx)
        for assembler in assemblers():
            command = [assembler, f'-arch={arch}', str(source), '-o', str(cubin)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return str(ptxsim().toolchain.run_cuda_tool('cuobjdump', '-sass', str(cubin)))
            errors.append(done.stderr)
    raise RuntimeError('\n'.join(errors) or 'no ptxas: it comes with nvcc and with Triton')


def blocks_of(listing: str) -> list[Block]:
    """The basic blocks in the order of their addresses, with the blocks that may follow each."""
    code = [(int(at, 16), name, operands, bool(guard)) for at, guard, name, operands in LINE.findall(listing)]
    starts = {code[0][0]}
    for i, (_, name, operands, _) in enumerate(code[:-1]):
        if name.split('.')[0] in ENDS:
            starts.add(code[i + 1][0])
            starts |= {int(found, 16) for found in TARGET.findall(operands)}
    blocks: list[Block] = []
    for at, name, operands, _ in code:
        if at in starts:
            blocks.append(Block([]))
        blocks[-1].lines.append((at, name, operands))
    first, guarded = {block.lines[0][0]: i for i, block in enumerate(blocks)}, {at for at, *_, guard in code if guard}
    for i, block in enumerate(blocks):
        at, name, operands = block.lines[-1]
        ends = name.split('.')[0] in ENDS
        block.next = [first[int(t, 16)] for t in TARGET.findall(operands) if ends and int(t, 16) in first]
        if i + 1 < len(blocks) and (not ends or at in guarded):
            block.next.append(i + 1)
    return blocks


def count(blocks: list[Block], marks: dict[int, int]) -> None:
    """Sets how often each block was executed. marks: how often each marker was."""
    copies = Counter(mark for block in blocks for mark in block.marks)
    unmarked = []
    for i, block in enumerate(blocks):
        if block.marks:
            block.runs = max(marks[mark] / copies[mark] for mark in block.marks)
        elif block.has('CALL', 'RET'):
            block.runs = 0
        else:
            unmarked.append(i)
    before: dict[int, list[int]] = {i: [] for i in range(len(blocks))}
    for i, block in enumerate(blocks):
        for j in block.next:
            if j != i:
                before[j].append(i)
    for _ in range(len(unmarked) + 1):
        for i in unmarked:
            into = max((blocks[j].runs for j in before[i]), default=0)
            out = max((blocks[j].runs for j in blocks[i].next), default=inf)
            blocks[i].runs = min(blocks[i].runs, into, out)


def width_of(name: str) -> int:
    """Bytes that a load or store moves for a thread."""
    return next((BYTES[part] for part in name.split('.')[1:] if part in BYTES), 4)


def in_flight(blocks: list[Block]) -> tuple[int, int]:
    """The most global loads of a thread that were issued before the first use of any of them, and their bytes.

    Follows the executed blocks in the order of their addresses, each loop's body twice, so that what one round loads
    for the next counts. A load is under way until an instruction names one of its registers.
    """
    most, widest, waiting = 0, 0, {}
    for name, operands in _trace(blocks):
        named = {int(r) for r in REGISTER.findall(operands)}
        loads = name.startswith('LDG')
        if loads:
            target = int(REGISTER.findall(operands)[0]) if REGISTER.search(operands) else -1
            named |= set(range(target, target + max(1, width_of(name) // 4)))
        waiting = {key: value for key, value in waiting.items() if not named & value[0]}
        if loads:
            waiting[object()] = (named & set(range(target, target + max(1, width_of(name) // 4))), width_of(name))
            most = max(most, len(waiting))
            widest = max(widest, sum(size for _, size in waiting.values()))
    return most, widest


def _trace(blocks: list[Block]) -> list[tuple[str, str]]:
    """Instructions of executed blocks; a loop's body again after its end."""
    found: list[tuple[str, str]] = []
    for i, block in enumerate(blocks):
        if block.runs:
            found += [(name, operands) for _, name, operands in block.lines]
        for j in (j for j in block.next if j <= i and block.runs):
            found += [(name, operands) for b in blocks[j : i + 1] if b.runs for _, name, operands in b.lines]
    return found


def executed(ptx: str, run: Any) -> Executed:
    """What a run of the emulator would execute on a GPU. ptx: the module, whose target names the architecture."""
    text, places = marked(ptx, run.kernel)
    blocks = blocks_of(machine_code(text, TARGETED.search(text)[1]))  # type: ignore[index]
    count(blocks, {mark: run.counts.get(position, 0) for mark, position in places.items()})
    totals: Counter[str] = Counter()
    for block in blocks:
        for _, name, _ in block.lines:
            totals[name.split('.')[0]] += block.runs  # type: ignore[assignment]
    instructions = sum(n for name, n in totals.items() if name not in NOT_COUNTED)
    return Executed(instructions, totals['MUFU'], totals['LDG'], *in_flight(blocks))


def distortion(ptx: str, kernel: Any) -> float:
    """The size of a kernel's machine code with markers (which do not count) over that without."""
    text, _ = marked(ptx, kernel)
    arch, sizes = TARGETED.search(text)[1], []  # type: ignore[index]
    for code in (text, alone(ptx, kernel.name)):
        names = [name.split('.')[0] for _, _, name, _ in LINE.findall(machine_code(code, arch))]
        sizes.append(sum(name not in NOT_COUNTED for name in names))
    return sizes[0] / sizes[1]
