"""What a purchase does beside its steps, as activities: announce what happened, store decisions, record acts."""

from __future__ import annotations

from dataclasses import dataclass

from activities.acts import ActActivities
from activities.purchase import PurchaseActivities
from domain.acts import ActRecord, Decision
from domain.purchase import Announcement, PurchaseOrder
from workflows.expiry import watch_expiry
from workflows.inbox import Intent
from workflows.policies import Rules
from workflows.saga_types import ActivityCall, Failure


@dataclass
class PurchaseHooks:
    """The activities of one purchase beside its steps.

    `amount_minor`: what its line costs, None while that is not known.
    """

    order: PurchaseOrder
    rules: Rules
    amount_minor: int | None
    exists: bool = False  # there is a purchase row

    def needs_attention(self, failure: Failure) -> ActivityCall:
        return PurchaseActivities.announce, Announcement(self.order, "PURCHASE_NEEDS_ATTENTION", code=failure.code)

    def escalated(self, failure: Failure) -> ActivityCall:
        return PurchaseActivities.announce, Announcement(self.order, "PURCHASE_ATTENTION_ESCALATED", code=failure.code)

    def needs_two(self, intent: Intent) -> bool:
        """Return whether the act needs two people: money given back by other means, or much of it, or nobody knows how much.

        What is paid while its cancel is decided goes back whole, whatever the cancel said: then nobody knows either.
        """
        if intent.verb == "settle_refund":
            return True
        limit = self.rules.two_person_limit
        if not (limit and intent.cancel):
            return False
        if self.amount_minor is None:
            return True
        return self.amount_minor >= limit and intent.values.get("refund") != "none"

    def decide(self, intent: Intent) -> ActivityCall:
        decision = Decision(
            self.order, intent.key, intent.verb, intent.actor, intent.reason, intent.values, intent.stores
        )
        return ActActivities.decide, decision

    async def decided(self, intent: Intent) -> None:
        """Do what follows a stored decision: if it changed the last day of access, wait for the new one."""
        if intent.verb == "amend" and "expiryDate" in intent.values and self.exists:
            await watch_expiry(self.order, self.rules, look_again=True)

    def record(self, intent: Intent) -> ActivityCall:
        record = ActRecord(
            self.order,
            intent.key,
            intent.verb,
            intent.actor,
            intent.reason,
            intent.before,
            intent.after,
            intent.answer or "",
            intent.second_actor,
            intent.values,
        )
        return ActActivities.record_act, record
