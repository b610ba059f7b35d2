"""`coursaga bench`, small: every figure is there, and nothing is left behind. What the figures are is nobody's promise."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from cli.bench.marketplace import LESSONS
from cli.bench.report import tell
from tests.cli.bench.running import bench, open_folder

_PURCHASES = 4


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with open_folder() as made:
        yield made


@pytest.fixture(scope="module")
def said(folder: Path) -> dict[str, Any]:
    """What the bench says."""
    return bench(folder, purchases=_PURCHASES, in_flight=2, parked=3, callers=20, seconds=2, trainers=40)


def test_every_figure_is_there_for_both_ways(said: dict[str, Any]):
    for way in ("temporal", "plain"):
        for figure in ("perSecond", "p50Ms", "p99Ms", "aloneP50Ms"):
            assert said[way][figure] > 0, (way, figure)
        assert said[way]["p50Ms"] <= said[way]["p99Ms"]
    assert said["plain"]["sqlRoundTrips"] >= len(said["activities"])
    for figure in ("historyEvents", "historyBytes", "workerPeakMb"):
        assert said["temporal"][figure] > 0, figure
    assert set(said["temporal"]["cpuMs"]) >= {"worker", "api", "provider", "postgres"}
    assert set(said["plain"]["cpuMs"]) == {"caller", "provider", "postgres"}
    assert (said["purchases"], said["inFlight"], said["alone"], said["lessonsEach"]) == (4, 2, 4, LESSONS)


def test_plain_calls_are_all_the_activities_of_a_purchase(said: dict[str, Any]):
    assert said["activities"] == [
        "confirm_payment", "create_purchase", "enroll", "assign_trainer", "create_sessions", "clear_cart",
    ]  # fmt: skip


def test_a_bulk_act_reaches_all_that_are_parked(said: dict[str, Any]):
    assert (said["bulk"]["matched"], said["bulk"]["done"]) == (3, 3)
    assert said["bulk"]["readsP95Ms"] > 0
    assert said["bulk"]["readsMeanwhileP95Ms"] > 0


def test_a_crowd_is_served_or_told_when_to_come_again(said: dict[str, Any]):
    load = said["load"]
    assert (load["callers"], load["seconds"], load["failed"]) == (20, 2, 0)
    assert load["served"] > 0
    assert load["readyAsked"] >= load["readyFailed"]


def test_matching_is_measured_among_the_trainers_of_a_course_and_among_all(said: dict[str, Any]):
    matching = said["matching"]
    assert (matching["trainers"], matching["slotsEach"], matching["rows"], matching["allRows"]) == (40, 30, 2, 40)
    for figure in ("p50Ms", "p95Ms", "homeP95Ms", "allP50Ms", "allP95Ms"):
        assert matching[figure] > 0, figure


def test_nothing_is_left_behind(said: dict[str, Any], folder: Path):
    assert said["purchases"] == _PURCHASES
    assert list(folder.glob("coursaga-bench-*")) == []
    assert [process.cmdline() for process in psutil.process_iter() if _knows(process, folder)] == []


def test_people_see_the_figures_as_a_table(said: dict[str, Any], capsys: pytest.CaptureFixture[str]):
    tell(said)
    shown = capsys.readouterr().out
    assert f"{said['temporal']['historyEvents']:,.1f}" in shown
    assert f"{said['plain']['sqlRoundTrips']:,.1f}" in shown
    assert f"{_PURCHASES}, 2 in flight" in shown


def _knows(process: psutil.Process, folder: Path) -> bool:
    try:
        return process.environ().get("TMPDIR") == str(folder)
    except psutil.Error:
        return False
