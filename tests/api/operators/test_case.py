"""The case file: the cause in a sentence, what to do, the money, what happened; with real activities."""

from __future__ import annotations

from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import httpx2
import pytest
from rich.console import Console
from sqlalchemy import Engine
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client

from cli.operators.case_view import tell_case
from cli.operators.purchase_view import tell
from domain.refusals import REFUSALS
from runtime.settings import Settings
from tests.api.conftest import NOBODY, begin, booted, end_runs, fresh, is_problem, shown, until
from tests.api.operators.test_verbs import act
from tests.build import LESSONS, item, pay, start, student, trainer
from tests.gateways.in_memory import FakeProvider
from tests.samples import filled
from worker import make_worker


async def case(api: httpx2.AsyncClient, purchase: str) -> dict[str, Any]:
    answer = await api.get(f"/api/v1/admin/purchases/{purchase}/case")
    assert answer.status_code == 200, answer.text
    return answer.json()


def told(seen: dict[str, Any]) -> list[str]:
    """The timeline, which is in time order."""
    times = [entry["at"] for entry in seen["timeline"]]
    assert times == sorted(times)
    return [entry["what"] for entry in seen["timeline"]]


async def test_names_cause_actions_money_and_story_with_all_workers_down(
    settings: Settings, temporal: Client, engine: Engine, fake_provider: FakeProvider, paid: str
) -> None:
    with_ui = settings.with_values(temporal_ui_url="http://ui.test/")
    async with booted(with_ui) as api:
        purchase = await begin(api, paid)
        async with make_worker(temporal, settings, engine, fake_provider):
            await until(api, purchase, "attention")
        seen = await case(api, purchase)
    assert seen["cause"].startswith(REFUSALS["NO_TRAINER_AVAILABLE"].operator.removesuffix("."))
    assert len(seen["cause"]) > len(REFUSALS["NO_TRAINER_AVAILABLE"].operator)  # and what exactly was found
    assert seen["student"] == "You are enrolled; we are finding your trainer."
    assert seen["nextAction"] == REFUSALS["NO_TRAINER_AVAILABLE"].next_action
    assert None not in (seen["since"], seen["nextRetry"])
    assert [action["verb"] for action in seen["actions"]] == [
        "assign_trainer", "retry_now", "amend", "skip_step", "cancel",
    ]  # fmt: skip
    assert seen["money"] == {
        "paid": 50000, "refunded": 0, "givenBackAtProvider": 0, "currency": "USD", "status": "succeeded", "refundStatus": None,
        "coins": 0, "coinsRedeemed": 0, "coinsGivenBack": 0,
    }  # fmt: skip
    assert (seen["lessons"]["count"], seen["lessons"]["of"]) == (0, 10)
    assert seen["links"]["temporalUi"] == f"http://ui.test/namespaces/default/workflows/{purchase.replace(':', '%3A')}"
    assert seen["problems"] == []
    async with booted(settings.with_values(temporal_address=NOBODY)) as cut_off:
        blind = await case(cut_off, purchase)
    assert "Temporal does not answer" in blind["cause"]
    assert (blind["actions"], blind["links"]["temporalUi"]) == ([], None)
    assert told(blind)  # the database still tells the story
    await end_runs(temporal, settings.task_queue)


@pytest.mark.usefixtures("worker")
async def test_what_was_undone_is_told_with_what_was_done_before_and_what_never_was_is_not(
    api: httpx2.AsyncClient, paid: str
) -> None:
    purchase = await begin(api, paid)
    await until(api, purchase, "attention")  # enrolled, and there is no trainer
    assert (await act(api, purchase, "cancel")).status_code == 200
    await until(api, purchase, "cancelled")
    story = told(await case(api, purchase))
    both = ["The student was enrolled.", "The enrolment was ended."]
    assert [line for line in story if line in both] == both
    never = [done for done in story if "trainer" in done.lower() or "lessons" in done.lower()]
    assert [line for line in never if "released" in line or "cancelled" in line] == []
    steps = {step["step"]: step["state"] for step in (await shown(api, purchase))["steps"]}
    assert steps == {"confirm_payment": "undone", "create_purchase": "undone", "enroll": "undone"}


