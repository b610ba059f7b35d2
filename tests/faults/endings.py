"""What a purchase must have left behind when it ends: everything once, or everything taken back once."""

from __future__ import annotations

from typing import Any

from tests.faults.marks import CARDS, LESSONS, UNDO_OF
from tests.faults.purchases import ALL_CARDS, AMOUNT, COSTS, HAS, N, Purchase
from workflows.steps import (
    ASSIGN_TRAINER,
    CLEAR_CART,
    CREATE_PURCHASE,
    CREATE_SESSIONS,
    ENROLL,
    INVALIDATE_LEARNING_CACHE,
    ISSUE_TEST_CARDS,
    REDEEM_COINS,
)

ANNOUNCED = "PURCHASE_NEEDS_ATTENTION"


def completed(purchase: Purchase, *, without: str = "") -> dict[str, Any]:
    """The student has everything, each thing once; `without`: the best-effort step that never came to be."""
    steps = [name for name in purchase.sentence if name in (*UNDO_OF, CLEAR_CART.name) and name != without]
    lessons, cards = purchase.brings == LESSONS, purchase.brings == CARDS
    cart = [f"other-{purchase.name}"]
    return {
        "ending": ["completed", None, False],
        "steps": dict.fromkeys(steps, "done"),
        "purchases": ["active"],
        "owned": [True],
        "enrolled": [True, True] if cards else [True],
        "coins": HAS - COSTS,
        "coins_moved": [-COSTS],
        "allocations": ["approved"] if lessons else [],
        "slots": {"held": N} if lessons else {},
        "sessions": {"scheduled": N} if lessons else {},
        "cards": {"live": ALL_CARDS} if cards else {},
        "cache_dropped": without != INVALIDATE_LEARNING_CACHE.name,
        "cart": [f"bought-{purchase.name}", *cart] if without == CLEAR_CART.name else cart,
        "outbox": ["PURCHASE_COMPLETED", "PURCHASE_CREATED"],
        "refunds": [],
        "given_back": [],
    }


def made_whole(purchase: Purchase, done: list[str], entered: list[str], ending: str, code: str) -> dict[str, Any]:
    """The steps in `done` were done, those in `entered` are undone, and the money went back, once and whole."""

    def after(step: Any, left: Any, otherwise: Any = None) -> Any:
        return left if step.name in done else ([] if otherwise is None else otherwise)

    return {
        "ending": [ending, code, True],
        "steps": dict.fromkeys(entered, "undone"),
        "purchases": after(CREATE_PURCHASE, ["voided"]),
        "owned": after(CREATE_PURCHASE, [False]),
        "enrolled": after(ENROLL, [False, False] if purchase.brings == CARDS else [False]),
        "coins": HAS,
        "coins_moved": after(REDEEM_COINS, [-COSTS, COSTS]),
        "allocations": after(ASSIGN_TRAINER, ["cancelled"]),
        "slots": after(ASSIGN_TRAINER, {"cancelled": N}, {}),
        "sessions": after(CREATE_SESSIONS, {"cancelled": N}, {}),
        "cards": after(ISSUE_TEST_CARDS, {"voided": ALL_CARDS}, {}),
        "cache_dropped": True,
        "cart": [f"bought-{purchase.name}", f"other-{purchase.name}"],
        "outbox": [
            *after(CREATE_PURCHASE, ["PURCHASE_CREATED"]),
            "PURCHASE_REFUNDED",
            *after(CREATE_PURCHASE, ["PURCHASE_VOIDED"]),
        ],
        "refunds": [["succeeded", AMOUNT]],
        "given_back": [AMOUNT],
    }


def undoable(steps: list[str]) -> list[str]:
    """Those that have an undo."""
    return [name for name in steps if name in UNDO_OF]


async def require_completed(
    purchase: Purchase, *, without: str = "", attention: bool | None = None, noted: bool = False
) -> None:
    """It completed in the order of the sentence, everything is there once, nothing was undone.

    `attention`: whether somebody had to be told on the way; None: either is fine. `noted`: a best-effort step
    may have failed and be left to the repair.
    """
    assert await purchase.ending() == "completed"
    assert await purchase.asked_for() == purchase.sentence
    if noted and not purchase.is_done(CLEAR_CART.name):
        without = CLEAR_CART.name
    _require(purchase, completed(purchase, without=without), attention, noted)


async def require_made_whole(
    purchase: Purchase, *, asked: list[str], ended_as: str, last_done: bool = True, attention: bool | None = None
) -> None:
    """After the steps `asked` it ended as told (a code, or Canceled): their undos in exact reverse, and all taken back.

    `last_done`: whether the last of them had an effect to take back.
    """
    assert await purchase.ending() == ended_as
    entered = undoable(asked) or purchase.sentence[:1]  # a payment is given back even when nothing began
    undos = [UNDO_OF[name] for name in reversed(entered)]
    assert await purchase.asked_for() == [*asked, *undos, INVALIDATE_LEARNING_CACHE.name]
    done = undoable(asked if last_done else asked[:-1])
    require_taken_back(purchase, done, entered, ended_as, attention)


def require_taken_back(
    purchase: Purchase, done: list[str], entered: list[str], ended_as: str, attention: bool | None = None,
    *, noted: bool = False,
) -> None:  # fmt: skip
    """What the steps `done` did is taken back and the money went back, once; in whatever order."""
    cancelled = ended_as in ("CANCELLED", "Canceled")
    code = "CANCELLED" if cancelled else ended_as
    expected = made_whole(purchase, done, entered, "cancelled" if cancelled else "refused", code)
    _require(purchase, expected, attention, noted)


def _require(purchase: Purchase, expected: dict[str, Any], attention: bool | None, noted: bool = False) -> None:
    facts = purchase.facts()
    if noted:
        facts["cache_dropped"] = expected["cache_dropped"]
    told = ANNOUNCED in facts["outbox"]
    assert attention in (None, told)
    facts["outbox"] = [kind for kind in facts["outbox"] if kind != ANNOUNCED]
    assert facts == expected
