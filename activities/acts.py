"""Store operators' decisions before any step reads them, and the audit of what operators did."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import structlog
from sqlalchemy import Connection, Engine
from temporalio import activity

from db.effects import decisions as effects
from db.effects.allocation import approve_in
from db.effects.creation_facts import creation_facts_in
from domain.acts import ActRecord, Decision, check_values
from domain.amendments import PurchaseTerms, amended, last_day_of_access, moves
from domain.refusals import Refused
from domain.wanted_lessons import wanted_lessons
from domain.whole_numbers import is_whole

log: structlog.stdlib.BoundLogger = structlog.get_logger()

# Verbs that one step reads: once it is done, they come too late.
_READ_BY = {
    "assign_trainer": "assign_trainer",
    "approve_allocation": "approve_allocation",
    "create_sessions": "create_sessions",
}


class ActActivities:
    """decide and record_act (invariant I10)."""

    def __init__(self, engine: Engine, clock: Callable[[], datetime]) -> None:
        self._engine = engine
        self._clock = clock

    @activity.defn(name="decide", no_thread_cancel_exception=True)
    def decide(self, decision: Decision) -> str | None:
        """Store an operator's decision with its direct effect, once per request key; None: the saga is to act.

        Text is the answer that the same key got before: there is nothing to do. `amend` after
        create_purchase changes the purchase row; before it, create_purchase applies the amendment.
        `approve_allocation` approves at once. The other verbs wait for the step or undo that reads them. Raises
        KEY_REUSED when the key names another act, WRONG_STAGE when nothing could read it any more,
        METADATA_INCOMPLETE when an amendment would leave lessons that cannot be planned; then nothing is stored.
        """
        with self._engine.connect() as connection, connection.begin() as transaction:
            scene = effects.scene(connection, decision) if decision.stores else None  # before the look: acts take turns
            if (before := effects.named(connection, decision)) or not decision.stores:
                transaction.rollback()
                return _answered(decision, before) if before else None
            if scene is None:
                raise _too_late(f"no purchase {decision.order.purchase_id} was ever started")
            _require_in_time(decision, scene)
            effects.store(connection, decision, self._clock())
            if decision.verb == "amend" and "create_purchase" in scene.steps:
                _amend(connection, decision, scene)
            elif decision.verb == "amend":
                _require_open(connection, decision)
            elif decision.verb == "assign_trainer":
                _require_known(connection, decision.values["trainerId"])
            elif decision.verb == "approve_allocation":  # at once: the step that would read it may have been skipped
                approve_in(connection, decision.order, automatic=False, now=self._clock())
        log.info(
            "operator_decided",
            verb=decision.verb,
            actor=decision.actor,
            request_key=decision.request_key,
            payment_id=decision.order.payment_id,
            workflow_id=decision.order.workflow_id,
        )
        return None

    @activity.defn(name="record_act", no_thread_cancel_exception=True)
    def record_act(self, record: ActRecord) -> None:
        """Write one audit row per request key; the first one stays."""
        effects.record(self._engine, record, self._clock())


def _answered(decision: Decision, before: effects.Named) -> str | None:
    if (before.verb, before.values or decision.values) != (decision.verb, decision.values):
        raise Refused("KEY_REUSED", f"the request key names another act already: {before.verb}; use a new key")
    return before.outcome


def _require_open(connection: Connection, decision: Decision) -> None:
    """An item that is closed would end the purchase, and give the money back: that is for a cancel to say."""
    if {"itemId", "itemType"} & decision.values.keys() and creation_facts_in(connection, decision.order).open is False:
        raise _too_late("this item is closed; to give the money back, cancel")


def _require_known(connection: Connection, trainer_id: str) -> None:
    """Whom nobody knows can never be found: the choice would stay and keep the purchase from everybody else."""
    if not effects.trainer_known(connection, trainer_id):
        raise _too_late("there is no trainer of this trainerId")


def _require_in_time(decision: Decision, scene: effects.Scene) -> None:
    if faults := check_values(decision.verb, decision.values):
        raise _too_late("; ".join(faults))
    if scene.attempt != decision.order.attempt:
        raise _too_late(f"the purchase was started again since, this is start {scene.attempt}")
    if scene.ending is not None:
        raise _too_late(f"the purchase has ended: {scene.ending}")
    if "undone" in scene.steps.values() and decision.verb != "settle_refund":
        raise _too_late("the purchase is being taken back")
    step = decision.values["step"] if decision.verb == "skip_step" else _READ_BY.get(decision.verb)
    if step in scene.steps:
        raise _too_late(f"{step} is done already")
    if decision.verb == "approve_allocation" and scene.allocation_id is None:
        raise _too_late("there is no allocation to approve: no trainer is held")


def _amend(connection: Connection, decision: Decision, scene: effects.Scene) -> None:
    """The purchase exists: the operator's word goes over its row, unless it asks for what only another verb can do."""
    if settled_for_good := {"itemId", "itemType", "treatAs"} & decision.values.keys():
        raise _too_late(f"the purchase exists already: {', '.join(sorted(settled_for_good))} can no longer be amended")
    before, fulfilment = effects.read_settled(connection, decision.order)
    after = amended(before, decision.values)
    if scene.allocation_id is not None:
        _require_held_lessons_stay(decision, scene, before, after)
    if fulfilment == "sessions":
        wanted_lessons(after.fields)  # raises METADATA_INCOMPLETE, naming what is wrong
    effects.write_settled(connection, decision.order, after)
    if "expiryDate" in decision.values:
        effects.write_access_until(connection, decision.order, last_day_of_access(after.fields)[0])
    if scene.allocation_id is not None and {"sessionCount", "purchaseTier"} & decision.values.keys():
        effects.mend_count(connection, decision.order, after)


def _require_held_lessons_stay(
    decision: Decision, scene: effects.Scene, before: PurchaseTerms, after: PurchaseTerms
) -> None:
    """A trainer holds lessons: only create_sessions can move them or change how many there are."""
    if moves(before, decision.values):
        raise _too_late("a trainer holds the lessons already: move them with create_sessions")
    count = scene.allocated
    if is_whole(count) and count > 0 and count != after.session_count:
        raise _too_late(f"a trainer holds {count} lessons already: change the count with create_sessions")


def _too_late(why: str) -> Refused:
    return Refused("WRONG_STAGE", why)
