"""Size is a budget: what outgrows it is two things."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
FILE_LINES = {'.py': 300, '.c': 400, '.cpp': 400, '.cu': 400, '.h': 250, '.cuh': 250}
FUNCTION_LINES = 40


def sources(*suffixes: str) -> Iterator[Path]:
    """The project's own files of these kinds."""
    for folder in ('snnkern', 'csrc', 'tests', 'benchmarks', 'docs'):
        yield from (path for path in sorted((ROOT / folder).rglob('*')) if path.suffix in suffixes)
    yield ROOT / 'setup.py'


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body, without a docstring: explaining at length is free."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


def test_files() -> None:
    lengths = {p: len(p.read_text().splitlines()) for p in sources(*FILE_LINES)}
    too_long = {str(p.relative_to(ROOT)): n for p, n in lengths.items() if n > FILE_LINES[p.suffix]}
    assert too_long == {}


def test_functions() -> None:
    too_long = {}
    for path in sources('.py'):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and code_lines(node) > FUNCTION_LINES:
                too_long[f'{path.relative_to(ROOT)}:{node.name}'] = code_lines(node)
    assert too_long == {}
