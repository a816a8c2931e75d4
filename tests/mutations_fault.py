"""A fault that is planted into a copy of the sources."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Fault:
    """file: of the repository, in which the text `old`, which stands there once, becomes `new`. tests: what must catch
    it, as arguments of pytest in one string each. rebuild: the names of the .cu files that are compiled with it (none:
    `file` itself); kernels of the others stay as they are. harmless: nothing is wrong with it, and no test may fail.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    rebuild: tuple[str, ...] = ()
    harmless: bool = False

    @property
    def compiled(self) -> bool:
        """Whether it is in what nvcc compiles."""
        return not self.file.startswith('snnkern/')

    def planted(self, root: Path) -> str:
        """The text of the file with the fault. Raises ValueError where the old text is not there, or not once."""
        text = (root / self.file).read_text()
        if (count := text.count(self.old)) != 1:
            raise ValueError(
                f'{self.name}: {self.file} must hold the old text once, holds it {count} times: {self.old!r}'
            )
        return text.replace(self.old, self.new)
