"""The view of one purchase, from the database and Temporal. Its row in the list is in `list_rows.py`."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from pydantic import ConfigDict, Field

from api.http.json_models import Answer, wall
from api.http.openapi_examples import PURCHASE
from application.run_states import RunState
from db.reads.access import Access, Renewal
from db.reads.purchases import AssignedTrainer, BoughtRow, Lessons, StepDone
from db.reads.starts import StartRow

ENDING = "completed, refused (a refusal or a deadline ended it), cancelled, attention (needs somebody) or running"


class StepView(Answer):
    """A step of the ledger."""

    step: str
    state: str = Field(description="done or undone")
    attempt: int
    at: datetime


class ItemView(Answer):
    """What was bought, with the merged metadata of its lessons."""

    item_type: str
    item_id: str
    fulfilment: str
    status: str = Field(description="active, superseded or voided")
    metadata: dict[str, Any]
    metadata_sources: dict[str, Any]
    warnings: list[Any]
    purchased_at: datetime
    completed_at: datetime | None
    voided_at: datetime | None


class LessonsView(Answer):
    """The lessons that exist; wall times in `timezone`."""

    count: int
    first_local: str | None
    last_local: str | None
    minutes: int | None
    timezone: str | None


class TrainerView(Answer):
    """The trainer held for the purchase; `lost`: why the others were not chosen."""

    allocation_id: str
    trainer_id: str
    name: str
    status: str = Field(description="proposed, approved or cancelled")
    lost: dict[str, Any]


class AttentionView(Answer):
    """Why the purchase is parked and what to do."""

    reason: str
    since: datetime | None
    next_retry: str | None
    next_action: str | None
    message: str | None = Field(description="what exactly was found")


class AccessView(Answer):
    """Until when the student may use what was bought."""

    until: date | None = Field(description="the last day, in the student's time zone; null: access does not end")
    ends_at: datetime | None
    expired_at: datetime | None = Field(description="when it was ended, the last day being over")
    enrolled: bool | None = Field(
        description="has access now, by this purchase or another; null: it enrolls in nothing"
    )
    lessons_after: list[int] = Field(description="lessons after the last day; they stay, and need somebody to look")


class RenewalView(Answer):
    """A purchase of the same chain of renewals, with its own lessons still to come."""

    id: str
    workflow_id: str
    status: str = Field(description="active, superseded or voided")
    superseded_by: str | None
    purchased_at: datetime
    until: date | None
    session_count: int
    remaining: int


class PurchaseView(Answer):
    """A purchase. `source` says whether Temporal could be asked; without it stage and attention are unknown."""

    id: str
    workflow_id: str
    payment_id: str | None
    line: int
    student_id: str
    origin: str
    attempt: int
    ending: str = Field(description=ENDING)
    code: str | None
    refunded: bool | None
    started_at: datetime
    ended_at: datetime | None
    stage: str | None
    attention: AttentionView | None
    next_retry: str | None
    gives_up: str | None = Field(description="when it is undone by itself, and the money goes back; null: never")
    session_count: int | None
    session_count_source: str | None
    item: ItemView | None
    steps: list[StepView]
    sessions: LessonsView
    test_cards: int = Field(description="cards that are not void")
    remaining: int = Field(description="lessons still to come, those of purchases that this one renewed included")
    access: AccessView | None
    renewals: list[RenewalView] = Field(
        description="oldest first, this one among them; more than one once it is renewed"
    )
    trainer: TrainerView | None
    source: str = Field(description="temporal+database; database: Temporal has closed or forgotten it, or is down")
    temporal: str = Field(description="the run's status; forgotten: not known there; unreachable: did not answer")
    worker: str = Field(description="up, down or unknown; with workers down a running purchase stands still, unharmed")
    model_config = ConfigDict(json_schema_extra={"examples": [PURCHASE]})


def purchase_view(
    start: StartRow,
    item: BoughtRow | None,
    steps: list[StepDone],
    held: AssignedTrainer | None,
    lessons: Lessons,
    remaining: int,
    access: Access | None,
    renewals: list[Renewal],
    run: RunState | None,
    *,
    reached: bool,
    worker: str,
) -> PurchaseView:
    """Return the view. `run` None with `reached`: Temporal has forgotten it (or it never started)."""
    live = run if run and not start.ending else None
    attention = live.attention if live else None
    return PurchaseView(
        id=start.purchase_id,
        workflow_id=start.workflow_id,
        payment_id=start.payment_id,
        line=start.line,
        student_id=start.student_id,
        origin=start.origin,
        attempt=start.attempt,
        ending=start.ending or ("attention" if attention else "running"),
        code=attention.reason if attention else start.code,
        refunded=start.refunded,
        started_at=start.started_at,
        ended_at=start.ended_at,
        stage=live.stage if live else None,
        attention=AttentionView(**vars(attention)) if attention else None,
        next_retry=live.next_retry if live else None,
        gives_up=live.gives_up if live else None,
        session_count=item.session_count if item else None,
        session_count_source=item.session_count_source if item else None,
        item=_item(item) if item else None,
        steps=[StepView(**vars(step)) for step in steps],
        sessions=lessons_view(lessons),
        test_cards=item.test_cards if item else 0,
        remaining=remaining,
        access=AccessView(**vars(access)) if access else None,
        renewals=[RenewalView(**vars(renewal)) for renewal in renewals],
        trainer=_trainer(held) if held else None,
        source="temporal+database" if live else "database",
        temporal=run.kind.status.lower() if run else "forgotten" if reached else "unreachable",
        worker=worker,
    )


def lessons_view(lessons: Lessons) -> LessonsView:
    return LessonsView(
        count=lessons.count,
        first_local=wall(lessons.first_local),
        last_local=wall(lessons.last_local),
        minutes=lessons.minutes,
        timezone=lessons.zone,
    )


def _item(item: BoughtRow) -> ItemView:
    shown = vars(item)
    return ItemView(**{name: shown[name] for name in ItemView.model_fields})


def _trainer(held: AssignedTrainer) -> TrainerView:
    return TrainerView(
        allocation_id=held.allocation_id,
        trainer_id=held.trainer_id,
        name=held.trainer_name,
        status=held.status,
        lost=held.lost,
    )
