"""One verb for many parked purchases: counted first, sent at a steady pace, each on record, resumable."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from sqlalchemy import Engine
from temporalio.client import Client

from runtime.settings import Settings
from tests.api.conftest import begin, booted, end_runs, fresh, is_problem, shown, until
from tests.build import item, pay, rows, student, trainer
from tests.gateways.in_memory import FakeProvider
from tests.tokens import bearer
from tests.waiting import eventually
from worker import make_worker

BULK = "/api/v1/admin/purchases:bulk"
ASK: dict[str, Any] = {
    "verb": "retry_now",
    "filter": {"code": "NO_TRAINER_AVAILABLE", "item": "course-piano"},
    "reason": "new trainers",
    "requestKey": "ticket-1",
}


@pytest_asyncio.fixture(loop_scope="session")
async def quick(
    settings: Settings, temporal: Client, engine: Engine, fake_provider: FakeProvider
) -> AsyncIterator[httpx2.AsyncClient]:
    """The API with a worker, and a pace that tests need not wait for."""
    async with (
        booted(settings.with_values(bulk_acts_per_second=500)) as api,
        make_worker(temporal, settings, engine, fake_provider),
    ):
        yield api
    await end_runs(temporal, settings.task_queue)


async def parked(api: httpx2.AsyncClient, engine: Engine, provider: FakeProvider, number: int) -> list[str]:
    """As many purchases of different students, each parked for a trainer; their workflow ids."""
    item(engine)
    purchases: list[str] = []
    for _ in range(number):
        who = student(engine, f"student-{fresh()}")
        purchases.append(await begin(api, pay(engine, provider, fresh(), student_id=who)))
    for purchase in purchases:
        await until(api, purchase, "attention")
    return sorted(purchases)


async def ask(api: httpx2.AsyncClient, **more: Any) -> dict[str, Any]:
    answer = await api.post(BULK, json=ASK | more)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def counted(api: httpx2.AsyncClient, number: int, **more: Any) -> dict[str, Any]:
    """The dry run once visibility knows them all; the test's timeout bounds it."""
    return await eventually(lambda: ask(api, **more), lambda seen: seen["matched"] == number)


def audit(engine: Engine) -> list[tuple[str, str, str]]:
    found = rows(engine, "SELECT request_key, verb, actor FROM operator_acts")
    return sorted((row.request_key, row.verb, row.actor) for row in found)


async def audited(engine: Engine, number: int) -> list[tuple[str, str, str]]:
    """The audit once it has so many rows: an act is answered before it is on record; the test's timeout bounds it."""
    return await eventually(lambda: audit(engine), lambda found: len(found) >= number)


@pytest.mark.parametrize("number", [20, pytest.param(200, marks=[pytest.mark.soak, pytest.mark.timeout(900)])])
async def test_what_a_dry_run_counts_is_done_and_audited_while_others_are_served(
    quick: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider, number: int
) -> None:
    purchases = await parked(quick, engine, fake_provider, number)
    dry = await counted(quick, number)
    assert (dry["dryRun"], dry["done"], dry["left"]) == (True, 0, number)
    assert dry["sample"] == purchases[:20]
    assert audit(engine) == []  # a dry run does nothing
    for name in range(number):
        trainer(engine, f"trainer-{name}")
    done, left = 0, number
    while left:  # as the command does: the same request until nothing is left
        real = await ask(quick, dryRun=False)
        assert real["failed"] == 0, real["failures"]
        done, left = done + real["done"], real["left"] + real["pending"]
    assert done == dry["matched"]
    for purchase in purchases:
        await until(quick, purchase, "completed")
    assert audit(engine) == [(f"ticket-1:{purchase}", "retry_now", "ann") for purchase in purchases]
    assert (await counted(quick, 0))["sample"] == []


