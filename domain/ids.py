"""Ids made of parts, each built here and nowhere else: two different things never get the same one, none is too long.

What could never collide looks as it always did; rows that older versions stored keep the ids they have.
"""

from __future__ import annotations

from hashlib import sha256
from uuid import NAMESPACE_URL, uuid5

MOST = 255  # bytes, which every store and server we meet can hold
_SEPARATOR, _ESCAPE = ":", "~"
_KINDS = frozenset({"manual", "free"})  # what stands in the place of a payment's id where there is no payment


def joined(*parts: str, most: int = MOST) -> str:
    """The parts with `:` between them; other parts never make the same text.

    In a part `:`, `~` and what cannot be printed are written as `~`, the code point in hex, and `.`. What would be
    longer than `most` bytes is cut and ends with `~` and the SHA-256 of the whole, which no escape looks like.
    """
    whole = _SEPARATOR.join(map(_escaped, parts))
    content = whole.encode()
    if len(content) <= most:
        return whole
    digest = _ESCAPE + sha256(content).hexdigest()
    return content[: most - len(digest)].decode(errors="ignore") + digest


def _escaped(part: str) -> str:
    return "".join(
        char if char.isprintable() and char not in (_SEPARATOR, _ESCAPE) else f"{_ESCAPE}{ord(char):x}."
        for char in part
    )


# Workflows


def workflow_id_of(payment_id: str, line: int) -> str:
    """The workflow id of a paid line, the same from every door (mission row 60)."""
    named = ("payment", payment_id) if payment_id in _KINDS else (payment_id,)
    return joined("purchase", *named, str(line))


def manual_workflow_id_of(request_key: str) -> str:
    """The workflow id of a purchase made by hand, without a payment (mission row 59)."""
    return joined("purchase", "manual", request_key)


def free_workflow_id_of(student_id: str, item_type: str, item_id: str, nth: int = 1) -> str:
    """The workflow id of a free item (mission row 39). `nth` counts from 1: the one before has ended by then."""
    return joined("purchase", "free", student_id, item_type, item_id, *([] if nth == 1 else [str(nth)]))


def purchase_id_of(workflow_id: str) -> str:
    """The purchase id of a workflow: a UUIDv5, so every door computes the same one (mission row 24)."""
    return str(uuid5(NAMESPACE_URL, f"coursaga:{workflow_id}"))


def expiry_id_of(purchase_id: str) -> str:
    """The workflow id of what ends the access of a purchase."""
    return joined("expiry", purchase_id)


def hold_workflow_id_of(hold_id: str) -> str:
    """The workflow id of a hold's timer."""
    return joined("hold", hold_id)


def change_workflow_id_of(purchase_id: str, request_key: str) -> str:
    """One workflow per change of lessons: the same key is the same change."""
    return joined("lesson-change", purchase_id, request_key)


def sweep_id_of(task_queue: str) -> str:
    """The schedule that looks for lessons standing on blocked days, and the workflow it starts."""
    return joined(task_queue, "lesson-sweep")


def prune_id_of(task_queue: str) -> str:
    """The schedule that lets go of what is kept for a time only, and the workflow it starts."""
    return joined(task_queue, "prune")


# Acts


def update_id_of(verb: str, request_key: str, actor: str, digest: str = "") -> str:
    """The id of an act's Update: one of any number of repeats. `digest`: of what the verb was given, if that counts."""
    return joined(request_key, actor, verb, *([digest] if digest else []))


def bulk_key_of(request_key: str, workflow_id: str) -> str:
    """The request key of a bulk's act on one purchase: `{requestKey}:{workflowId}`."""
    return joined(request_key, *workflow_id.split(_SEPARATOR))


def stranded_key_of(event: str, *stands: str) -> str:
    """The request key of the system's own act on lessons that stand so."""
    return joined("stranded", str(uuid5(NAMESPACE_URL, " ".join([event, *stands]))))


# Money and coins


def refund_id_of(payment_id: str, line: int, number: int = 1) -> str:
    """The n-th refund of a payment line, and the provider's key for it."""
    return joined("refund", payment_id, str(line), *([] if number == 1 else [str(number)]))


def checkout_key_of(payment_id: str) -> str:
    """The provider's key of a payment that is to be made."""
    return joined("checkout", payment_id)


def coins_key(payment_id: str, line: int, movement: str) -> str:
    """The key of a line's `redemption` or `recredit`: one of each for good, whatever attempt it is at (mission row 69)."""
    return joined("payment", payment_id, str(line), f"COIN_{movement.upper()}")


def top_up_key(student_id: str, request_key: str) -> str:
    """The key of coins added by hand: once per student and request key."""
    return joined("student", student_id, request_key, "COIN_TOP_UP")


def older_top_up_key(student_id: str, request_key: str) -> str:
    """As `top_up_key` was once; of one student it is unique, too. What it can be mistaken for today gets today's."""
    older = f"student:{student_id}:{request_key}:COIN_TOP_UP"
    return top_up_key(student_id, request_key) if _ESCAPE in older else older


def cart_item_id_of(student_id: str, key: str) -> str:
    """The id of what a student puts into the cart under an idempotency key."""
    return str(uuid5(NAMESPACE_URL, joined("coursaga", "cart", student_id, key, most=1024)))


# Events


def event_key_of(purchase_id: str, event: str, which: str = "") -> str:
    """The key of an event about a purchase, told once. `which` tells several of one kind apart: `@` or `-`, and a word.

    All events of a purchase are told in order, so what makes one unique belongs to its last part.
    """
    return joined("purchase", purchase_id, f"{event}{which}")


def confirmed_key_of(payment_id: str, event: str) -> str:
    """The key of an event about a payment."""
    return joined("payment", payment_id, event)


def event_id_of(key: str) -> str:
    """The id of the event with this key; by it a receiver knows a repeat."""
    return str(uuid5(NAMESPACE_URL, f"coursaga:event:{key}"))


def subject_of(key: str) -> str:
    """What the event is about: `purchase:{id}` of `purchase:{id}:PURCHASE_CREATED`. Its events are told in order."""
    return key.rpartition(_SEPARATOR)[0]
