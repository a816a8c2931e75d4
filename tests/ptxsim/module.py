"""One PTX text: its kernels and variables."""

import re
from collections.abc import Iterator, Mapping

import numpy as np

from .parser import VARIABLE, KernelParser
from .program import Kernel, SharedVariable
from .ptxtypes import PtxError
from .syntax import alignment, array_length, fill, skip_braces, skip_function, strip_comments

DIRECTIVE = re.compile(
    r'(?:\.(?:visible|extern|weak|common)\s+)*'
    r'\.(entry|func|global|const|shared|section|version|target|address_size)\b'
)


class Kernels(Mapping):
    """Kernels by name, each parsed when it is first asked for: a library has hundreds and a test runs a few."""

    def __init__(self) -> None:
        self._parsers: dict[str, KernelParser] = {}
        self._parsed: dict[str, Kernel] = {}

    def add(self, head: str, body: str) -> None:
        """Take in an .entry."""
        parser = KernelParser(head, body)
        self._parsers[parser.kernel.name] = parser

    def __getitem__(self, name: str) -> Kernel:
        if name not in self._parsed:
            self._parsed[name] = self._parsers[name].parse()
        return self._parsed[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parsers)

    def __len__(self) -> int:
        return len(self._parsers)


class Module:
    """The kernels and module-level variables of one PTX text.

    `kernels` maps names to `Kernel`; `target` is the number of the .target line (90 for sm_90).
    Raises PtxError when the text cannot be parsed, a kernel's when it is first asked for. Instructions that are not
    modelled are only refused when they are executed, so that the other kernels of a file stay usable.
    """

    def __init__(self, text: str) -> None:
        self.kernels = Kernels()
        self.globals: dict[str, np.ndarray] = {}
        self.unsupported_globals: dict[str, str] = {}
        self.shared: list[SharedVariable] = []
        target = re.search(r'^\s*\.target\s+sm_(\d+)', text, re.M)
        self.target = int(target[1]) if target else 0
        self._parse(strip_comments(text))

    def find(self, name: str) -> Kernel:
        """The kernel of that name, or the only one whose name contains it. Raises PtxError otherwise."""
        if name in self.kernels:
            return self.kernels[name]
        matches = [k for k in self.kernels if name in k]
        if len(matches) != 1:
            raise PtxError(f'{len(matches)} kernels match {name!r}; the module has {sorted(self.kernels)}')
        return self.kernels[matches[0]]

    def _parse(self, text: str) -> None:
        position = 0
        while found := DIRECTIVE.search(text, position):
            word, after = found[1], found.end()
            if word in ('version', 'target', 'address_size'):
                position = text.index('\n', after)
            elif word == 'section':
                position = skip_braces(text, after)
            elif word in ('global', 'const', 'shared'):
                position = text.index(';', after) + 1
                self._variable(word, text[found.start() : position - 1])
            elif word == 'func':
                position = skip_function(text, after)
            else:
                position = skip_braces(text, after)
                brace = text.index('{', after)
                self.kernels.add(text[after:brace], text[brace + 1 : position - 1])

    def _variable(self, space: str, text: str) -> None:
        declared = VARIABLE.search(text)
        if not declared:
            raise PtxError(f'cannot parse the variable {text.strip()[:100]}')
        bits, name = int(declared[1]), declared[2]
        size = array_length(declared[3]) * bits // 8
        if space == 'shared':
            self.shared.append(SharedVariable(name, size, alignment(text)))
            return
        data = np.zeros(max(size, 1), np.uint8)
        initial = re.search(r'=\s*\{?(.*?)\}?\s*$', text, re.S)
        try:
            if initial:
                fill(data, bits // 8, initial[1])
            self.globals[name] = data
        except ValueError:
            self.unsupported_globals[name] = text.strip()[:100]
