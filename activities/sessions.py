"""Step `create_sessions`: create every lesson of an approved allocation exactly once (mission rows 79 to 83)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog
from sqlalchemy import Engine
from temporalio import activity

from activities.replanning import replan
from db import ledger
from db.effects import sessions as effects
from domain.amendments import overrides
from domain.matching import place_of
from domain.purchase import PurchaseOrder, SessionsCreated, Undone
from domain.refusals import Refused

_log = structlog.get_logger()
_MAX_RACES = 3  # one to plan anew, one to lose to another try at the same moment, one to see what that wrote


class SessionActivities:
    """create_sessions and its undo cancel_sessions."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._clock = clock

    @activity.defn(name="create_sessions", no_thread_cancel_exception=True)
    def create_sessions(self, order: PurchaseOrder) -> SessionsCreated:
        """Create the missing lessons of 1..N from the held slots; a repeat returns the first result.

        If an operator decided another count or schedule, the lessons are first planned anew, all or nothing.
        Raises ALLOCATION_NOT_APPROVED, SESSION_COUNT_MISSING, STUDENT_PROFILE_MISSING, GPS_INVALID (row 80);
        SESSIONS_PARTIAL with the numbers still missing, those made stay; SESSIONS_FAILED when none exists (row 82), or
        when what an operator decided is not possible: then nothing is changed.
        """
        found: effects.Made | None = None
        for _ in range(_MAX_RACES):
            try:
                found = effects.make_missing(self._engine, order, self._clock())
            except effects.Raced:
                continue
            first = ledger.answered(found.state, found.result)
            if first is not None:
                return SessionsCreated(**first)
            if not found.made:
                if _is_to_be_replanned(found):
                    replan(self._engine, order, self._clock())
                else:
                    _check(found)  # or somebody planned anew at this moment
                continue
            self._tell(order, found)
            if not found.missing:
                return SessionsCreated("all", len(found.created), found.existing, [])
        if found is None or not found.made:
            raise RuntimeError("another try of this step was first every time, and left no result")
        raise _incomplete(found)

    @staticmethod
    def _tell(order: PurchaseOrder, made: effects.Made) -> None:
        _log.info(
            "sessions_incomplete" if made.missing else "sessions_created", sessions=made.session_count,
            created=made.created, existing=made.existing, missing=made.missing, allocation_id=made.allocation_id,
            **_ids(order),
        )  # fmt: skip

    @activity.defn(name="cancel_sessions", no_thread_cancel_exception=True)
    def cancel_sessions(self, order: PurchaseOrder) -> Undone:
        """Cancel the lessons that have not begun, those of a partial try too; past ones stay."""
        ledger.undo(self._engine, order, "create_sessions", now=self._clock())  # first, so that no try can make more
        undone = Undone(changed=effects.cancel_future(self._engine, order, self._clock()))
        _log.info("sessions_cancelled", changed=undone.changed, **_ids(order))
        return undone


def _is_to_be_replanned(ready: effects.Made) -> bool:
    """Whether the last decision wants other lessons than the slots were held for; needs what lessons need."""
    if ready.request_key in (None, ready.planned_by) or not overrides(ready.overrides or {}):
        return False
    _require_approved(ready)
    _require_place(ready)
    return True


def _check(ready: effects.Made) -> None:
    """Raise the refusal that says what is missing, if something is (mission row 80)."""
    allocation_id = _require_approved(ready)
    wanted = ready.session_count
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 1:
        raise Refused("SESSION_COUNT_MISSING", f"allocation {allocation_id} has no sessionCount of 1 or more")
    _require_place(ready)


def _require_approved(ready: effects.Made) -> str:
    if ready.allocation_id is None or ready.status != "approved":
        raise Refused("ALLOCATION_NOT_APPROVED", f"the allocation is {ready.status or 'not there'}, not approved")
    return ready.allocation_id


def _require_place(ready: effects.Made) -> None:
    if ready.zone is None:
        raise Refused("STUDENT_PROFILE_MISSING", "the student has no profile")
    place_of(ready.latitude, ready.longitude)


def _incomplete(made: effects.Made) -> Refused:
    standing, missing = made.existing + len(made.created), len(made.missing)
    if not standing:
        return Refused("SESSIONS_FAILED", f"none of {missing} lessons could be created", missing=missing)
    numbers = ", ".join(map(str, made.missing))
    return Refused(
        "SESSIONS_PARTIAL", f"{standing} of {standing + missing} lessons stand; missing: {numbers}", missing=missing
    )


def _ids(order: PurchaseOrder) -> dict[str, str]:
    return {"purchase_id": order.purchase_id, "payment_id": order.payment_id, "workflow_id": order.workflow_id}
