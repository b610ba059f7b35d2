"""Move lessons off days closed after they were planned, to the next days of their series (spec section 10).

The trigger is a blocked day or a holiday added later; the audit names `system` as the actor. What cannot be moved
stays, is reported once (event LESSONS_STRANDED, a warning, the audit), and is tried again by the next sweep.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from sqlalchemy import Connection, Engine
from temporalio import activity

from activities.lesson_changes import CHANGED, facts_of, require_standing
from activities.planning import not_free
from db.closed_days import Stranded
from db.effects import lesson_changes as effects
from db.effects.allocation import let_go
from db.effects.candidates import look
from db.effects.closed_days import purchases_with_stranded, stranded_in
from db.effects.lesson_scene import Scene, Standing, lock_scene
from db.teaching import this_one
from domain.acts import ActRecord
from domain.ids import stranded_key_of
from domain.lesson_changes import MOVE_STRANDED, SYSTEM, refused
from domain.matching import place_of
from domain.refusals import Refused
from domain.schedule import Lesson, plan_lessons
from domain.wanted_lessons import wanted_lessons

_log = structlog.get_logger()
STRANDED = "LESSONS_STRANDED"
_PAGE = 100  # purchases
_LOOK_AHEAD = 60  # own days beyond as many as the series has lessons to come


@dataclass(frozen=True)
class _Move:
    """A stranded lesson and where it went, or why it could go nowhere."""

    why: Stranded
    of: Standing
    to: Lesson | None
    stuck: str = ""


class StrandedActivities:
    """find_stranded_lessons and move_stranded_lessons."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._clock = clock

    @activity.defn(name="find_stranded_lessons", no_thread_cancel_exception=True)
    def find_stranded_lessons(self, after: str) -> list[str]:
        """Return the next purchase ids after `after` that have future lessons on a closed day; empty at the end."""
        return purchases_with_stranded(self._engine, self._clock(), after, _PAGE)

    @activity.defn(name="move_stranded_lessons", no_thread_cancel_exception=True)
    def move_stranded_lessons(self, purchase_id: str) -> str:
        """Move the lessons that can be moved and report the others; return the outcome as text. Idempotent.

        One transaction per trainer, so that no trainer's lock is held while another's is awaited.
        """
        now = self._clock()
        with self._engine.connect() as connection:
            trainers = sorted({each.trainer_id for each in stranded_in(connection, purchase_id, now)})
        outcomes: list[str] = []
        for trainer_id in trainers:
            with self._engine.begin() as connection:
                outcomes += _move_all(connection, purchase_id, trainer_id, now)
        _log.info("stranded_lessons", purchase_id=purchase_id, outcomes=outcomes)
        return "; ".join(outcomes) or "nothing to move"


def _move_all(connection: Connection, purchase_id: str, trainer_id: str, now: datetime) -> list[str]:
    scene = lock_scene(connection, purchase_id, "")
    if scene is None:
        return []
    let_go(connection, (), now)  # holds that have expired, before the trainer is locked
    effects.lock_trainer(connection, trainer_id, now, assigned=False)  # and so waits for days that are being blocked
    standing = {each.number: each for each in scene.standing}
    stranded = [each for each in stranded_in(connection, purchase_id, now) if each.trainer_id == trainer_id]
    moves = [_move(connection, scene, each, standing[each.number], now) for each in stranded]
    moved, stuck = [each for each in moves if each.to], [each for each in moves if not each.to]
    return [
        *([_record(connection, scene, moved, CHANGED, now)] if moved else []),
        *([_record(connection, scene, stuck, STRANDED, now)] if stuck else []),
    ]


def _move(connection: Connection, scene: Scene, why: Stranded, of: Standing, now: datetime) -> _Move:
    """To the first own day after its own at which trainer and student are free."""
    try:
        require_standing(scene)
        with connection.begin_nested():
            effects.let_go(connection, scene, [of.number])
            to, zone = _next_free(connection, scene, of, now)
            effects.hold(connection, scene, of.trainer_id, [to], zone)
    except Refused as no:
        return _Move(why, of, None, no.message)
    return _Move(why, of, to)


def _next_free(connection: Connection, scene: Scene, of: Standing, now: datetime) -> tuple[Lesson, str]:
    zone = scene.zone or of.zone
    minutes = round((of.ends_at - of.starts_at).total_seconds() / 60)
    wanted = replace(wanted_lessons(scene.fields), minutes=minutes)
    first = of.local_start.date() + timedelta(days=1)
    ahead = plan_lessons(wanted, len(scene.standing) + _LOOK_AHEAD, zone, first, scene.holidays)
    until = scene.expires_on
    ahead = [each for each in ahead if until is None or each.local.date() <= until]
    if not ahead:
        raise Refused("SCHEDULE_CONFLICT", f"access ends on {until}, before the next day of the series")
    seen = look(connection, scene.order, scene.course_id, ahead, now, this_one(of.trainer_id))
    trainer = facts_of(seen.trainers, of.trainer_id, scene)
    trainer, home = replace(trainer, busy=False), place_of(scene.latitude, scene.longitude)
    free = effects.free_for(connection, scene, of.trainer_id, ahead)
    for each in ahead:
        if each.number in free and not_free(trainer, [each], home) is None:
            return replace(each, number=of.number), zone
    raise Refused("TRAINER_NOT_FREE", f"{of.trainer_id} and the student share no free day of the series")


def _record(connection: Connection, scene: Scene, moves: list[_Move], event: str, now: datetime) -> str:
    """One act, event and warning for what moved together, or for what is stuck together as it stands."""
    outcome = "; ".join(_in_words(each) for each in moves)
    zone = scene.zone or ""
    before = {"lessons": [effects.told_of(each.of, each.of.trainer_id, each.of.zone) for each in moves]}
    after = [effects.told_of(each.to, each.of.trainer_id, zone) for each in moves if each.to]
    stands = [f"{each.of.number}@{each.of.starts_at.isoformat()}#{each.of.revision}" for each in moves]
    key = stranded_key_of(event, *stands)
    act = ActRecord(
        scene.order, key, MOVE_STRANDED, SYSTEM, "; ".join(sorted({each.why.why for each in moves})), before,
        {"lessons": after} if after else before, f"done: {outcome}" if after else refused("TRAINER_NOT_FREE", outcome),
    )  # fmt: skip
    effects.record(connection, act, now, event, [outcome])
    return outcome


def _in_words(move: _Move) -> str:
    was = f"lesson {move.of.number} of {move.of.local_start:%Y-%m-%d %H:%M}"
    if move.to is None:
        return f"{was} stands on a closed day and could not be moved: {move.why.why}; {move.stuck}"
    return f"{was} moved to {move.to.local:%Y-%m-%d %H:%M}: {move.why.why}"
