"""A webhook receiver that misbehaves costs a bounded time and little memory, and no other receiver notices."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import ExitStack
from threading import Event
from typing import Any

import pytest
import pytest_asyncio
from sqlalchemy import Engine
from sqlalchemy.ext.asyncio import AsyncEngine

from application.deliver_webhooks import deliver
from application.publish_outbox import ToLog, publish_some
from gateways.webhooks import Webhooks
from tests.build import value
from tests.events import bad_receivers as bad
from tests.events.bad_receivers import behaving
from tests.events.receiver import SECRET, receiving
from tests.events.relays import BOUND, add, pool, relaying, seal, tell
from tests.waiting import eventually

__all__ = ["pool"]

BUFFERS = 16 * 2**20  # bytes; what the kernel takes from a sender although nobody reads it
EVENT = b'{"id": "event-1", "key": "purchase:1:A"}'

BEHAVIOURS = {
    "drips": (bad.drips, False, "TimeoutError"),
    "never answers": (bad.never_answers, False, "TimeoutError"),
    "never gets to the point": (bad.never_gets_to_the_point, False, "TimeoutError"),
    "never ends": (bad.never_ends, True, "200"),
    "inflates": (bad.inflates, True, "200"),
    "sets cookies": (bad.sets_cookies, True, "200"),
    "giant header": (bad.giant_header, False, "RemoteProtocolError"),
    "many headers": (bad.many_headers, False, "RemoteProtocolError"),
    "speaks nonsense": (bad.speaks_nonsense, False, "RemoteProtocolError"),
    "hangs up": (bad.hangs_up, False, "RemoteProtocolError"),
    "redirects": (bad.redirects("http://127.0.0.1:9/inside"), False, "307"),
}


@pytest_asyncio.fixture(loop_scope="session")
async def webhooks() -> AsyncGenerator[Webhooks]:
    """As a relay's, with less patience, so that the tests need less."""
    webhooks = Webhooks(private=True, patience=1)
    yield webhooks
    await webhooks.close()


@pytest.mark.parametrize("how", BEHAVIOURS)
async def test_one_delivery_ends_and_reads_little(how: str, webhooks: Webhooks) -> None:
    says, taken, answer = BEHAVIOURS[how]
    with behaving(says) as receiver:
        assert await webhooks.send(receiver.url, SECRET, "event-1", EVENT) == (taken, answer)
        assert len(receiver.asked) == 1
        assert receiver.sent < BUFFERS


async def test_a_reset_is_an_answer(webhooks: Webhooks) -> None:
    with behaving(bad.hangs_up, reset=True) as receiver:
        assert await webhooks.send(receiver.url, SECRET, "event-1", EVENT) == (False, "ReadError")


async def test_a_redirect_leads_nowhere(webhooks: Webhooks) -> None:
    with receiving() as inside, behaving(bad.redirects(inside.url)) as receiver:
        assert await webhooks.send(receiver.url, SECRET, "event-1", EVENT) == (False, "307")
        assert (len(receiver.asked), inside.tries) == (1, [])


async def test_nobody_can_leave_cookies_with_us(webhooks: Webhooks) -> None:
    """They would be kept for ever, and sent to whoever else is at the same address."""
    with behaving(bad.sets_cookies) as receiver, behaving(bad.sets_cookies) as neighbour:
        for _ in range(3):
            assert await webhooks.send(receiver.url, SECRET, "event-1", EVENT) == (True, "200")
        await webhooks.send(neighbour.url, SECRET, "event-1", EVENT)
        assert [head for head in receiver.asked + neighbour.asked if b"cookie" in head.lower()] == []


async def test_others_are_told_meanwhile(engine: Engine, pool: AsyncEngine) -> None:
    """Each of the bad ones is owed as much as the good one, which gets all of it; what they answered is on record."""
    webhooks = Webhooks(private=True, patience=5)  # all at once take longer than one alone, on a busy machine more so
    told = [f"purchase:{subject}:{kind}" for subject in range(12) for kind in ("A", "B")]
    with ExitStack() as stack:
        for how, (says, _, _) in BEHAVIOURS.items():
            await add(pool, how, stack.enter_context(behaving(says)).url)
        fine = stack.enter_context(receiving())
        await add(pool, "fine", fine.url)
        tell(engine, *told)
        async with relaying(pool, webhooks=webhooks):
            await eventually(lambda: set(fine.took()) == set(told))
            untried = "SELECT count(*) FROM webhook_deliveries WHERE answer IS NULL AND event_id IN (SELECT min(id) FROM outbox GROUP BY regexp_replace(key, ':[^:]*$', ''))"
            await eventually(lambda: value(engine, untried) == 0)
    await webhooks.close()
    assert set(fine.took()) == set(told)
    for how, (_, _, answer) in BEHAVIOURS.items():
        seen = "SELECT string_agg(DISTINCT answer, ',') FROM webhook_deliveries WHERE target_id = :how"
        assert value(engine, seen, how=how) == answer


async def test_names_that_nobody_resolves_take_no_thread_from_others(
    engine: Engine, pool: AsyncEngine, webhooks: Webhooks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name server of a target belongs to its owner, too. What a thread asks of it cannot be taken back."""
    over, resolve, asked = Event(), socket.getaddrinfo, list[str]()

    def slow(host: str, *more: Any, **named: Any) -> Any:
        if host.endswith(".slow.test"):
            asked.append(host)
            over.wait()
            raise socket.gaierror
        return resolve(host, *more, **named)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    try:
        with receiving() as fine:
            for number in range(4):
                await add(pool, f"slow-{number}", f"http://{number}.slow.test/hook")
            told = [f"purchase:{subject}:A" for subject in range(12)]
            tell(engine, *told)
            async with relaying(pool, webhooks=webhooks):
                await eventually(lambda: len(set(asked)) == 4)
                await add(pool, "fine", fine.url.replace("127.0.0.1", "localhost"))
                tell(engine, "purchase:fine:A")
                await eventually(lambda: fine.took() == ["purchase:fine:A"])
                failed = "SELECT count(*) FROM webhook_deliveries WHERE answer = 'TimeoutError'"
                await eventually(lambda: value(engine, failed) >= 4 * 12)
            assert len(asked) == 4, "a thread for each delivery"
    finally:
        over.set()


async def test_a_relay_that_is_stopped_begins_nothing_more(
    engine: Engine, pool: AsyncEngine, webhooks: Webhooks
) -> None:
    """However much is due to somebody slow: what is under way ends, the rest is the next relay's."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    with receiving() as target:
        await add(pool, "target", target.url)
        tell(engine, *(f"purchase:{subject}:A" for subject in range(100)))
        while (await publish_some(pool, ToLog()))[0]:
            pass

        def answer(_: object) -> int:
            loop.call_soon_threadsafe(stop.set)
            return 204

        target.answers = answer
        async with asyncio.timeout(BOUND):
            await deliver(pool, webhooks, seal(), stop, asyncio.Event())
    waiting = value(engine, "SELECT count(*) FROM webhook_deliveries WHERE delivered_at IS NULL AND tries = 0")
    assert (len(target.got), waiting) == (20, 80)
