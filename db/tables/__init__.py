"""Every table of the schema; the constraints are part of it. The migrations make exactly this (a test compares)."""

from db.tables.coins import CoinBalance, CoinMovement
from db.tables.columns import Row
from db.tables.events import DeadLetter, DeadLetterAct, RefusedMessage, TakenEvent, WebhookDelivery, WebhookTarget
from db.tables.lessons import Allocation, LessonSession, RefusedMatching, TrainerSlot
from db.tables.operators import BulkRequest, OperatorAct, OperatorDecision
from db.tables.people import Holiday, Student, Trainer, TrainerAvailability, TrainerBlockedDay, TrainerCourse
from db.tables.purchases import (
    Enrollment,
    LearningVersion,
    OutboxEvent,
    Ownership,
    Purchase,
    PurchaseProgress,
    PurchaseStart,
    PurchaseStep,
)
from db.tables.requests import PurchaseRequest, RequestKey
from db.tables.shop import (
    BundleSubject,
    CartItem,
    CatalogueItem,
    IdempotencyKey,
    Payment,
    PaymentLine,
    Refund,
    RefundDebt,
)
from db.tables.test_cards import MockTestAttempt, MockTestSession, OldTestAttempt, PurchaseSubject

METADATA = Row.metadata

__all__ = [
    "METADATA",
    "Allocation",
    "BulkRequest",
    "BundleSubject",
    "CartItem",
    "CatalogueItem",
    "CoinBalance",
    "CoinMovement",
    "DeadLetter",
    "DeadLetterAct",
    "Enrollment",
    "Holiday",
    "IdempotencyKey",
    "LearningVersion",
    "LessonSession",
    "MockTestAttempt",
    "MockTestSession",
    "OldTestAttempt",
    "OperatorAct",
    "OperatorDecision",
    "OutboxEvent",
    "Ownership",
    "Payment",
    "PaymentLine",
    "Purchase",
    "PurchaseProgress",
    "PurchaseRequest",
    "PurchaseStart",
    "PurchaseStep",
    "PurchaseSubject",
    "Refund",
    "RefundDebt",
    "RefusedMatching",
    "RefusedMessage",
    "RequestKey",
    "Row",
    "Student",
    "TakenEvent",
    "Trainer",
    "TrainerAvailability",
    "TrainerBlockedDay",
    "TrainerCourse",
    "TrainerSlot",
    "WebhookDelivery",
    "WebhookTarget",
]
