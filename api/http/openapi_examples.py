"""Examples for the documentation: one purchase, as view, as row of the list and as case file."""

from __future__ import annotations

from typing import Any

_COMMON: dict[str, Any] = {
    "id": "5a1b7ad3-7b4f-5b8e-9c51-0a6d1b1f3c7e",
    "workflowId": "purchase:pay-1:1",
    "paymentId": "pay-1",
    "line": 1,
    "studentId": "student-1",
    "ending": "attention",
    "code": "NO_TRAINER_AVAILABLE",
    "refunded": None,
    "sessionCount": 10,
    "sessionCountSource": "purchaseTier",
    "attempt": 1,
    "startedAt": "2026-11-21T10:00:00Z",
    "stage": "assign_trainer",
    "nextRetry": "2026-11-21T10:15:01Z",
    "givesUp": None,
}
_ACTION = "Add a trainer or open availability; the purchase is tried again by itself, or retry it now."
_MESSAGE = "none of 3 trainers of course-piano is free for all 10 lessons"

PURCHASE_ROW: dict[str, Any] = _COMMON | {
    "sessions": 0,
    "firstLocal": None,
    "lastLocal": None,
    "minutes": None,
    "timezone": None,
    "remaining": 0,
    "expiresOn": "2027-06-30",
    "testCards": 0,
    "since": "2026-11-21T10:00:01Z",
    "nextAction": _ACTION,
    "problems": [],
}
PURCHASE: dict[str, Any] = _COMMON | {
    "origin": "checkout",
    "endedAt": None,
    "attention": {
        "reason": "NO_TRAINER_AVAILABLE",
        "since": "2026-11-21T10:00:01Z",
        "nextRetry": "2026-11-21T10:15:01Z",
        "nextAction": _ACTION,
        "message": _MESSAGE,
    },
    "item": {
        "itemType": "course",
        "itemId": "course-piano",
        "fulfilment": "sessions",
        "status": "active",
        "metadata": {"startDate": "2026-12-01", "timeSlot": "18:00", "purchaseTier": 10},
        "metadataSources": {"startDate": "payment", "timeSlot": "payment", "purchaseTier": "payment"},
        "warnings": [],
        "purchasedAt": "2026-11-21T10:00:00Z",
        "completedAt": None,
        "voidedAt": None,
    },
    "steps": [{"step": "confirm_payment", "state": "done", "attempt": 1, "at": "2026-11-21T10:00:00Z"}],
    "sessions": {"count": 0, "firstLocal": None, "lastLocal": None, "minutes": None, "timezone": None},
    "testCards": 0,
    "remaining": 0,
    "access": {
        "until": "2027-06-30",
        "endsAt": "2027-06-30T23:00:00Z",
        "expiredAt": None,
        "enrolled": True,
        "lessonsAfter": [],
    },
    "renewals": [
        {
            "id": _COMMON["id"],
            "workflowId": _COMMON["workflowId"],
            "status": "active",
            "supersededBy": None,
            "purchasedAt": "2026-11-21T10:00:00Z",
            "until": "2027-06-30",
            "sessionCount": 10,
            "remaining": 0,
        }
    ],
    "trainer": None,
    "source": "temporal+database",
    "temporal": "running",
    "worker": "up",
}
CASE: dict[str, Any] = {
    "id": _COMMON["id"],
    "workflowId": _COMMON["workflowId"],
    "studentId": "student-1",
    "item": "course course-piano",
    "ending": "attention",
    "stage": "assign_trainer",
    "code": "NO_TRAINER_AVAILABLE",
    "cause": f"No trainer of this course is free for every lesson of the plan and near enough: {_MESSAGE}",
    "student": "You are enrolled; we are finding your trainer.",
    "since": "2026-11-21T10:00:01Z",
    "nextRetry": "2026-11-21T10:15:01Z",
    "givesUp": None,
    "nextAction": _ACTION,
    "actions": [
        {
            "verb": "retry_now",
            "why": "Once a trainer was added or has more time.",
            "href": f"/api/v1/admin/purchases/{_COMMON['id']}/retry_now",
            "body": {"reason": "why you do it", "requestKey": "retry_now-1"},
        }
    ],
    "secondPerson": None,
    "problems": [],
    "skipped": [],
    "money": {
        "paid": 50000,
        "refunded": 0,
        "givenBackAtProvider": 0,
        "currency": "USD",
        "status": "succeeded",
        "refundStatus": None,
        "coins": 200,
        "coinsRedeemed": 200,
        "coinsGivenBack": 0,
    },
    "lessons": {"count": 0, "of": 10, "first": None, "last": None, "timezone": None, "closed": []},
    "timeline": [
        {
            "at": "2026-11-21T10:00:00Z",
            "what": "The purchase was started by the checkout for payment pay-1, line 1.",
        }
    ],
    "links": {
        "temporalUi": "http://127.0.0.1:8233/namespaces/default/workflows/purchase%3Apay-1%3A1",
        "api": f"/api/v1/purchases/{_COMMON['id']}",
    },
    "worker": "up",
}
