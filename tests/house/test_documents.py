"""Documents name only code that there is, and the pages a newcomer reads first speak in short sentences."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from db.tables import METADATA
from tests.house.test_imports import ROOMS, code

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
PLAIN = [ROOT / "README.md", DOCS / "architecture.md", DOCS / "development.md", *sorted((DOCS / "areas").glob("*.md"))]

# Names that look like ours and are not, or are no more; each with the reason why a page says them.
NOT_OURS = {
    "uv.lock": "the lock file we do not have (0004)",
    "postgres/data": "a folder below a home of `coursaga up`",
    ".artifacts/temporal-ui/": "made by the tests of Temporal UI",
    "workflow.now()": "of Temporal's SDK",
    "workflow.patched": "of Temporal's SDK",
    "workflow.unsafe.imports_passed_through()": "of Temporal's SDK",
    "access.lessonsAfter": "a field of the API's JSON",
    "postmaster.pid": "a file of PostgreSQL",
    "user_id": "a column that an older system may have had (0013)",
    "TestAttempt": "the older system's name (0013)",
    "archive_mode": "a setting of PostgreSQL",
}
SPAN = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"[\w.*-]+\.(?:py|md|sh|toml|lock|json|yml|yaml)")
PATH = re.compile(r"[\w.*-]+(?:/[\w.*-]+)+/?|[\w-]+/")
DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+(?:\(\))?")
# A word that only code has: an underscore or a capital inside. Settings and codes have tests of their own.
WORD = re.compile(r"(?![A-Z0-9_]+$)(?:_\w+|[A-Za-z]\w*_\w+|[A-Za-z][a-z0-9]+[A-Z]\w*)")


@cache
def words() -> set[str]:
    """Every word of the code and of its tests; documents and the exceptions above are left out."""
    folders = [ROOT / "tests", ROOT / "deploy", *(ROOT / room for room in ROOMS)]
    places = [*ROOT.iterdir(), *(file for folder in folders for file in folder.rglob("*"))]
    of_code = re.compile(r".*\.(py|sh|yml|yaml|toml)|Dockerfile|Makefile")
    read = [file for file in places if of_code.fullmatch(file.name) and file != Path(__file__)]
    return {word for file in read for word in re.findall(r"\w+", file.read_text())}


def there_is(path: str) -> bool:
    """Whether a file or folder of this path is there, or anywhere a file of this name; `*` stands for anything."""
    if "/" in path:
        return any(ROOT.glob(path))
    folders = [folder for folder in ROOT.iterdir() if folder.is_dir() and not folder.name.startswith(".")]
    return any(ROOT.glob(path)) or any(any(folder.rglob(path)) for folder in folders)


@cache
def defined(text: str) -> set[str]:
    """What a module defines, and what its classes do: `Name`, `Name.member`."""
    names: set[str] = set()
    for node in ast.parse(text).body:
        for name in _named(node):
            names.add(name)
            if isinstance(node, ast.ClassDef):
                names |= {f"{name}.{member}" for inner in node.body for member in _named(inner)}
    return names


def _named(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [inner.id for target in targets for inner in ast.walk(target) if isinstance(inner, ast.Name)]


def resolves(dotted: str) -> bool:
    """`module.name`, `Class.member` of any module of ours, or `table.column`."""
    first, *rest = dotted.removesuffix("()").split(".")
    if first in METADATA.tables:
        return rest[0] in METADATA.tables[first].columns
    parts = [first, *rest]
    for at in range(len(parts), 0, -1):
        module = ROOT.joinpath(*parts[:at])
        for file in (module.with_suffix(".py"), module / "__init__.py"):
            if file.exists():
                return at == len(parts) or ".".join(parts[at:]) in defined(file.read_text())
    return any(".".join(parts) in defined(text) for _, text in code() if f"class {first}" in text)


def unknown(span: str) -> bool:
    """Whether it looks like a name of our code and is none."""
    if span in NOT_OURS:
        return False
    if FILE.fullmatch(span) or (PATH.fullmatch(span) and span.split("/")[0] != ".venv"):
        return not there_is(span)
    if DOTTED.fullmatch(span):
        return not resolves(span)
    return bool(WORD.fullmatch(span)) and span not in words()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_names_only_code_that_there_is(page: Path):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert sorted({span for span in SPAN.findall(text) if unknown(span)}) == []


@pytest.mark.parametrize(
    "gone",
    [
        "workflows/gone.py",
        "test_gone.py",
        "db.slot_holds.GONE",
        "Saga.gone",
        "sessions.gone",
        "_gone_from_code",
        "GoneWorkflow",
    ],
)
def test_a_name_that_is_not_there_is_seen(gone: str):
    assert unknown(gone)


@pytest.mark.parametrize(
    "name",
    ["workflows/saga.py", "tests/activities/test_acts*.py", "db.slot_holds.LET_GO", "Kind.GATE", "sessions.revision"],
)
def test_a_name_that_is_there_is_found(name: str):
    assert not unknown(name)


def test_every_exception_is_needed():
    said = {span for page in PAGES for span in SPAN.findall(page.read_text())}
    assert set(NOT_OURS) - said == set()


def sentences(text: str) -> list[str]:
    """The sentences of a page: code is one word, a cell of a table ends a sentence."""
    text = re.sub(r"^```.*?^```$", "\n\n", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"`[^`]*`", "code", text))
    blocks = re.split(r"\n\s*\n|\n(?=\s*(?:[-#|]|\d+\. ))|\|", text)
    return [each for block in blocks for each in re.split(r"(?<=[.!?])\W*\s+", " ".join(block.split()))]


@pytest.mark.parametrize("page", PLAIN, ids=lambda page: page.name)
def test_a_sentence_has_thirty_words_at_most(page: Path):
    long = [each for each in sentences(page.read_text()) if len(re.findall(r"[\w'/-]+", each)) > 30]
    assert long == []
