"""Looking at those who come first finds whom looking at everybody finds (mission row 73).

50,000 markets under soak, a slice of them otherwise.
"""

from __future__ import annotations

import random

import pytest
from sqlalchemy import Connection, Engine, text

from db import teaching
from db.effects.candidates import look
from db.loads import WRONG
from domain.matching_explanation import Choice, NobodyFits, choose
from domain.purchase import PurchaseOrder
from tests.activities.generated_market import HOME, Asked, asked, everybody, fill, happen, moment, open_market
from tests.build import NOW
from tests.roles import owner_of

COURSE = "course-piano"


def by_looking_at_everybody(connection: Connection, one: Asked, held: str | None) -> Choice | NobodyFits:
    try:
        return choose(COURSE, everybody(connection, one), one.lessons, home=HOME, wanted=one.wanted, held=held)
    except NobodyFits as nobody:
        return nobody


def by_looking_at_the_first(connection: Connection, one: Asked, most: int) -> tuple[Choice | NobodyFits, str | None]:
    """As assign_trainer looks, but at few at a time; also answers whose times the student holds."""
    order, whom = PurchaseOrder("none", "none", "", 1, one.student_id, "admin"), one.whom(most)
    seen = look(connection, order, COURSE, one.lessons, one.now, whom)
    kept = seen.holds.of(COURSE)
    held = kept.trainer_id if kept else None
    if held and all(trainer.id != held for trainer in seen.trainers):
        whom = whom.with_named(held)
        seen = look(connection, order, COURSE, one.lessons, one.now, whom)
    while True:
        try:
            named = {"home": HOME, "wanted": one.wanted, "held": held, "teaching": seen.teaching}
            return choose(COURSE, seen.trainers, one.lessons, **named), held
        except NobodyFits as nobody:
            if len(seen.trainers) >= seen.teaching:
                return nobody, held
        seen = seen.with_further(
            look(connection, order, COURSE, one.lessons, one.now, whom.after(seen.trainers)).trainers
        )


def compare(connection: Connection, one: Asked, most: int) -> int:
    """Returns how many fit."""
    few, held = by_looking_at_the_first(connection, one, most)
    all_ = by_looking_at_everybody(connection, one, held)
    if isinstance(all_, NobodyFits):
        assert isinstance(few, NobodyFits), few
        assert (few.message, few.lost) == (all_.message, all_.lost)
        return 0
    assert isinstance(few, Choice), few
    assert (few.trainer.id, few.trainer.load) == (all_.trainer.id, all_.trainer.load)
    assert few.lost.items() <= all_.lost.items()
    assert (few.won | {"fitting": 0}).items() >= (all_.won | {"fitting": 0}).items()
    return all_.won["fitting"]


@pytest.mark.parametrize("markets", [1_000, pytest.param(50_000, marks=pytest.mark.soak)])
def test_the_first_of_them_is_the_best_of_all_whatever_time_it_is(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, markets: int
) -> None:
    monkeypatch.setattr(teaching, "FIRST_ROUND", 1)
    open_market(engine)
    fitting: list[int] = []
    with owner_of(engine).connect() as connection:
        for seed in range(markets):
            draw, now = random.Random(seed), NOW
            fill(connection, draw)
            for _ in range(2):
                happen(connection, draw, now)
                assert connection.execute(text(WRONG)).all() == [], seed
                fitting.append(compare(connection, asked(draw, now), draw.choice([1, 2, 3, 200])))
                now = moment(draw, now)
            connection.rollback()
    some = sum(1 for each in fitting if each)
    assert some > len(fitting) // 2, "most of them find somebody"
    assert sum(1 for each in fitting if each > 1) > len(fitting) // 4, "and many have a choice"
    assert some < len(fitting), "but not all"
