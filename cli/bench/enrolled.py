"""`--enrolled`: how long a student waits from checkout until they are enrolled (mission row 18), through the API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx2
from sqlalchemy import bindparam, text

from cli.api_client import Api
from cli.bench.endings import Endings, endings
from cli.bench.failed import BenchFailed
from cli.bench.measure import Watched
from cli.bench.meter import Timed
from cli.identity import signing
from db.engine import make_async_engine
from runtime.dev_auth import dev_token
from runtime.settings import Settings
from runtime.state import Running

# As watchers of a purchase are told it: written in the transaction that enrolls, by the clock of this machine.
_ENROLLED = text(
    """
    SELECT purchase_id, extract(epoch FROM at) AS at FROM purchase_progress
     WHERE purchase_id IN :ids AND kind = 'step' AND facts ->> 'step' = 'enroll'
    """
).bindparams(bindparam("ids", expanding=True))

_TRIES = 10  # of one checkout, while the API says that it is busy


@dataclass
class _Counter:
    """Where students check out. `began`: when each purchase's checkout was sent, in seconds since the epoch."""

    student: httpx2.AsyncClient
    provider: httpx2.AsyncClient
    service: Api
    seen: Endings
    began: dict[str, float] = field(default_factory=dict[str, float])

    async def check_out(self, token: str, key: str) -> None:
        """Check out, pay at the provider, and start the purchase as the provider's word does; wait for its end."""
        began = time.time()
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key}
        answer = await self.student.post("/api/v1/checkout", json={}, headers=headers)
        for _ in range(_TRIES):  # as a browser does, and its time counts
            if "Retry-After" not in answer.headers:
                break
            await asyncio.sleep(float(answer.headers["Retry-After"]))
            answer = await self.student.post("/api/v1/checkout", json={}, headers=headers)
        if not answer.is_success:
            raise BenchFailed(f"checkout answered {answer.status_code}: {answer.text}")
        payment = answer.json()["paymentId"]
        (await self.provider.post(f"/payments/{payment}/confirm")).raise_for_status()
        _, started = await self.service.post("/api/v1/purchases", {"paymentId": payment})
        for line in started["lines"]:
            self.began[line["id"]] = began
            await self.seen.of(line["id"])


async def measure_enrolled(
    settings: Settings, running: Running, visitors: Mapping[str, Mapping[str, Any]], in_flight: int, watched: Watched
) -> dict[str, Any]:
    """Let each of these students check out what they want, at most `in_flight` at a time; return how long they waited.

    Raises BenchFailed unless all are enrolled.
    """
    tokens = {student: dev_token(settings, "student", student, timedelta(hours=2)) for student in visitors}
    async with AsyncExitStack() as stack:
        seen = await stack.enter_async_context(endings(running.database_url, watched.advance))
        student = await stack.enter_async_context(httpx2.AsyncClient(base_url=running.api, timeout=60))
        provider = await stack.enter_async_context(httpx2.AsyncClient(base_url=running.provider_url, timeout=60))
        service = await stack.enter_async_context(Api(running.api, signing(settings, "bench"), patient=True))
        watched.say(f"{len(visitors)} students fill their carts")
        for name, wanted in visitors.items():
            headers = {"Authorization": f"Bearer {tokens[name]}"}
            (await student.post("/api/v1/cart/items", json=dict(wanted), headers=headers)).raise_for_status()
        counter = _Counter(student, provider, service, seen)
        watched.say(f"they check out, {in_flight} at a time")
        left = iter(tokens.items())
        await asyncio.gather(*(_queue(counter, left) for _ in range(in_flight)))
    engine = make_async_engine(running.database_url, pool_size=1)
    async with engine.connect() as connection:
        rows = await connection.execute(_ENROLLED, {"ids": list(counter.began)})
        waited = [float(row.at) - counter.began[row.purchase_id] for row in rows]
    await engine.dispose()
    if len(waited) != len(visitors):
        raise BenchFailed(f"of {len(visitors)} students {len(waited)} are enrolled")
    told = Timed(waited, 1)
    return {
        "checkouts": len(waited), "atOnce": in_flight, "p50Ms": told.ms(0.5), "p95Ms": told.ms(0.95),
        "longestMs": told.ms(1.0),
    }  # fmt: skip


async def _queue(counter: _Counter, left: Iterator[tuple[str, str]]) -> None:
    for student, token in left:
        await counter.check_out(token, f"checkout-of-{student}")
