"""Decide which trainers can give all the lessons, in which order, and why each other one lost (mission row 73)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from math import asin, ceil, cos, radians, sin, sqrt
from typing import cast
from zoneinfo import ZoneInfo

from geographiclib.geodesic import Geodesic  # pyright: ignore[reportMissingTypeStubs] -- it ships no types

from domain.refusals import Refused
from domain.schedule import Lesson, zone_named

_DAY = timedelta(days=1)
_NEVER = datetime.min.replace(tzinfo=UTC)
EARTH_KM = 6371.0088  # mean radius
SPHERE_ERROR = 0.01  # the globe is flatter than a sphere, by less than this
# From this time on a window's end means midnight: 24:00 fits no `time`, so it is stored and written in several ways.
_LAST_MINUTE = time(23, 59)


@dataclass(frozen=True)
class Place:
    """A point on the globe, in degrees."""

    latitude: float
    longitude: float


@dataclass(frozen=True)
class Window:
    """Weekly availability in the trainer's zone. `weekday` is ISO (Monday 1). An `end` of 00:00, or of 23:59 or later,
    means midnight; an `end` before `start` is on the next day."""

    weekday: int
    start: time
    end: time


@dataclass(frozen=True)
class TrainerFacts:
    """What is known about a trainer of the course. `busy`: holds a slot that overlaps one of the lessons; `load`:
    how many future slots are held; `max_group_size` None: any size; `blocked_days` are dates in the trainer's
    `zone`."""

    id: str
    zone: str
    place: Place | None
    radius_km: float
    windows: tuple[Window, ...]
    blocked_days: frozenset[date]
    max_group_size: int | None
    busy: bool
    load: int
    last_assigned_at: datetime | None


@dataclass(frozen=True)
class Match:
    """`ranked`: ids of those who can give every lesson, best first. `lost`: id to reason of all the others."""

    ranked: list[str]
    lost: dict[str, str]


_Part = tuple[int, timedelta, timedelta]  # weekday, from, to, as time since 00:00


@dataclass(frozen=True)
class _Plan:
    """Lessons in a trainer's wall time, cut at midnights; maps each part of a week and each day to its first lesson."""

    parts: dict[_Part, Lesson]
    days: dict[date, Lesson]


