"""The operators' commands: each verb as typed, the case file that names the next one, the watch."""

from __future__ import annotations

import shlex
from typing import Any

import pytest
from cyclopts import CycloptsError
from sqlalchemy import Engine

from cli.api_client import ApiRefused
from cli.operators import acts, purchases, watch
from cli.operators.case_view import command_of
from tests.api.conftest import fresh
from tests.build import LESSONS, item, pay, student, trainer
from tests.cli.operators.test_purchases import at, printed, serving, until, working
from tests.gateways.in_memory import FakeProvider
from tests.samples import typed_in

__all__ = ["at", "serving", "working"]


async def typed(line: str) -> int:
    """What the command line after `coursaga purchases` exits with."""
    command, bound, _ = purchases.app.parse_args(shlex.split(line), exit_on_error=False, print_error=False)
    return await command(*bound.args, **bound.kwargs)


async def begun(engine: Engine, provider: FakeProvider, capsys: pytest.CaptureFixture[str], **metadata: Any) -> str:
    """A purchase that waits for somebody; its workflow id."""
    student(engine)
    item(engine)
    given = {name: said for name, said in {**LESSONS, **metadata}.items() if said is not None}
    payment = pay(engine, provider, fresh(), metadata=given)
    assert await purchases.start(payment) == 0
    return (await until(capsys, payment, "attention"))["workflowId"]


async def case(capsys: pytest.CaptureFixture[str], purchase: str) -> dict[str, Any]:
    capsys.readouterr()
    assert await typed(f"case {purchase} --json") == 0
    return printed(capsys)


