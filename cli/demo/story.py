"""The demo's story: three purchases, bought and followed through the HTTP API of a running stack."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import quote

from temporalio.client import Client
from temporalio.service import RPCError

from cli.api_client import Api, ApiRefused
from cli.demo.chapter import Chapter, Json, clock_time, money, wall_time
from cli.demo.marketplace import NEW_TRAINER, NEW_TRAINER_ID
from cli.demo.screen import Screen
from cli.demo.timeline import timeline
from domain.ids import workflow_id_of
from domain.refusals import REFUSALS
from gateways.payments import HttpPaymentProvider, ProviderTrouble
from runtime.child_processes import tail
from runtime.errors import CannotRun
from runtime.state import Running

PHASE_SECONDS = 60.0
_LOOK_AGAIN = 0.15
_HEALS_WITHIN = 8.0  # after that the story asks for a retry itself
_READING = 5.0  # somebody who watches reads what is wrong before it is mended
_BREATH = 1.0

_TITLES = (
    "Ada buys Piano, and it becomes lessons",
    "Ben buys Chess, which closed: he gets his money back",
    "Cleo buys Violin, which nobody teaches yet",
)


class DemoFailed(CannotRun):
    """A chapter did not end as it should; the message says where, and which log to read."""


@asynccontextmanager
async def within(seconds: float, what: str, log: Path) -> AsyncGenerator[None]:
    """Raise DemoFailed, with the end of the log, when the block takes longer than `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise DemoFailed(f"{what}: not done within {seconds:.0f} s; look into {log}\n{tail(log)}") from None


@dataclass
class Story:
    """Shows the three chapters of `market` (the file as imported) on `screen`.

    `logs` is the folder of the processes' logs.
    """

    api: Api
    client: Client
    running: Running
    market: Json
    screen: Screen
    logs: Path
    chapters: list[Chapter]

    async def tell(self) -> None:
        """Run all three chapters, one after the other. Raises DemoFailed, ApiRefused, ServerUnreachable."""
        for number, chapter_of in enumerate((self.completes, self.is_refused, self.needs_attention), 1):
            chapter = self._chapter(number)
            self.chapters.append(chapter)
            await chapter_of(chapter)
            self.screen.show(chapter)
            if self.screen.live:
                await asyncio.sleep(_BREATH)
        self.screen.close()

    async def completes(self, chapter: Chapter) -> None:
        """Buy a course and wait until the payment has become lessons."""
        await self._buy(chapter)
        await self._until(chapter, lambda purchase: purchase["ending"] != "running")
        self._tell_lessons(chapter)
        self._expect(chapter, "completed")

    async def is_refused(self, chapter: Chapter) -> None:
        """Buy a closed course: what was done is undone in reverse, and the provider confirms the refund."""
        await self._buy(chapter)
        await self._until(chapter, lambda purchase: purchase["ending"] != "running")
        self._expect(chapter, "refused")
        chapter.fact("why", REFUSALS[chapter.purchase["code"]].operator)
        chapter.fact("Ben reads", REFUSALS[chapter.purchase["code"]].student)
        try:
            with HttpPaymentProvider(self.running.provider_url) as provider:
                paid = await asyncio.to_thread(provider.get, chapter.payment["id"])
        except ProviderTrouble as trouble:
            raise DemoFailed(f"{trouble}; look into {self.logs / 'provider.log'}") from trouble
        back = sum(line.refunded_minor for line in paid.lines) if paid else 0
        chapter.extra["provider"] = {"status": paid.status if paid else None, "refundedMinor": back}
        given = f"{money(back, chapter.payment['currency'])} given back"
        chapter.fact("provider", f"confirms: {given}")
        if back != chapter.payment["amountMinor"] or not chapter.purchase["refunded"]:
            raise self._failed(chapter, f"the provider says: {given}")
        chapter.status = "refused and made whole"

    async def needs_attention(self, chapter: Chapter) -> None:
        """Buy a course without a trainer: the purchase waits, visibly; a trainer is added, and it goes on by itself."""
        await self._buy(chapter)
        await self._until(chapter, lambda purchase: purchase["ending"] != "running" and purchase["attention"])
        waits = chapter.purchase["attention"]
        if not waits:
            raise self._failed(chapter, f"it ended {chapter.purchase['ending']} instead of waiting")
        chapter.extra["attention"] = waits
        chapter.status = "needs attention"
        chapter.fact("why", REFUSALS[waits["reason"]].operator)
        chapter.fact("since", _moment(waits["since"]))
        chapter.fact("next try", f"{_moment(waits['nextRetry'])}, by itself")
        chapter.fact("what to do", waits["nextAction"])
        self.screen.show(chapter)
        if self.screen.live:
            await asyncio.sleep(_READING)
        await self._mend(chapter)
        self._tell_lessons(chapter)
        self._expect(chapter, "completed")

    async def _mend(self, chapter: Chapter) -> None:
        async with self._in_time("adding a trainer", "api"):
            await self._add_trainer()
        began = time.monotonic()
        chapter.fact("mended", f"{NEW_TRAINER['name']} added: it goes on by itself")
        self.screen.show(chapter)
        chapter.extra["healedBy"] = "trainer added"

        def over(purchase: Json) -> bool:
            return purchase["ending"] == "completed" or time.monotonic() - began > _HEALS_WITHIN

        await self._until(chapter, over)
        if chapter.purchase["ending"] != "completed":
            chapter.extra["healedBy"] = "retry_now"
            chapter.fact("mended", "nobody woke it, so an operator retries it now")
            said = {"reason": "a trainer was added", "requestKey": f"demo-{chapter.payment['id']}"}
            with suppress(ApiRefused):  # it has just gone on after all
                await self.api.post(f"/api/v1/admin/purchases/{quote(chapter.workflow_id, safe='')}/retry_now", said)
            await self._until(chapter, lambda purchase: purchase["endedAt"] is not None)

    async def _buy(self, chapter: Chapter) -> None:
        payment = chapter.payment
        chapter.fact("paid", f"{money(payment['amountMinor'], payment['currency'])} by {payment['id']}")
        self.screen.show(chapter)
        async with self._in_time("starting the purchase", "api"):
            await self.api.post("/api/v1/purchases", {"paymentId": payment["id"]})
        chapter.status = "running"

    async def _until(self, chapter: Chapter, reached: Callable[[Json], object]) -> None:
        """Read the purchase until `reached` is true of it and none of its activities is under way.

        Raises DemoFailed.
        """
        async with self._in_time(f"purchase {chapter.workflow_id}", "worker"):
            while True:
                chapter.purchase = await self.api.get(f"/api/v1/purchases/{quote(chapter.workflow_id, safe='')}")
                try:
                    chapter.happenings = await timeline(self.client, chapter.workflow_id)
                except RPCError as error:
                    raise DemoFailed(f"Temporal does not tell the history: {error.message}") from error
                self.screen.show(chapter)
                if reached(chapter.purchase) and all(one.ended for one in chapter.happenings):
                    return
                await asyncio.sleep(_LOOK_AGAIN)

    async def _add_trainer(self) -> None:
        try:
            await self.api.put(f"/api/v1/admin/trainers/{NEW_TRAINER_ID}", NEW_TRAINER)
        except ApiRefused as error:
            raise DemoFailed(f"the API did not take the trainer: {error}") from error

    def _chapter(self, number: int) -> Chapter:
        payment = self.market["payments"][number - 1]
        workflow_id = workflow_id_of(payment["id"], 1)
        ui = self.running.temporal_ui
        link = f"{ui}/namespaces/{self.client.namespace}/workflows/{quote(workflow_id, safe='')}" if ui else None
        return Chapter(number, _TITLES[number - 1], payment, workflow_id, link)

    def _tell_lessons(self, chapter: Chapter) -> None:
        lessons, trainer = chapter.purchase["sessions"], chapter.purchase["trainer"]
        if lessons["count"]:
            chapter.fact("lessons", f"{lessons['count']}, {lessons['minutes']} minutes each, {lessons['timezone']}")
            chapter.fact("first", wall_time(lessons["firstLocal"]))
            chapter.fact("last", wall_time(lessons["lastLocal"]))
        if trainer:
            chapter.fact("trainer", f"{trainer['name']}, {trainer['status']}")
            names = {one["id"]: one["name"] for one in self.market["trainers"]}
            for other, reason in trainer["lost"].items():
                chapter.fact("not", f"{names.get(other, other)}: {reason}")

    def _expect(self, chapter: Chapter, ending: str) -> None:
        purchase = chapter.purchase
        if purchase["ending"] != ending:
            raise self._failed(chapter, f"it is {purchase['ending']} ({purchase['code']}), not {ending}")
        if ending == "completed" and purchase["sessions"]["count"] != purchase["sessionCount"]:
            raise self._failed(chapter, f"{purchase['sessions']['count']} of {purchase['sessionCount']} lessons exist")
        chapter.status = ending

    def _failed(self, chapter: Chapter, how: str) -> DemoFailed:
        return DemoFailed(f"{chapter.workflow_id} went another way: {how}; look into {self.logs / 'worker.log'}")

    def _in_time(self, what: str, process: str) -> AbstractAsyncContextManager[None]:
        return within(PHASE_SECONDS, what, self.logs / f"{process}.log")


def _moment(text: str) -> str:
    """Format an ISO moment as `18:03:07 UTC`."""
    return f"{clock_time(datetime.fromisoformat(text)).partition('.')[0]} UTC"
