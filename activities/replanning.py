"""Plan a purchase's lessons anew as an operator decided: another count or schedule, the same trainer."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import structlog
from sqlalchemy import Connection, Engine

from activities.planning import Plan, allocation_metadata, not_free
from db import ledger
from db.effects import replanning as effects
from db.effects.allocation import let_go
from db.effects.candidates import LessonRequest, look, read_request
from db.effects.decisions import read_settled, write_settled
from db.teaching import this_one
from domain.amendments import PurchaseTerms, amended, moves, overrides
from domain.matching import place_of
from domain.purchase import PurchaseOrder
from domain.refusals import Refused
from domain.schedule import Lesson, first_day, plan_lessons, start_warning, zone_named
from domain.wanted_lessons import wanted_lessons

_log = structlog.get_logger()


def replan(engine: Engine, order: PurchaseOrder, now: datetime) -> None:
    """Replace the held lessons by those that the last decision to create sessions asks for, all or nothing.

    Lessons that have begun keep their numbers; the other slots are released and held anew, and lessons already made
    move with them. Purchase and allocation are updated. Raises SESSIONS_FAILED, naming the clash, when trainer or
    student is not free or fewer lessons are asked for than have begun; then nothing is changed. Idempotent.
    """
    with engine.begin() as connection:
        request = read_request(connection, order)  # locks the student
        let_go(connection, (), now)  # before the trainer is locked
        standing = effects.lock_standing(connection, order, now)
        if standing is None or standing.request_key == standing.planned_by:
            return  # the step looks again and says what is the matter
        if standing.state is not None:
            ledger.answered(standing.state, None)
            return
        before, _ = read_settled(connection, order)
        after = amended(before, overrides(standing.overrides))
        try:
            plan = _plan(request, standing, before, after, now)
            effects.let_go(connection, standing)
            if plan.lessons:
                _require_free(connection, order, request, standing, plan, now)
            effects.hold_again(connection, order, standing, plan.lessons, plan.zone)
        except Refused as refused:
            missing = sum(number not in standing.scheduled for number in range(1, after.session_count + 1))
            raise Refused(refused.code, refused.message, missing=missing) from refused
        _record(connection, order, request, standing, plan, after)
    _log.info(
        "lessons_planned_anew", sessions=after.session_count, kept=len(standing.begun),
        allocation_id=standing.allocation_id, request_key=standing.request_key, purchase_id=order.purchase_id,
        payment_id=order.payment_id, workflow_id=order.workflow_id,
    )  # fmt: skip


def _plan(
    request: LessonRequest, standing: effects.Standing, before: PurchaseTerms, after: PurchaseTerms, now: datetime
) -> Plan:
    """The lessons that have not begun, at the next times of the series; the numbers of those that have are left out."""
    if standing.begun and after.session_count < standing.begun[-1]:
        raise Refused(
            "SESSIONS_FAILED",
            f"lesson {standing.begun[-1]} has begun already: there cannot be only {after.session_count}",
        )
    if request.zone is None:
        raise Refused("STUDENT_PROFILE_MISSING", "the student has no profile")
    wanted, zone = wanted_lessons(after.fields), request.zone
    first, moved = after.series_start, False
    if first is None:
        first, moved = first_day(wanted, zone, now, request.holidays)
    numbers = effects.left_over(after.session_count, standing)
    today = now.astimezone(zone_named(zone)).date()
    # Of the lessons from today on at most one has begun, today's: the series has one a day.
    ahead = plan_lessons(wanted, len(numbers) + 1, zone, max(first, today), request.holidays)
    lessons = [
        replace(lesson, number=number)
        for number, lesson in zip(numbers, (each for each in ahead if each.starts_at > now), strict=False)
    ]
    warning = start_warning(wanted, first, moved) if moves(before, after.fields) else None
    return Plan(wanted, zone, first, warning, lessons)


def _require_free(
    connection: Connection, order: PurchaseOrder, request: LessonRequest, standing: effects.Standing, plan: Plan,
    now: datetime,
) -> None:  # fmt: skip
    """Student and trainer have nothing else then; asked once this allocation's own slots are let go."""
    seen = look(connection, order, request.course_id, plan.lessons, now, this_one(standing.trainer_id))
    if seen.conflict is not None:
        lesson = next(lesson for lesson in plan.lessons if lesson.number == seen.conflict)
        raise Refused("SESSIONS_FAILED", f"lesson {_named(lesson)} overlaps one the student already has")
    trainer = next((each for each in seen.trainers if each.id == standing.trainer_id), None)
    if trainer is None:
        raise Refused("SESSIONS_FAILED", f"{standing.trainer_id} no longer teaches {request.course_id}")
    if why := not_free(trainer, plan.lessons, place_of(request.latitude, request.longitude)):
        raise Refused("SESSIONS_FAILED", f"{standing.trainer_id} cannot give these lessons: {why}")


def _record(
    connection: Connection, order: PurchaseOrder, request: LessonRequest, standing: effects.Standing, plan: Plan,
    after: PurchaseTerms,
) -> None:  # fmt: skip
    warnings = [*after.warnings, *([plan.warning] if plan.warning else [])]
    write_settled(connection, order, replace(after, series_start=plan.first, warnings=warnings))
    asked = replace(
        request, fields=after.fields, session_count=after.session_count,
        session_count_source=after.session_count_source,
    )  # fmt: skip
    effects.say_so(connection, standing, allocation_metadata(asked, plan))


def _named(lesson: Lesson) -> str:
    return f"{lesson.number} ({lesson.local:%Y-%m-%d %H:%M})"
