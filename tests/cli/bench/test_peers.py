"""`coursaga bench --peers`, small: three sides did the same steps, every figure is there. How fast is nobody's promise."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine

from cli.bench.parts_report import tell_parts
from cli.bench.peers import SIDES, ratios
from cli.bench.story import names, story
from tests.build import NOW
from tests.cli.bench.running import bench, open_folder
from tests.gateways.in_memory import FakeProvider
from workflows.steps import TABLE


@pytest.fixture(scope="module")
def said() -> Iterator[dict[str, Any]]:
    """What the bench says. It fails by itself unless all purchases have their lessons and all sides the same steps."""
    with open_folder() as folder:
        yield bench(folder, peers=True, purchases=4, in_flight=2, rounds=2)


def test_each_side_has_every_figure(said: dict[str, Any]):
    assert set(said["peers"]) == set(SIDES)
    for side, figures in said["peers"].items():
        for figure in ("perSecond", "p50AloneMs", "p50Ms", "p95Ms", "p99Ms", "cpuMsTotal", "peakMb"):
            assert figures[figure] > 0, (side, figure)
        assert len(figures["perSecondByRound"]) == 2
    cpu = {side: set(said["peers"][side]["cpuMsPerPurchase"]) for side in SIDES}
    assert cpu["temporal"] >= {"starter", "worker", "postgres", "provider", "idle"}
    assert cpu["dbos"] == {"dbos", "postgres", "provider", "idle"}
    assert cpu["plain"] == {"plain", "postgres", "provider", "idle"}


def test_ratios_come_first(said: dict[str, Any]):
    assert next(iter(said)) == "ratios"
    assert set(said["ratios"]["perSecond"]) == {"oursToDbos", "oursToPlain", "dbosToPlain"}


def test_the_steps_of_the_peers_are_those_of_the_workflow(said: dict[str, Any], engine: Engine):
    """The bench says what it read in the history of a purchase; the list that the peers call is made apart from it."""
    told = story(engine, FakeProvider(), lambda: NOW)
    assert said["steps"] == names(told)
    undone = {step.name: step.undo.__name__ for step in TABLE if step.undo}
    assert {step.name: step.undo.__name__ for step in told if step.undo}.items() <= undone.items()


def test_ratios_are_ours_by_theirs():
    figures = {"perSecond": 30.0, "p50AloneMs": 40.0, "cpuMsTotal": 50.0}
    peers = {"temporal": figures, "dbos": {**figures, "perSecond": 20.0}, "plain": {**figures, "p50AloneMs": 10.0}}
    assert ratios(peers)["perSecond"] == {"oursToDbos": 1.5, "oursToPlain": 1.0, "dbosToPlain": 0.67}
    assert ratios(peers)["p50AloneMs"]["oursToPlain"] == 4.0


def test_people_see_the_ratios_and_the_figures(said: dict[str, Any], capsys: pytest.CaptureFixture[str]):
    tell_parts(said)
    shown = capsys.readouterr().out
    assert f"{said['ratios']['perSecond']['oursToDbos']:.2f}" in shown
    assert f"{said['peers']['temporal']['historyEvents']:,.1f}" in shown
