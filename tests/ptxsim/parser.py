"""Reads a kernel's PTX, as nvcc and Triton write it, into decoded instructions."""

import re

from .modifiers import supported
from .operands import FloatBits, Immediate, Memory, Negated, Pair, Register, Sink, Special, Symbol, Vector
from .program import BARRIER, BRANCH, COLLECTIVE, EXIT, PLAIN, Instruction, Kernel, Parameter
from .ptxtypes import WIDTH, PtxError
from .syntax import alignment, array_length, round_up, split_operands

SPECIAL = re.compile(
    r'%(?:(?:tid|ntid|ctaid|nctaid)\.[xyz]|laneid|warpid|lanemask_(?:lt|le|eq|gt|ge)'
    r'|clock|clock64|smid|nsmid|dynamic_smem_size|total_smem_size)$'
)
VARIABLE = re.compile(r'\.(?:b|u|s|f)(\d+)\s+([\w$]+)\s*((?:\[\s*\d*\s*\])*)')
ADDRESS = re.compile(r'\[\s*([%\w$]+)\s*(?:([+-])\s*(-?\w+))?\s*\]$')
SPACES = ('global', 'shared', 'local', 'param', 'const')
WARP_WIDE = ('shfl', 'vote', 'match', 'redux', 'elect', 'ldmatrix', 'stmatrix')


