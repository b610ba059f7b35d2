"""docs/performance.md and its picture are what the bench makes of the results that lie beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli.bench.page import PAGE, PICTURE, RESULTS, render
from cli.bench.picture import draw

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def results() -> dict[str, Any]:
    return json.loads((DOCS / RESULTS).read_text())


def test_the_page_says_what_was_measured(results: dict[str, Any]):
    assert (DOCS / PAGE).read_text() == render(results), "nobody types it: coursaga bench --peers --write-docs"


def test_the_picture_shows_what_was_measured(results: dict[str, Any]):
    assert (DOCS / PICTURE).read_text() == draw(results["peers"]), (
        "nobody draws it: coursaga bench --peers --write-docs"
    )
