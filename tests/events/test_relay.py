"""The relay (mission row 27, invariant I9): nothing before its commit, nothing lost, in order per subject, each target alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address
from math import log2

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.ext.asyncio import AsyncEngine

from application.publish_outbox import publish, publish_some
from db.outbox import OutboxRow
from db.webhooks import MAX_ATTEMPTS
from domain.ids import event_id_of
from gateways.webhooks import TargetRefused, Webhooks, looked_up, parsed
from tests.build import run, value
from tests.events.receiver import SECRET, receiving
from tests.events.relays import BOUND, add, impatient, pool, relaying, remove, tell, wake
from tests.waiting import eventually

__all__ = ["pool"]


def waiting(engine: Engine) -> int:
    return value(engine, "SELECT count(*) FROM outbox WHERE published_at IS NULL")


class Keeping:
    """A publisher that remembers; `takes` says which events it delivers."""

    def __init__(self, takes: Callable[[str], bool] = lambda _: True) -> None:
        self.told: list[str] = []
        self._takes = takes

    async def publish(self, events: Sequence[OutboxRow]) -> set[str]:
        await asyncio.sleep(0)  # let the other relays in
        taken = [event.key for event in events if self._takes(event.key)]
        self.told += taken
        return set(taken)


async def test_an_event_is_published_once_it_is_committed_and_never_before(engine: Engine, pool: AsyncEngine) -> None:
    publisher = Keeping()
    with engine.begin() as under_way:
        under_way.execute(text("INSERT INTO outbox (key, type, occurred_at) VALUES ('purchase:1:A', 'A', now())"))
        assert await publish_some(pool, publisher) == (0, 0)
    assert await publish_some(pool, publisher) == (1, 1)
    assert await publish_some(pool, publisher) == (0, 0)
    with engine.connect() as rolled_back:
        rolled_back.execute(text("INSERT INTO outbox (key, type, occurred_at) VALUES ('purchase:2:A', 'A', now())"))
    assert await publish_some(pool, publisher) == (0, 0)
    assert publisher.told == ["purchase:1:A"]


async def test_what_is_not_delivered_for_certain_is_published_again(engine: Engine, pool: AsyncEngine) -> None:
    tell(engine, "purchase:1:A", "purchase:2:A")
    assert await publish_some(pool, Keeping(lambda key: key == "purchase:2:A")) == (2, 1)
    publisher = Keeping()
    assert await publish_some(pool, publisher) == (1, 1)
    assert publisher.told == ["purchase:1:A"]


async def test_four_relays_at_once_tell_each_event_once_and_each_subject_in_order(
    engine: Engine, pool: AsyncEngine
) -> None:
    wanted = [f"purchase:{subject}:E{number}" for number in range(6) for subject in range(25)]
    tell(engine, *wanted)
    publisher, stop = Keeping(), asyncio.Event()
    relays = [asyncio.create_task(publish(pool, publisher, stop, asyncio.Event())) for _ in range(4)]
    async with asyncio.timeout(BOUND):
        await eventually(lambda: waiting(engine) == 0)
    stop.set()
    await asyncio.gather(*relays)
    assert sorted(publisher.told) == sorted(wanted)
    for subject in range(25):
        mine = [key for key in publisher.told if key.startswith(f"purchase:{subject}:")]
        assert mine == [f"purchase:{subject}:E{number}" for number in range(6)]


async def test_a_later_event_waits_while_another_relay_holds_the_one_before(engine: Engine, pool: AsyncEngine) -> None:
    tell(engine, "purchase:1:A", "purchase:1:B", "purchase:2:A")
    held, go = asyncio.Event(), asyncio.Event()

    class Slow(Keeping):
        async def publish(self, events: Sequence[OutboxRow]) -> set[str]:
            held.set()
            await go.wait()
            return await super().publish([event for event in events if event.key == "purchase:1:A"])

    slow = asyncio.create_task(publish_some(pool, Slow()))
    await held.wait()
    assert await publish_some(pool, Keeping()) == (0, 0)
    go.set()
    assert await slow == (2, 1)
    publisher = Keeping()
    assert await publish_some(pool, publisher) == (2, 2)
    assert sorted(publisher.told) == ["purchase:1:B", "purchase:2:A"]


async def test_the_id_of_an_event_is_the_same_each_time() -> None:
    assert event_id_of("purchase:1:A") == event_id_of("purchase:1:A") != event_id_of("purchase:1:B")


async def test_targets_get_what_they_want_signed_and_in_order(engine: Engine, pool: AsyncEngine) -> None:
    with receiving() as everything, receiving() as some:
        await add(pool, "all", everything.url)
        await add(pool, "some", some.url, ["DONE"])
        told = [f"purchase:{subject}:{kind}" for subject in range(30) for kind in ("NEW", "DONE")]
        tell(engine, *told)
        async with relaying(pool):
            await eventually(lambda: len(everything.got) == 60 and len(some.got) == 30)
        assert sorted(everything.took()) == sorted(told)
        for subject in range(30):
            mine = [key for key in everything.took() if f":{subject}:" in key]
            assert mine == [f"purchase:{subject}:NEW", f"purchase:{subject}:DONE"]
        assert set(some.took()) == {f"purchase:{subject}:DONE" for subject in range(30)}
        assert some.got[0].keys() == {"id", "type", "occurredAt", "key", "data"}
    assert value(engine, "SELECT count(*) FROM webhook_deliveries WHERE answer = '204' AND tries = 1") == 90


async def test_a_dead_target_holds_up_no_other_and_a_failing_event_only_its_subject(
    engine: Engine, pool: AsyncEngine
) -> None:
    with receiving() as hangs, receiving() as picky, receiving() as fine:
        hangs.answers = lambda _: 0
        broken = [True]
        picky.answers = lambda event: 503 if broken and event["key"] == "purchase:1:A" else 200
        for name, target in (("hangs", hangs), ("picky", picky), ("fine", fine)):
            await add(pool, name, target.url)
        await add(pool, "gone", "http://127.0.0.1:1/events")
        tell(engine, "purchase:1:A", "purchase:1:B", "purchase:2:A")
        async with relaying(pool):
            await eventually(lambda: len(fine.got) == 3 and picky.took() == ["purchase:2:A"])
            await eventually(lambda: "purchase:1:A" in picky.tries)
            impatient(engine)
            await eventually(lambda: picky.tries.count("purchase:1:A") >= 2)
            assert "purchase:1:B" not in picky.tries
            broken.clear()
            await eventually(lambda: impatient(engine) or len(set(picky.took())) == 3)
            hangs.over.set()
        assert list(dict.fromkeys(picky.took())) == ["purchase:2:A", "purchase:1:A", "purchase:1:B"]
    answer = "SELECT answer FROM webhook_deliveries WHERE target_id = 'gone' ORDER BY event_id LIMIT 1"
    assert value(engine, answer) == "ConnectError"


async def test_a_delivery_is_given_up_at_last_and_the_next_one_goes_out(engine: Engine, pool: AsyncEngine) -> None:
    with receiving() as target:
        target.answers = lambda event: 302 if event["key"] == "purchase:1:A" else 204
        await add(pool, "target", target.url)
        tell(engine, "purchase:1:A", "purchase:1:B")
        async with relaying(pool):
            answered = "SELECT count(*) FROM webhook_deliveries WHERE answer = '302'"
            await eventually(lambda: value(engine, answered) == 1)
            assert target.tries == ["purchase:1:A"]  # a redirect is not followed
            run(engine, "UPDATE webhook_deliveries SET tries = :most WHERE tries > 0", most=MAX_ATTEMPTS - 1)
            await eventually(lambda: impatient(engine) or "purchase:1:B" in target.took())
    assert value(
        engine, "SELECT given_up_at IS NOT NULL AND answer = '302' FROM webhook_deliveries ORDER BY event_id LIMIT 1"
    )


async def test_pauses_grow(engine: Engine, pool: AsyncEngine) -> None:
    await add(pool, "gone", "http://127.0.0.1:1/")
    tell(engine, "purchase:1:A")
    pauses: list[float] = []
    async with relaying(pool):
        for tries in range(1, 8):
            seen = "SELECT count(*) FROM webhook_deliveries WHERE answer IS NOT NULL AND tries = :tries"
            await eventually(lambda tries=tries, seen=seen: value(engine, seen, tries=tries) == 1)
            left = "SELECT extract(epoch FROM next_try_at - now())::float8 FROM webhook_deliveries"
            pauses.append(value(engine, left))
            run(engine, "UPDATE webhook_deliveries SET next_try_at = now(), answer = NULL")
            wake(engine)
    # 5 s, doubling; of the short ones too much may have passed already
    assert [round(log2(pause / 5)) for pause in pauses[3:]] == [3, 4, 5, 6]


async def test_a_removed_target_is_told_nothing_more(engine: Engine, pool: AsyncEngine) -> None:
    with receiving() as gone, receiving() as stays:
        await add(pool, "gone", gone.url)
        await add(pool, "stays", stays.url)
        await remove(pool, "gone")
        tell(engine, "purchase:1:A")
        async with relaying(pool):
            await eventually(lambda: len(stays.got) == 1)
    assert gone.tries == []


INSIDE = [
    "https://127.0.0.1/", "https://localhost:5432/", "https://[::1]/", "https://10.0.0.1/", "https://172.16.5.5/",
    "https://192.168.1.1/", "https://169.254.169.254/latest/meta-data", "https://0.0.0.0/", "https://[::]/",
    "https://100.64.0.1/", "https://[fd00::1]/", "https://[fe80::1]/", "https://[::ffff:10.0.0.1]/",
    "https://[::ffff:127.0.0.1]/", "https://[64:ff9b::7f00:1]/", "https://[64:ff9b:1::a9fe:a9fe]/", "https://[::7f00:1]/",
    "https://[fec0::1]/", "https://[2001:db8::5efe:7f00:1]/", "https://[2a00:1450:4001::5efe:a00:1]/",
    "https://168.63.129.16/", "https://169.254.169.254/", "https://100.100.100.200/", "https://[fd00:ec2::254]/",
    "https://[2001:0:7f00:1::]/", "https://[2002:7f00:1::]/", "https://224.0.0.1/",
    "https://2130706433/", "https://0x7f.1/", "https://127.1/", "https://192.0.2.1/",
]  # fmt: skip
WRONG = [
    "http://example.com/", "ftp://example.com/", "https://", "https://user:pass@example.com/", "https://example.com/#x",
    "https://example.com:0/", "https://example.com:99999/", "https://exämple.com/", "https://example.com\\@10.0.0.1/",
    "https://example.com/a b", "example.com", "", "https://nobody.invalid/", "https://[::1",
]  # fmt: skip


@pytest.mark.parametrize("url", INSIDE + WRONG, ids=ascii)
async def test_an_address_that_is_not_public_is_refused(url: str) -> None:
    with pytest.raises(TargetRefused):
        await looked_up(parsed(url, private=False), private=False)


async def test_the_address_is_looked_at_again_when_it_is_sent_to() -> None:
    """A name may have pointed outside when it was registered."""
    with receiving() as inside:
        webhooks = Webhooks(private=False)
        url = inside.url.replace("http://127.0.0.1", "https://localhost")
        sent = await webhooks.send(url, SECRET, "id", json.dumps({}).encode())
        await webhooks.close()
        assert sent == (False, "refused: its host is on a loopback, private or reserved address")
        assert inside.tries == []


async def test_public_addresses_are_fine() -> None:
    for url in ("https://93.184.215.14/", "https://[2606:4700::1111]:8443/hooks?a=b"):
        assert await looked_up(parsed(url, private=False), private=False)


async def test_every_address_of_a_target_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with an address that nobody listens at, as of a host that speaks IPv6 half."""

    async def both(_: object, *, private: bool) -> list[IPv4Address]:
        return [IPv4Address("127.0.0.9"), IPv4Address("127.0.0.1")] if private else []

    monkeypatch.setattr("gateways.webhooks.looked_up", both)
    webhooks = Webhooks(private=True)
    with receiving() as target:
        assert await webhooks.send(target.url, SECRET, "event-1", b'{"id": "event-1", "key": "purchase:1:A"}') == (
            True,
            "204",
        )
        assert target.took() == ["purchase:1:A"]
    assert await webhooks.send(target.url, SECRET, "event-1", b"{}") == (False, "ConnectError")
    await webhooks.close()
