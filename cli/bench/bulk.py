"""The bench's third part: how much slower the API gets for others while one verb is sent to many parked purchases."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any

from cli.api_client import Api
from cli.bench.failed import BenchFailed
from cli.bench.measure import Watched
from cli.bench.meter import Timed
from cli.identity import signing
from domain.purchase import PurchaseOrder
from runtime.settings import Settings

_READERS = 2
_READS = 200  # while nothing else happens
_BULK = "/api/v1/admin/purchases:bulk"
_STALLED_SECONDS = 120.0


async def measure_bulk(
    settings: Settings, url: str, parked: Sequence[PurchaseOrder], watched: Watched
) -> dict[str, Any]:
    """Park these purchases, send `retry_now` to all while others read, and return the reads' p95 before and meanwhile.

    Raises BenchFailed if not all of them park.
    """
    watched.say(f"parking {len(parked)} purchases")
    async with Api(url, signing(settings, "bench"), patient=True) as api:
        for order in parked:
            await api.post("/api/v1/purchases", {"paymentId": order.payment_id})
        body = {
            "verb": "retry_now", "filter": {"code": "NO_TRAINER_AVAILABLE"}, "reason": "the bench asks",
            "requestKey": secrets.token_hex(8),
        }  # fmt: skip
        matched = await _all_parked(api, body, len(parked))
        paths = cycle([f"/api/v1/purchases/{order.purchase_id}" for order in parked])
        watched.say("others read, nothing else happens")
        quiet = await _read(api, paths, _READS)
        watched.say("others read, a bulk act is under way")
        sending = asyncio.create_task(_send(api, body))
        busy = await _read(api, paths, until=sending)
        done = await sending
    before, meanwhile = quiet.ms(0.95), busy.ms(0.95)
    return {
        "matched": matched, "done": done, "readsP95Ms": before, "readsMeanwhileP95Ms": meanwhile,
        "times": round(meanwhile / before, 2),
    }  # fmt: skip


async def _all_parked(api: Api, body: dict[str, Any], number: int) -> int:
    until = time.monotonic() + _STALLED_SECONDS
    while (matched := (await api.post(_BULK, body))[1]["matched"]) < number:
        if time.monotonic() > until:
            raise BenchFailed(f"{matched} of {number} purchases are parked and no more come")
        await asyncio.sleep(0.2)
    return matched


async def _send(api: Api, body: dict[str, Any]) -> int:
    done = 0
    while True:
        answer = (await api.post(_BULK, {**body, "dryRun": False}))[1]
        done += answer["done"]
        if not answer["left"]:
            return done


async def _read(api: Api, paths: Iterator[str], most: int = 0, until: asyncio.Task[int] | None = None) -> Timed:
    each: list[float] = []
    began = time.perf_counter()

    async def reader() -> None:
        while len(each) < most if until is None else not until.done():
            asked = time.perf_counter()
            await api.get(next(paths))
            each.append(time.perf_counter() - asked)

    await asyncio.gather(*(reader() for _ in range(_READERS)))
    return Timed(each, time.perf_counter() - began)