@pytest.mark.usefixtures("serving", "working")
async def test_amends_as_the_case_file_says(
    engine: Engine, fake_provider: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer(engine)
    purchase = await begun(engine, fake_provider, capsys, startDate=None)
    seen = await case(capsys, purchase)
    assert await typed(f"case {purchase}") == 0
    told = " ".join(capsys.readouterr().out.split())
    line = command_of(purchase, seen["actions"][0])
    assert line in told
    assert seen["student"] in told
    assert (
        await typed(typed_in(line.removeprefix("coursaga purchases ")) + " --set sessionCount=12 --set purchaseTier=20")
        == 0
    )
    assert (await until(capsys, purchase.split(":")[1], "completed"))["sessions"] == 20  # 20 is a number, as JSON
    capsys.readouterr()
    assert await typed(f"acts {purchase} --json") == 0
    assert [(act["verb"], act["outcome"]) for act in printed(capsys)] == [("amend", "done")]


@pytest.mark.usefixtures("serving", "working")
async def test_extends_access_and_shows_it(
    engine: Engine, fake_provider: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    purchase = await begun(engine, fake_provider, capsys, expiryDate="2026-12-05")
    trainer(engine)
    assert await typed(f"retry-now {purchase} --reason r") == 0
    await until(capsys, purchase.split(":")[1], "completed")
    capsys.readouterr()
    assert await typed(f"show {purchase}") == 0
    assert "access: until 2026-12-05; lessons after it: 6, 7, 8, 9, 10" in " ".join(capsys.readouterr().out.split())
    assert await typed(f"extend {purchase} --until 2027-12-31 --reason ill --request-key k --json") == 0
    assert (told := printed(capsys))["outcome"] == "access lasts until 2027-12-31"
    assert await typed(f"extend {purchase} --until 2027-12-31 --reason ill --request-key k --json") == 0
    assert printed(capsys) == told
    with pytest.raises(ApiRefused, match="KEY_REUSED"):
        await typed(f"extend {purchase} --until 2028-12-31 --reason ill --request-key k")
    with pytest.raises(ApiRefused, match="lasts until 2027-12-31 already"):
        await typed(f"extend {purchase} --until 2027-01-01 --reason ill")


@pytest.mark.usefixtures("serving", "working")
async def test_assigns_a_trainer(
    engine: Engine, fake_provider: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    purchase = await begun(engine, fake_provider, capsys)
    trainer(engine, "far", latitude=10, longitude=10)
    assert await typed(f"assign-trainer {purchase} --trainer far --reason r --request-key k --json") == 0
    assert printed(capsys)["verb"] == "assign_trainer"
    assert (await until(capsys, purchase.split(":")[1], "completed"))["sessions"] == 10
    capsys.readouterr()
    assert await typed(f"matching {purchase}") == 0
    told = " ".join(capsys.readouterr().out.split())
    chosen, before = "far was chosen by", "No trainer was taken: no trainer teaches course-piano."
    assert chosen in told
    assert before in told
    assert await typed(f"matching {purchase} --trainer nobody --json") == 0
    assert printed(capsys)["answer"] == "nobody was no candidate: is no trainer known here."


@pytest.mark.usefixtures("serving", "working")
async def test_skips_a_step_and_refuses_one_it_is_not_parked_at(
    engine: Engine, fake_provider: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    purchase = await begun(engine, fake_provider, capsys)
    for line in ("skip-step {} --step create-sessions", "approve {}", "create-sessions {} --count 12"):
        with pytest.raises(ApiRefused, match="WRONG_STAGE") as wrong:
            await typed(line.format(purchase) + " --reason r")
        assert wrong.value.exit_code == 1
    assert await typed(f"skip-step {purchase} --step assign-trainer --reason r") == 0
    assert (await until(capsys, purchase.split(":")[1], "completed"))["sessions"] == 0


@pytest.mark.usefixtures("serving", "working")
async def test_cancels_and_keeps_the_money(
    engine: Engine, fake_provider: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    purchase = await begun(engine, fake_provider, capsys)
    assert await typed(f"cancel {purchase} --refund none --reason r") == 0
    assert (await until(capsys, purchase.split(":")[1], "cancelled"))["refunded"] is False
    assert fake_provider.refunds == {}


@pytest.mark.usefixtures("serving", "working")
async def test_watch_prints_one_look_where_there_is_no_terminal(
    engine: Engine, fake_provider: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    purchase = await begun(engine, fake_provider, capsys)
    capsys.readouterr()
    assert await watch.watch() == 0
    assert "1 need attention, 0 at work" in capsys.readouterr().out
    assert await typed("watch --once --json") == 0
    assert [(row["workflowId"], row["code"]) for row in printed(capsys)] == [(purchase, "NO_TRAINER_AVAILABLE")]


@pytest.mark.parametrize(
    "line", ["cancel p --reason r --refund half", "amend p --reason r", "skip-step p --reason r", "retry-now p"]
)
async def test_a_verb_without_what_it_needs_is_wrong_usage(line: str) -> None:
    with pytest.raises(CycloptsError):
        await typed(line)


async def test_a_change_without_an_equals_sign_is_wrong_usage() -> None:
    with pytest.raises(acts.WrongUsage, match="key=value") as wrong:
        await typed("amend p --set startDate --reason r")
    assert wrong.value.exit_code == 2


@pytest.mark.usefixtures("serving", "working")
async def test_bulk_counts_first_and_does_it_with_apply(
    engine: Engine, fake_provider: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    purchase = await begun(engine, fake_provider, capsys)
    line = "bulk cancel --code NO_TRAINER_AVAILABLE --set refund=none --reason r --request-key k"
    capsys.readouterr()
    assert await typed(line) == 0
    assert (
        f"1 purchases would be sent cancel; do it with --apply. Some of them:\n  {purchase}" in capsys.readouterr().out
    )
    assert await typed(f"{line} --apply --json") == 0
    assert (printed(capsys) | {"sample": [], "failures": []}) == {
        "dryRun": False, "matched": 1, "done": 1, "pending": 0, "held": 0, "failed": 0, "skipped": 0, "left": 0,
        "awaitingSecondPerson": False, "newKeyNeeded": 0,
        "sample": [], "failures": [], "requestKey": "k",
    }  # fmt: skip
    assert (await until(capsys, purchase.split(":")[1], "cancelled"))["refunded"] is False


async def test_bulk_wants_a_filter() -> None:
    with pytest.raises(acts.WrongUsage, match="say which purchases"):
        await typed("bulk retry-now --reason r")
