"""What a parsed kernel is made of: instructions, parameters, variables."""

from dataclasses import dataclass, field

PLAIN, BRANCH, EXIT, BARRIER, COLLECTIVE = range(5)
"""How the scheduler has to treat an instruction."""


@dataclass(slots=True)
class Instruction:
    """One decoded instruction.

    `modifiers` excludes types, `index` is its position in the kernel, `kind` tells the scheduler what it is,
    `modelled` is False for a form the interpreter refuses to execute.
    """

    text: str
    index: int
    operation: str
    modifiers: tuple[str, ...]
    types: tuple[str, ...]
    operands: tuple
    guard: str | None = None
    guard_negated: bool = False
    kind: int = PLAIN
    space: str = 'generic'
    vector: int = 1
    modelled: bool = True
    handler: object = None

    def choose(self, *choices: str) -> str | None:
        """The first modifier that is one of `choices`, or None."""
        return next((m for m in self.modifiers if m in choices), None)


@dataclass(slots=True)
class Parameter:
    """A kernel parameter: its byte offset and size in the parameter block, and whether it is .f32 or .f64."""

    name: str
    offset: int
    size: int
    is_float: bool


@dataclass(slots=True)
class SharedVariable:
    """A module-level shared variable; size 0 means dynamic shared memory."""

    name: str
    size: int
    alignment: int


@dataclass
class Kernel:
    """A parsed .entry: parameters, register widths, memory layout, code and label positions."""

    name: str
    parameters: list[Parameter] = field(default_factory=list)
    registers: dict[str, int] = field(default_factory=dict)
    shared: dict[str, int] = field(default_factory=dict)
    local: dict[str, int] = field(default_factory=dict)
    shared_size: int = 0
    local_size: int = 0
    code: list[Instruction] = field(default_factory=list)
    labels: dict[str, int] = field(default_factory=dict)
    required_block: tuple[int, int, int] | None = None
    largest_block: int | None = None