class KernelParser:
    """Parses one .entry: its head (name, parameters, directives) and its body."""

    WHITESPACE = re.compile(r'\s+')
    LABEL = re.compile(r'([\w$]+)\s*:(?!:)')
    DECLARED_REGISTERS = re.compile(r'\.reg\s*\.(?:v\d\s+\.)?(\w+)\s+(.*)', re.S)

    def __init__(self, head: str, body: str) -> None:
        self.head, self.body = head, body
        self.kernel = Kernel(re.search(r'([\w$]+)\s*\(', head)[1])
        self.scopes: list[dict[str, str]] = [{}]
        self.scoped_names = 0

    def parse(self) -> Kernel:
        """The finished kernel."""
        self._block_limits()
        self._parameters()
        self._body()
        return self.kernel

    def _block_limits(self) -> None:
        for word, x, y, z in re.findall(r'\.(reqntid|maxntid)\s+(\d+)(?:\s*,\s*(\d+))?(?:\s*,\s*(\d+))?', self.head):
            shape = int(x), int(y or 1), int(z or 1)
            if word == 'reqntid':
                self.kernel.required_block = shape
            else:
                self.kernel.largest_block = shape[0] * shape[1] * shape[2]

    def _parameters(self) -> None:
        texts = self.head[self.head.index('(') + 1 : self.head.rindex(')')]
        offset = 0
        for text in re.split(r',(?![^\[]*\])', texts):
            if not text.strip():
                continue
            element = int(re.search(r'\.(?:b|u|s|f)(\d+)\b', text)[1]) // 8
            name, length = re.search(r'([\w$]+)\s*(?:\[(\d+)\])?\s*$', text).groups()
            offset = round_up(offset, element if '.ptr' in text else alignment(text, element))
            is_float = re.search(r'\.f(32|64)\b', text) is not None
            size = element * int(length or 1)
            self.kernel.parameters.append(Parameter(name, offset, size, is_float))
            offset += size

    def _body(self) -> None:
        position, body = 0, self.body
        while position < len(body):
            if found := self.WHITESPACE.match(body, position):
                position = found.end()
            elif found := self.LABEL.match(body, position):
                self._label(found[1])
                position = found.end()
            elif body[position] in '{}':
                self.scopes.append({}) if body[position] == '{' else self.scopes.pop()
                position += 1
            else:
                end = body.index(';', position)
                self._statement(body[position:end].strip())
                position = end + 1

    def _label(self, name: str) -> None:
        if name in self.kernel.labels:
            raise PtxError(f'label {name} occurs twice in {self.kernel.name}')
        self.kernel.labels[name] = len(self.kernel.code)

    def _statement(self, text: str) -> None:
        if text.startswith('.reg'):
            self._registers(text)
        elif text.startswith(('.shared', '.local')):
            self._memory(text)
        elif text and not text.startswith('.'):
            self.kernel.code.append(self._instruction(text))

    def _registers(self, text: str) -> None:
        ptype, names = self.DECLARED_REGISTERS.match(text).groups()
        for declared in names.split(','):
            name, count = re.match(r'\s*(%?[\w$]+)(?:<(\d+)>)?', declared).groups()
            for each in [f'{name}{i}' for i in range(int(count))] if count else [name]:
                self.kernel.registers[self._declare(each)] = WIDTH.get(ptype, 128)

    def _declare(self, name: str) -> str:
        if len(self.scopes) == 1:
            return name
        self.scoped_names += 1
        unique = f'{name}@{self.scoped_names}'
        self.scopes[-1][name] = unique
        return unique

    def _resolve(self, name: str) -> str:
        for scope in reversed(self.scopes):
            if name in scope:
                return scope[name]
        return name

    def _memory(self, text: str) -> None:
        kernel, step = self.kernel, alignment(text)
        bits, name, dimensions = VARIABLE.search(text).groups()
        size = int(bits) // 8 * array_length(dimensions)
        if text.startswith('.shared'):
            kernel.shared[name] = round_up(kernel.shared_size, step)
            kernel.shared_size = kernel.shared[name] + size
        else:
            kernel.local[name] = round_up(kernel.local_size, step)
            kernel.local_size = kernel.local[name] + size

    def _instruction(self, text: str) -> Instruction:
        rest, guard, negated = text, None, False
        if found := re.match(r'@(!?)(%?[\w$]+)\s+(.*)', text, re.S):
            negated, guard, rest = bool(found[1]), self._resolve(found[2]), found[3]
        name, operands = re.match(r'([\w.:]+)\s*(.*)', rest, re.S).groups()
        operation, *words = name.split('.')
        types = tuple(w for w in words if w in WIDTH)
        modifiers = tuple(w for w in words if w not in WIDTH)
        modelled, parsed = supported(operation, modifiers, types), ()
        if modelled:
            try:
                parsed = tuple(self._operand(o) for o in split_operands(operands))
            except PtxError:
                modelled = False
        instruction = Instruction(
            text=re.sub(r'\s+', ' ', text),
            index=len(self.kernel.code),
            operation=operation,
            modifiers=modifiers,
            types=types,
            operands=parsed,
            guard=guard,
            guard_negated=negated,
            kind=kind_of(operation, modifiers),
            modelled=modelled,
        )
        spaces = (m.split('::')[0] for m in modifiers)
        instruction.space = next((s for s in spaces if s in SPACES), 'generic')
        vector = instruction.choose('v2', 'v4', 'v8')
        instruction.vector = int(vector[1]) if vector else 1
        return instruction

    def _operand(self, text: str) -> object:
        if text[0] == '{':
            return Vector(tuple(self._operand(o) for o in split_operands(text[1:-1])))
        if text[0] == '[':
            return self._address(text)
        if '|' in text:
            return Pair(*(self._operand(o.strip()) for o in text.split('|')))
        if text[0] == '!':
            return Negated(self._operand(text[1:].strip()))
        return self._scalar(text)

    def _scalar(self, text: str) -> object:
        if text == '_':
            return Sink()
        if text == 'WARP_SZ':
            return Immediate(32)
        if SPECIAL.match(text):
            return Special(text)
        if found := re.match(r'0[fF]([0-9a-fA-F]{8})$', text):
            return FloatBits(int(found[1], 16), 32)
        if found := re.match(r'0[dD]([0-9a-fA-F]{16})$', text):
            return FloatBits(int(found[1], 16), 64)
        if re.match(r'-?\d', text):
            return Immediate(int(text.rstrip('U'), 0))
        name = self._resolve(text)
        return Register(name) if name in self.kernel.registers else Symbol(text)

    def _address(self, text: str) -> Memory:
        found = ADDRESS.match(text)
        if not found:
            raise PtxError(f'cannot parse the address {text} in {self.kernel.name}')
        base, sign, number = found.groups()
        offset = int(number, 0) if number else 0
        return Memory(self._scalar(base), -offset if sign == '-' else offset)


def kind_of(operation: str, modifiers: tuple[str, ...]) -> int:
    """How the scheduler has to treat an instruction."""
    if operation == 'bra':
        return BRANCH
    if operation in ('ret', 'exit'):
        return EXIT
    if operation in ('bar', 'barrier'):
        return COLLECTIVE if 'warp' in modifiers else BARRIER
    return COLLECTIVE if operation in WARP_WIDE else PLAIN
