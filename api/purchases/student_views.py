"""A purchase as its student sees it: what there is, what is to come and what it waits for, in a student's words.

It has models of its own: nothing added for operators gets here, and no other person's id.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from pydantic import ConfigDict, Field

from api.http.json_models import Answer
from api.purchases.views import AccessView, LessonsView, StepView, lessons_view
from application.run_states import RunState
from db.reads.access import Access, Renewal
from db.reads.purchases import AssignedTrainer, BoughtRow, Lessons, StepDone
from db.reads.starts import StartRow
from domain.metadata import for_others
from domain.refusals import REFUSALS

_BUSY = "We are preparing your purchase."
_ENDING = "completed, refused, cancelled, attention (it waits for something) or running"
_EXAMPLE: dict[str, Any] = {
    "id": "5a1b7ad3-7b4f-5b8e-9c51-0a6d1b1f3c7e",
    "paymentId": "pay-1",
    "line": 1,
    "studentId": "student-1",
    "ending": "completed",
    "code": None,
    "message": "Your purchase is complete.",
    "refunded": False,
    "givesUp": None,
    "startedAt": "2026-11-21T10:00:00Z",
    "endedAt": "2026-11-21T10:00:02Z",
    "item": {
        "itemType": "course",
        "itemId": "course-piano",
        "fulfilment": "sessions",
        "status": "active",
        "wanted": {"startDate": "2026-12-01", "timeSlot": "18:00"},
        "purchasedAt": "2026-11-21T10:00:00Z",
    },
    "steps": [{"step": "confirm_payment", "state": "done", "attempt": 1, "at": "2026-11-21T10:00:00Z"}],
    "sessionCount": 10,
    "sessions": {
        "count": 10,
        "firstLocal": "2026-12-01T18:00",
        "lastLocal": "2026-12-10T18:00",
        "minutes": 60,
        "timezone": "Europe/London",
    },
    "trainer": "Ada Piano",
    "testCards": 0,
    "remaining": 10,
    "access": None,
    "renewals": [],
}


class StudentItemView(Answer):
    """What was bought. `wanted`: what was asked for the lessons, as far as it can be read."""

    item_type: str
    item_id: str
    fulfilment: str
    status: str = Field(description="active, superseded or voided")
    wanted: dict[str, Any]
    purchased_at: datetime


class StudentRenewalView(Answer):
    """A purchase of the same chain of renewals, with its own lessons still to come."""

    id: str
    status: str = Field(description="active, superseded or voided")
    superseded_by: str | None
    purchased_at: datetime
    until: date | None
    session_count: int
    remaining: int


class StudentPurchaseView(Answer):
    """A purchase as its student sees it."""

    id: str
    payment_id: str | None
    line: int
    student_id: str
    ending: str = Field(description=_ENDING)
    code: str | None = Field(description="why it waits or has ended, for programs; see docs/refusals.md")
    message: str = Field(description="the same to be read")
    refunded: bool | None
    gives_up: str | None = Field(description="when it is undone by itself, and the money goes back; null: never")
    started_at: datetime
    ended_at: datetime | None
    item: StudentItemView | None
    steps: list[StepView]
    session_count: int | None
    sessions: LessonsView
    trainer: str | None = Field(description="the name of who gives the lessons, once that is settled")
    test_cards: int = Field(description="cards that are not void")
    remaining: int = Field(description="lessons still to come, those of purchases that this one renewed included")
    access: AccessView | None
    renewals: list[StudentRenewalView] = Field(description="oldest first, this one among them")
    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})


def student_view(
    start: StartRow,
    item: BoughtRow | None,
    steps: list[StepDone],
    held: AssignedTrainer | None,
    lessons: Lessons,
    remaining: int,
    access: Access | None,
    renewals: list[Renewal],
    run: RunState | None,
) -> StudentPurchaseView:
    """Return the view. `run`: how it stands in Temporal, None when that is not known."""
    live = run if run and not start.ending else None
    attention = live.attention if live else None
    return StudentPurchaseView(
        id=start.purchase_id,
        payment_id=start.payment_id,
        line=start.line,
        student_id=start.student_id,
        ending=start.ending or ("attention" if attention else "running"),
        code=attention.reason if attention else start.code,
        message=words_for_student(start, live),
        refunded=start.refunded,
        gives_up=live.gives_up if live else None,
        started_at=start.started_at,
        ended_at=start.ended_at,
        item=_item(item) if item else None,
        steps=[StepView(**vars(step)) for step in steps],
        session_count=item.session_count if item else None,
        sessions=lessons_view(lessons),
        trainer=held.trainer_name if held and held.status == "approved" else None,
        test_cards=item.test_cards if item else 0,
        remaining=remaining,
        access=AccessView(**vars(access)) if access else None,
        renewals=[_renewal(renewal) for renewal in renewals],
    )


def words_for_student(start: StartRow, run: RunState | None) -> str:
    """Return how a purchase stands, in a student's words. `run` None: it has ended, or Temporal cannot say."""
    if run and run.attention and not run.problems:
        return REFUSALS[run.attention.reason].student if run.attention.reason in REFUSALS else _BUSY
    if start.ending is None or (run and run.problems):
        return _BUSY
    if start.ending == "completed":
        return "Your purchase is complete."
    return REFUSALS[start.code].student if start.code in REFUSALS else "Your purchase was cancelled."


def _item(item: BoughtRow) -> StudentItemView:
    wanted = {name: value for name, value in for_others(item.metadata).items() if name != "preferredTrainerId"}
    kept = {name: value for name, value in vars(item).items() if name in StudentItemView.model_fields}
    return StudentItemView(**kept, wanted=wanted)


def _renewal(renewal: Renewal) -> StudentRenewalView:
    kept = {name: value for name, value in vars(renewal).items() if name in StudentRenewalView.model_fields}
    return StudentRenewalView(**kept)
