"""Build every id made of parts, here and nowhere else: two different things never get the same one, none is too long.

An id that could never collide has the form it had in older versions; rows that those stored keep their ids.
"""

from __future__ import annotations

from hashlib import sha256
from uuid import NAMESPACE_URL, uuid5

MOST = 255  # bytes, which every store and server we meet can hold
_SEPARATOR, _ESCAPE = ":", "~"
_KINDS = frozenset({"manual", "free"})  # what stands in the place of a payment's id where there is no payment


def joined(*parts: str, most: int = MOST) -> str:
    """Join the parts with `:`; other parts never give the same text.

    In a part, `:`, `~` and what cannot be printed are written as `~`, the code point in hex, and `.`. A text longer
    than `most` bytes is cut and ends with `~` and the SHA-256 of the whole, which no escape looks like.
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
    """Return the workflow id of a paid line, the same from every door (mission row 60)."""
    named = ("payment", payment_id) if payment_id in _KINDS else (payment_id,)
    return joined("purchase", *named, str(line))


def manual_workflow_id_of(request_key: str) -> str:
    """Return the workflow id of a purchase made by hand, without a payment (mission row 59)."""
    return joined("purchase", "manual", request_key)


def free_workflow_id_of(student_id: str, item_type: str, item_id: str, nth: int = 1) -> str:
    """Return the workflow id of a free item (mission row 39). `nth` counts from 1; the one before has ended by then."""
    return joined("purchase", "free", student_id, item_type, item_id, *([] if nth == 1 else [str(nth)]))


def purchase_id_of(workflow_id: str) -> str:
    """Return the purchase id of a workflow: a UUIDv5, so that every door computes the same one (mission row 24)."""
    return str(uuid5(NAMESPACE_URL, f"coursaga:{workflow_id}"))


def expiry_id_of(purchase_id: str) -> str:
    """Return the id of the workflow that ends the access of a purchase."""
    return joined("expiry", purchase_id)


def hold_workflow_id_of(hold_id: str) -> str:
    """Return the id of the workflow that ends a hold when its time is over."""
    return joined("hold", hold_id)


def change_workflow_id_of(purchase_id: str, request_key: str) -> str:
    """Return the workflow id of one change of lessons; the same request key names the same change."""
    return joined("lesson-change", purchase_id, request_key)


def sweep_id_of(task_queue: str) -> str:
    """Return the id of the schedule that looks for lessons on blocked days, and of the workflow it starts."""
    return joined(task_queue, "lesson-sweep")


def prune_id_of(task_queue: str) -> str:
    """Return the id of the schedule that deletes what is kept for a limited time, and of the workflow it starts."""
    return joined(task_queue, "prune")


# Acts


def update_id_of(verb: str, request_key: str, actor: str, digest: str = "") -> str:
    """Return the id of an act's Update, the same for each repeat.

    `digest` is of the verb's values, where they count.
    """
    return joined(request_key, actor, verb, *([digest] if digest else []))


def bulk_key_of(request_key: str, workflow_id: str) -> str:
    """Return the request key of a bulk's act on one purchase: `{requestKey}:{workflowId}`."""
    return joined(request_key, *workflow_id.split(_SEPARATOR))


def stranded_key_of(event: str, *stands: str) -> str:
    """Return the request key of the system's own act on stranded lessons, computed from how these lessons stand."""
    return joined("stranded", str(uuid5(NAMESPACE_URL, " ".join([event, *stands]))))


# Money and coins


def refund_id_of(payment_id: str, line: int, number: int = 1) -> str:
    """Return the id of the n-th refund of a payment line, which is also the provider's key for it."""
    return joined("refund", payment_id, str(line), *([] if number == 1 else [str(number)]))


def checkout_key_of(payment_id: str) -> str:
    """Return the provider's key for making this payment."""
    return joined("checkout", payment_id)


def coins_key(payment_id: str, line: int, movement: str) -> str:
    """Return the key of a line's `redemption` or `recredit`: one of each per line, at any attempt (mission row 69)."""
    return joined("payment", payment_id, str(line), f"COIN_{movement.upper()}")


def top_up_key(student_id: str, request_key: str) -> str:
    """Return the key of coins added by hand, which are added once per student and request key."""
    return joined("student", student_id, request_key, "COIN_TOP_UP")


def older_top_up_key(student_id: str, request_key: str) -> str:
    """Return the key that older versions gave this top-up, unique per student.

    Today's key where it would hold a `~`.
    """
    older = f"student:{student_id}:{request_key}:COIN_TOP_UP"
    return top_up_key(student_id, request_key) if _ESCAPE in older else older


def cart_item_id_of(student_id: str, key: str) -> str:
    """Return the id of the item that a student puts into the cart under this idempotency key."""
    return str(uuid5(NAMESPACE_URL, joined("coursaga", "cart", student_id, key, most=1024)))


# Events


def event_key_of(purchase_id: str, event: str, which: str = "") -> str:
    """Return the key of an event about a purchase, sent once.

    `which` (`@` or `-`, and a word) tells events of a kind apart.

    Events of one purchase are sent in order, so what makes a key unique belongs to its last part.
    """
    return joined("purchase", purchase_id, f"{event}{which}")


def confirmed_key_of(payment_id: str, event: str) -> str:
    """Return the key of an event about a payment."""
    return joined("payment", payment_id, event)


def event_id_of(key: str) -> str:
    """Return the id of the event with this key, by which a receiver recognises a repeat."""
    return str(uuid5(NAMESPACE_URL, f"coursaga:event:{key}"))


def subject_of(key: str) -> str:
    """Return what an event is about: `purchase:{id}` for `purchase:{id}:PURCHASE_CREATED`.

    Its events go out in order.
    """
    return key.rpartition(_SEPARATOR)[0]
