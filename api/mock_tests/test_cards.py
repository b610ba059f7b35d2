"""`/api/user/...`: list the caller's own mock tests, and start a test on a card (mission rows 4, 7, 8)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter, Response
from pydantic import ConfigDict, Field

from api.http.auth import CallerDep
from api.http.dependencies import ServicesDep
from api.http.idempotency import RequiredKey
from api.http.ids import GivenInPath
from api.http.json_models import Answer
from api.http.problems import problems
from api.mock_tests.legacy_tests import OLD_TEST, OldTest
from application.errors import BadRequest, Conflict, NotFound, Unavailable, Unprocessable
from db.attempts import AttemptsExhausted, NoSuchCard, start_attempt
from db.legacy_attempts import old_attempts_of
from db.reads.test_cards import ATTEMPTS, cards_of
from domain.refusals import REFUSALS

router = APIRouter(prefix="/api/user", tags=["tests"])

_SESSION = "1f6f1d5e-4f0b-4c7c-9b39-6a2a3d2f9a11"
_CARD: dict[str, Any] = {
    "test_card_id": "7e0c4f0a-43f3-4c39-b2a7-2f8a1de51c02",
    "purchaseId": "5a1b7ad3-7b4f-5b8e-9c51-0a6d1b1f3c7e",
    "subjectId": "subject-physics",
    "subject": "Physics",
    "testNumber": 1,
    "attemptsUsed": 1,
    "attemptsLeft": 2,
    "testSessionId": _SESSION,
}


class AvailableTest(Answer):
    """A test card, started by its `test_card_id`. `testSessionId`: the last attempt still in progress.

    The name `test_card_id` is the older system's, where a test without it was one of another kind.
    """

    test_card_id: str = Field(alias="test_card_id")
    purchase_id: str
    subject_id: str
    subject: str
    test_number: int
    attempts_used: int
    attempts_left: int
    test_session_id: str | None
    model_config = ConfigDict(json_schema_extra={"examples": [_CARD]})


class AvailableTests(Answer):
    """Cards by subject and number, then tests of the older system, by title.

    Where `test_card_id` is present, start the card; where it is absent, start the attempt at `/api/user/start-test`.
    """

    tests: list[AvailableTest | OldTest]
    model_config = ConfigDict(json_schema_extra={"examples": [{"tests": [_CARD, OLD_TEST]}]})


class StartedTest(Answer):
    """The key's test session: attempt 1, 2 or 3 at the card. `state`: in_progress, submitted or expired."""

    test_session_id: str
    test_card_id: str
    attempt: int
    state: str
    started_at: datetime
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "testSessionId": _SESSION,
                    "testCardId": _CARD["test_card_id"],
                    "attempt": 1,
                    "state": "in_progress",
                    "startedAt": "2026-11-21T10:00:00Z",
                }
            ]
        }
    )


@router.get("/available-tests", summary="The caller's tests", responses=problems(Unprocessable, Unavailable))
async def available_tests(services: ServicesDep, who: CallerDep) -> AvailableTests:
    """Lists the cards that the caller has bought and may still use, used-up ones included.

    Then come the caller's attempts of the older system.
    """
    async with services.reading() as conn:
        cards = await cards_of(conn, who.subject, services.clock())
        old = await old_attempts_of(conn, who.subject)
    return AvailableTests(
        tests=[
            *(AvailableTest(**vars(card), attempts_left=ATTEMPTS - card.attempts_used) for card in cards),
            *(OldTest(**vars(attempt)) for attempt in old),
        ]
    )


@router.post(
    "/test-cards/{test_card_id}/start",
    status_code=201,
    summary="Start a test on a card",
    responses={
        200: {"model": StartedTest, "description": "The same request was sent before; no other attempt is used."},
        **problems(BadRequest, NotFound, Conflict, Unprocessable, Unavailable),
    },
)
async def start_test(
    test_card_id: GivenInPath,
    services: ServicesDep,
    who: CallerDep,
    key: RequiredKey,
    response: Response,
) -> StartedTest:
    """Uses one of the card's three attempts; a fourth key is 409 `ATTEMPTS_EXHAUSTED`.

    The same `Idempotency-Key` again gets the same test session.
    """
    try:
        started, is_new = await start_attempt(services.engine, test_card_id, who.subject, key, services.clock())
    except NoSuchCard as unknown:
        raise NotFound(code="TEST_CARD_NOT_FOUND", detail="You have no test card of this id.") from unknown
    except AttemptsExhausted as used_up:
        code = "ATTEMPTS_EXHAUSTED"
        raise Conflict(code=code, detail=REFUSALS[code].student) from used_up
    response.status_code = 201 if is_new else 200
    return StartedTest(
        test_session_id=started.id,
        test_card_id=test_card_id,
        attempt=started.attempt,
        state=started.state,
        started_at=started.started_at,
    )
