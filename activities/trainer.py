"""Steps `assign_trainer` and `approve_allocation`: hold a trainer's slots for all lessons, then approve that."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from uuid import uuid4

import structlog
from sqlalchemy import Connection, Engine
from temporalio import activity

from activities.planning import Plan, allocation_metadata, not_free, plan_of
from db import ledger
from db.effects.allocation import (
    CANCEL,
    RELEASE,
    Hold,
    approve,
    hold,
    keep_refusal,
    let_go,
    take_over,
)
from db.effects.candidates import CandidateSearch, LessonRequest, look, read_request
from db.loads import count_begun
from db.slot_holds import OwnHold, TakenMeanwhile
from db.teaching import Round
from domain.matching import Place
from domain.matching_explanation import Choice, NobodyFits, choose, looked_at, what_won
from domain.purchase import PurchaseOrder, TrainerAssigned, Undone
from domain.refusals import Refused

_log = structlog.get_logger()
# Looks again after a lost race; each loss means that another purchase won, so this many in a row are no accident.
_MAX_RACES = 50


class TrainerActivities:
    """Both steps and their undos. With `auto_approve` False an admin approves each allocation (mission row 77)."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime], auto_approve: bool = True) -> None:
        self._engine = engine
        self._clock = clock
        self._auto_approve = auto_approve

    @activity.defn(name="assign_trainer", no_thread_cancel_exception=True)
    def assign_trainer(self, order: PurchaseOrder) -> TrainerAssigned:
        """Hold all N slots of the best trainer who is free for every one of them (mission row 73).

        An automatic approval belongs to the hold (row 77); else it waits for `approve_allocation`.
        Raises, in this order, STUDENT_PROFILE_MISSING, GPS_INVALID, SCHEDULE_CONFLICT, NO_TRAINER_AVAILABLE; a refusal
        stores nothing but its reasons. The choice is checked again under the trainer's lock, and the loser of a race
        searches again. Once an operator has chosen a trainer nobody else is considered, until another decision.
        """
        taken: set[str] = set()
        for _ in range(_MAX_RACES):
            try:
                with self._engine.begin() as connection:
                    assigned, begun = self._assign(connection, order, taken)
                if begun:
                    count_begun(self._engine, self._clock())
                return assigned
            except TakenMeanwhile as lost:
                taken.add(lost.trainer_id)
            except Refused as refused:
                _log.info("auto_assignment_refused", code=refused.code, **_ids(order))
                if refused.code != "ALREADY_MADE_WHOLE":
                    lost = refused.lost if isinstance(refused, NobodyFits) else {}
                    keep_refusal(self._engine, order, refused, lost, self._clock())
                raise
        raise RuntimeError(f"lost {_MAX_RACES} races for a trainer")

    @activity.defn(name="release_trainer", no_thread_cancel_exception=True)
    def release_trainer(self, order: PurchaseOrder) -> Undone:
        """Free the slots and cancel the allocation; no row is deleted."""
        undone = ledger.undo(self._engine, order, "assign_trainer", *RELEASE, now=self._clock())
        _log.info("trainer_released", changed=undone.changed, **_ids(order))
        return undone

    @activity.defn(name="approve_allocation", no_thread_cancel_exception=True)
    def approve_allocation(self, order: PurchaseOrder) -> None:
        """Approve the proposed allocation once, automatically or as an operator decided (mission row 77).

        Raises AWAITING_APPROVAL while an operator is to approve, ALLOCATION_NOT_APPROVED when there is none to approve.
        """
        for _ in range(2):  # a try that met another one's commit sees the outcome at its second look
            approval = approve(self._engine, order, automatic=self._auto_approve, now=self._clock())
            if approval.claimed:
                _log.info("allocation_approved", allocation_id=approval.allocation_id, **_ids(order))
                return
            if ledger.answered(approval.state, approval.result) is not None:
                return
            if approval.status is None:
                raise Refused("ALLOCATION_NOT_APPROVED", "there is no allocation to approve: no trainer is held")
            if approval.status == "proposed" and not self._auto_approve:
                raise Refused("AWAITING_APPROVAL", f"allocation {approval.allocation_id} waits for an admin's yes")
        raise RuntimeError("the allocation changed under the step, twice")

    @activity.defn(name="cancel_allocation", no_thread_cancel_exception=True)
    def cancel_allocation(self, order: PurchaseOrder) -> Undone:
        """Cancel the approved allocation; one that was only proposed is left to release_trainer."""
        undone = ledger.undo(self._engine, order, "approve_allocation", *CANCEL, now=self._clock())
        _log.info("allocation_cancelled", changed=undone.changed, **_ids(order))
        return undone

    def _assign(self, connection: Connection, order: PurchaseOrder, taken: set[str]) -> tuple[TrainerAssigned, bool]:
        """Return what is held, and whether loads are to be counted anew."""
        now = self._clock()
        request = read_request(connection, order)
        if first := ledger.answered(request.state, request.result):
            return TrainerAssigned(**first), False
        home, plan = plan_of(request, now)
        _log.info(
            "auto_assignment_started", course_id=request.course_id, sessions=len(plan.lessons),
            session_count_source=request.session_count_source, metadata_available=bool(request.fields), **_ids(order),
        )  # fmt: skip
        whom = _whom(request, plan, home)
        seen = look(connection, order, request.course_id, plan.lessons, now, whom)
        if first := ledger.answered(seen.state, seen.result):
            return TrainerAssigned(**first), False
        kept = _held_before(request, plan, seen)
        if kept and all(trainer.id != kept.trainer_id for trainer in seen.trainers):
            whom = whom.with_named(kept.trainer_id)
            seen = look(connection, order, request.course_id, plan.lessons, now, whom)
        while (choice := _choose(request, plan, home, seen, taken, kept)) is None:
            further = look(connection, order, request.course_id, plan.lessons, now, whom.after(seen.trainers))
            seen = seen.with_further(further.trainers)
        chosen = choice.trainer
        take = kept if kept and kept.trainer_id == chosen.id else None
        _make_way(connection, request, seen, take, now)
        assigned = TrainerAssigned(take.id if take else str(uuid4()), chosen.id, len(plan.lessons), self._auto_approve)
        wanted = Hold(
            assigned, chosen.last_assigned_at, request.decisions, plan.lessons, plan.zone, plan.first, plan.warning,
            allocation_metadata(request, plan), choice.won, choice.lost, request.given_by or "automatic",
        )  # fmt: skip
        (take_over if take else hold)(connection, order, wanted, now)
        _log.info(
            "auto_assignment_completed", course_id=request.course_id, trainer_id=chosen.id, slots=assigned.slots,
            allocation_id=assigned.allocation_id, candidates=len(seen.trainers), **_ids(order),
        )  # fmt: skip
        return assigned, seen.begun


