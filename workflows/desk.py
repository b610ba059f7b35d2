"""What a purchase does beside its steps, as activities: tell others, store decisions, keep the record of acts."""

from __future__ import annotations

from dataclasses import dataclass

from activities.acts import ActActivities
from activities.purchase import PurchaseActivities
from domain.acts import ActRecord
from domain.purchase import Announcement, PurchaseOrder
from workflows.inbox import Intent
from workflows.story import Deed, Why


@dataclass(frozen=True)
class PurchaseDesk:
    """The deeds of one purchase."""

    order: PurchaseOrder

    def needs_attention(self, why: Why) -> Deed:
        return PurchaseActivities.announce, Announcement(self.order, "PURCHASE_NEEDS_ATTENTION", code=why.code)

    def escalated(self, why: Why) -> Deed:
        return PurchaseActivities.announce, Announcement(self.order, "PURCHASE_ATTENTION_ESCALATED", code=why.code)

    def decide(self, intent: Intent) -> Deed:
        return ActActivities.decide, intent.decision

    def record(self, intent: Intent) -> Deed:
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
        )
        return ActActivities.record_act, record
