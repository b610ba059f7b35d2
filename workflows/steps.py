"""THE TABLE: do, undo and kind of every step, in the order of the sentence in `workflows/purchase.py`."""

from typing import Any

from activities.cart import CartActivities
from activities.coins import CoinActivities
from activities.enrollment import EnrollmentActivities
from activities.payment import PaymentActivities
from activities.purchase import PurchaseActivities
from activities.sessions import SessionActivities
from activities.test_cards import CardActivities
from activities.trainer import TrainerActivities
from domain.purchase import PurchaseOrder
from workflows.saga_types import Kind, Step

# fmt: off
CONFIRM_PAYMENT    = Step(PaymentActivities.confirm_payment,     Kind.GATE,   undo=PaymentActivities.refund_payment)
CREATE_PURCHASE    = Step(PurchaseActivities.create_purchase,    Kind.GATE,   undo=PurchaseActivities.void_purchase)
REDEEM_COINS       = Step(CoinActivities.redeem_coins,           Kind.REPAIR, undo=CoinActivities.recredit_coins)
ENROLL             = Step(EnrollmentActivities.enroll,           Kind.REPAIR, undo=EnrollmentActivities.unenroll)
ASSIGN_TRAINER     = Step(TrainerActivities.assign_trainer,      Kind.REPAIR, undo=TrainerActivities.release_trainer)
APPROVE_ALLOCATION = Step(TrainerActivities.approve_allocation,  Kind.REPAIR, undo=TrainerActivities.cancel_allocation)
CREATE_SESSIONS    = Step(SessionActivities.create_sessions,     Kind.REPAIR, undo=SessionActivities.cancel_sessions)
ISSUE_TEST_CARDS   = Step(CardActivities.issue_test_cards,       Kind.REPAIR, undo=CardActivities.void_test_cards)
CLEAR_CART         = Step(CartActivities.clear_cart,             Kind.PIVOT,  undo=CartActivities.rule_out_completion)
# fmt: on

TABLE: tuple[Step[PurchaseOrder, Any], ...] = (
    CONFIRM_PAYMENT,
    CREATE_PURCHASE,
    REDEEM_COINS,
    ENROLL,
    ASSIGN_TRAINER,
    APPROVE_ALLOCATION,
    CREATE_SESSIONS,
    ISSUE_TEST_CARDS,
    CLEAR_CART,
)
