"""The Update, the Signal and an automatic retry at the same moment: exactly N lessons, one audit row per act (row 84)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest

from runtime.embedded.temporal_binary import ensure
from tests.e2e.world import World, course, lessons_fail, market, payment, teachers
from tests.waiting import in_time

MOST = 50


@pytest.fixture(scope="module")
def world(stack_of_all: World) -> World:
    paid = [payment(f"m-{number}") for number in range(MOST)]
    pianists = teachers("course-piano", MOST, called="m")
    stack_of_all.load(market(paid, courses=[course("course-piano")], trainers=pianists))
    return stack_of_all


def signal_as_an_admin_would(world: World, name: str, key: str) -> None:
    said = json.dumps({"actor": "bo", "reason": "by hand", "request_key": key})
    subprocess.run(
        [
            str(ensure()),
            "workflow",
            "signal",
            "--address",
            world.stack.said["temporalAddress"],
            "--workflow-id",
            f"purchase:{name}:1",
            "--name",
            "create_sessions_manually",
            "--input",
            said,
        ],
        check=True,
        capture_output=True,
    )


def acts_of(world: World, name: str) -> list[tuple[str, str]]:
    with psycopg.connect(world.stack.said["databaseUrl"].replace("+psycopg", "")) as connection:
        found = connection.execute(
            "SELECT request_key, verb FROM operator_acts a JOIN purchase_starts s USING (purchase_id)"
            " WHERE s.payment_id = %s ORDER BY 1",
            [name],
        )
        return [(str(key), str(verb)) for key, verb in found.fetchall()]


@contextmanager
def lessons_wait(world: World, name: str) -> Iterator[psycopg.Connection]:
    """From now on the lessons of this payment can be made, but not before the block ends."""
    mark = name.replace("-", "_")
    with psycopg.connect(world.stack.said["databaseUrl"].replace("+psycopg", ""), autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(hashtext(%s))", [name])
        holder.execute(
            f"CREATE OR REPLACE FUNCTION no_{mark}() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$BEGIN IF NEW.student_id = 'student-{name}' THEN"
            f" PERFORM pg_advisory_xact_lock_shared(hashtext('{name}')); END IF; RETURN NEW; END$$".replace(
                "NEW.student_id = ", "(SELECT student_id FROM student_course_purchases WHERE id = NEW.purchase_id) = "
            ).encode()
        )
        yield holder


def one_round(world: World, name: str) -> None:
    lessons_fail(world, name, "true")
    world.start(name)
    world.wait(name, "attention", "SESSIONS_FAILED")
    with ThreadPoolExecutor(1) as at_once, lessons_wait(world, name) as holder:
        update = at_once.submit(world.act, name, "create_sessions", requestKey="update")
        waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        in_time(lambda: holder.execute(waiting).fetchall()[0][0] or update.done())
        assert not update.done(), update.result()
        signal_as_an_admin_would(world, name, "signal")
        world.api.post("/api/v1/admin/purchases:wake").raise_for_status()
        holder.execute("SELECT pg_advisory_unlock_all()")
        update.result()
    row = world.wait(name, "completed")
    assert row["sessions"] == row["sessionCount"] == 10
    acts = acts_of(world, name)
    assert [(key, verb) for key, verb in acts if verb != "retry_now"] == [
        ("signal", "create_sessions"),
        ("update", "create_sessions"),
    ]
    assert len({key for key, _ in acts}) == len(acts)


@pytest.mark.parametrize("name", ["m-0", "m-1", "m-2"])
def test_all_at_once_make_exactly_n_lessons(name: str, world: World) -> None:
    one_round(world, name)


@pytest.mark.soak
@pytest.mark.parametrize("name", [f"m-{number}" for number in range(MOST)])
def test_all_at_once_make_exactly_n_lessons_in_fifty_rounds(name: str, world: World) -> None:
    one_round(world, name)
