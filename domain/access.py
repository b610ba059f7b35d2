"""Until when a student may use what was bought: the last day, in the student's own zone (mission rows 57, C16)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from domain.purchase import PurchaseOrder
from domain.refusals import Refused
from domain.schedule import zone_named


@dataclass(frozen=True)
class AccessLook:
    """How the access of a purchase stands. `state`: waits (for `seconds` more), ended, or over: there is none to end."""

    state: str
    seconds: float = 0.0
    last_day: str = ""


@dataclass(frozen=True)
class Extension:
    """An admin gives access until another day, `expiry_date` as YYYY-MM-DD; once per `request_key`."""

    order: PurchaseOrder
    request_key: str
    actor: str
    reason: str
    expiry_date: str


def access_ends(last_day: date, zone: str | None) -> datetime:
    """The moment after the last day, in UTC: midnight in the student's zone, or the first moment there is after it.

    Without a zone, or with an unknown one, the day is UTC's. A last day at the end of the calendar never ends.
    """
    if last_day.year >= date.max.year:
        return datetime.max.replace(tzinfo=UTC)
    if last_day.year <= date.min.year:
        return datetime.min.replace(tzinfo=UTC)
    midnight = datetime.combine(last_day + timedelta(days=1), time.min)
    return midnight.replace(tzinfo=_where(zone)).astimezone(UTC)


def access_day(now: datetime, zone: str | None) -> date:
    """The day it is for access: access until this day or a later one has not ended."""
    return now.astimezone(_where(zone)).date()


def _where(zone: str | None) -> tzinfo:
    try:
        return zone_named(zone) if zone else UTC
    except Refused:
        return UTC


def why_no_extension(
    *,
    taken_back: bool,
    renewed_by: str | None,
    last_day: date | None,
    until: date,
    now: datetime,
    zone: str | None,
) -> str | None:
    """Why access cannot be given until this day, in words; None when it can. Only more access is an extension."""
    if taken_back:
        return "the purchase was taken back"
    if renewed_by:
        return f"it was renewed by purchase {renewed_by}: extend that one"
    if last_day is None:
        return "its access does not end"
    if until <= last_day:
        return f"access lasts until {last_day} already"
    if access_ends(until, zone) <= now:
        return f"{until} has passed"
    return None
