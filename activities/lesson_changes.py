"""Reschedule lessons or give them another trainer, also long after the purchase is completed (mission row I10).

One activity is one transaction: the change, its audit row, its event. A request key acts once, and a lesson that has
begun is never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from typing import Any

import structlog
from sqlalchemy import Connection, Engine
from temporalio import activity

from db.effects import lesson_changes as effects
from db.effects.allocation import let_go
from db.effects.candidates import look
from db.effects.lesson_scene import Scene, Standing, lock_scene
from db.teaching import this_one
from domain.acts import ActRecord
from domain.lesson_changes import (
    KEY_REUSED,
    RESCHEDULE,
    SUBSTITUTE,
    TRANSFER,
    LessonChange,
    faults_of,
    refused,
    same_ask,
)
from domain.matching import TrainerFacts, place_of, rank
from domain.outcomes import outcome_in
from domain.refusals import Refused
from domain.schedule import Lesson, lesson_at, zone_named
from domain.wanted_lessons import wanted_lessons

_log = structlog.get_logger()
CHANGED = "LESSONS_CHANGED"


@dataclass(frozen=True)
class Moved:
    """The lessons of one change: `before` it, and `lessons` after it with `trainer_id`, in the IANA zone `zone`."""

    before: Sequence[Standing]
    lessons: Sequence[Lesson]
    trainer_id: str
    zone: str


class LessonChangeActivities:
    """change_lessons."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._clock = clock

    @activity.defn(name="change_lessons", no_thread_cancel_exception=True)
    def change_lessons(self, change: LessonChange) -> str:
        """Change the lessons; return `done: ...` or `refused: CODE: ...`. A repeated request key gets its first answer.

        A refusal changes nothing and has its audit row, except INVALID_ACT and KEY_REUSED. Others: LESSON_NOT_FOUND,
        LESSON_BEGUN, TRAINER_NOT_FREE, SCHEDULE_CONFLICT (the student is not free, or a holiday), WRONG_STAGE,
        STUDENT_PROFILE_MISSING, GPS_INVALID.
        """
        if faults := faults_of(change):
            return refused("INVALID_ACT", "; ".join(faults))
        now = self._clock()
        with self._engine.begin() as connection:
            scene = lock_scene(connection, change.purchase_id, change.request_key)
            if scene is None:
                return refused("WRONG_STAGE", "no such purchase was ever started")
            if scene.outcome is not None:
                same = same_ask(change.verb, change.values, scene.verb or "", scene.after or {})
                return scene.outcome if same else refused("KEY_REUSED", KEY_REUSED)
            let_go(connection, (), now)  # holds that have expired, before the trainer is locked
            outcome = _change(connection, scene, change, now)
        _log.info(
            "lessons_changed", verb=change.verb, actor=change.actor, request_key=change.request_key,
            purchase_id=change.purchase_id, workflow_id=scene.order.workflow_id, done=outcome_in(outcome).outcome != "refused",
        )  # fmt: skip
        return outcome


def _change(connection: Connection, scene: Scene, change: LessonChange, now: datetime) -> str:
    before: dict[str, Any] = {}
    after: dict[str, Any] = {"asked": change.values}
    try:
        with connection.begin_nested():
            moved = _apply(connection, scene, change, now)
    except Refused as no:
        outcome, event = refused(no.code, no.message), None
    else:
        before["lessons"] = [effects.told_of(each, each.trainer_id, each.zone) for each in moved.before]
        after["lessons"] = [effects.told_of(each, moved.trainer_id, moved.zone) for each in moved.lessons]
        outcome, event = f"done: {_in_words(moved)}", CHANGED
    act = ActRecord(
        scene.order, change.request_key, change.verb, change.actor, change.reason, before, after, outcome
    )  # fmt: skip
    effects.record(connection, act, now, event, [])
    return outcome


def _apply(connection: Connection, scene: Scene, change: LessonChange, now: datetime) -> Moved:
    require_standing(scene)
    values = change.values
    if change.verb == RESCHEDULE:
        return _reschedule(connection, scene, values, now)
    return _substitute(connection, scene, change.verb, values, now)


