"""What an admin sends to change lessons, and how single lessons are shown."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from api.http.act_models import ActBody, example
from api.http.json_models import Answer
from application.ids import Day, GivenId
from domain.lesson_changes import LONGEST_LESSON

_AWAY: JsonDict = {"reason": "the student is away", "requestKey": "ticket-4712"}


class ChangeBody(ActBody):
    """`requestKey` makes the change happen once: the same again is answered the same. The token says who acts."""

    def values(self) -> dict[str, Any]:
        """Return what is asked for, without the reason and the key."""
        said = self.model_dump(by_alias=True, exclude_none=True)
        return {name: value for name, value in said.items() if name not in ("reason", "requestKey")}


class RescheduleBody(ChangeBody):
    """`date` and `timeSlot` are the student's wall time. Without `minutes` it is as long as before."""

    date: Day
    time_slot: str = Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")
    minutes: Annotated[int, Field(ge=1, le=LONGEST_LESSON)] | None = None
    model_config = example(**_AWAY, date="2026-12-20", timeSlot="17:30")


class SubstituteBody(ChangeBody):
    """With `rest` all lessons after this one change, too."""

    trainer_id: GivenId
    rest: bool = False
    model_config = example(**_AWAY, trainerId="trainer-2", rest=False)


class TransferBody(ChangeBody):
    """`trainerId`: who gives all the lessons that are still to come."""

    trainer_id: GivenId
    model_config = example(**_AWAY, trainerId="trainer-2")


_LESSON: dict[str, Any] = {
    "number": 3,
    "local": "2026-12-20T17:30",
    "timezone": "Europe/London",
    "startsAt": "2026-12-20T17:30:00Z",
    "endsAt": "2026-12-20T18:30:00Z",
    "minutes": 60,
    "trainerId": "trainer-2",
    "status": "scheduled",
    "clock": None,
    "askedLocal": None,
    "changes": 1,
    "closed": None,
}
_STUDENT_LESSON = {name: value for name, value in _LESSON.items() if name != "trainerId"} | {
    "trainer": "Ada Piano",
    "closed": False,
}


class _Lesson(Answer):
    """One lesson; `local` is wall time in `timezone`. `askedLocal`: the time asked for, where the clocks skip it."""

    number: int
    local: str
    timezone: str
    starts_at: datetime
    ends_at: datetime
    minutes: int
    status: Literal["scheduled", "cancelled"]
    clock: Literal["gap", "fold"] | None = Field(description="gap: the clocks skip the time asked for; fold: repeat it")
    asked_local: str | None
    changes: int = Field(description="above 0: it was changed since it was made")


class LessonView(_Lesson):
    """A lesson as staff see it."""

    trainer_id: str
    closed: str | None = Field(
        description="why its day is closed, if it was closed since; it is moved as soon as it can be"
    )


class StudentLessonView(_Lesson):
    """A lesson as its student sees it."""

    trainer: str = Field(description="the trainer's name")
    closed: bool = Field(description="its day was closed since; it is moved as soon as it can be")


class LessonsAnswer(Answer):
    """Lessons in time order."""

    lessons: list[LessonView]
    model_config = ConfigDict(json_schema_extra={"examples": [{"lessons": [_LESSON]}]})


class StudentLessonsAnswer(Answer):
    """A student's lessons in time order."""

    lessons: list[StudentLessonView]
    model_config = ConfigDict(json_schema_extra={"examples": [{"lessons": [_STUDENT_LESSON]}]})
