"""A purchase as a row of the list, from the database and Temporal."""

from __future__ import annotations

from datetime import date, datetime

from pydantic import ConfigDict, Field

from api.http.json_models import Answer, wall
from api.http.openapi_examples import PURCHASE_ROW
from api.purchases.views import ENDING
from application.run_states import RunState
from db.reads.purchase_list import ListedPurchase


class PurchaseRow(Answer):
    """One started line (spec section 9). `sessions` and `testCards` count what exists; null: not known."""

    id: str
    workflow_id: str
    payment_id: str | None
    line: int
    student_id: str
    ending: str = Field(description=ENDING)
    code: str | None
    refunded: bool | None
    session_count: int | None
    session_count_source: str | None
    sessions: int
    first_local: str | None
    last_local: str | None
    minutes: int | None
    timezone: str | None
    remaining: int = Field(description="lessons still to come, those of purchases that this one renewed included")
    expires_on: date | None = Field(description="the last day of access")
    test_cards: int
    attempt: int
    started_at: datetime
    stage: str | None
    since: datetime | None
    next_retry: str | None
    gives_up: str | None = Field(description="when it is undone by itself, and the money goes back; null: never")
    next_action: str | None
    problems: list[str] = Field(description="not empty: the workflow's code fails on it, an engineer is needed")
    model_config = ConfigDict(json_schema_extra={"examples": [PURCHASE_ROW]})


def purchase_row(row: ListedPurchase, run: RunState | None) -> PurchaseRow:
    """Return the row. `run`: how one without an ending stands in Temporal; None: it was not among the runs."""
    run = None if row.ending else run
    attention = run.attention if run else None
    return PurchaseRow(
        id=row.purchase_id,
        workflow_id=row.workflow_id,
        payment_id=row.payment_id,
        line=row.line,
        student_id=row.student_id,
        ending=row.ending or ("attention" if attention else "running"),
        code=attention.reason if attention else row.code,
        refunded=row.refunded,
        session_count=row.session_count,
        session_count_source=row.session_count_source,
        sessions=row.sessions,
        first_local=wall(row.first_local),
        last_local=wall(row.last_local),
        minutes=row.minutes,
        timezone=row.zone,
        remaining=row.remaining,
        expires_on=row.expires_on,
        test_cards=row.test_cards,
        attempt=row.attempt,
        started_at=row.started_at,
        stage=run.stage if run else None,
        since=attention.since if attention else None,
        next_retry=run.next_retry if run else None,
        gives_up=run.gives_up if run else None,
        next_action=attention.next_action if attention else None,
        problems=run.problems if run else [],
    )