def place_of(latitude: object, longitude: object) -> Place:
    """Return the place in degrees. Raises GPS_INVALID for null, NaN, off the globe, and (0, 0) (mission row 80)."""
    known = [value for value in (latitude, longitude) if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(known) < 2:
        raise Refused("GPS_INVALID", "latitude or longitude is missing or no number")
    north, east = known
    if not (-90 <= north <= 90 and -180 <= east <= 180):  # NaN fails too
        raise Refused("GPS_INVALID", "latitude or longitude is off the globe (+-90, +-180)")
    if north == 0 and east == 0:
        raise Refused("GPS_INVALID", "latitude and longitude are both 0, which means they were never set")
    return Place(float(north), float(east))


def rank(
    trainers: Iterable[TrainerFacts],
    lessons: Sequence[Lesson],
    *,
    home: Place,
    learning_mode: str,
    group_size: int,
    first: Sequence[str] = (),
) -> Match:
    """Rank the trainers who can give all the lessons: those of `first` in its order, then least loaded, then least
    recently assigned (never comes first), then by id.

    Takes trainers who teach the course. Home lessons need the trainer within reach of `home`; the group size is only
    checked against the trainer's limit; every lesson must lie in the trainer's windows and off blocked days
    (mission row 73).
    """
    fit: list[TrainerFacts] = []
    lost: dict[str, str] = {}
    plans: dict[str, _Plan] = {}  # converted once per zone, not once per trainer
    for trainer in trainers:
        reason = _out_of_reach(trainer, home, learning_mode) or _too_small(trainer, group_size)
        if reason is None and trainer.busy:
            reason = "has another lesson"
        if reason is None:
            try:
                if trainer.zone not in plans:
                    plans[trainer.zone] = _plan_in(zone_named(trainer.zone), lessons)
                reason = _not_free(trainer, plans[trainer.zone])
            except Refused as unknown_zone:
                reason = unknown_zone.message
        if reason is None:
            fit.append(trainer)
        else:
            lost[trainer.id] = reason
    turn = {trainer_id: number for number, trainer_id in enumerate(first)}
    fit.sort(key=lambda each: (turn.get(each.id, len(turn)), each.load, each.last_assigned_at or _NEVER, each.id))
    return Match([trainer.id for trainer in fit], lost)


def _out_of_reach(trainer: TrainerFacts, home: Place, learning_mode: str) -> str | None:
    if learning_mode != "home":
        return None
    if trainer.place is None:
        return "no known place to come from"
    distance = kilometres(trainer.place, home)
    if abs(distance - trainer.radius_km) <= distance * SPHERE_ERROR:
        distance = _geodesic(trainer.place, home)
    # Rounded up, so that what is shown as 30 km is never more than 30 km.
    return f"{ceil(distance)} km away, takes {trainer.radius_km:g} km" if distance > trainer.radius_km else None


def _geodesic(here: Place, there: Place) -> float:
    """Return the distance in kilometres on the ellipsoid WGS 84."""
    ends = here.latitude, here.longitude, there.latitude, there.longitude
    found = cast(dict[str, float], Geodesic.WGS84.Inverse(*ends, Geodesic.DISTANCE))  # pyright: ignore[reportUnknownMemberType]
    return found["s12"] / 1000


def kilometres(here: Place, there: Place) -> float:
    """Return the distance in kilometres on a sphere: takes microseconds, wrong by the share SPHERE_ERROR at most."""
    north, east = radians(there.latitude - here.latitude), radians(there.longitude - here.longitude)
    level = cos(radians(here.latitude)) * cos(radians(there.latitude))
    return 2 * EARTH_KM * asin(sqrt(min(1.0, sin(north / 2) ** 2 + level * sin(east / 2) ** 2)))


def _too_small(trainer: TrainerFacts, group_size: int) -> str | None:
    if trainer.max_group_size is None or group_size <= trainer.max_group_size:
        return None
    return f"group of {group_size} above {trainer.max_group_size}"


def _not_free(trainer: TrainerFacts, plan: _Plan) -> str | None:
    """Return the first lesson that cannot be given, in words, or None; a blocked day is named before other hours."""
    blocked = [plan.days[day] for day in plan.days.keys() & trainer.blocked_days]
    windows = _by_weekday(trainer.windows)
    outside = [
        lesson
        for (weekday, start, end), lesson in plan.parts.items()
        if not any(opens <= start and end <= closes for opens, closes in windows.get(weekday, ()))
    ]
    if not blocked and not outside:
        return None
    first = min((*blocked, *outside), key=lambda lesson: lesson.number)
    if first in blocked:
        day = min(day for day, lesson in plan.days.items() if lesson is first and day in trainer.blocked_days)
        return f"blocked on {day} (lesson {first.number})"
    return f"not available for lesson {first.number} ({first.local:%Y-%m-%d %H:%M})"


@lru_cache(maxsize=4096)  # most trainers keep hours that others keep too
def _by_weekday(windows: tuple[Window, ...]) -> dict[int, list[tuple[timedelta, timedelta]]]:
    """Return the windows per weekday as times since 00:00; one that runs past midnight is split between both days."""
    parts: dict[int, list[tuple[timedelta, timedelta]]] = {}
    for window in windows:
        start, end = _since_midnight(window.start), _since_midnight(window.end)
        if window.end >= _LAST_MINUTE or end == timedelta():
            end = _DAY
        if end < start:
            parts.setdefault(window.weekday % 7 + 1, []).append((timedelta(), end))
            end = _DAY
        parts.setdefault(window.weekday, []).append((start, end))
    return {weekday: _joined(spans) for weekday, spans in parts.items()}


def _joined(spans: list[tuple[timedelta, timedelta]]) -> list[tuple[timedelta, timedelta]]:
    """Merge windows that touch or overlap: 09:00-12:00 and 12:00-15:00 hold a lesson at 11:30."""
    joined: list[tuple[timedelta, timedelta]] = []
    for start, end in sorted(spans):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _plan_in(where: ZoneInfo, lessons: Sequence[Lesson]) -> _Plan:
    plan = _Plan({}, {})
    for lesson in lessons:
        start = lesson.starts_at.astimezone(where).replace(tzinfo=None)
        end = lesson.ends_at.astimezone(where).replace(tzinfo=None)
        # A clock change inside the lesson: count it at its widest on the wall clock, so it never leaves a window.
        length = lesson.ends_at - lesson.starts_at
        start, end = min(start, end - length), max(end, start + length)
        while start < end:
            midnight = datetime.combine(start.date(), time.min)
            until = min(end, midnight + _DAY)
            plan.parts.setdefault((start.isoweekday(), start - midnight, until - midnight), lesson)
            plan.days.setdefault(start.date(), lesson)
            start = until
    return plan


def _since_midnight(at: time) -> timedelta:
    return timedelta(hours=at.hour, minutes=at.minute, seconds=at.second, microseconds=at.microsecond)
