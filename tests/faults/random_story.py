"""One purchase's story, drawn from a seed: doors, verbs, hands at the provider and at Temporal, in any order.

A story says what it did (`told`), so that a seed that failed once can be read. It ends by mending what can be mended and
asking as a patient operator would, until every line it started has an ending.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from random import Random
from typing import Any
from uuid import uuid4

import httpx2
from sqlalchemy.exc import DBAPIError
from temporalio.api.workflowservice.v1 import PauseWorkflowExecutionRequest, UnpauseWorkflowExecutionRequest
from temporalio.service import RPCError

from domain.acts import REFUNDS, SKIPPABLE
from gateways.payments import ProviderLine, ProviderPayment
from tests import build
from tests.events.told import event
from tests.faults.world import World
from tests.subjects import bundle
from tests.temporal.anything import ANYTHING, signal
from tests.tokens import bearer

LIMIT = 30_000  # minor units from which giving money back needs two people
PURCHASES = "/api/v1/purchases"
SCHEDULE: dict[str, Any] = {"startDate": "2026-12-01", "timeSlot": "18:00", "scheduleType": "daily", "sessionCount": 3}
CHANGES: tuple[dict[str, Any], ...] = (
    {"timeSlot": "19:00"}, {"startDate": "2026-12-07"}, {"expiryDate": "2027-06-30"}, {"sessionCount": 2},
    {"treatAs": "renewal"}, {"itemId": "nothing-of-this-name"},
)  # fmt: skip
OVERRIDES: tuple[dict[str, Any], ...] = ({}, {"count": 2}, {"timeSlot": "20:00"})
FAULTS = (
    "429", "500_before", "500_after", "timeout_before", "timeout_after", "reset", "slow", "refuse", "foreign_404",
    "foreign_json", "foreign_200", "foreign_payment",
)  # fmt: skip
OPERATIONS = ("get", "refund", "find_refund", "cancel")
SIGNALS = ("create_sessions_manually", "wake", "nobody_listens_to_this")
ROUNDS_OF_RETRIES, ROUNDS_OF_CANCELS = 4, 12

header = cache(bearer)


@dataclass
class Story:
    """What a seed makes happen. `door` is the API, `told` what was done and what it answered."""

    seed: int
    world: World
    door: httpx2.AsyncClient
    told: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.chance = Random(self.seed)
        self.name = f"{uuid4().hex[:4]}-{self.seed:04}"
        self.student, self.payment = f"student-{self.name}", f"pay-{self.name}"
        self.items: list[tuple[str, str]] = []
        self.trainers = 0
        self.ending = False

    async def live(self) -> None:
        """From the payment to the end of every line; `prepare` comes before."""
        acts: tuple[tuple[int, Callable[[], Awaitable[None]]], ...] = (
            (4, self._buy), (1, self._hear), (1, self._give), (10, self._verb), (2, self._change_at_the_provider),
            (2, self._disturb_the_provider), (1, self._cancel_by_client), (1, self._terminate), (1, self._pause),
            (1, self._unpause), (2, self._signal), (1, self._hire), (1, self._top_up), (2, self._look),
        )  # fmt: skip
        weights, what = zip(*acts, strict=True)
        while self.chance.random() < 0.4:
            await self.chance.choice((self._disturb_the_provider, self._change_at_the_provider))()
        await self._buy()
        for _ in range(self.chance.randrange(3, 13)):
            [act] = self.chance.choices(what, weights)
            await act()
            await asyncio.sleep(self.chance.choice((0, 0, 0.05, 0.3)))  # how long a person takes
        await self._finish()

    # -- what there is -----------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """The student, the items, the payment, a trainer or none."""
        chance, name = self.chance, self.name
        amount, coins = chance.choice((50_000, 5_000)), chance.choice((0, 0, 300))
        await self._sql(lambda: build.student(self.world.engine, self.student, coins=chance.choice((0, 300, 1_000))))
        for number in range(chance.choice((1, 1, 2))):
            is_open, cards = chance.random() < 0.85, chance.random() < 0.3
            if cards:
                of = [f"{name}-{number}-physics", f"{name}-{number}-biology"]
                await self._sql(lambda n=number, of=of: bundle(self.world.engine, f"bundle-{name}-{n}", of))
                self.items.append(("bundle", f"bundle-{name}-{number}"))
            else:
                course = f"course-{name}-{number}"
                await self._sql(lambda c=course, o=is_open: build.item(self.world.engine, c, is_open=o))
                self.items.append(("course", course))
        status = chance.choices(("succeeded", "pending", "failed"), (7, 2, 1))[0]
        await self._sql(
            lambda: build.pay(
                self.world.engine, payment_id=self.payment, student_id=self.student, status=status, coins=coins,
                items=tuple(self.items), amount_minor=amount, metadata=SCHEDULE,
            )
        )  # fmt: skip
        lines = tuple(ProviderLine(number, amount) for number in range(1, len(self.items) + 1))
        paid = ProviderPayment(self.payment, self.student, status, amount * len(lines), "USD", lines)
        with self.world.provider.client() as provider:
            await asyncio.to_thread(provider.create, paid)
        if chance.random() < 0.6:
            await self._hire()
        self._tell("prepared", f"{status} {amount} of {self.items}, {coins} coins")

    async def _lines(self) -> list[tuple[str, str, str | None]]:
        """Workflow id, purchase id and ending of all it started."""
        query = "SELECT workflow_id, purchase_id, ending FROM purchase_starts WHERE student_id = :id ORDER BY 1"
        return await self._sql(lambda: build.rows(self.world.engine, query, id=self.student))

    async def _line(self) -> tuple[str, str] | None:
        lines = await self._lines()
        return self.chance.choice(lines)[:2] if lines else None

    async def _sql(self, work: Callable[[], Any]) -> Any:
        """The database may be away just now."""
        while True:
            try:
                return await asyncio.to_thread(work)
            except DBAPIError as err:
                if not err.connection_invalidated and "OperationalError" not in repr(err):
                    raise
            await asyncio.sleep(0.2)

    # -- what happens ------------------------------------------------------------------------------------------

    async def _buy(self) -> None:
        await self._ask("buys", PURCHASES, {"paymentId": self.payment})

    async def _hear(self) -> None:
        said = event(self.payment, student_id=self.student, metadata=SCHEDULE)
        if self.chance.random() < 0.3:
            del said["data"]["status"]
        await self._ask("an event tells it", "/api/v1/events", said)

    async def _give(self) -> None:
        kind, item = self.items[0]
        if kind == "course":
            body = {
                "studentId": self.student,
                "courseId": item,
                "purchaseTier": 3,
                "metadata": SCHEDULE,
                "reason": "won",
            }
            key = {"Idempotency-Key": f"{self.name}-{self.chance.choice('ab')}", "Prefer": "wait=0"}
            await self._ask("is given", PURCHASES, body, header("admin", "ann") | key)

    async def _verb(self) -> None:
        verbs = ("retry_now", "amend", "assign_trainer", "approve_allocation", "skip_step", "create_sessions", "withdraw",
                 "settle_refund", "cancel", "cancel", "cancel")  # fmt: skip
        verb, line = self.chance.choice(verbs), await self._line()
        more: dict[str, dict[str, Any]] = {
            "amend": {"changes": self.chance.choice(CHANGES)},
            "assign_trainer": {"trainerId": f"trainer-{self.name}-1"},
            "skip_step": {"step": self.chance.choice(SKIPPABLE)},
            "create_sessions": {"overrides": self.chance.choice(OVERRIDES)},
            "cancel": {"refund": self.chance.choice(REFUNDS)},
            "settle_refund": {"proof": "bank transfer 4711"},
        }
        key = self.chance.choice(("k1", "k2", f"{self.seed}-{len(self.told)}"))
        by = self.chance.choice(("ann", "bob"))
        if line:
            await self._act(line[1], verb, key, by, **more.get(verb, {}))

    async def _change_at_the_provider(self) -> None:
        """Somebody gives back a part by hand, or a payment that was pending is settled."""
        line, amount = self.chance.randrange(1, len(self.items) + 1), self.chance.choice((1, 500, 3_000, 50_000))
        path, body = self.chance.choice(
            ((f"/_by_hand/{self.payment}/refunds", {"line": line, "amountMinor": amount}),
             (f"/payments/{self.payment}/confirm", None), (f"/payments/{self.payment}/cancel", None))
        )  # fmt: skip
        await self._by_hand(path, body)

    async def _by_hand(self, path: str, body: object = None) -> bool:
        """Whether the provider answered: a fault that was planned for us may strike those who sit there, too."""
        try:
            answer = await asyncio.to_thread(self.world.provider.post, path, body)
        except httpx2.TransportError as lost:
            self._tell(f"at the provider {path} {body}", repr(lost))
            return False
        self._tell(f"at the provider {path} {body}", answer.text)
        return True

    async def _disturb_the_provider(self) -> None:
        fault = {
            "operation": self.chance.choice(OPERATIONS), "paymentId": self.payment, "seconds": 1,
            "times": self.chance.randrange(1, 5), "action": self.chance.choice(FAULTS),
        }  # fmt: skip
        await asyncio.to_thread(self.world.provider.plan, fault)
        self._tell("the provider will fail", str(fault))

    async def _cancel_by_client(self) -> None:
        await self._at_temporal("is cancelled there", lambda workflow: self._handle(workflow).cancel(reason="by hand"))

    async def _terminate(self) -> None:
        await self._at_temporal("is terminated", lambda workflow: self._handle(workflow).terminate("by hand"))

    async def _pause(self) -> None:
        said: dict[str, str] = {"namespace": self.world.temporal.namespace, "identity": "bob", "reason": "odd"}
        await self._at_temporal(
            "is paused",
            lambda workflow: self.world.temporal.workflow_service.pause_workflow_execution(
                PauseWorkflowExecutionRequest(workflow_id=workflow, request_id=str(uuid4()), **said)
            ),
        )

    async def _unpause(self) -> None:
        for workflow, _, _ in await self._lines():
            said: dict[str, str] = {"namespace": self.world.temporal.namespace, "identity": "bob", "reason": "fine"}
            with suppress(RPCError):  # it is not paused
                await self.world.temporal.workflow_service.unpause_workflow_execution(
                    UnpauseWorkflowExecutionRequest(workflow_id=workflow, request_id=str(uuid4()), **said)
                )

    async def _signal(self) -> None:
        name, what = self.chance.choice(SIGNALS), self.chance.choice(list(ANYTHING))
        await self._at_temporal(
            f"is signalled {name} with {what}",
            lambda workflow: signal(self.world.temporal, self._handle(workflow), name, ANYTHING[what]),
        )

    async def _hire(self) -> None:
        def hire() -> None:
            self.trainers += 1
            courses = tuple(item for kind, item in self.items if kind == "course")
            build.trainer(self.world.engine, f"trainer-{self.name}-{self.trainers}", courses=courses)

        await self._sql(hire)

    async def _top_up(self) -> None:
        body = {"coins": 500, "reason": "bought", "requestKey": self.chance.choice(("k1", f"{len(self.told)}"))}
        await self._ask("gets coins", f"/api/v1/students/{self.student}/coins", body, header("admin", "ann"))

    async def _look(self) -> None:
        for _, purchase, _ in await self._lines():
            for path in (f"{PURCHASES}/{purchase}", f"/api/v1/admin/purchases/{purchase}/case"):
                self._check(path, await self.door.get(path, headers=header("admin", "ann")))

    async def _act(self, purchase: str, verb: str, key: str, by: str, **more: Any) -> None:
        body = {"reason": "asked for by a test", "requestKey": key, **more}
        await self._ask(f"{by}", f"/api/v1/admin/purchases/{purchase}/{verb}", body, header("admin", by))

    async def _ask(self, what: str, path: str, body: object, headers: dict[str, str] | None = None) -> None:
        answer = await self._answered("POST", path, json=body, headers=headers)
        self._tell(f"{what} {path} {body}", f"{answer.status_code} {answer.text[:200]}")
        self._check(path, answer)

    async def _answered(self, method: str, path: str, **more: Any) -> httpx2.Response:
        """The answer; in the ending a 503 is no answer but "send the same request again", as the documentation says."""
        while True:
            answer = await self.door.request(method, path, **more)
            if not (self.ending and answer.status_code == 503):
                return answer
            await asyncio.sleep(0.2)

    def _check(self, path: str, answer: httpx2.Response) -> None:
        """Whatever is asked, the answer is no surprise."""
        known = answer.status_code < 500 or (answer.status_code == 503 and answer.json()["retryable"])
        assert known, f"{path} answered {answer.status_code}: {answer.text}"

    async def _at_temporal(self, what: str, act: Callable[[str], Awaitable[Any]]) -> None:
        if line := await self._line():
            with suppress(RPCError):  # it has ended
                await act(line[0])
            self._tell(f"{line[0]} {what}")

    def _handle(self, workflow_id: str) -> Any:
        return self.world.temporal.get_workflow_handle(workflow_id)

    def _tell(self, what: str, answer: str = "") -> None:
        self.told.append(f"{what} -> {answer}" if answer else what)

    # -- the end of it -----------------------------------------------------------------------------------------

    async def _finish(self) -> None:
        """Mends what is missing, then asks for each line: retries, then cancels, then the bank gives it back."""
        self._tell("is mended")
        self.ending = True
        await self._unpause()
        while not await self._by_hand(f"/payments/{self.payment}/confirm"):
            pass  # a planned fault strikes a few times only
        await self._sql(lambda: build.run(self.world.engine, "UPDATE catalogue_items SET open = true WHERE id = ANY(:ids)",
                                          ids=[item for _, item in self.items]))  # fmt: skip
        await self._hire()
        await self._hire()
        await self._top_up()
        for round_ in count():
            await self._buy()
            waiting = [purchase for _, purchase, ending in await self._lines() if ending is None]
            if not waiting:
                return
            for purchase in waiting:
                await self._nudge(purchase, round_)
            await asyncio.sleep(min(0.1 * 2**round_, 2))

    async def _nudge(self, purchase: str, round_: int) -> None:
        await self._ask("asks again", PURCHASES, {"purchaseId": purchase})
        answer = await self._answered("GET", f"{PURCHASES}/{purchase}", headers=header("admin", "ann"))
        self._check(purchase, answer)
        seen = answer.json()
        self._tell(f"round {round_}: {seen.get('ending')} {seen.get('stage')} {seen.get('code')}")
        if seen.get("ending") != "attention":
            return
        key = f"end-{round_}"
        if round_ < ROUNDS_OF_RETRIES:
            await self._act(purchase, "retry_now", key, "ann")
        elif round_ < ROUNDS_OF_CANCELS:
            for by in ("ann", "bob"):
                await self._act(purchase, "cancel", key, by, refund="full")
        else:
            for by in ("ann", "bob"):
                await self._act(purchase, "settle_refund", key, by, proof="bank transfer 4711")