def _reschedule(connection: Connection, scene: Scene, values: dict[str, Any], now: datetime) -> Moved:
    """One lesson at another time, with its trainer."""
    one = _the_lesson(scene, values["number"], now)
    zone = scene.zone or one.zone
    minutes = values.get("minutes") or round((one.ends_at - one.starts_at).total_seconds() / 60)
    day = date.fromisoformat(values["date"])
    asked = datetime.combine(day, time.fromisoformat(values["timeSlot"]))
    lesson = lesson_at(one.number, asked, minutes, zone_named(zone))
    if lesson.starts_at <= now:
        raise Refused("WRONG_STAGE", f"{lesson.local:%Y-%m-%d %H:%M} in {zone} has passed")
    if day in scene.holidays:
        raise Refused("SCHEDULE_CONFLICT", f"{day} is a holiday")
    effects.lock_trainer(connection, one.trainer_id, now, assigned=False)
    effects.let_go(connection, scene, [one.number])
    require_free(connection, scene, one.trainer_id, [lesson], now)
    effects.hold(connection, scene, one.trainer_id, [lesson], zone)
    return Moved([one], [lesson], one.trainer_id, zone)


def _substitute(connection: Connection, scene: Scene, verb: str, values: dict[str, Any], now: datetime) -> Moved:
    """Another trainer at the same times: for one lesson, from one on, or for all that are still to come."""
    to_come = [each for each in scene.standing if each.starts_at > now]
    if verb == SUBSTITUTE:
        one = _the_lesson(scene, values["number"], now)
        to_come = [each for each in to_come if each.starts_at >= one.starts_at] if values.get("rest") else [one]
    trainer_id = values["trainerId"]
    changing = [each for each in to_come if each.trainer_id != trainer_id]
    if not changing:
        raise Refused("WRONG_STAGE", f"there is no lesson to come that {trainer_id} does not give already")
    lessons = [each.lesson() for each in changing]
    effects.lock_trainer(connection, trainer_id, now, assigned=True, beside=[each.trainer_id for each in changing])
    effects.let_go(connection, scene, [each.number for each in changing])
    require_free(connection, scene, trainer_id, lessons, now)
    for zone in {each.zone for each in changing}:
        of_zone = [each.lesson() for each in changing if each.zone == zone]
        effects.hold(connection, scene, trainer_id, of_zone, zone)
    if verb == TRANSFER:
        effects.give_to(connection, scene, trainer_id)
    return Moved(changing, lessons, trainer_id, changing[0].zone)


def require_standing(scene: Scene) -> None:
    """Raises WRONG_STAGE when the purchase has no approved allocation whose lessons could be changed."""
    if scene.status == "voided":
        raise Refused("WRONG_STAGE", "the purchase was taken back")
    if scene.allocation_id is None:
        raise Refused("WRONG_STAGE", "no trainer is approved for the lessons of this purchase")


def require_free(
    connection: Connection, scene: Scene, trainer_id: str, lessons: Sequence[Lesson], now: datetime
) -> None:
    """Raises TRAINER_NOT_FREE or SCHEDULE_CONFLICT, naming what is in the way; asked once the old slots are let go."""
    seen = look(connection, scene.order, scene.course_id, lessons, now, this_one(trainer_id))
    if seen.conflict is not None:
        raise Refused("SCHEDULE_CONFLICT", f"lesson {seen.conflict} overlaps another lesson of the student")
    trainer = facts_of(seen.trainers, trainer_id, scene)
    wanted = wanted_lessons(scene.fields)
    match = rank(
        [trainer], lessons, home=place_of(scene.latitude, scene.longitude), learning_mode=wanted.learning_mode,
        group_size=wanted.group_size,
    )  # fmt: skip
    if why := match.lost.get(trainer_id):
        raise Refused("TRAINER_NOT_FREE", f"{trainer_id} cannot give this: {why}")


def facts_of(trainers: Sequence[TrainerFacts], trainer_id: str, scene: Scene) -> TrainerFacts:
    """Raises TRAINER_NOT_FREE for somebody who does not teach the course."""
    found = next((each for each in trainers if each.id == trainer_id), None)
    if found is None:
        raise Refused("TRAINER_NOT_FREE", f"{trainer_id} does not teach {scene.course_id}")
    return found


def _the_lesson(scene: Scene, number: int, now: datetime) -> Standing:
    one = next((each for each in scene.standing if each.number == number and each.made), None)
    if one is None:
        raise Refused("LESSON_NOT_FOUND", f"there is no lesson {number} that is still on")
    if one.starts_at <= now:
        raise Refused("LESSON_BEGUN", f"lesson {number} began at {one.local_start:%Y-%m-%d %H:%M}")
    return one


def _in_words(moved: Moved) -> str:
    first, was = moved.lessons[0], moved.before[0]
    if len(moved.lessons) > 1:
        return f"{len(moved.lessons)} lessons are given by {moved.trainer_id}, from lesson {first.number} on"
    if was.trainer_id != moved.trainer_id:
        return f"lesson {first.number} is given by {moved.trainer_id}"
    return f"lesson {first.number} is at {first.local:%Y-%m-%d %H:%M} in {moved.zone}"
