"""The parts of `coursaga bench` that are asked for by name, small: every figure is there, and what was paid for was got."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cli.bench.parts_report import tell_parts
from tests.cli.bench.running import bench, open_folder


@pytest.fixture(scope="module")
def said() -> Iterator[dict[str, Any]]:
    """What the bench says. It fails by itself unless all purchases have their lessons."""
    with open_folder() as folder:
        yield bench(
            folder, purchases=6, in_flight=3, growth=True, stored=[100, 300], parked_runs=5, enrolled=4
        )  # fmt: skip


def test_only_what_was_asked_for_is_measured(said: dict[str, Any]):
    assert {"growth", "parkedRuns", "enrolled"} <= set(said)
    assert {"peers", "temporal", "plain", "bulk", "load"}.isdisjoint(said)


def test_growth_has_the_costs_at_each_size(said: dict[str, Any]):
    few, many = said["growth"]["at"]
    assert (few["stored"], few["lessons"], few["starts"]) == (100, 3000, 333)
    assert (many["stored"], many["lessons"], many["starts"]) == (300, 9000, 1000)
    for figure in ("perSecond", "p50AloneMs", "p50Ms", "p95Ms", "cpuMsTotal"):
        assert few[figure] > 0, figure
    assert said["growth"]["times"]["cpuMsTotal"] > 0


def test_parked_runs_are_woken_and_complete(said: dict[str, Any]):
    parked = said["parkedRuns"]
    assert (parked["parked"], parked["woken"]) == (5, 5)
    for figure in ("parkSeconds", "startUpSeconds", "wakeSeconds", "doneSeconds", "workerParkedMb", "workerPeakMb"):
        assert parked[figure] > 0, figure
    assert parked["sizesParked"]["historyEvents"] < parked["sizesDone"]["historyEvents"]
    assert 0 < parked["sizesDone"]["largestPayloadBytes"] < parked["sizesDone"]["historyBytes"]


def test_all_who_check_out_are_enrolled(said: dict[str, Any]):
    enrolled = said["enrolled"]
    assert (enrolled["checkouts"], enrolled["atOnce"]) == (4, 3)
    assert 0 < enrolled["p50Ms"] <= enrolled["p95Ms"] <= enrolled["longestMs"]


def test_people_see_every_part(said: dict[str, Any], capsys: pytest.CaptureFixture[str]):
    tell_parts(said)
    shown = capsys.readouterr().out
    assert f"{said['growth']['times']['cpuMsTotal']:.2f} times the CPU" in shown
    assert "5 purchases parked" in shown
    assert "4 students checked out" in shown