@pytest.mark.usefixtures("worker")
async def test_a_deadline_is_told_as_giving_up_and_never_as_a_next_try(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider, temporal: Client
) -> None:
    student(engine)
    item(engine)
    purchase = await begin(api, pay(engine, fake_provider, fresh(), metadata={"purchaseTier": 10}))
    waits = await until(api, purchase, "attention")
    assert (waits["code"], waits["nextRetry"]) == ("METADATA_INCOMPLETE", None)
    seen = await case(api, purchase)
    assert seen["nextRetry"] is None
    since = datetime.fromisoformat(seen["since"]).replace(microsecond=0)
    assert datetime.fromisoformat(seen["givesUp"]) - since == timedelta(hours=72)
    told_on_paper = StringIO()
    tell_case(seen, Console(file=told_on_paper, width=200))
    tell(waits, Console(file=told_on_paper, width=200))
    assert told_on_paper.getvalue().count(f"gives up: {seen['givesUp']}, and the money goes back") == 2
    assert "next try" not in told_on_paper.getvalue()
    shown_in_ui = await temporal.get_workflow_handle(purchase).query(
        "__temporal_workflow_metadata", result_type=WorkflowMetadata
    )
    assert f"- **gives up:** {seen['givesUp']}, and the money goes back" in shown_in_ui.current_details
    assert "next try" not in shown_in_ui.current_details


@pytest.mark.usefixtures("worker")
async def test_tells_what_happened_and_who_did_it(api: httpx2.AsyncClient, engine: Engine, paid: str) -> None:
    purchase = await begin(api, paid)
    await until(api, purchase, "attention")
    trainer(engine, "far", latitude=10, longitude=10)
    assert (await act(api, purchase, "assign_trainer", trainerId="far")).status_code == 200
    await until(api, purchase, "completed")
    seen = await case(api, purchase)
    story = told(seen)
    for line in ("The payment was confirmed.", "The lessons were created.", "The trainer was approved."):
        assert line in story
    assert any(line.startswith("It stopped and needed somebody: No trainer") for line in story)
    assert "ann assigned a trainer (asked for by a test): done." in story
    assert any(line.startswith("It was completed") for line in story)
    assert (seen["ending"], seen["actions"]) == ("completed", [])
    assert (seen["lessons"]["count"], seen["lessons"]["first"]) == (10, "2026-12-01T18:00")


@pytest.mark.usefixtures("worker")
async def test_tells_where_the_money_of_a_refused_purchase_is(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    student(engine)
    item(engine, "course-closed", is_open=False)
    payment = pay(engine, fake_provider, fresh(), items=(("course", "course-closed"),), amount_minor=1999)
    purchase = await begin(api, payment)
    await until(api, purchase, "refused")
    seen = await case(api, purchase)
    assert seen["cause"] == REFUSALS["COURSE_UNAVAILABLE"].operator
    assert seen["student"] == REFUSALS["COURSE_UNAVAILABLE"].student
    assert (seen["money"]["refunded"], seen["money"]["refundStatus"]) == (1999, "succeeded")
    assert "19.99 USD was given back." in told(seen)
    assert any("made whole (COURSE_UNAVAILABLE)" in line for line in told(seen))


@pytest.mark.usefixtures("worker")
async def test_what_is_missing_is_amended_and_audited(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    student(engine)
    item(engine)
    trainer(engine)
    payment = pay(engine, fake_provider, fresh(), metadata={k: v for k, v in LESSONS.items() if k != "startDate"})
    purchase = await begin(api, payment)
    await until(api, purchase, "attention")
    offered = (await case(api, purchase))["actions"][0]
    assert offered["verb"] == "amend"
    answer = await api.post(offered["href"], json=filled(offered["body"]))
    assert answer.status_code == 200, answer.text
    seen = await until(api, purchase, "completed")
    assert seen["item"]["metadataSources"]["startDate"] == "admin"
    acts = (await api.get(f"/api/v1/admin/purchases/{purchase}/acts")).json()["acts"]
    assert [(a["verb"], a["actor"], a["outcome"]) for a in acts] == [("amend", "ann", "done")]
    assert acts[0]["before"] == {"stage": "create_purchase", "code": "METADATA_INCOMPLETE"}
    assert acts[0]["after"]["code"] is None


@pytest.mark.usefixtures("worker")
async def test_a_skipped_step_is_named(api: httpx2.AsyncClient, paid: str) -> None:
    purchase = await begin(api, paid)
    await until(api, purchase, "attention")
    assert (await act(api, purchase, "skip_step", step="assign_trainer")).status_code == 200
    await until(api, purchase, "completed")
    assert (await case(api, purchase))["skipped"] == ["assign_trainer"]


async def test_a_started_line_without_a_workflow_says_how_to_start_it(
    api: httpx2.AsyncClient, engine: Engine, paid: str
) -> None:
    seen = await case(api, start(engine, paid).purchase_id)
    assert "POST its payment" in seen["cause"]
    [offered] = seen["actions"]
    assert (offered["verb"], offered["href"]) == ("start_again", "/api/v1/purchases")
    assert offered["body"] == {"purchaseId": seen["id"]}


@pytest.mark.parametrize("what", ["case", "acts"])
async def test_an_unknown_purchase_has_no_case(api: httpx2.AsyncClient, what: str) -> None:
    is_problem(await api.get(f"/api/v1/admin/purchases/purchase:nobody:1/{what}"), 404, "PURCHASE_NOT_FOUND")