async def test_the_same_request_again_acts_only_on_what_is_left(
    quick: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    purchases = await parked(quick, engine, fake_provider, 4)
    await counted(quick, 4)
    first = await ask(quick, dryRun=False, limit=2)  # no trainer came: they stay parked
    assert (first["matched"], first["done"], first["skipped"]) == (2, 2, 0)
    await audited(engine, 2)
    again = await ask(quick, dryRun=False)
    assert (again["matched"], again["done"], again["skipped"]) == (4, 2, 2)
    keys = [key for key, _, _ in await audited(engine, 4)]
    assert keys == [f"ticket-1:{purchase}" for purchase in purchases]
    other = await ask(quick, dryRun=False, requestKey="ticket-2")
    assert (other["done"], len(await audited(engine, 8))) == (4, 8)


async def test_a_verb_that_does_not_fit_is_skipped_and_says_why(
    quick: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    await parked(quick, engine, fake_provider, 2)
    await counted(quick, 2)
    real = await ask(quick, verb="approve-allocation", dryRun=False)
    assert (real["done"], real["skipped"], len(real["failures"])) == (0, 2, 2)
    assert "no allocation waits" in real["failures"][0]
    assert audit(engine) == []


@pytest.mark.parametrize(
    "other",
    [{"verb": "cancel"}, {"verb": "amend", "values": {"changes": {"timeSlot": "20:00"}}}],
    ids=["another verb", "other values"],
)
async def test_a_purchase_whose_key_was_used_for_another_act_fails_and_says_so(
    other: dict[str, Any], quick: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    [purchase] = await parked(quick, engine, fake_provider, 1)
    await counted(quick, 1)
    single = {"reason": "r", "requestKey": f"ticket-1:{purchase}", "changes": {"timeSlot": "19:00"}}
    assert (await quick.post(f"/api/v1/admin/purchases/{purchase}/amend", json=single)).status_code == 200
    await audited(engine, 1)
    real = await ask(quick, **other, dryRun=False)
    assert (real["done"], real["skipped"], real["failed"]) == (0, 0, 1)
    assert "names another act: amend" in real["failures"][0]
    assert (await shown(quick, purchase))["ending"] == "attention"


async def test_cancels_many_with_values_and_only_those_of_the_filter(
    quick: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    one, other = await parked(quick, engine, fake_provider, 2)
    await counted(quick, 2)
    only = {"payment": one.split(":")[1], "attention": "any"}
    assert (await ask(quick, verb="cancel", filter=only, values={"refund": "none"}, dryRun=False))["done"] == 1
    assert (await until(quick, one, "cancelled"))["refunded"] is False
    assert (await shown(quick, other))["ending"] == "attention"


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"filter": {}}, "FILTER_NEEDED"), ({"filter": {"code": "x'"}}, "INVALID_REQUEST"),
        ({"verb": "explode"}, "UNKNOWN_VERB"), ({"values": {"refund": "full"}}, "INVALID_REQUEST"),
        ({"verb": "cancel", "values": {"refund": "half"}}, "INVALID_REQUEST"), ({"limit": 0}, "INVALID_REQUEST"),
        ({"values": {"actor": "eve"}}, "INVALID_REQUEST"), ({"dryRun": "false"}, "INVALID_REQUEST"),
        ({"verb": "amend", "values": {"changes": {}}}, "INVALID_ACT"), ({"requestKey": ""}, "INVALID_REQUEST"),
    ],
    ids=ascii,
)  # fmt: skip
async def test_what_makes_no_sense_is_422(api: httpx2.AsyncClient, wrong: dict[str, Any], code: str) -> None:
    is_problem(await api.post(BULK, json=ASK | wrong), 422, code)


async def test_without_a_worker_nothing_is_sent(
    settings: Settings, temporal: Client, engine: Engine, fake_provider: FakeProvider
) -> None:
    async with booted(settings) as api:
        async with make_worker(temporal, settings, engine, fake_provider):
            await parked(api, engine, fake_provider, 1)
            await counted(api, 1)
        answer = await api.post(BULK, json=ASK | {"dryRun": False})
        if answer.status_code == 503:  # the server forgets a worker only after a while
            is_problem(answer, 503, "WORKER_UNAVAILABLE")
        else:
            assert (answer.json()["done"], answer.json()["failed"]) == (0, 1)
    assert audit(engine) == []
    await end_runs(temporal, settings.task_queue)


@pytest_asyncio.fixture(loop_scope="session")
async def limited(
    settings: Settings, temporal: Client, engine: Engine, fake_provider: FakeProvider
) -> AsyncIterator[httpx2.AsyncClient]:
    """Each purchase costs 500.00; from 1,200.00 on two people are needed."""
    own = settings.with_values(bulk_acts_per_second=500, two_person_limit=1_200_00)
    async with booted(own) as api, make_worker(temporal, settings, engine, fake_provider):
        yield api
    await end_runs(temporal, settings.task_queue)


CANCEL = {"verb": "cancel", "values": {"refund": "full"}, "dryRun": False, "requestKey": "all-of-them"}


