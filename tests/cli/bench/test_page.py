"""What `--write-docs` writes: the parts of this run beside those of earlier ones, and a page and a picture of them all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from cli.bench.goals import met
from cli.bench.page import DOCS, PAGE, PICTURE, RESULTS, render, write
from cli.bench.picture import draw
from runtime.errors import CannotRun

MACHINE = {"cpus": 2, "loadBefore": 0.5, "python": "3.11.7"}
ASKED = {"purchases": 7, "inFlight": 3, "lessonsEach": 30, "machine": MACHINE}
ENROLLED = {"checkouts": 41, "atOnce": 3, "p50Ms": 80.0, "p95Ms": 90.0, "longestMs": 95.5}
PEERS: dict[str, Any] = json.loads((DOCS / RESULTS).read_text())["peers"]


def of_peers() -> dict[str, Any]:
    """A report as the bench makes it of the peers alone."""
    return {"ratios": PEERS["ratios"], "peers": PEERS["sides"], "steps": PEERS["steps"], **ASKED}


def test_a_run_of_one_part_leaves_the_others_as_they_were(tmp_path: Path):
    write({"enrolled": ENROLLED, **ASKED}, tmp_path)
    assert not (tmp_path / PICTURE).exists()
    write(of_peers(), tmp_path)
    write({"enrolled": {**ENROLLED, "p95Ms": 4321.0}, **ASKED}, tmp_path)
    results = json.loads((tmp_path / RESULTS).read_text())
    assert list(results) == ["enrolled", "peers"]
    assert results["peers"]["sides"] == PEERS["sides"]
    assert (tmp_path / PAGE).read_text() == render(results)
    assert "4,321 ms" in render(results)
    assert (tmp_path / PICTURE).read_text() == draw(results["peers"])


def test_the_page_names_the_figures_it_was_given(tmp_path: Path):
    write(of_peers(), tmp_path)
    page = (tmp_path / PAGE).read_text()
    assert f"| {PEERS['ratios']['perSecond']['oursToDbos']:.2f} |" in page
    assert "7 purchases each way, 2 CPUs, load 0.5" in page


def test_the_picture_is_xml_with_a_longest_bar_as_wide_as_there_is_room():
    picture = ElementTree.fromstring(draw(PEERS))
    widths = [float(bar.get("width", 0)) for bar in picture.iter("{http://www.w3.org/2000/svg}rect")]
    assert max(widths[1:]) <= 520
    texts = [text.text for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert f"{PEERS['sides']['plain']['perSecond']:,.1f}" in texts


def test_without_documentation_nothing_is_written(tmp_path: Path):
    with pytest.raises(CannotRun, match="--write-docs"):
        write(of_peers(), tmp_path / "absent")


@pytest.mark.parametrize(("measured", "good"), [(0.99, False), (1.0, True), (1.4, True)])
def test_the_page_says_whether_a_goal_is_met(measured: float, good: bool):
    results = {"peers": {"ratios": {"perSecond": {"oursToDbos": measured}}}}
    assert [(goal.limit, value, as_asked) for goal, value, as_asked in met(results)] == [(1.0, measured, good)]


def test_a_limit_from_above_is_one():
    told = met({"growth": {"times": {"cpuMsTotal": 1.21}}})
    assert [(value, as_asked) for _, value, as_asked in told] == [(1.21, False)]