def _whom(request: LessonRequest, plan: Plan, home: Place) -> Round:
    """Whom to look at first. How far away, and for how big a group, is an operator's to judge who chose somebody."""
    if request.given is not None:
        return Round(named=(request.given,))
    at_home, preferred = plan.wanted.learning_mode == "home", plan.wanted.preferred_trainer
    return Round(home if at_home else None, plan.wanted.group_size, (preferred,) if preferred else ())


def _held_before(request: LessonRequest, plan: Plan, seen: CandidateSearch) -> OwnHold | None:
    """The student's hold, if it is of exactly these lessons and no operator has chosen somebody else."""
    kept = seen.holds.of(request.course_id)
    if kept is None or not kept.same or kept.zone != plan.zone or request.given not in (None, kept.trainer_id):
        return None
    return kept


def _make_way(
    connection: Connection, request: LessonRequest, seen: CandidateSearch, take: OwnHold | None, now: datetime
) -> None:
    """Lets go of holds that have expired, and of the student's own that this purchase does not take but would meet."""
    own = [kept.id for kept in seen.holds.own if kept != take and (kept.meets or kept.course_id == request.course_id)]
    if own or seen.holds.expired:
        let_go(connection, own, now)


def _choose(
    request: LessonRequest, plan: Plan, home: Place, seen: CandidateSearch, taken: set[str], kept: OwnHold | None
) -> Choice | None:
    """The trainer to hold, and why each other one looked at lost; None when further ones are to be looked at."""
    if seen.conflict is not None:
        lesson = plan.lessons[seen.conflict - 1]
        raise Refused(
            "SCHEDULE_CONFLICT",
            f"lesson {lesson.number} ({lesson.local:%Y-%m-%d %H:%M}) overlaps one the student already has",
        )
    if request.given is not None:
        return _given(request.given, request, plan, home, seen)
    held = kept.trainer_id if kept else None
    try:
        return choose(
            request.course_id, seen.trainers, plan.lessons, home=home, wanted=plan.wanted, taken=taken, held=held,
            teaching=seen.teaching,
        )  # fmt: skip
    except NobodyFits:
        if len(seen.trainers) < seen.teaching:
            return None
        raise


def _given(given: str, request: LessonRequest, plan: Plan, home: Place, seen: CandidateSearch) -> Choice:
    """The trainer an operator chose, if free; how far away, and for how big a group, was the operator's to judge."""
    chosen = next((trainer for trainer in seen.trainers if trainer.id == given), None)
    if chosen is None:
        raise NobodyFits(f"{given}, whom an operator chose, does not teach {request.course_id}", {})
    if why := not_free(chosen, plan.lessons, home):
        raise NobodyFits(f"{given}, whom an operator chose: {why}", {given: why})
    others = {trainer.id for trainer in seen.trainers} - {given}
    won = {**what_won(chosen, home, fitting=1), **looked_at(seen.trainers, seen.teaching)}
    return Choice(chosen, won, dict.fromkeys(sorted(others), f"an operator chose {given}"))


def _ids(order: PurchaseOrder) -> dict[str, str]:
    return {
        "purchase_id": order.purchase_id, "payment_id": order.payment_id, "workflow_id": order.workflow_id,
        "student_id": order.student_id,
    }  # fmt: skip
