"""What a purchase must have left behind when it ends: everything once, or everything taken back once."""

from __future__ import annotations

from typing import Any

from tests.faults.marks import CARDS, DOS, LESSONS, SENTENCES, UNDOS
from tests.faults.purchases import ALL_CARDS, AMOUNT, COSTS, HAS, N, Purchase
from workflows.steps import (
    ASSIGN_TRAINER,
    CREATE_PURCHASE,
    CREATE_SESSIONS,
    ENROLL,
    ISSUE_TEST_CARDS,
    REDEEM_COINS,
)

ANNOUNCED = "PURCHASE_NEEDS_ATTENTION"


def completed(purchase: Purchase) -> dict[str, Any]:
    """The student has everything, each thing once."""
    lessons, cards = purchase.brings == LESSONS, purchase.brings == CARDS
    return {
        "ending": ["completed", None, False],
        "steps": dict.fromkeys(SENTENCES[purchase.brings], "done"),
        "purchases": ["active"],
        "owned": [True],
        "enrolled": [True, True] if cards else [True],
        "coins": HAS - COSTS,
        "coins_moved": [-COSTS],
        "allocations": ["approved"] if lessons else [],
        "slots": {"held": N} if lessons else {},
        "sessions": {"scheduled": N} if lessons else {},
        "cards": {"live": ALL_CARDS} if cards else {},
        "cache_dropped": True,
        "cart": [f"other-{purchase.name}"],
        "outbox": ["PURCHASE_COMPLETED", "PURCHASE_CREATED"],
        "refunds": [],
        "given_back": [],
    }


def made_whole(purchase: Purchase, done: list[str], ending: str, code: str) -> dict[str, Any]:
    """The steps in `done` were done, all are undone or will never be done, and the money went back, once and whole."""

    def after(step: Any, left: Any, otherwise: Any = None) -> Any:
        return left if step.name in done else ([] if otherwise is None else otherwise)

    return {
        "ending": [ending, code, True],
        "steps": dict.fromkeys(DOS, "undone"),
        "purchases": after(CREATE_PURCHASE, ["voided"]),
        "owned": after(CREATE_PURCHASE, [False]),
        "enrolled": after(ENROLL, [False, False] if purchase.brings == CARDS else [False]),
        "coins": HAS,
        "coins_moved": after(REDEEM_COINS, [-COSTS, COSTS]),
        "allocations": after(ASSIGN_TRAINER, ["cancelled"]),
        "slots": after(ASSIGN_TRAINER, {"cancelled": N}, {}),
        "sessions": after(CREATE_SESSIONS, {"cancelled": N}, {}),
        "cards": after(ISSUE_TEST_CARDS, {"voided": ALL_CARDS}, {}),
        "cache_dropped": CREATE_PURCHASE.name in done,
        "cart": [f"bought-{purchase.name}", f"other-{purchase.name}"],
        "outbox": [
            *after(CREATE_PURCHASE, ["PURCHASE_CREATED"]),
            "PURCHASE_REFUNDED",
            *after(CREATE_PURCHASE, ["PURCHASE_VOIDED"]),
        ],
        "refunds": [["succeeded", AMOUNT]],
        "given_back": [AMOUNT],
    }


async def require_completed(purchase: Purchase, *, attention: bool | None = None) -> None:
    """It completed in the order of the sentence, everything is there once, nothing was undone.

    `attention`: whether somebody had to be told on the way; None: either is fine.
    """
    assert await purchase.ending() == "completed"
    assert await purchase.asked_for() == purchase.sentence
    _require(purchase, completed(purchase), attention)


async def require_made_whole(
    purchase: Purchase, *, asked: list[str], ended_as: str, last_done: bool = True, attention: bool | None = None
) -> None:
    """After the steps `asked` it ended as told (a code, or Canceled): all undos in exact reverse, and all taken back.

    `last_done`: whether the last of them had an effect to take back.
    """
    assert await purchase.ending() == ended_as
    assert await purchase.asked_for() == [*asked, *UNDOS]
    require_taken_back(purchase, asked if last_done else asked[:-1], ended_as, attention)


def require_taken_back(purchase: Purchase, done: list[str], ended_as: str, attention: bool | None = None) -> None:
    """What the steps `done` did is taken back and the money went back, once; in whatever order."""
    cancelled = ended_as in ("CANCELLED", "Canceled")
    code = "CANCELLED" if cancelled else ended_as
    _require(purchase, made_whole(purchase, done, "cancelled" if cancelled else "refused", code), attention)


def _require(purchase: Purchase, expected: dict[str, Any], attention: bool | None) -> None:
    facts = purchase.facts()
    told = ANNOUNCED in facts["outbox"]
    assert attention in (None, told)
    facts["outbox"] = [kind for kind in facts["outbox"] if kind != ANNOUNCED]
    assert facts == expected
