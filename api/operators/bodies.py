"""The bodies of operators' verbs. Each has a reason and a request key."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from api.http.act_models import ActBody, example
from application.ids import GivenId, Words
from workflows.messages import Act, Amend, AssignTrainer, Cancel, CreateSessions, Extend, SettleRefund, SkipStep


class AmendBody(ActBody):
    """`changes`: metadata fields by their canonical names, `itemId`, `itemType`, or {"treatAs": "renewal"}."""

    changes: dict[str, Any]
    model_config = example(changes={"startDate": "2026-12-01", "timeSlot": "18:00"})

    def act(self, actor: str) -> Act:
        return Amend(actor, self.reason, self.request_key, self.changes)


class SkipStepBody(ActBody):
    """`step`: the repair step the purchase is parked at."""

    step: str = Field(max_length=64)
    model_config = example(step="assign_trainer")

    def act(self, actor: str) -> Act:
        return SkipStep(actor, self.reason, self.request_key, self.step)


class AssignTrainerBody(ActBody):
    """`trainerId`: who is to give all the lessons."""

    trainer_id: GivenId
    model_config = example(trainerId="trainer-1")

    def act(self, actor: str) -> Act:
        return AssignTrainer(actor, self.reason, self.request_key, self.trainer_id)


class CreateSessionsBody(ActBody):
    """`overrides`: count, startDate, timeSlot, scheduleType, sessionDuration, isSundayOnly; none: the plan is kept."""

    overrides: dict[str, Any] = Field(default_factory=dict[str, Any])
    model_config = example(overrides={"count": 12, "timeSlot": "19:00"})

    def act(self, actor: str) -> Act:
        return CreateSessions(actor, self.reason, self.request_key, self.overrides)


class CancelBody(ActBody):
    """`refund`: full, undelivered (the share of the lessons not given) or none."""

    refund: Literal["full", "undelivered", "none"] = "full"
    model_config = example(refund="full")

    def act(self, actor: str) -> Act:
        return Cancel(actor, self.reason, self.request_key, self.refund)


class SettleRefundBody(ActBody):
    """`proof`: how the money was given back outside the provider, such as the bank's reference."""

    proof: Words
    model_config = example(proof="bank transfer 4711 of 2026-11-21")

    def act(self, actor: str) -> Act:
        return SettleRefund(actor, self.reason, self.request_key, self.proof)


class ExtendBody(ActBody):
    """`expiryDate`: the new last day of access, later than the current one."""

    expiry_date: str = Field(max_length=10)
    model_config = example(expiryDate="2027-12-31")

    def act(self, actor: str) -> Extend:
        return Extend(actor, self.reason, self.request_key, self.expiry_date)


BODIES: dict[str, type[ActBody]] = {
    "retry_now": ActBody,
    "amend": AmendBody,
    "skip_step": SkipStepBody,
    "assign_trainer": AssignTrainerBody,
    "approve_allocation": ActBody,
    "create_sessions": CreateSessionsBody,
    "cancel": CancelBody,
    "settle_refund": SettleRefundBody,
    "withdraw": ActBody,
}
# Of one purchase only: each needs a proof of its own, or names an act of it.
BULK_BODIES = {verb: body for verb, body in BODIES.items() if verb not in ("settle_refund", "withdraw")}