async def test_what_many_give_back_together_is_what_counts(
    limited: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    purchases = await parked(limited, engine, fake_provider, 3)
    await counted(limited, 3)
    for _ in range(2):  # the same person again is no second person
        first = await limited.post(BULK, json=ASK | CANCEL)
        assert (first.status_code, first.json()["awaitingSecondPerson"], first.json()["done"]) == (202, True, 0)
    other = await limited.post(BULK, json=ASK | CANCEL | {"values": {"refund": "none"}}, headers=bearer(subject="bob"))
    is_problem(other, 409, "KEY_REUSED")
    assert audit(engine) == []
    yes = {"reason": "I agree"}
    second = await limited.post(BULK, json=ASK | CANCEL | yes, headers=bearer(subject="bob"))
    assert (second.status_code, second.json()["done"] + second.json()["pending"]) == (200, 3), second.text
    for purchase in purchases:
        assert (await until(limited, purchase, "cancelled"))["refunded"] is True
    [kept] = rows(engine, "SELECT actor, second_actor FROM bulk_requests")
    assert (kept.actor, kept.second_actor) == ("ann", "bob")
    recorded = rows(engine, "SELECT DISTINCT actor, reason FROM operator_acts WHERE verb = 'cancel'")
    assert recorded == [("ann", "new trainers")], "the reason on record is of whom the act is"


async def test_what_waits_for_a_second_person_by_itself_is_told_and_done_when_that_one_sends_the_same(
    limited: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    """Parked before its payment is confirmed: nobody knows whether giving nothing back keeps nothing."""
    item(engine)
    payment = pay(engine, fake_provider, fresh(), student_id=student(engine, f"student-{fresh()}"))
    known = fake_provider.payments[payment]
    fake_provider.payments[payment] = replace(known, currency="XTS")
    purchase = await begin(limited, payment)
    await until(limited, purchase, "attention")
    asked = ASK | CANCEL | {"filter": {"code": "STEP_TROUBLE"}, "values": {"refund": "none"}}
    await counted(limited, 1, filter=asked["filter"])
    for _ in range(2):
        first = await limited.post(BULK, json=asked)
        told = first.json()
        assert (first.status_code, told["done"], told["pending"], told["held"]) == (202, 0, 1, 1), told
    fake_provider.payments[payment] = known
    second = await limited.post(BULK, json=asked, headers=bearer(subject="bob"))
    assert (second.status_code, second.json()["held"]) == (200, 0)
    await until(limited, purchase, "cancelled")


async def test_below_the_limit_together_one_person_is_enough(
    limited: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    purchases = await parked(limited, engine, fake_provider, 2)
    await counted(limited, 2)
    answer = await limited.post(BULK, json=ASK | CANCEL)
    assert (answer.status_code, answer.json()["awaitingSecondPerson"]) == (200, False)
    for purchase in purchases:
        await until(limited, purchase, "cancelled")


async def one_more(api: httpx2.AsyncClient, engine: Engine, provider: FakeProvider) -> str:
    """Another purchase that is parked for a trainer, far above the limit."""
    who = student(engine, f"student-{fresh()}")
    dear = await begin(api, pay(engine, provider, fresh(), student_id=who, amount_minor=5_000_00))
    await until(api, dear, "attention")
    return dear


async def test_a_yes_of_the_second_person_covers_only_what_matched_then(
    limited: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    await parked(limited, engine, fake_provider, 3)
    await counted(limited, 3)
    for who, status in (("ann", 202), ("bob", 200)):
        answer = await limited.post(BULK, json=ASK | CANCEL, headers=bearer(subject=who))
        assert answer.status_code == status, answer.text
    await counted(limited, 0)
    dear = await one_more(limited, engine, fake_provider)
    await counted(limited, 1)
    for who in ("ann", "bob"):
        again = (await limited.post(BULK, json=ASK | CANCEL, headers=bearer(subject=who))).json()
        assert (again["matched"], again["newKeyNeeded"], again["done"], again["pending"]) == (1, 1, 0, 0)
        assert "use a new requestKey" in again["failures"][0]
    assert (await shown(limited, dear))["ending"] == "attention"
    assert dear not in str(audit(engine))


async def test_two_go_on_in_both_names_with_what_the_second_said_yes_to(
    limited: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    purchases = await parked(limited, engine, fake_provider, 3)
    await counted(limited, 3)
    assert (await limited.post(BULK, json=ASK | CANCEL)).status_code == 202
    first = await limited.post(BULK, json=ASK | CANCEL | {"limit": 1}, headers=bearer(subject="bob"))
    assert first.json()["matched"] == 1, first.text
    assert (await limited.post(BULK, json=ASK | CANCEL)).json()["newKeyNeeded"] == 0
    for purchase in purchases:
        await until(limited, purchase, "cancelled")


async def test_who_acted_alone_under_a_key_is_not_the_first_of_two(
    limited: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    await parked(limited, engine, fake_provider, 1)
    await counted(limited, 1)
    assert (await limited.post(BULK, json=ASK | CANCEL)).status_code == 200
    await counted(limited, 0)
    dear = await one_more(limited, engine, fake_provider)
    await counted(limited, 1)
    assert (await limited.post(BULK, json=ASK | CANCEL, headers=bearer(subject="bob"))).status_code == 202
    assert (await shown(limited, dear))["ending"] == "attention"
    assert (await limited.post(BULK, json=ASK | CANCEL)).status_code == 200
    assert (await until(limited, dear, "cancelled"))["refunded"] is True


async def test_a_key_of_a_bulk_names_one_bulk(
    quick: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    await parked(quick, engine, fake_provider, 1)
    await counted(quick, 1)
    assert (await ask(quick, dryRun=False))["done"] == 1
    is_problem(await quick.post(BULK, json=ASK | {"verb": "cancel", "dryRun": False}), 409, "KEY_REUSED")
    is_problem(await quick.post(BULK, json=ASK | {"filter": {"attention": "any"}, "dryRun": False}), 409, "KEY_REUSED")
