"""`/api/user/start-test`, `/api/user/generate-test-questions`: the tests of the older system, at its own two paths.

They serve attempts from before test cards; no purchase makes one (mission row 6, decision 0013).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import ConfigDict

from api.http.auth import CallerDep
from api.http.dependencies import ServicesDep
from api.http.json_models import Answer, Body
from api.http.problems import problems
from application.errors import Conflict, NotFound, Unavailable, Unprocessable
from application.ids import GivenId
from db.legacy_attempts import NoSuchAttempt, old_questions_of, open_old_attempt
from domain.refusals import REFUSALS

router = APIRouter(prefix="/api/user", tags=["tests"])

_ATTEMPT = "attempt-1"
OLD_TEST: dict[str, Any] = {
    "attemptId": _ATTEMPT,
    "subjectId": "subject-physics",
    "title": "Physics, first term",
    "state": "in_progress",
    "startedAt": "2024-03-01T10:00:00Z",
}


class OldTest(Answer):
    """A test of the older system: it has no `test_card_id`. `startedAt` is null before the start.

    `state`: not_started, in_progress, or what that system called its end.
    """

    attempt_id: str
    subject_id: str | None
    title: str | None
    state: str
    started_at: datetime | None
    model_config = ConfigDict(json_schema_extra={"examples": [OLD_TEST]})


class OldTestAsked(Body):
    """The attempt, by its `attemptId` in available-tests."""

    attempt_id: GivenId
    model_config = ConfigDict(json_schema_extra={"examples": [{"attemptId": _ATTEMPT}]})


class OldQuestions(Answer):
    """The questions as the older system stored them, each in its own shape."""

    attempt_id: str
    questions: list[Any]
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"attemptId": _ATTEMPT, "questions": [{"question": "What is 2 + 2?", "options": ["3", "4"]}]}]
        }
    )


@router.post(
    "/start-test",
    summary="Start a test of the older system",
    responses=problems(NotFound, Unprocessable, Unavailable),
)
async def start_old_test(asked: OldTestAsked, services: ServicesDep, who: CallerDep) -> OldTest:
    """Starts the caller's own attempt. A started one is answered as it stands; one that has ended stays ended."""
    try:
        opened = await open_old_attempt(services.engine, asked.attempt_id, who.subject, services.clock())
    except NoSuchAttempt as unknown:
        raise _not_found() from unknown
    return OldTest(**vars(opened))


@router.post(
    "/generate-test-questions",
    summary="The questions of a test of the older system",
    responses=problems(NotFound, Conflict, Unprocessable, Unavailable),
)
async def generate_test_questions(asked: OldTestAsked, services: ServicesDep, who: CallerDep) -> OldQuestions:
    """Returns the questions stored with the caller's own attempt; none are made anew.

    Without any it is 409 `CONTENT_MISSING`, and the attempt stays as it is.
    """
    try:
        async with services.reading() as conn:
            questions = await old_questions_of(conn, asked.attempt_id, who.subject)
    except NoSuchAttempt as unknown:
        raise _not_found() from unknown
    if not questions:
        code = "CONTENT_MISSING"
        raise Conflict(code=code, detail=REFUSALS[code].student)
    return OldQuestions(attempt_id=asked.attempt_id, questions=questions)


def _not_found() -> NotFound:
    return NotFound(code="TEST_ATTEMPT_NOT_FOUND", detail="You have no test attempt of this id.")
