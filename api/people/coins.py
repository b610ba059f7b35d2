"""Show a student's coins and where they came from and went; top them up, which wakes the purchases that wait."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter
from pydantic import ConfigDict, Field

from api.http.auth import CallerDep
from api.http.dependencies import ServicesDep
from api.http.ids import StudentInPath
from api.http.json_models import Answer, Body
from api.http.problems import problems
from application.errors import Conflict, NotFound, Unavailable, Unprocessable
from application.ids import Key, Words
from application.temporal_client import equals
from application.wake_parked import WakeFilter, wake_later
from db.people import top_up_coins
from db.reads.coins import balance_of, movements_of
from workflows.attributes import STUDENT_ID

router = APIRouter(prefix="/api/v1/students", tags=["people"])

MAX_COINS = 1_000_000_000  # of one top-up


class TopUpBody(Body):
    """`requestKey` makes it happen once: the same request again only answers the balance. The token says who acts."""

    coins: Annotated[int, Field(ge=1, le=MAX_COINS)]
    reason: Words
    request_key: Key
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"coins": 200, "reason": "bought at the desk", "requestKey": "till-4711"}]}
    )


class BalanceAnswer(Answer):
    """The student's balance now; 1 coin is 1 minor unit."""

    student_id: str
    balance: int
    model_config = ConfigDict(json_schema_extra={"examples": [{"studentId": "student-1", "balance": 700}]})


class MovementView(Answer):
    """Coins that came (above 0) or went (below 0). `kind`: opening, top_up, or a purchase's redemption or recredit."""

    kind: str
    coins: int
    purchase_id: str | None
    actor: str | None
    reason: str | None
    moved_at: datetime


class CoinsAnswer(BalanceAnswer):
    """The balance and its last 100 movements, newest first."""

    movements: list[MovementView]
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "studentId": "student-1",
                    "balance": 500,
                    "movements": [
                        {
                            "kind": "opening",
                            "coins": 500,
                            "purchaseId": None,
                            "actor": None,
                            "reason": None,
                            "movedAt": "2026-11-21T10:00:00Z",
                        }
                    ],
                }
            ]
        }
    )


@router.get(
    "/{student_id}/coins", summary="A student's coins", responses=problems(NotFound, Unprocessable, Unavailable)
)
async def show_coins(student_id: StudentInPath, services: ServicesDep, who: CallerDep) -> CoinsAnswer:
    """Shows the balance and its movements; students do not see who topped up, nor why."""
    async with services.reading() as conn:
        balance = await balance_of(conn, student_id, who.own)
        if balance is None:
            raise _nobody()
        movements = await movements_of(conn, student_id)
    views = [MovementView(**vars(movement)) for movement in movements]
    if who.own is not None:
        views = [view.model_copy(update={"actor": None, "reason": None}) for view in views]
    return CoinsAnswer(student_id=student_id, balance=balance, movements=views)


@router.post(
    "/{student_id}/coins",
    summary="Top up a student's coins",
    responses=problems(NotFound, Conflict, Unprocessable, Unavailable),
)
async def top_up(student_id: StudentInPath, body: TopUpBody, services: ServicesDep, who: CallerDep) -> BalanceAnswer:
    """Purchases of this student that are parked as COINS_INSUFFICIENT are tried again at once."""
    balance = await top_up_coins(
        services.engine,
        student_id,
        body.coins,
        request_key=body.request_key,
        actor=who.subject,
        reason=body.reason,
        now=services.clock(),
    )
    if balance is None:
        raise _nobody()
    wake_later(
        services,
        WakeFilter(("COINS_INSUFFICIENT",), f"coins of {student_id} topped up", (equals(STUDENT_ID, student_id),)),
    )
    return BalanceAnswer(student_id=student_id, balance=balance)


def _nobody() -> NotFound:
    return NotFound(code="STUDENT_NOT_FOUND", detail="No student has this id.")
