"""One purchase under fault: its own student, course, trainer, cart and payment, so that nothing of it meets another's."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowFailureError
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import ApplicationError, CancelledError

from domain.ids import purchase_id_of, workflow_id_of
from domain.purchase import PurchaseOrder
from gateways.payments import ProviderLine, ProviderPayment
from runtime.local_activities import local_activity_of
from tests import build
from tests.faults.database_faults import Trouble, is_there
from tests.faults.marks import ANNOUNCE, CARDS, LESSONS, SENTENCES, UNDO_OF, ledger_row_of, mark_of
from tests.faults.worker_with_faults import plan_file
from tests.faults.world import WorkerProcess, World
from tests.subjects import bundle
from tests.temporal.messages import Handle, act, cancel, progress
from tests.waiting import eventually
from workflows.policies import LOCAL, REGULAR, Rules
from workflows.purchase import PurchaseInput, PurchaseWorkflow
from workflows.steps import APPROVE_ALLOCATION, CREATE_SESSIONS
from workflows.visibility import Attention

N = 4  # lessons
ALL_CARDS = 100  # of two subjects
AMOUNT = 50_000
HAS, COSTS = 1_000, 300  # coins
FAST = Rules(
    REGULAR, attempt=10, quick_pause=0.05, trouble_pause=0.3, trouble_pause_most=1, heal_pause=600, pending_pause=0.2
)  # fmt: skip
UNHURRIED = replace(FAST, attempt=60)  # where nobody is killed, so that no try ends by its time on a slow machine
LOCALLY = replace(FAST, lane=LOCAL)
LIGHT_QUEUE = "faults-light"
APPROVES = APPROVE_ALLOCATION.name


@dataclass
class Purchase:
    """A purchase in the world. `alone`: on a task queue of its own, for `worker()`. `is_open`: of the course.

    `brings`: lessons of a course, or the cards of a bundle of two subjects.
    """

    world: World
    rules: Rules = FAST
    alone: bool = False
    is_open: bool = True
    brings: str = LESSONS
    lessons: int = N
    approved_with_the_hold: bool = False  # by the worker itself: then it is no step
    queue: str = field(init=False)
    name: str = field(init=False)
    order: PurchaseOrder = field(init=False)
    handle: Handle = field(init=False)

    def __post_init__(self) -> None:
        self.name = next(self.world.names)
        engine, name = self.world.engine, self.name
        self.queue = f"faults-{name}" if self.alone else LIGHT_QUEUE
        student = build.student(engine, f"student-{name}", coins=HAS)
        item_type, item = self._item()
        bought = build.cart_item(engine, f"bought-{name}", student_id=student, item_type=item_type, item_id=item)
        build.cart_item(engine, f"other-{name}", student_id=student, item_type=item_type, item_id=item)
        metadata: dict[str, Any] = {"processingItemId": bought}
        if self.brings == LESSONS:
            metadata |= {
                "courseId": item, "startDate": "2026-12-01", "classTime": "18:00", "sessionCount": self.lessons,
                "scheduleType": "daily",
            }  # fmt: skip
        payment = build.pay(
            engine, payment_id=f"pay-{name}", student_id=student, items=((item_type, item),),
            amount_minor=AMOUNT, metadata=metadata, coins=COSTS,
        )  # fmt: skip
        with self.world.provider.client() as provider:
            provider.create(ProviderPayment(payment, student, "succeeded", AMOUNT, "USD", (ProviderLine(1, AMOUNT),)))
        workflow_id = workflow_id_of(payment, 1)
        self.order = PurchaseOrder(purchase_id_of(workflow_id), workflow_id, payment, 1, student)
        self.handle = self.world.temporal.get_workflow_handle_for(PurchaseWorkflow.run, workflow_id)

    def _item(self) -> tuple[str, str]:
        """What is bought, and all that it takes, in the catalogue."""
        engine, name = self.world.engine, self.name
        if self.brings == CARDS:
            return "bundle", bundle(engine, f"bundle-{name}", [f"{name}-physics", f"{name}-biology"])
        course = build.item(engine, f"course-{name}", is_open=self.is_open)
        build.trainer(engine, f"trainer-{name}", courses=(course,))
        return "course", course

    # -- its story ---------------------------------------------------------------------------------------------

    @property
    def sentence(self) -> list[str]:
        """Its steps, in their order."""
        return [step for step in SENTENCES[self.brings] if not self.approved_with_the_hold or step != APPROVES]

    def until(self, step: str) -> list[str]:
        """The sentence as far as the first mention of `step`."""
        return self.sentence[: self.sentence.index(step) + 1]

    @property
    def everything(self) -> list[str]:
        """As far as the last step that can be undone: all but the cart."""
        return self.sentence[:-1]

    # -- what happens to it ------------------------------------------------------------------------------------

    async def start(self, **options: Any) -> None:
        """Starts it as the door does: first the row, then the workflow."""
        build.start(self.world.engine, self.order.payment_id, student_id=self.order.student_id)
        build.run(
            self.world.engine,
            "INSERT INTO operator_decisions VALUES (:id, 'yes', 1, 'approve_allocation', '{}', 'ann', 'why', now())",
            id=self.order.purchase_id,
        )  # the workers here approve nothing by themselves, so that every step of the table is in the story
        await self.world.temporal.start_workflow(
            PurchaseWorkflow.run,
            PurchaseInput(self.order, self.rules),
            id=self.order.workflow_id,
            task_queue=self.queue,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            **options,
        )

    def worker(self) -> WorkerProcess:
        """A worker for it alone."""
        return self.world.worker(self.queue)

    def plan(self, activity: str, what: str, content: str = "0", *, nth: int = 1) -> Path:
        """A fault in the worker; see worker_with_faults.py."""
        file = plan_file(self.world.folder, self.order.workflow_id, activity, nth, what)
        file.write_text(content)
        return file

    def hold(self, activity: str, what: str) -> list[Path]:
        """Holds the activity, `hold_before` or `hold_after`; a try held for too long is followed by another, held too."""
        return [self.plan(activity, what, nth=nth) for nth in range(1, 10)]

    async def start_and_cancel_with_everything(self, **options: Any) -> None:
        """Starts it, and cancels it at the last moment when all can be undone: all made, the cart not cleared."""
        held = self.hold(self.everything[-1], "hold_after")
        await self.start(**options)
        await entered(held[0])
        await self.cancel()
        release(*held)

    def trouble(self, activity: str, times: int = 10**9) -> Trouble:
        """The database fails this activity so often."""
        # Lessons are cancelled by cancel_allocation too, which shall not be in trouble with cancel_sessions.
        mark = ledger_row_of if activity == UNDO_OF[CREATE_SESSIONS.name] else mark_of
        return Trouble(self.world.engine, mark(activity, self.order), times)

    async def cancel(self, how: str = "operator") -> None:
        """Asks for a cancel, and waits until the workflow has heard of it. "all": two operators and a client at once."""
        asked = [(how, "cancel")] if how != "all" else [("operator", "one"), ("operator", "other"), ("client", "")]
        await asyncio.gather(*(cancel(self.handle, *each) for each in asked))
        if how != "operator":
            await self._hears(EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCEL_REQUESTED)

    async def retry_now(self, key: str = "retry") -> str:
        """Tries the parked step again; answers what came of it."""
        handle: Any = self.handle  # the SDK's own types of execute_update have gaps
        return await handle.execute_update("retry_now", act(key), result_type=str)

    async def parked(self) -> Attention:
        """Waits until it needs attention."""
        while True:
            seen = await progress(self.handle)
            if seen.attention:
                return seen.attention
            assert seen.stage not in ("completed", "rolled back"), "it ended without needing attention"
            await asyncio.sleep(0.1)

    # -- what became of it -------------------------------------------------------------------------------------

    def is_done(self, activity: str) -> bool:
        """Whether the effect of this activity is committed."""
        return is_there(self.world.engine, mark_of(activity, self.order))

    async def ending(self) -> str:
        """completed, a code, or Canceled."""
        try:
            return await self.handle.result()
        except WorkflowFailureError as error:
            if isinstance(error.cause, CancelledError):
                return "Canceled"
            return (isinstance(error.cause, ApplicationError) and error.cause.type) or repr(error.cause)

    async def ends_before_death_of(self, worker: WorkerProcess) -> bool:
        """Waits for whichever comes first, the end of the workflow or the death of its worker."""
        end = asyncio.create_task(self.ending())
        await eventually(lambda: end.done() or not worker.alive)
        ended = end.done()
        end.cancel()
        return ended

    async def asked_for(self) -> list[str]:
        """The steps and undos in the order the workflow asked for them; one that it asked for again is told once.

        What is told to others, decided by an operator and put on record stands beside the steps.
        """
        steps = [name for name in await self._scheduled() if name not in (ANNOUNCE, "decide", "record_act")]
        return [name for at, name in enumerate(steps) if at == 0 or steps[at - 1] != name]

    async def times_parked(self) -> int:
        """How often it waited on a timer."""
        history = await self.handle.fetch_history()
        return sum(event.event_type == EventType.EVENT_TYPE_TIMER_STARTED for event in history.events)

    async def _scheduled(self) -> list[str]:
        names: list[str] = []
        for event in (await self.handle.fetch_history()).events:
            if local := local_activity_of(event):
                names.append(local.name)
            elif event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
                names.append(event.activity_task_scheduled_event_attributes.activity_type.name)
        return names

    async def _hears(self, told: EventType.ValueType) -> None:
        """Waits until a workflow task was done after this event."""
        while True:
            kinds = [event.event_type for event in (await self.handle.fetch_history()).events]
            if told in kinds and EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED in kinds[kinds.index(told) :]:
                return
            await asyncio.sleep(0.1)

    def facts(self) -> dict[str, Any]:
        """All that it left behind, each thing with how many of it there are."""
        found: dict[str, Any] = build.value(self.world.engine, """
            SELECT jsonb_build_object(
              'ending', (SELECT jsonb_build_array(ending, code, refunded) FROM purchase_starts WHERE purchase_id = :id),
              'steps', (SELECT coalesce(jsonb_object_agg(step, state), '{}') FROM purchase_steps WHERE purchase_id = :id),
              'purchases', ARRAY(SELECT status FROM student_course_purchases WHERE student_id = :student),
              'owned', ARRAY(SELECT revoked_at IS NULL FROM ownerships WHERE student_id = :student),
              'enrolled', ARRAY(SELECT ended_at IS NULL FROM enrollments WHERE student_id = :student),
              'allocations', ARRAY(SELECT status FROM allocations WHERE student_id = :student),
              'slots', ARRAY(SELECT status FROM trainer_slots WHERE student_id = :student),
              'sessions', ARRAY(SELECT status FROM sessions WHERE purchase_id = :id),
              'cards', ARRAY(SELECT CASE WHEN voided_at IS NULL THEN 'live' ELSE 'voided' END
                             FROM mock_test_attempts WHERE purchase_id = :id),
              'coins', (SELECT coins FROM coin_balances WHERE student_id = :student),
              'coins_moved', ARRAY(SELECT coins FROM coin_movements WHERE purchase_id = :id ORDER BY coins),
              'cache_dropped', EXISTS (SELECT FROM learning_versions WHERE student_id = :student),
              'cart', ARRAY(SELECT id FROM cart_items WHERE student_id = :student ORDER BY id),
              'outbox', ARRAY(SELECT type FROM outbox WHERE key LIKE 'purchase:' || :id || ':%' ORDER BY type),
              'refunds', ARRAY(SELECT jsonb_build_array(status, amount_minor) FROM refunds WHERE payment_id = :payment
                               ORDER BY number DESC LIMIT 1))
            """,
            id=self.order.purchase_id, student=self.order.student_id, payment=self.order.payment_id,
        )  # fmt: skip
        for name in ("slots", "sessions", "cards"):
            statuses: list[str] = found[name]
            found[name] = dict(Counter(statuses))
        found["given_back"] = [
            refund["request"]["amountMinor"]
            for refund in self.world.provider.ledger("refund")
            if (refund["paymentId"], refund["status"]) == (self.order.payment_id, 200)
        ]
        return found


async def entered(held: Path) -> None:
    """Waits until the worker holds at this plan."""
    await eventually(lambda: not held.exists())


def release(*held: Path) -> None:
    """Lets the worker go on."""
    for plan in held:
        plan.unlink(missing_ok=True)
        plan.with_name(f"{plan.name}.held").unlink(missing_ok=True)
