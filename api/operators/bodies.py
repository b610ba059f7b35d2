"""What an operator sends with each verb, and what is answered. Every body says why and has its key."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.config import JsonDict

from api.http.json_models import Answer, Body
from application.ids import GivenId, Key, Words
from workflows.messages import Act, Amend, AssignTrainer, Cancel, CreateSessions, Extend, SettleRefund, SkipStep


def _example(**more: Any) -> ConfigDict:
    said: JsonDict = {"reason": "the student called", "requestKey": "ticket-4711", **more}
    return ConfigDict(json_schema_extra={"examples": [said]})


class ActBody(Body):
    """`requestKey` makes the act happen once: send the same again to hear the first answer again.

    Who acts is said by the token, never by the body.
    """

    reason: Words
    request_key: Key
    model_config = _example()

    def act(self, actor: str) -> Act:
        """As the workflow is told."""
        return Act(actor, self.reason, self.request_key)


class AmendBody(ActBody):
    """`changes`: metadata fields by their canonical names, `itemId`, `itemType`, or {"treatAs": "renewal"}."""

    changes: dict[str, Any]
    model_config = _example(changes={"startDate": "2026-12-01", "timeSlot": "18:00"})

    def act(self, actor: str) -> Act:
        return Amend(actor, self.reason, self.request_key, self.changes)


class SkipStepBody(ActBody):
    """`step`: the repair step the purchase is parked at."""

    step: str = Field(max_length=64)
    model_config = _example(step="assign_trainer")

    def act(self, actor: str) -> Act:
        return SkipStep(actor, self.reason, self.request_key, self.step)


class AssignTrainerBody(ActBody):
    """`trainerId`: who is to give all the lessons."""

    trainer_id: GivenId
    model_config = _example(trainerId="trainer-1")

    def act(self, actor: str) -> Act:
        return AssignTrainer(actor, self.reason, self.request_key, self.trainer_id)


class CreateSessionsBody(ActBody):
    """`overrides`: count, startDate, timeSlot, scheduleType, sessionDuration, isSundayOnly; none keeps the plan."""

    overrides: dict[str, Any] = Field(default_factory=dict[str, Any])
    model_config = _example(overrides={"count": 12, "timeSlot": "19:00"})

    def act(self, actor: str) -> Act:
        return CreateSessions(actor, self.reason, self.request_key, self.overrides)


class CancelBody(ActBody):
    """`refund`: full, undelivered (the share of the lessons not given) or none."""

    refund: Literal["full", "undelivered", "none"] = "full"
    model_config = _example(refund="full")

    def act(self, actor: str) -> Act:
        return Cancel(actor, self.reason, self.request_key, self.refund)


class SettleRefundBody(ActBody):
    """`proof`: how the money was given back outside the provider, such as the bank's reference."""

    proof: Words
    model_config = _example(proof="bank transfer 4711 of 2026-11-21")

    def act(self, actor: str) -> Act:
        return SettleRefund(actor, self.reason, self.request_key, self.proof)


class ExtendBody(ActBody):
    """`expiryDate`: the new last day of access, later than the one so far."""

    expiry_date: str = Field(max_length=10)
    model_config = _example(expiryDate="2027-12-31")

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


class ActAnswer(Answer):
    """`outcome`: what the purchase said. With `done` false: null while it is still at it, or `awaiting_second_person`."""

    id: str
    workflow_id: str
    verb: str
    request_key: str
    actor: str
    done: bool
    outcome: Any = None
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "5a1b7ad3-7b4f-5b8e-9c51-0a6d1b1f3c7e",
                    "workflowId": "purchase:pay-1:1",
                    "verb": "retry_now",
                    "requestKey": "ticket-4711",
                    "actor": "ann@example.test",
                    "done": True,
                    "outcome": "done",
                }
            ]
        }
    )
