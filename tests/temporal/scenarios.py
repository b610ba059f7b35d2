"""Every branch of the saga and every reason to park, as plans for the fakes: recorded once, replayed on every run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import WorkflowHandle

from domain.access import AccessLook
from domain.purchase import PurchaseCreated, TrainerAssigned, Undone
from tests.temporal.conftest import FAST, PATIENT, Handle
from tests.temporal.fakes import Answer, Hold, Refuse, Trouble
from tests.temporal.messages import act, cancel, parked
from tests.waiting import eventually
from workflows.expiry import ExpiryWorkflow
from workflows.messages import Amend, Extend, SkipStep
from workflows.policies import LOCAL, Rules
from workflows.purchase import PurchaseWorkflow


@dataclass(frozen=True)
class Scenario:
    """`plan`: outcomes per activity. `then`: what is done to it, one after the other. It ends as `ending`.

    `of_access`: it is the end of a purchase's access that is told, not the purchase.
    """

    ending: str
    plan: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])
    rules: Rules = FAST
    then: tuple[Callable[[Handle], Coroutine[Any, Any, None]], ...] = ()
    of_access: bool = False


async def retried(handle: Handle) -> None:
    """An operator waits until it is parked and retries it."""
    seen = await parked(handle)
    await handle.execute_update(PurchaseWorkflow.retry_now, act(f"retry {seen.stage} {seen.code}"))


async def skipped(handle: Handle) -> None:
    seen = await parked(handle)
    await handle.execute_update(PurchaseWorkflow.skip_step, SkipStep("ann", "not wanted", "skip", seen.stage))


async def amended(handle: Handle) -> None:
    await parked(handle)
    await handle.execute_update(PurchaseWorkflow.amend, Amend("ann", "asked", "amend", {"timeSlot": "18:00"}))


async def signalled(handle: Handle) -> None:
    await parked(handle)
    await handle.signal(PurchaseWorkflow.create_sessions_manually, {"count": 5})


async def escalated(handle: Handle) -> None:
    """Waits until the escalation is over: it is the second announcement."""
    await eventually(lambda: handle.fetch_history(), lambda history: _announcements(history.events) >= 2)


def _announcements(events: Sequence[HistoryEvent]) -> int:
    """How many ended well, in whichever lane."""
    scheduled = {e.event_id: e.activity_task_scheduled_event_attributes.activity_type.name for e in events}
    ended = [e.activity_task_completed_event_attributes.scheduled_event_id for e in events]
    local = [e for e in events if b'"announce"' in e.marker_recorded_event_attributes.SerializeToString()]
    return len(local) + len([each for each in ended if scheduled.get(each) == "announce"])


async def extended(handle: WorkflowHandle[Any, Any]) -> None:
    """Once it has looked and sleeps: asked before, it would look one time less."""
    while True:
        events = (await handle.fetch_history()).events
        if [event for event in events if event.HasField("timer_started_event_attributes")]:
            break
        await asyncio.sleep(0.05)
    await handle.execute_update(ExpiryWorkflow.extend, Extend("ann", "was ill", "extend", "2027-12-31"))


async def looked(handle: WorkflowHandle[Any, Any]) -> None:
    await handle.signal(ExpiryWorkflow.look_again)


async def cancelled(handle: Handle) -> None:
    await parked(handle)
    await cancel(handle, "operator")


async def cancelled_by_client(handle: Handle) -> None:
    await parked(handle)
    await cancel(handle, "client")


def during(hold: Hold, how: str) -> Callable[[Handle], Coroutine[Any, Any, None]]:
    async def cancelled_during(handle: Handle) -> None:
        await hold.entered.wait()
        await cancel(handle, how)
        # The answer to a client's cancel is not awaited: give the worker its event before the step ends.
        await asyncio.sleep(0.1)
        hold.release.set()

    return cancelled_during


def _parks(step: str, code: str) -> Scenario:
    return Scenario("completed", {step: [Refuse(code)]}, PATIENT, (retried,))


def _ends(step: str, code: str) -> Scenario:
    return Scenario(code, {step: [Refuse(code)]})


def _cancelled_during(step: str, how: str, ending: str) -> Scenario:
    hold = Hold()
    return Scenario(ending, {step: [hold]}, PATIENT, (during(hold, how),))


_FULL = {"create_sessions": [Refuse("SESSIONS_FAILED")]}
_COSTS_COINS = PurchaseCreated("sessions", "course-piano", 200)
_LATER, _SOON, _OVER = (
    Answer(AccessLook(state, seconds, "2027-06-30"))
    for state, seconds in (("waits", 1e9), ("waits", 0.1), ("ended", 0.0))
)
_BRINGS_CARDS = {"create_purchase": [Answer(PurchaseCreated("test_cards", "bundle-science"))]}
_ONE_TRY = replace(PATIENT, quick_tries=1)
_IN_ROLLBACK = Hold()

IN_REGULAR_LANE: dict[str, Scenario] = {
    "completed": Scenario("completed"),
    "completed-ownership": Scenario(
        "completed", {"create_purchase": [Answer(PurchaseCreated("ownership", "course-welcome"))]}
    ),
    "completed-with-cards": Scenario("completed", _BRINGS_CARDS),
    "completed-with-coins": Scenario("completed", {"create_purchase": [Answer(_COSTS_COINS)]}),
    "completed-with-an-end-of-access": Scenario(
        "completed", {"create_purchase": [Answer(PurchaseCreated("sessions", "course-piano", expires=True))]}
    ),
    "access-ended": Scenario("ended", {"end_access": [_SOON, _OVER]}, of_access=True),
    "access-extended": Scenario(
        "ended", {"end_access": [_LATER, _LATER, _SOON, _OVER]}, PATIENT, (extended, looked), of_access=True
    ),
    "access-over": Scenario("over", {"end_access": [Trouble()]}, of_access=True),
    "completed-cart-late": Scenario("completed", {"clear_cart": [Trouble()] * 4}),
    "completed-approved-with-the-hold": Scenario(
        "completed", {"assign_trainer": [Answer(TrainerAssigned("allocation-1", "trainer-1", 10, approved=True))]}
    ),
    "cancelled-too-late": Scenario(
        "completed", {**_FULL, "rule_out_completion": [Answer(Undone(False, too_late=True))]}, PATIENT, (cancelled,)
    ),
    "completed-after-quick-tries": Scenario("completed", {"enroll": [Trouble()] * 2}),
    "completed-after-pending": Scenario("completed", {"confirm_payment": [Refuse("PAYMENT_PENDING")] * 2}),
    "completed-by-itself": Scenario("completed", {"assign_trainer": [Refuse("NO_TRAINER_AVAILABLE")]}),
    "ended-PAYMENT_NOT_FOUND": _ends("confirm_payment", "PAYMENT_NOT_FOUND"),
    "ended-PAYMENT_NOT_SUCCEEDED": _ends("confirm_payment", "PAYMENT_NOT_SUCCEEDED"),
    "ended-PAYMENT_OWNER_MISMATCH": _ends("confirm_payment", "PAYMENT_OWNER_MISMATCH"),
    "ended-PAYMENT_PENDING_TOO_LONG": Scenario(
        "PAYMENT_PENDING_TOO_LONG",
        {"confirm_payment": [Refuse("PAYMENT_PENDING")] * 9},
        replace(FAST, pending_deadline=0.1),
    ),
    "ended-COURSE_UNAVAILABLE": _ends("create_purchase", "COURSE_UNAVAILABLE"),
    "ended-CONFLICT_OTHER_OWNER": _ends("create_purchase", "CONFLICT_OTHER_OWNER"),
    "ended-ALREADY_MADE_WHOLE": _ends("enroll", "ALREADY_MADE_WHOLE"),
    "ended-at-gate-deadline": Scenario(
        "UNKNOWN_ITEM", {"create_purchase": [Refuse("UNKNOWN_ITEM")] * 2}, replace(PATIENT, gate_deadline=0.1)
    ),
    "ended-at-repair-deadline": Scenario(
        "NO_TRAINER_AVAILABLE",
        {"assign_trainer": [Refuse("NO_TRAINER_AVAILABLE")] * 2},
        replace(PATIENT, repair_deadline=0.1),
    ),
    "parked-UNKNOWN_ITEM": _parks("create_purchase", "UNKNOWN_ITEM"),
    "parked-METADATA_INCOMPLETE": _parks("create_purchase", "METADATA_INCOMPLETE"),
    "parked-DUPLICATE_PAYMENT_SUSPECTED": _parks("create_purchase", "DUPLICATE_PAYMENT_SUSPECTED"),
    "parked-COINS_INSUFFICIENT": Scenario(
        "completed",
        {"create_purchase": [Answer(_COSTS_COINS)], "redeem_coins": [Refuse("COINS_INSUFFICIENT")]},
        PATIENT,
        (retried,),
    ),
    "parked-STUDENT_PROFILE_MISSING": _parks("assign_trainer", "STUDENT_PROFILE_MISSING"),
    "parked-GPS_INVALID": _parks("assign_trainer", "GPS_INVALID"),
    "parked-SCHEDULE_CONFLICT": _parks("assign_trainer", "SCHEDULE_CONFLICT"),
    "parked-NO_TRAINER_AVAILABLE": _parks("assign_trainer", "NO_TRAINER_AVAILABLE"),
    "parked-AWAITING_APPROVAL": _parks("approve_allocation", "AWAITING_APPROVAL"),
    "parked-ALLOCATION_NOT_APPROVED": _parks("create_sessions", "ALLOCATION_NOT_APPROVED"),
    "parked-SESSION_COUNT_MISSING": _parks("create_sessions", "SESSION_COUNT_MISSING"),
    "parked-SESSIONS_PARTIAL": _parks("create_sessions", "SESSIONS_PARTIAL"),
    "parked-SESSIONS_FAILED": _parks("create_sessions", "SESSIONS_FAILED"),
    "parked-CARDS_FAILED": Scenario(
        "completed", {**_BRINGS_CARDS, "issue_test_cards": [Refuse("CARDS_FAILED")]}, PATIENT, (retried,)
    ),
    "parked-STEP_TROUBLE": Scenario("completed", {"enroll": [Trouble()]}, _ONE_TRY, (retried,)),
    "parked-REFUND_FAILED": Scenario(
        "COURSE_UNAVAILABLE",
        {"create_purchase": [Refuse("COURSE_UNAVAILABLE")], "refund_payment": [Refuse("REFUND_FAILED")]},
        PATIENT,
        (retried,),
    ),
    "parked-REFUND_UNKNOWN": Scenario(
        "COURSE_UNAVAILABLE",
        {"create_purchase": [Refuse("COURSE_UNAVAILABLE")], "refund_payment": [Trouble()]},
        _ONE_TRY,
        (retried,),
    ),
    "parked-COMPENSATION_STUCK": Scenario(
        "CANCELLED", {**_FULL, "unenroll": [Trouble()]}, _ONE_TRY, (cancelled, retried)
    ),
    "skipped": Scenario("completed", {"assign_trainer": [Refuse("NO_TRAINER_AVAILABLE")]}, PATIENT, (skipped,)),
    "amended": Scenario("completed", {"create_purchase": [Refuse("METADATA_INCOMPLETE")]}, PATIENT, (amended,)),
    "signalled": Scenario("completed", {"create_sessions": [Refuse("SESSIONS_FAILED")]}, PATIENT, (signalled,)),
    "escalated": Scenario(
        "completed",
        {"create_sessions": [Refuse("SESSIONS_FAILED")]},
        replace(PATIENT, escalate_after=0.1),
        (escalated, retried),
    ),
    "cancelled-with-cards": Scenario(
        "CANCELLED", {**_BRINGS_CARDS, "issue_test_cards": [Refuse("CARDS_FAILED")]}, PATIENT, (cancelled,)
    ),
    "cancelled-with-coins": Scenario(
        "CANCELLED", {**_FULL, "create_purchase": [Answer(_COSTS_COINS)]}, PATIENT, (cancelled,)
    ),
    "cancelled-while-parked": Scenario("CANCELLED", _FULL, PATIENT, (cancelled,)),
    "cancelled-while-parked-by-client": Scenario("Canceled", _FULL, PATIENT, (cancelled_by_client,)),
    "cancelled-during-a-step": _cancelled_during("assign_trainer", "operator", "CANCELLED"),
    "cancelled-during-a-step-by-client": _cancelled_during("assign_trainer", "client", "Canceled"),
    "cancelled-from-the-cart-on": _cancelled_during("clear_cart", "client", "completed"),
    "cancelled-twice": Scenario(
        "CANCELLED", {**_FULL, "unenroll": [_IN_ROLLBACK]}, PATIENT, (cancelled, during(_IN_ROLLBACK, "client"))
    ),
}


def _holds(scenario: Scenario) -> bool:
    return any(isinstance(outcome, Hold) for outcomes in scenario.plan.values() for outcome in outcomes)


# A message never meets a step in the local lane: what holds a step is not for it.
SCENARIOS = IN_REGULAR_LANE | {
    f"local-{name}": replace(scenario, rules=replace(scenario.rules, lane=LOCAL))
    for name, scenario in IN_REGULAR_LANE.items()
    if not _holds(scenario) and not scenario.of_access and scenario.rules.quick_tries > 1
}
