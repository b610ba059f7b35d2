"""docs/architecture.md and docs/areas tell the truth about steps, sentence, floors, tables, doors; links lead somewhere."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest
from sqlalchemy import UniqueConstraint

from api.http.who_may_call import POLICY
from db.tables import METADATA
from tests.api.http.callers import document
from workflows.steps import TABLE

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
ARCHITECTURE = (DOCS / "architecture.md").read_text()
AREAS = sorted((DOCS / "areas").glob("*.md"))
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
DECISIONS = sorted((DOCS / "decisions").glob("*.md"))


def section(title: str, page: str = ARCHITECTURE) -> str:
    """The text under a heading, of architecture.md unless another page is given."""
    return page.split(f"\n## {title}\n")[1].split("\n## ")[0]


def doors() -> str:
    return section("Which doors there are", (DOCS / "areas" / "doors.md").read_text())


def calls() -> set[str]:
    """Every call of the API, as its documentation has it."""
    return {f"{method.upper()} {path}" for path, methods in document()["paths"].items() for method in methods}


def rows(text: str) -> list[list[str]]:
    """The cells of a markdown table, heading and ruler left out."""
    lines = [line.strip().strip("|") for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip().strip("`") for cell in line.split("|")] for line in lines[2:]]


def sentence() -> list[str]:
    """The steps of `PurchaseWorkflow._fulfil`, in the order of the code."""
    tree = ast.parse((ROOT / "workflows" / "purchase.py").read_text())
    story = next(n for n in ast.walk(tree) if isinstance(n, ast.AsyncFunctionDef) and n.name == "_fulfil")
    calls = sorted((n for n in ast.walk(story) if isinstance(n, ast.Call)), key=lambda call: call.lineno)
    named = [call.args[0].id for call in calls if call.args and isinstance(call.args[0], ast.Name)]
    return [name.lower() for name in named if name.isupper()]


def test_the_step_table_is_the_table_of_the_code():
    told = [(name, kind, undo) for name, kind, _, undo, _ in rows(section("The steps"))]
    assert told == [(step.name, step.kind.value, step.undo.__name__ if step.undo else "-") for step in TABLE]


def test_every_step_says_what_it_does_and_what_makes_it_happen_once():
    assert [row[0] for row in rows(section("The steps")) if not (row[2] and row[4])] == []


def test_the_sentence_is_told_in_the_order_of_the_code():
    names = {step.name for step in TABLE}
    assert [word for word in re.findall(r"`(\w+)`", section("The sentence")) if word in names] == sentence()


def test_the_floors_are_those_the_linter_holds():
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    layers = next(contract["layers"] for contract in linter["contracts"] if contract["type"] == "layers")
    told = [set(re.findall(r"\w+", row[0])) for row in rows(section("Floors"))]
    assert told == [set(re.findall(r"\w+", floor)) for floor in layers]


def test_one_purchase_goes_as_the_code_does():
    """The diagram is of a course with lessons, so it has every step but the cards."""
    names = {step.name for step in TABLE}
    told = [word for word in re.findall(r"\w+", section("One purchase").split("```")[1]) if word in names]
    assert told == [step for step in sentence() if step != "issue_test_cards"]


def test_every_line_of_the_table_diagrams_is_a_foreign_key():
    """A parent is on the left. `|o` there: the child need not have one; `o|` on the right: it has one child at most."""
    lines = re.findall(r"^    (\w+) (\|\||\|o)--(o\||o\{) (\w+) : ", section("The tables"), re.MULTILINE)
    assert len(lines) == section("The tables").count("--o") > 20
    for parent, above, below, child in lines:
        table = METADATA.tables[child]
        keys = [key for key in table.foreign_key_constraints if key.referred_table.name == parent]
        assert keys, f"{child} refers to no {parent}"
        columns = {column.name for column in keys[0].columns}
        unique = [set(each.columns.keys()) for each in table.constraints if isinstance(each, UniqueConstraint)]
        once = columns in [*unique, set(table.primary_key.columns.keys())]
        optional = any(table.columns[name].nullable for name in columns)
        assert (above, below) == ("|o" if optional else "||", "o|" if once else "o{"), (parent, child)


def test_every_table_is_on_the_map():
    told = set(re.findall(r"\w+", section("The tables")))
    assert {name for name in METADATA.tables if name not in told} == set()


@pytest.mark.parametrize("page", AREAS, ids=lambda page: page.name)
def test_every_call_an_area_names_is_one_of_the_api(page: Path):
    told = re.findall(r"`((?:GET|POST|PUT|PATCH|DELETE) /[^`?]+)[^`]*`", page.read_text())
    assert [call for call in told if "..." not in call and call not in calls()] == []


def test_architecture_leads_to_every_area():
    told = re.findall(r"\(areas/([\w-]+\.md)\)", section("What to read first"))
    assert told
    assert sorted(told) == [page.name for page in AREAS]


def test_every_door_names_its_roles_as_the_policy_does():
    """Which flow is for whom is enforced by roles (mission row 67)."""
    named = {
        f"{method.upper()} {path}": operation["operationId"]
        for path, methods in document()["paths"].items()
        for method, operation in methods.items()
    }
    told = {(call.split("`")[0], roles) for _, call, roles, _, _ in rows(doors())}
    let_in = {
        (call, ", ".join(role for role, reach in dict(POLICY[named[call]]).items() if reach != "none"))  # type: ignore[call-overload]
        for call, _ in told
    }
    assert len(told) > 1
    assert told == let_in


def test_every_place_to_change_something_exists():
    places = re.findall(r"`([\w/]+(?:/|\.\w+|/\w+))`", (DOCS / "where-to-change.md").read_text())
    assert len(places) > 50
    assert [place for place in places if not (ROOT / place).exists()] == []


def test_every_make_target_in_the_docs_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    told = {target for page in PAGES for target in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE)}
    assert told
    assert told <= targets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page: Path):
    links = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_heading_leads_to_one(page: Path):
    links = re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", page.read_text())
    if page.name == "cli.md":  # made by cyclopts, whose links within the page are its own
        links = [link for link in links if link[0]]
    assert [(file, at) for file, at in links if at not in headings((page.parent / file) if file else page)] == []


def headings(page: Path) -> set[str]:
    """The headings of a page, as links write them."""
    found = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.name)
def test_a_decision_is_short_and_says_what_enforces_it(page: Path):
    text = page.read_text()
    assert re.fullmatch(r"\d{4}-[a-z0-9-]+\.md", page.name)
    assert text.startswith(f"# {page.name[:4]} ")
    assert len(text.splitlines()) <= 40
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequence", "Enforced by"]


def test_decisions_are_numbered_without_a_gap():
    assert [int(page.name[:4]) for page in DECISIONS] == list(range(1, len(DECISIONS) + 1))
