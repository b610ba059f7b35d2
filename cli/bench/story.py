"""The steps of a purchase as the peers call them: the one list of the bench, held against what our workflow does.

`coursaga bench --peers` compares it with the history of a purchase that Temporal carried and fails if the two differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from activities.cart import CartActivities
from activities.enrollment import EnrollmentActivities
from activities.payment import PaymentActivities
from activities.purchase import PurchaseActivities
from activities.sessions import SessionActivities
from activities.trainer import TrainerActivities
from domain.purchase import Announcement, PurchaseOrder
from gateways.payments import PaymentProvider
from workflows.saga_types import Step
from workflows.steps import (
    ASSIGN_TRAINER,
    CLEAR_CART,
    CONFIRM_PAYMENT,
    CREATE_PURCHASE,
    CREATE_SESSIONS,
    ENROLL,
)

Call = Callable[[PurchaseOrder], object]

# Of a course with lessons, paid in money: as `PurchaseWorkflow` runs them, each until it is done.
_STEPS: tuple[Step[PurchaseOrder, Any], ...] = (
    CONFIRM_PAYMENT,
    CREATE_PURCHASE,
    ENROLL,
    ASSIGN_TRAINER,
    CREATE_SESSIONS,
    CLEAR_CART,
)


@dataclass(frozen=True)
class Told:
    """One step: what does it, and what undoes it."""

    name: str
    do: Call
    undo: Call


def story(engine: Engine, provider: PaymentProvider, now: Callable[[], datetime]) -> list[Told]:
    """Return the steps of a purchase in order, calling the very activities that the worker serves."""
    made = [
        PaymentActivities(engine, provider, now),
        PurchaseActivities(engine, now),
        EnrollmentActivities(engine, now),
        TrainerActivities(engine, now, auto_approve=True),
        SessionActivities(engine, now),
        CartActivities(engine, now),
    ]
    by_class = {type(each).__name__: each for each in made}

    def bound(method: Callable[[Any, PurchaseOrder], object]) -> Call:
        return method.__get__(by_class[method.__qualname__.partition(".")[0]])

    return [Told(step.name, bound(step.do), bound(step.undo)) for step in _STEPS]


def refused(engine: Engine, now: Callable[[], datetime]) -> Callable[[PurchaseOrder, str], object]:
    """Return what tells the ending of a purchase that was taken back, called with the code it ended for."""
    purchase = PurchaseActivities(engine, now)
    return lambda order, code: purchase.announce(Announcement(order, "PURCHASE_REFUNDED", "refused", code))


def names(steps: Sequence[Told]) -> list[str]:
    """Return the names of the steps, in order."""
    return [step.name for step in steps]
