"""The workbench (mission row 34): dead letters listed, mended beside the original, replayed once per key, all on record."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import httpx2
import psycopg.errors as pg
import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from application.consume_events import tried
from application.context import Services
from db.dead_letters import keep_dead_letter
from db.refused_messages import Place, count_refusal, digest_of, refusals_of, settle_refused
from gateways.kafka_client import Incoming
from runtime.settings import Settings
from tests.api.conftest import NOBODY, booted, fresh, is_problem, settings_for
from tests.build import item, pay, rows, run, student, value
from tests.events.told import POISON, event, raw

LETTERS = "/api/v1/admin/dead-letters"
WHO = {"reason": "mended"}


async def dead(at: Services, payload: bytes, offset: int = 0) -> None:
    """A message that came by Kafka and was refused three times."""
    letter = await tried(at, Incoming("payments", 2, offset, b"key", payload))
    assert letter is not None
    assert letter.tries == 3
    await keep_dead_letter(at.engine, letter)


async def act(api: httpx2.AsyncClient, letter: int, verb: str, key: str = "k", **more: Any) -> httpx2.Response:
    return await api.post(f"{LETTERS}/{letter}/{verb}", json={**WHO, "requestKey": key, **more})


async def shown(api: httpx2.AsyncClient, letter: int) -> dict[str, Any]:
    return (await api.get(f"{LETTERS}/{letter}")).json()


async def listed(api: httpx2.AsyncClient, **filters: Any) -> list[int]:
    return [row["id"] for row in (await api.get(LETTERS, params=filters)).json()["deadLetters"]]


async def test_a_letter_shows_what_came_and_why_it_was_refused(
    api: httpx2.AsyncClient, at: Services, paid: str
) -> None:
    bad = {kind: made(paid) for kind, (_, made) in POISON.items() if kind in ("NaN", "bad UTF-8")}
    for offset, payload in enumerate(bad.values()):
        await dead(at, payload, offset)
    [text, no_text] = (await api.get(LETTERS)).json()["deadLetters"]
    assert (text["code"], text["tries"], text["partition"], text["offset"]) == ("EVENT_NOT_JSON", 3, 2, 0)
    assert text["bytes"] == len(bad["NaN"])
    whole = await shown(api, text["id"])
    assert (whole["original"], whole["originalBase64"], whole["key"]) == (bad["NaN"].decode(), None, "key")
    whole = await shown(api, no_text["id"])
    assert (whole["original"], base64.b64decode(whole["originalBase64"])) == (None, bad["bad UTF-8"])
    assert (whole["fixedPayload"], whole["acts"], whole["replayedAt"]) == (None, [], None)


async def test_the_same_bytes_again_are_the_same_letter(at: Services, engine: Engine) -> None:
    for offset in range(3):
        await dead(at, b"bad", offset)
    await dead(at, b"worse")
    assert value(engine, "SELECT count(*) FROM dead_letters") == 2


async def test_another_message_at_the_same_place_begins_anew(at: Services, engine: Engine) -> None:
    """A topic was made anew: what was counted, and done, was about a message that is gone."""
    gone, new = (Place("payments", 0, 7, digest_of(None, payload)) for payload in (b"gone", b"new"))
    assert [await count_refusal(at.engine, gone, "EVENT_NOT_JSON", "") for _ in range(3)] == [1, 2, 3]
    await settle_refused(at.engine, gone)
    assert (await refusals_of(at.engine, [("payments", 0, 7)]))["payments", 0, 7].place == gone
    assert await count_refusal(at.engine, new, "EVENT_NOT_JSON", "") == 1
    assert rows(engine, "SELECT digest, tries, settled FROM refused_messages") == [(new.digest, 1, False)]


async def test_fixed_then_replayed_it_starts_the_purchase_and_the_original_stays(
    api: httpx2.AsyncClient, at: Services, engine: Engine, paid: str
) -> None:
    came = raw({**event(paid), "key": "typing error"})
    await dead(at, came)
    [letter] = await listed(api)
    assert (await act(api, letter, "replay", "1")).json()["outcome"] == "EVENT_KEY_MISMATCH"
    assert (await act(api, letter, "fix", "2", payload=event(paid))).json()["outcome"] == "fixed"
    assert (await act(api, letter, "replay", "3")).json()["outcome"] == "taken"
    assert rows(engine, "SELECT workflow_id, origin FROM purchase_starts") == [(f"purchase:{paid}:1", "event")]
    whole = await shown(api, letter)
    assert (whole["original"], whole["fixedPayload"]) == (came.decode(), event(paid))
    assert whole["replayedAt"]
    told = [(each["verb"], each["actor"], each["reason"], each["outcome"]) for each in whole["acts"]]
    assert told == [("replay", "ann", "mended", "EVENT_KEY_MISMATCH"), ("fix", "ann", "mended", "fixed"),
                    ("replay", "ann", "mended", "taken")]  # fmt: skip
    assert whole["acts"][2]["before"] == {"code": "EVENT_KEY_MISMATCH", "fixed": True, "replayed": False}
    assert (await listed(api), await listed(api, state="replayed"), await listed(api, state="all")) == (
        [],
        [letter],
        [letter],
    )


async def test_an_act_happens_once_per_key_also_at_once(
    api: httpx2.AsyncClient, at: Services, engine: Engine, paid: str
) -> None:
    await dead(at, raw(event(f"{paid}-x")))
    [letter] = await listed(api)
    assert (await act(api, letter, "replay")).json()["outcome"] == "PAYMENT_NOT_FOUND"
    assert (await act(api, letter, "fix", "fix", payload=event(paid))).status_code == 200
    assert (await act(api, letter, "replay")).json()["outcome"] == "PAYMENT_NOT_FOUND", "the first answer of this key"
    is_problem(await act(api, letter, "fix", "k", payload=event(paid)), 409, "KEY_REUSED")
    other = event(f"{paid}-y")
    is_problem(await act(api, letter, "fix", "fix", payload=other), 409, "KEY_REUSED")
    is_problem(await act(api, letter, "fix", "fix", payload=event(paid), reason="else"), 409, "KEY_REUSED")
    assert (await act(api, letter, "fix", "fix", payload=event(paid))).json()["outcome"] == "fixed"
    answers = await asyncio.gather(*(act(api, letter, "replay", "again") for _ in range(5)))
    assert len({answer.json()["outcome"] for answer in answers}) == 1
    assert value(engine, "SELECT count(*) FROM dead_letter_acts") == 3
    assert value(engine, "SELECT count(*) FROM purchase_starts") == 1
    assert (await act(api, letter, "replay", "once more")).json()["outcome"] == "duplicate"


async def test_a_range_a_code_or_all_are_replayed_and_what_is_refused_again_stays(
    api: httpx2.AsyncClient, at: Services, engine: Engine
) -> None:
    student(engine)
    item(engine)
    late = [fresh() for _ in range(4)]
    for offset, payment in enumerate(late):
        await dead(at, raw(event(payment)), offset)
    await dead(at, b"no JSON", 9)
    ids = await listed(api)
    for payment in late:
        pay(engine, None, payment)

    async def replay(key: str, **which: Any) -> dict[str, Any]:
        answer = await api.post(f"{LETTERS}:replay", json={**WHO, "requestKey": key, **which})
        assert answer.status_code == 200, answer.text
        return answer.json()

    done = await replay("range", first=ids[1], last=ids[2])
    assert (done["matched"], done["replayed"], done["refused"], done["left"]) == (2, 2, 0, 0)
    assert await listed(api) == [ids[0], ids[3], ids[4]]
    assert (await replay("code", code="PAYMENT_NOT_FOUND", limit=1))["replayed"] == 1
    done = await replay("all", all=True)
    assert (done["replayed"], done["refused"], done["refusals"]) == (1, 1, [f"{ids[4]}: EVENT_NOT_JSON"])
    assert (await replay("all", all=True))["matched"] == 0, "this key has acted on the one that is left"
    assert await listed(api) == [ids[4]]
    assert value(engine, "SELECT count(*) FROM purchase_starts") == 4
    assert value(engine, "SELECT count(*) FROM dead_letter_acts") == 5


async def test_pages_follow_each_other(api: httpx2.AsyncClient, at: Services) -> None:
    for number in range(3):
        await dead(at, b"bad %d" % number)
    first = (await api.get(LETTERS, params={"limit": 2})).json()
    second = (await api.get(LETTERS, params={"limit": 2, "after": first["nextAfter"]})).json()
    assert [len(first["deadLetters"]), len(second["deadLetters"]), second["nextAfter"]] == [2, 1, None]


async def test_while_temporal_is_away_a_replay_is_503_and_leaves_no_trace(
    database_url: str, task_queue: str, at: Services, engine: Engine, paid: str
) -> None:
    await dead(at, raw(event(paid, studentId="student-2")))
    run(engine, "UPDATE payments SET student_id = 'student-2'")
    async with booted(settings_for(database_url, NOBODY, task_queue)) as lost:
        is_problem(await act(lost, 1, "replay"), 503, "TEMPORAL_UNAVAILABLE")
    assert value(engine, "SELECT count(*) FROM dead_letter_acts") == 0


async def test_refuses_what_makes_no_sense(api: httpx2.AsyncClient, at: Services, engine: Engine, paid: str) -> None:
    await dead(at, b"bad")
    [letter] = await listed(api)
    is_problem(await act(api, letter + 1, "replay"), 404, "DEAD_LETTER_NOT_FOUND")
    is_problem(await act(api, letter + 1, "fix", payload=event(paid)), 404, "DEAD_LETTER_NOT_FOUND")
    is_problem(await api.get(f"{LETTERS}/{letter + 1}"), 404, "DEAD_LETTER_NOT_FOUND")
    for where in ("0", "-1", "x", str(2**63)):
        is_problem(await api.get(f"{LETTERS}/{where}"), 422, "INVALID_REQUEST")
    is_problem(await act(api, letter, "fix", payload={"type": "X"}), 422, "EVENT_TYPE_UNKNOWN")
    is_problem(await act(api, letter, "fix", payload={}), 422, "EVENT_INVALID")
    is_problem(await act(api, letter, "fix"), 422, "INVALID_REQUEST")
    is_problem(await api.post(f"{LETTERS}:replay", json={**WHO, "requestKey": "k"}), 422, "FILTER_NEEDED")
    is_problem(await api.get(LETTERS, params={"state": "x"}), 422, "INVALID_REQUEST")
    is_problem(await api.get(LETTERS, params={"code": "x'"}), 422, "INVALID_REQUEST")
    assert value(engine, "SELECT count(*) FROM dead_letter_acts") == 0
    assert value(engine, "SELECT fixed_payload FROM dead_letters") is None


@pytest.mark.parametrize("change", ["UPDATE {} SET reason = 'x'", "DELETE FROM {}", "TRUNCATE {}"])
async def test_the_record_is_only_added_to(at: Services, engine: Engine, change: str) -> None:
    await dead(at, b"bad")
    run(
        engine,
        "INSERT INTO dead_letter_acts SELECT id, 'k', 'fix', 'ann', 'why', '{}', '{}', 'fixed', now() FROM dead_letters",
    )
    with pytest.raises(IntegrityError, match="only added to") as error:
        run(engine, change.format("dead_letter_acts"))
    assert isinstance(error.value.orig, pg.RestrictViolation)


async def test_webhooks_are_registered_listed_and_removed(settings: Settings, api: httpx2.AsyncClient) -> None:
    hooks = "/api/v1/admin/webhooks"
    is_problem(await api.post(hooks, json={"url": "https://127.0.0.1/hook"}), 422, "TARGET_REFUSED")
    for wrong in ({"secret": "whsec_short"}, {"secret": "x" * 50}, {"eventTypes": ["lower"]}, {"eventTypes": "ALL"}):
        is_problem(await api.post(hooks, json={"url": "https://93.184.215.14/", **wrong}), 422, "INVALID_REQUEST")
    async with booted(settings.with_values(webhook_private_addresses=True)) as inside:
        made = await inside.post(hooks, json={"url": "http://127.0.0.1:9/hook", "eventTypes": ["PURCHASE_CREATED"]})
        assert made.status_code == 201
        assert made.json()["secret"].startswith("whsec_")
        is_problem(await inside.post(hooks, json={"url": "http://127.0.0.1:9/hook"}), 409, "TARGET_EXISTS")
    listing = await api.get(hooks)
    assert made.json()["secret"] not in listing.text
    [target] = listing.json()["webhooks"]
    assert (target["id"], target["eventTypes"], target["waiting"]) == (made.json()["id"], ["PURCHASE_CREATED"], 0)
    assert (await api.delete(f"{hooks}/{target['id']}")).status_code == 200
    is_problem(await api.delete(f"{hooks}/{target['id']}"), 404, "TARGET_NOT_FOUND")
    assert (await api.get(hooks)).json() == {"webhooks": []}


async def test_the_backlog_is_told(api: httpx2.AsyncClient, engine: Engine) -> None:
    old = "now() - interval '90 s'"
    run(engine, f"INSERT INTO outbox (key, type, occurred_at) VALUES ('purchase:1:A', 'A', {old})")  # noqa: S608
    seen = (await api.get("/api/v1/admin/outbox")).json()
    assert (seen["eventsWaiting"], seen["deliveriesWaiting"], seen["deliveriesGivenUp"]) == (1, 0, 0)
    assert seen["eventsOldestSeconds"] >= 90
