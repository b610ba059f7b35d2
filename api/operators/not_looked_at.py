"""Why trainers whom a search did not look at were not chosen: computed when somebody asks, as things are now.

A search looks at those who come first, and at others only while nobody fits. The reasons of those it looked at are
kept; all others came after the one who was chosen.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncConnection

from db.reads.matching import Matched
from db.reads.not_looked_at import AskedFor, asked_for, lessons_held
from db.reads.preflight import who_could_teach
from db.teaching import Round
from domain.matching import TrainerFacts, place_of
from domain.matching_explanation import outranked_unseen
from domain.refusals import Refused
from domain.schedule import Lesson
from domain.wanted_lessons import wanted_lessons


async def with_others(
    conn: AsyncConnection, purchase_id: str, matched: Sequence[Matched], trainer: str | None, limit: int, now: datetime
) -> list[Matched]:
    """Return these matchings with the reasons of others added: of `trainer`, or of so many that there are `limit`."""
    told = list(matched)
    if not any(_left_out(match, trainer, limit) for match in told):
        return told
    asked = await asked_for(conn, purchase_id)
    if asked is None:
        return told
    return [
        await _with_others(conn, asked, match, trainer, limit, now) if _left_out(match, trainer, limit) else match
        for match in told
    ]


def _left_out(match: Matched, trainer: str | None, limit: int) -> bool:
    if "candidates" not in match.won or not match.lessons:
        return False
    return len(match.lost) < limit if trainer is None else trainer not in (*match.lost, match.trainer_id)


async def _with_others(
    conn: AsyncConnection, asked: AskedFor, match: Matched, trainer: str | None, limit: int, now: datetime
) -> Matched:
    lessons = await lessons_held(conn, match.allocation_id)
    seen = (match.trainer_id, *match.lost)
    whom = Round(seen=seen, most=limit - len(match.lost)) if trainer is None else Round(named=(trainer,), most=0)
    found = await who_could_teach(conn, asked.student_id, asked.course_id, lessons, now, whom)
    others = [each for each in found.trainers if each.id not in seen and trainer in (None, each.id)]
    reasons = await asyncio.to_thread(_reasons, asked, match, others, lessons)
    return replace(match, lost={**match.lost, **reasons})


def _reasons(
    asked: AskedFor, match: Matched, others: Sequence[TrainerFacts], lessons: Sequence[Lesson]
) -> dict[str, str]:
    if match.decided_by != "automatic":
        return {each.id: f"an operator chose {match.trainer_id}" for each in others}
    try:
        wanted, home = wanted_lessons(asked.fields), place_of(asked.latitude, asked.longitude)
    except Refused:  # amended since, so that nothing can be said of lessons and place
        return {each.id: f"{match.trainer_id} came first" for each in others}
    return outranked_unseen(
        others, lessons, home=home, wanted=wanted, chosen=match.trainer_id, won=match.won, held=match.held_before
    )
