"""The bench's fourth part: very many callers at once, each coming back when told to; who is served, and how fast."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx2

from cli.bench.measure import Watched
from cli.bench.meter import Timed
from domain.purchase import PurchaseOrder
from runtime.dev_auth import dev_token
from runtime.settings import Settings

_ALONE = 100  # reads, one after the other, while nothing else happens
_LOOK_EVERY = 0.5  # seconds between two looks at readiness


@dataclass
class _Seen:
    """How long each answer took, in seconds: those served, refused with a time to come again, and failed."""

    served: list[float] = field(default_factory=list[float])
    refused: list[float] = field(default_factory=list[float])
    failed: list[float] = field(default_factory=list[float])


async def measure_load(
    settings: Settings, url: str, bought: Sequence[PurchaseOrder], callers: int, seconds: int, watched: Watched
) -> dict[str, Any]:
    """Let students read their purchases at once for `seconds`, while somebody asks whether the API is ready."""
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx2.AsyncClient(base_url=url, timeout=60, limits=limits) as client:
        orders = [bought[number % len(bought)] for number in range(callers)]
        watched.say("a student reads, nothing else happens")
        alone, load, ready = _Seen(), _Seen(), _Seen()
        tokens = [dev_token(settings, "student", order.student_id, timedelta(hours=1)) for order in orders]
        for _ in range(_ALONE):
            await _look(client, tokens[0], orders[0], alone)
        watched.say(f"{callers} students read at once for {seconds} s")
        until = time.perf_counter() + seconds
        await asyncio.gather(
            _ready(client, ready, until),
            *(_student(client, token, order, load, until) for token, order in zip(tokens, orders, strict=True)),
        )
    idle, busy = Timed(alone.served, 1), Timed(load.served, seconds)
    every = [*load.served, *load.refused, *load.failed]
    return {
        "callers": callers, "seconds": seconds, "served": len(load.served), "refused": len(load.refused),
        "failed": len(load.failed), "idleP95Ms": idle.ms(0.95), "servedP95Ms": busy.ms(0.95),
        "times": round(busy.ms(0.95) / idle.ms(0.95), 2), "longestMs": round(max(every) * 1000, 1),
        "readyAsked": len(ready.served) + len(ready.failed), "readyFailed": len(ready.failed),
        "readyLongestMs": round(max([*ready.served, *ready.failed]) * 1000, 1),
    }  # fmt: skip


async def _student(client: httpx2.AsyncClient, token: str, order: PurchaseOrder, seen: _Seen, until: float) -> None:
    await asyncio.sleep(random.random())
    while time.perf_counter() < until:
        again = await _look(client, token, order, seen)
        if again:
            await asyncio.sleep(again * (1 + random.random()))


async def _look(client: httpx2.AsyncClient, token: str, order: PurchaseOrder, seen: _Seen) -> float:
    """Read the purchase; return 0 when it was served, else after how many seconds to come again."""
    asked = time.perf_counter()
    answer = await client.get(f"/api/v1/purchases/{order.purchase_id}", headers={"Authorization": f"Bearer {token}"})
    took = time.perf_counter() - asked
    if answer.status_code == 200:
        seen.served.append(took)
        return 0
    refused = answer.status_code in (429, 503) and "retry-after" in answer.headers
    (seen.refused if refused else seen.failed).append(took)
    return float(answer.headers.get("retry-after", 1))


async def _ready(client: httpx2.AsyncClient, seen: _Seen, until: float) -> None:
    while time.perf_counter() < until:
        asked = time.perf_counter()
        answer = await client.get("/readyz")
        (seen.served if answer.status_code == 200 else seen.failed).append(time.perf_counter() - asked)
        await asyncio.sleep(_LOOK_EVERY)
