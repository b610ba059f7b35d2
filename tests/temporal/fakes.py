"""Fake activities that record what they were asked and fail as planned: the engine is tested without a database."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError

from domain.access import AccessLook, Extension
from domain.acts import ActRecord, Decision
from domain.ids import purchase_id_of, workflow_id_of
from domain.purchase import (
    Announcement,
    PaymentConfirmed,
    PurchaseCreated,
    PurchaseOrder,
    SessionsCreated,
    TrainerAssigned,
    Undone,
)
from workflows.steps import TABLE

RESULTS: dict[str, Any] = {
    "confirm_payment": PaymentConfirmed(10, "purchaseTier"),
    "assign_trainer": TrainerAssigned("allocation-1", "trainer-1", 10),
    "create_sessions": SessionsCreated("all", 10, 0, []),
    "refund_payment": Undone(True, refunded=True),
    "end_access": AccessLook("over"),
    "extend_access": "access lasts until 2027-12-31",
}


@dataclass
class Refuse:
    code: str


@dataclass
class Trouble:
    """A technical failure; Temporal's quick tries see it one by one."""


@dataclass
class Answer:
    """Succeeds with this result instead of the usual one."""

    result: Any


@dataclass
class Hold:
    """Waits inside the activity until released, then goes on to the next outcome of the plan."""

    entered: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)


class Fakes:
    """All activities of the table. `plan(order, "enroll", Trouble(), ...)`: what the next calls do; then they succeed.

    `coins`: what each line costs; with 0 the step of the coins is left out.
    """

    def __init__(self, coins: int = 0) -> None:
        self.results = {**RESULTS, "create_purchase": PurchaseCreated("sessions", "course-piano", coins)}
        self.calls: dict[str, list[str]] = defaultdict(list)
        self.announced: dict[str, list[Announcement]] = defaultdict(list)
        self.decisions: dict[str, list[Decision]] = defaultdict(list)
        self.records: dict[str, list[ActRecord]] = defaultdict(list)
        self.plans: dict[tuple[str, str], deque[Any]] = defaultdict(deque)

    def acts(self, order: PurchaseOrder) -> list[tuple[str, str, str]]:
        """What was put on record: key, verb, outcome."""
        return [(act.request_key, act.verb, act.outcome) for act in self.records[order.purchase_id]]

    def plan(self, order: PurchaseOrder, step: str, *outcomes: Any) -> None:
        self.plans[order.purchase_id, step].extend(outcomes)

    def sells_cards(self, order: PurchaseOrder, coins: int = 0) -> None:
        """What is bought brings test cards, not lessons."""
        self.plan(order, "create_purchase", Answer(PurchaseCreated("test_cards", "bundle-science", coins)))

    def did(self, order: PurchaseOrder) -> list[str]:
        """The calls in order, quick tries told once."""
        calls = self.calls[order.purchase_id]
        return [name for at, name in enumerate(calls) if at == 0 or calls[at - 1] != name]

    async def _do(self, name: str, order: PurchaseOrder) -> Any:
        self.calls[order.purchase_id].append(name)
        plan = self.plans[order.purchase_id, name]
        while plan:
            match plan.popleft():
                case Refuse(code) as no:
                    if activity.info().is_local:
                        plan.appendleft(no)  # the activity that people see refuses, too, and is told
                        self.calls[order.purchase_id].pop()
                    raise ApplicationError(f"{code} was planned", type=code, non_retryable=True)
                case Trouble():
                    raise ConnectionError("the service is away")
                case Answer(result):
                    return result
                case Hold() as hold:
                    hold.entered.set()
                    await hold.release.wait()
        return self.results.get(name, Undone(True) if name in UNDOS else None)

    def _completed(self, order: PurchaseOrder) -> None:
        """The ending and its event are told by the step that completes the purchase."""
        skipped = [each.values["step"] for each in self.decisions[order.purchase_id] if each.verb == "skip_step"]
        news = Announcement(order, "PURCHASE_COMPLETED", "completed", skipped=skipped)
        self.announced[order.purchase_id].append(news)

    def activities(self) -> list[Callable[..., Any]]:
        def fake(name: str) -> Callable[..., Any]:
            @activity.defn(name=name)
            async def act(order: PurchaseOrder) -> Any:
                result = await self._do(name, order)
                if name == "clear_cart":
                    self._completed(order)
                return result

            return act

        @activity.defn(name="announce")
        async def announce(news: Announcement) -> None:
            await self._do("announce", news.order)
            self.announced[news.order.purchase_id].append(news)

        @activity.defn(name="decide")
        async def decide(decision: Decision) -> str | None:
            await self._do("decide", decision.order)
            for known in self.records[decision.order.purchase_id]:
                if known.request_key == decision.request_key:
                    if (known.verb, known.values) != (decision.verb, decision.values):
                        raise ApplicationError("another act's key", type="KEY_REUSED", non_retryable=True)
                    return known.outcome
            if decision.stores:
                self.decisions[decision.order.purchase_id].append(decision)
            return None

        @activity.defn(name="record_act")
        async def record_act(record: ActRecord) -> None:
            await self._do("record_act", record.order)
            self.records[record.order.purchase_id].append(record)

        @activity.defn(name="extend_access")
        async def extend_access(wanted: Extension) -> str:
            return await self._do("extend_access", wanted.order)

        acts = [announce, decide, record_act, extend_access]
        return [*(fake(name) for name in [*DOS, *UNDOS, "end_access"]), *acts]


DOS = [step.name for step in TABLE]
UNDOS = [step.undo.__name__ for step in TABLE]


def order_of(payment_id: str) -> PurchaseOrder:
    workflow_id = workflow_id_of(payment_id, 1)
    return PurchaseOrder(purchase_id_of(workflow_id), workflow_id, payment_id, 1, "student-1")
