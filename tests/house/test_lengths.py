"""No file of the product is longer than 250 lines, no function than 50: who reads one can keep it in mind."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
MAX_LINES = 250  # of a file
MAX_LINES_OF_A_FUNCTION = 50  # from `def` to its end, without decorators
NOT_PRODUCT = ("tests/", "db/migrations/")


def product() -> Iterator[tuple[str, str]]:
    """Path and text of every Python file that git knows, but tests and migrations."""
    told = subprocess.run(
        ["git", "ls-files", "-z", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    for path in told.rstrip("\0").split("\0"):
        if not path.startswith(NOT_PRODUCT) and (ROOT / path).exists():
            yield path, (ROOT / path).read_text()


def functions(text: str) -> Iterator[tuple[str, int]]:
    """Line and name, and number of lines, of every function of a file, methods and inner ones too."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield f"{node.lineno} {node.name}", (node.end_lineno or node.lineno) - node.lineno + 1


def test_no_file_is_longer_than_250_lines():
    lengths = {path: len(text.splitlines()) for path, text in product()}
    assert len(lengths) > 100, "the search finds little: does git know the files?"
    assert {path: lines for path, lines in lengths.items() if lines > MAX_LINES} == {}


def test_no_function_is_longer_than_50_lines():
    lengths = {f"{path}:{name}": lines for path, text in product() for name, lines in functions(text)}
    assert len(lengths) > 500, "the search finds little"
    assert {place: lines for place, lines in lengths.items() if lines > MAX_LINES_OF_A_FUNCTION} == {}
