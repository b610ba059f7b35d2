"""`GET /api/v1/checkout/preflight`: warn before payment of what would make a purchase wait (mission row C14).

It applies the rules of the steps and holds nothing: what is free now may be taken when it is paid, unless it is held
(`api/checkout/slot_holds.py`).
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query
from pydantic import ConfigDict, Field

from api.checkout.checkout import to_buy
from api.checkout.trainer_search import TrainerSearch
from api.http.auth import CallerDep
from api.http.dependencies import ServicesDep
from api.http.json_models import Answer
from api.http.problems import problems
from application.context import Services
from application.errors import Unavailable, Unprocessable
from db.reads.cart import CartLine, cart_of
from db.reads.coins import balance_of
from db.reads.preflight import StudentFacts, student_facts
from domain.duplicate_payment import looks_double
from domain.matching import place_of
from domain.matching_explanation import NobodyFits
from domain.metadata import merge
from domain.pricing import line_metadata
from domain.refusals import REFUSALS, Refused
from domain.schedule import Lesson, first_day, plan_lessons, zone_named
from domain.session_count import resolve_session_count
from domain.wanted_lessons import WantedLessons, wanted_lessons

router = APIRouter(prefix="/api/v1/checkout", tags=["shop"])

MAX_LESSONS = 1200  # whose times are looked at for one cart

_T = TypeVar("_T")
_WARNING: dict[str, Any] = {
    "code": "NO_TRAINER_AVAILABLE",
    "message": "You are enrolled; we are finding your trainer.",
    "detail": "nobody who teaches course-piano is free for all 10 lessons",
}


class PreflightWarning(Answer):
    """`code`: the refusal with which the purchase would park or end; `message`: its sentence for a student."""

    code: str
    message: str
    detail: str
    model_config = ConfigDict(json_schema_extra={"examples": [_WARNING]})


class PreflightLine(Answer):
    """One item in the cart. `owned`: the student has it already; buying it again renews it."""

    cart_item_id: str
    item_type: str
    item_id: str
    owned: bool
    looked_at: bool = Field(description="false: of the many lessons in this cart, these times were not looked at")
    warnings: list[PreflightWarning]


class Preflight(Answer):
    """Warnings per item and for the whole cart. No warning is no promise."""

    lines: list[PreflightLine]
    warnings: list[PreflightWarning]
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "lines": [
                        {
                            "cartItemId": "0d1f6c1e-0c57-4a6e-9d5c-6c1f0a3b2d11",
                            "itemType": "course",
                            "itemId": "course-piano",
                            "owned": False,
                            "lookedAt": True,
                            "warnings": [_WARNING],
                        }
                    ],
                    "warnings": [],
                }
            ]
        }
    )


@dataclass
class _Look:
    """The state of one preflight. `lessons`: of the items checked so far; `left`: how many more may be checked."""

    services: Services
    student_id: str
    facts: StudentFacts
    lessons: list[Lesson] = field(default_factory=list[Lesson])
    left: int = MAX_LESSONS


@dataclass(frozen=True)
class PlannedItem:
    """The lessons that a cart item asks for, and their number."""

    wanted: WantedLessons
    count: int


@router.get(
    "/preflight",
    summary="What would make the cart wait after it is paid",
    responses=problems(Unprocessable, Unavailable),
)
async def preflight(
    services: ServicesDep, who: CallerDep, coins: Annotated[int, Query(ge=0, le=2**53)] = 0
) -> Preflight:
    """Warns of what would wait or be refunded after payment; the cart can be paid all the same.

    That is: no profile or place, a missing or malformed schedule, no trainer, own lessons at these times, the same
    bought minutes ago, too few coins.
    """
    async with services.reading() as conn:
        cart = await cart_of(conn, who.subject)
        facts = await student_facts(conn, who.subject)
        balance = await balance_of(conn, who.subject, who.own) or 0
    look = _Look(services, who.subject, facts)
    short = Refused("COINS_INSUFFICIENT", f"{coins} coins are asked for, the balance is {balance}")
    return Preflight(
        lines=[await _line(look, thing) for thing in cart],
        warnings=[_warned(short)] if coins > balance else [],
    )


async def _line(look: _Look, thing: CartLine) -> PreflightLine:
    refusals, looked_at = await _refusals(look, thing)
    return PreflightLine(
        cart_item_id=thing.id,
        item_type=thing.item_type,
        item_id=thing.item_id,
        owned=(thing.item_type, thing.item_id) in look.facts.owned,
        looked_at=looked_at,
        warnings=[_warned(refused) for refused in refusals],
    )


def _warned(refused: Refused) -> PreflightWarning:
    return PreflightWarning(code=refused.code, message=REFUSALS[refused.code].student, detail=refused.message)


async def _refusals(look: _Look, thing: CartLine) -> tuple[list[Refused], bool]:
    """Return the item's refusals in the order of the steps, and whether its times were looked at.

    What another refusal hides until it is mended is left out.
    """
    if thing.fulfilment is None:
        return [Refused("UNKNOWN_ITEM", "the catalogue has no item of this itemType and itemId")], True
    if not thing.open:
        return [Refused("COURSE_UNAVAILABLE", f"{thing.item_type} {thing.item_id} is closed")], True
    fields = merge(payment=line_metadata(to_buy(thing))).fields
    count = resolve_session_count(fields).count
    found = [_double(look, thing, count)]
    if thing.fulfilment != "sessions":
        return [refused for refused in found if refused], True
    asked = _tried(lambda: asked_of(thing))
    unplaced = _tried(lambda: _require_place(look.facts))
    found += [each for each in (asked, unplaced) if isinstance(each, Refused)]
    looked_at = True
    if isinstance(asked, PlannedItem) and unplaced is None:
        look.left -= asked.count
        if looked_at := look.left >= 0:
            found.append(await _no_lessons(look, thing.item_id, asked))
    return [refused for refused in found if refused], looked_at


def _double(look: _Look, thing: CartLine, count: int) -> Refused | None:
    older = look.facts.owned.get((thing.item_type, thing.item_id))
    if older is None or older.paid_at is None:
        return None
    if not looks_double(look.services.clock(), count, older.paid_at, older.session_count):
        return None
    return Refused("DUPLICATE_PAYMENT_SUSPECTED", f"the same {count} lessons were bought minutes ago")


def _tried(rule: Callable[[], _T]) -> _T | Refused:
    try:
        return rule()
    except Refused as refused:
        return refused


def _require_place(facts: StudentFacts) -> None:
    if facts.timezone is None:
        raise Refused("STUDENT_PROFILE_MISSING", "the student has no profile")
    zone_named(facts.timezone)
    place_of(facts.latitude, facts.longitude)


def asked_of(thing: CartLine) -> PlannedItem:
    """Return the lessons a cart item asks for, read as its payment line will be. Raises METADATA_INCOMPLETE."""
    fields = merge(payment=line_metadata(to_buy(thing))).fields
    return PlannedItem(wanted_lessons(fields), resolve_session_count(fields).count)


async def plan_of(asked: PlannedItem, facts: StudentFacts, now: datetime) -> list[Lesson]:
    """Return the lessons as planned now. Raises STUDENT_PROFILE_MISSING, GPS_INVALID."""
    _require_place(facts)
    return await asyncio.to_thread(_plan, asked.wanted, asked.count, facts.timezone or "", now, facts.holidays)


async def _no_lessons(look: _Look, course_id: str, asked: PlannedItem) -> Refused | None:
    """Return the refusal if the student is busy, also by the rest of the cart, or nobody can teach all lessons."""
    facts, now, wanted, count = look.facts, look.services.clock(), asked.wanted, asked.count
    home = place_of(facts.latitude, facts.longitude)
    lessons = await plan_of(asked, facts, now)
    search = TrainerSearch(look.student_id, course_id, lessons, wanted, home)
    async with look.services.reading() as conn:
        ahead = await search.look(conn, now)
        conflict = ahead.conflict or _overlap(lessons, look.lessons)
        if conflict is not None:
            when = f"{lessons[conflict - 1].local:%Y-%m-%d %H:%M}"
            return Refused("SCHEDULE_CONFLICT", f"lesson {conflict} ({when}) overlaps another one of the student's")
        look.lessons.extend(lessons)
        try:
            await search.choose(conn, ahead, now)
        except NobodyFits:
            return Refused("NO_TRAINER_AVAILABLE", f"nobody who teaches {course_id} is free for all {count} lessons")
    return None


def _plan(wanted: WantedLessons, count: int, zone: str, now: datetime, holidays: frozenset[date]) -> list[Lesson]:
    first, _ = first_day(wanted, zone, now, holidays)
    return plan_lessons(wanted, count, zone, first, holidays)


def _overlap(lessons: list[Lesson], others: list[Lesson]) -> int | None:
    """Return the number of the first lesson that overlaps one of `others`, which never overlap each other."""
    known = sorted((other.starts_at, other.ends_at) for other in others)
    for lesson in lessons:
        before = bisect_left(known, (lesson.ends_at,))  # all that begin before this one ends
        if before and known[before - 1][1] > lesson.starts_at:
            return lesson.number
    return None
