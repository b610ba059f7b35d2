"""Decide until when a student may use what was bought: the last day, in the student's zone (mission rows 57, C16)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from domain.purchase import PurchaseOrder
from domain.refusals import Refused
from domain.schedule import zone_named


@dataclass(frozen=True)
class AccessLook:
    """The state of a purchase's access: `waits` (ends in `seconds`), `ended`, or `over` (there is no access to end)."""

    state: str
    seconds: float = 0.0
    last_day: str = ""


@dataclass(frozen=True)
class Extension:
    """An admin's request to give access until `expiry_date` (YYYY-MM-DD); carried out once per `request_key`."""

    order: PurchaseOrder
    request_key: str
    actor: str
    reason: str
    expiry_date: str


def access_ends(last_day: date, zone: str | None) -> datetime:
    """Return when access ends, in UTC: midnight after the last day in the student's zone, or the next moment there is.

    Without a zone, or with an unknown one, the day is UTC's. A last day at the end of the calendar never ends.
    """
    if last_day.year >= date.max.year:
        return datetime.max.replace(tzinfo=UTC)
    if last_day.year <= date.min.year:
        return datetime.min.replace(tzinfo=UTC)
    midnight = datetime.combine(last_day + timedelta(days=1), time.min)
    return midnight.replace(tzinfo=_where(zone)).astimezone(UTC)


def access_day(now: datetime, zone: str | None) -> date:
    """Return the date that counts for access at `now`: access whose last day is this one or later has not ended."""
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
    """Return why access cannot be extended until this day, in words, or None when it can. It can only become longer."""
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
