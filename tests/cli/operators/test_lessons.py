"""`coursaga lessons ...` as typed."""

from __future__ import annotations

import shlex

import pytest
from sqlalchemy import Engine

from cli.api_client import ApiRefused
from cli.operators import lessons, purchases
from tests.api.conftest import fresh
from tests.build import item, pay, student, trainer
from tests.cli.operators.test_purchases import at, printed, serving, until, working
from tests.gateways.in_memory import FakeProvider

__all__ = ["at", "serving", "working"]


async def typed(line: str) -> int:
    """What the command line after `coursaga lessons` exits with."""
    command, bound, _ = lessons.app.parse_args(shlex.split(line), exit_on_error=False, print_error=False)
    return await command(*bound.args, **bound.kwargs)


@pytest.mark.usefixtures("serving", "working")
async def test_lessons_are_listed_and_changed(
    engine: Engine, fake_provider: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    student(engine)
    item(engine)
    trainer(engine)
    payment = pay(engine, fake_provider, fresh())
    assert await purchases.start(payment) == 0
    purchase = (await until(capsys, payment, "completed"))["workflowId"]
    trainer(engine, "trainer-2")
    capsys.readouterr()

    why = "--reason 'the student is away'"
    assert await typed(f"reschedule {purchase} 3 --date 2026-12-20 --time-slot 17:30 --minutes 45 {why}") == 0
    assert "lesson 3 is at 2026-12-20 17:30" in capsys.readouterr().out
    assert await typed(f"substitute {purchase} 4 --trainer trainer-2 {why}") == 0
    assert await typed(f"transfer {purchase} --trainer trainer-2 {why}") == 0
    with pytest.raises(ApiRefused, match="WRONG_STAGE"):
        await typed(f"substitute {purchase} 4 --trainer trainer-2 --rest {why}")
    capsys.readouterr()
    assert await typed(f"list {purchase} --json") == 0
    seen = {lesson["number"]: lesson for lesson in printed(capsys)}
    assert (seen[3]["local"], seen[3]["minutes"]) == ("2026-12-20T17:30", 45)
    assert {lesson["trainerId"] for lesson in seen.values()} == {"trainer-2"}
    assert await typed(f"list {purchase}") == 0
    assert "trainer-2" in capsys.readouterr().out
