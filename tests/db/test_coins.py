"""The balance follows the movements by itself, from the first one on (mission rows 69, I7)."""

from __future__ import annotations

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from db.engine import make_engine
from db.migrate import upgrade
from tests import build, cluster

MOVEMENTS = "SELECT key, student_id, kind, coins FROM coin_movements ORDER BY student_id, moved_at, key"
BALANCES = "SELECT student_id, coins FROM coin_balances ORDER BY 1"
TOP_UP = "INSERT INTO coin_movements VALUES (:key, :student, 'top_up', :coins, NULL, 'ann', 'a gift', now())"
OPENED = [("student:rich:COIN_OPENING", "rich", "opening", 500)]


def test_a_student_who_comes_with_coins_has_them_as_a_movement(engine: Engine) -> None:
    build.student(engine, "rich", coins=500)
    build.student(engine, "poor")
    build.student(engine, "rich", coins=700)  # is there already
    assert build.rows(engine, MOVEMENTS) == OPENED
    assert build.rows(engine, BALANCES) == [("rich", 500)]


def test_students_who_were_there_before_the_migration_have_theirs(postgres: str) -> None:
    with cluster.empty_database(postgres) as url:
        upgrade(url, "0002")
        engine = make_engine(url, pool_size=1)
        build.student(engine, "rich", coins=500)
        build.student(engine, "poor")
        upgrade(url)
        assert build.rows(engine, MOVEMENTS) == OPENED
        assert build.rows(engine, BALANCES) == [("rich", 500)]
        engine.dispose()


def test_every_movement_is_in_the_balance_the_first_one_of_a_student_too(engine: Engine) -> None:
    build.student(engine, "poor")
    for number, coins in enumerate((5, 7)):
        build.run(engine, TOP_UP, key=f"k{number}", student="poor", coins=coins)
    assert build.rows(engine, BALANCES) == [("poor", 12)]


def test_one_key_is_one_movement(engine: Engine) -> None:
    build.student(engine, "rich", coins=500)
    build.run(engine, TOP_UP, key="k", student="rich", coins=5)
    with pytest.raises(IntegrityError, match="coin_movements_pkey"):
        build.run(engine, TOP_UP, key="k", student="rich", coins=5)
    assert build.rows(engine, BALANCES) == [("rich", 505)]
