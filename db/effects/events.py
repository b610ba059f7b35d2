"""What every event about a purchase says, and the key under which it is told once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from domain.ids import event_key_of
from domain.purchase import PurchaseOrder


def event_data(
    order: PurchaseOrder, *, ending: str = "", code: str = "", skipped: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the facts of an event that tells how a purchase stands."""
    return {
        "purchaseId": order.purchase_id,
        "workflowId": order.workflow_id,
        "paymentId": order.payment_id or None,
        "line": order.line,
        "studentId": order.student_id,
        "ending": ending or None,
        "code": code or None,
        "skipped": list(skipped),
    }


def event_key(order: PurchaseOrder, event: str, code: str = "") -> str:
    """Return the event's key: one per purchase and kind (spec section 3); of what pages, one per reason, too."""
    return event_key_of(order.purchase_id, event, f".{code}" if code else "")
