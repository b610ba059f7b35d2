"""Every problem the API answers with, by code: what it means and what to do. docs/problems.md and the page that `type`
of a problem leads to are made of it.

Codes of the saga are rows of `domain/refusals.py`; those here are of the doors.
"""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from http import HTTPStatus

from domain.refusals import REFUSALS

PATH = "/problems"  # of the API; `{PATH}/{code}` tells of one
ALWAYS_RETRYABLE = (408, 429, 503)  # statuses
_NEWER_PHRASES = {413: "Content Too Large", 422: "Unprocessable Content"}  # of RFC 9110; Python 3.11 has older ones


def title_of(status: int) -> str:
    """The title of every problem of this status."""
    return _NEWER_PHRASES.get(status) or HTTPStatus(status).phrase


def type_uri(api: str, code: str) -> str:
    """Where problems of this code are told of: an absolute address, below that of the API."""
    return f"{api}{PATH}/{code}"


@dataclass(frozen=True)
class ProblemType:
    """`statuses`: the HTTP statuses it comes with. `retryable`: the same request may succeed later; None: it depends."""

    code: str
    statuses: tuple[int, ...]
    meaning: str
    next_action: str
    retryable: bool | None = False


_AGAIN = "Send the same request again after Retry-After."
_OF_DOORS = [
    ProblemType(
        "IDEMPOTENCY_KEY_MISSING", (400,),
        "The request makes something, and has no Idempotency-Key.",
        "Send one: a new random text for each thing to be made, the same one when the request is sent again.",
    ),
    ProblemType(
        "IDEMPOTENCY_KEY_INVALID", (400,),
        "The Idempotency-Key is too long, empty, or holds other than printable ASCII characters.",
        "Send a UUID, or another short random text.",
    ),
    ProblemType(
        "UNAUTHENTICATED", (401,),
        "There is no bearer token, or one that is not accepted.",
        "Get a new token from the issuer and send it as `Authorization: Bearer ...`.",
    ),
    ProblemType(
        "FORBIDDEN", (403,),
        "The role of the token may not do this.",
        "Let somebody do it who may.",
    ),
    ProblemType(
        "SUPERSEDE_IS_FOR_ADMINS", (403,),
        "Only an admin may let a purchase take the place of an earlier one.",
        "Leave `supersede` out, or let an admin do it.",
    ),
    ProblemType(
        "ITEM_NOT_FREE", (403,),
        "The item has a price, and was asked for as a free one.",
        "Put it into the cart and pay at checkout.",
    ),
    ProblemType(
        "NOT_FOUND", (404,),
        "The API has no such path.",
        "Look the path up in the documentation.",
    ),
    ProblemType(
        "STUDENT_NOT_FOUND", (404,),
        "No student has this id.",
        "Check the id; a student is known once imported, or once the profile is written.",
    ),
    ProblemType(
        "TRAINER_NOT_FOUND", (404,),
        "No trainer has this id.",
        "Check the id.",
    ),
    ProblemType(
        "PURCHASE_NOT_FOUND", (404,),
        "No purchase of this id was started, or it is not the caller's.",
        "Check the id; the list of purchases tells those that are known.",
    ),
    ProblemType(
        "NO_ACTIVE_PURCHASE", (404,),
        "The student has no active purchase of this course.",
        "Check student and course, or start a purchase.",
    ),
    ProblemType(
        "ITEM_NOT_FOUND", (404,),
        "Nothing of this name is for sale.",
        "Check type and id of the item.",
    ),
    ProblemType(
        "CART_ITEM_NOT_FOUND", (404,),
        "Nothing in the caller's cart has this id.",
        "Read the cart again: it may have been bought or removed meanwhile.",
    ),
    ProblemType(
        "HOLD_NOT_FOUND", (404,),
        "The caller has no live hold of this id.",
        "Hold the times again: a hold ends by itself after some minutes.",
    ),
    ProblemType(
        "TEST_CARD_NOT_FOUND", (404,),
        "The caller has no test card of this id.",
        "List the test cards.",
    ),
    ProblemType(
        "TEST_ATTEMPT_NOT_FOUND", (404,),
        "The caller has no test attempt of this id.",
        "List the attempts.",
    ),
    ProblemType(
        "CALENDAR_LINK_UNKNOWN", (404,),
        "The link opens no calendar: it was removed, replaced, or never made.",
        "Make a new link and subscribe to that one.",
    ),
    ProblemType(
        "DEAD_LETTER_NOT_FOUND", (404,),
        "No dead letter has this id.",
        "List the dead letters; replayed ones are deleted after some time.",
    ),
    ProblemType(
        "TARGET_NOT_FOUND", (404,),
        "No webhook target has this id.",
        "List the targets.",
    ),
    ProblemType(
        "UNKNOWN_VERB", (404, 422),
        "There is no act of this name.",
        "Take one of those the detail names.",
    ),
    ProblemType(
        "METHOD_NOT_ALLOWED", (405,),
        "The path exists, but not with this method.",
        "Use one of those in the header Allow.",
    ),
    ProblemType(
        "REQUEST_TIMEOUT", (408,),
        "The body of the request did not come in time.",
        "Send the request again, in one go.",
        retryable=True,
    ),
    ProblemType(
        "REQUEST_IN_FLIGHT", (409,),
        "The first request with this Idempotency-Key is still being answered.",
        _AGAIN,
        retryable=True,
    ),
    ProblemType(
        "CART_FULL", (409,),
        "The cart holds as many items as a cart may.",
        "Buy or remove some first.",
    ),
    ProblemType(
        "CART_EMPTY", (409,),
        "There is nothing in the cart to pay for.",
        "Put something into it first.",
    ),
    ProblemType(
        "MIXED_CURRENCIES", (409,),
        "The items of the cart have prices in several currencies.",
        "Check out those of one currency at a time.",
    ),
    ProblemType(
        "NOTHING_TO_PAY", (409,),
        "The items of the cart cost nothing together.",
        "Take each as a free item instead.",
    ),
    ProblemType(
        "PAYMENT_REFUSED", (409,),
        "The payment provider does not accept this payment.",
        "Check the amount and the way of paying, then check out again.",
    ),
    ProblemType(
        "TOO_MANY_HOLDS", (409,),
        "The student holds the times of as many courses as one may.",
        "Let one go, or pay for it.",
    ),
    ProblemType(
        "HELD_TOO_OFTEN", (409,),
        "The times of this course were held as often today as they may be without being paid.",
        "Pay for it, or come back tomorrow.",
    ),
    ProblemType(
        "NOTHING_TO_HOLD", (409,),
        "The item has no lessons, so there are no times to hold.",
        "Check out without a hold.",
    ),
    ProblemType(
        "TOO_MANY_LESSONS_TO_HOLD", (409,),
        "The plan has more lessons than may be held unpaid.",
        "Check out without a hold: the times are found after the payment.",
    ),
    ProblemType(
        "TARGET_EXISTS", (409,),
        "This URL is a webhook target already.",
        "Remove it first to change it.",
    ),
    ProblemType(
        "BODY_TOO_LARGE", (413,),
        "The body of the request is larger than the API takes.",
        "Send less at a time.",
    ),
    ProblemType(
        "UNSUPPORTED_MEDIA_TYPE", (415,),
        "The body is not sent as JSON.",
        "Send it with `Content-Type: application/json`.",
    ),
    ProblemType(
        "INVALID_REQUEST", (422,),
        "A value of the request is missing, unknown or malformed; `errors` says which, at most twenty.",
        "Correct what `errors` names.",
    ),
    ProblemType(
        "INVALID_ACT", (422,),
        "The act says something that cannot be, or not of this step.",
        "Correct what the detail names.",
    ),
    ProblemType(
        "INVALID_CURSOR", (422,),
        "The cursor is none that a list of this kind has given.",
        "Start the list again without a cursor.",
    ),
    ProblemType(
        "FILTER_NEEDED", (422,),
        "The act is for many, and nothing says which.",
        "Say which; the detail tells how to say all.",
    ),
    ProblemType(
        "REASON_MISSING", (422,),
        "An admin must say why.",
        "Send `reason`.",
    ),
    ProblemType(
        "LINE_NOT_FOUND", (422,),
        "The payment has no such line of this item.",
        "Check payment, line and item.",
    ),
    ProblemType(
        "LINE_AMBIGUOUS", (422,),
        "The payment has this item more than once.",
        "Say which line.",
    ),
    ProblemType(
        "EVENT_NOT_JSON", (422,),
        "The event is no JSON object.",
        "Correct what sends it. The same over Kafka becomes a dead letter.",
    ),
    ProblemType(
        "EVENT_NOT_UTF8", (422,),
        "The event is no text in UTF-8.",
        "Correct what sends it. The same over Kafka becomes a dead letter.",
    ),
    ProblemType(
        "EVENT_INVALID", (422,),
        "The event lacks a value, or has a malformed one.",
        "Correct what the detail names.",
    ),
    ProblemType(
        "EVENT_TYPE_UNKNOWN", (422,),
        "The event is of a type that is not taken here.",
        "Send the one the detail names.",
    ),
    ProblemType(
        "EVENT_KEY_MISMATCH", (422,),
        "The key of the event is not the one its payment must have.",
        "Send it with the key the detail names.",
    ),
    ProblemType(
        "EVENT_TOO_LARGE", (422,),
        "The event is larger than one may be.",
        "Send less in it.",
    ),
    ProblemType(
        "TARGET_REFUSED", (422,),
        "The webhook URL leads to an address that is not called: private, without TLS, or none at all.",
        "Give a public https URL.",
    ),
    ProblemType(
        "TOO_MANY_REQUESTS", (429,),
        "The caller asks more often than one may.",
        _AGAIN,
        retryable=True,
    ),
    ProblemType(
        "TOO_MANY_STREAMS", (429,),
        "The caller watches as many purchases at once as one may.",
        "Close one first.",
        retryable=True,
    ),
    ProblemType(
        "INTERNAL_ERROR", (500,),
        "Something went wrong on our side; it is logged.",
        "Tell support when it happened. With the same Idempotency-Key the request may be sent again.",
    ),
    ProblemType(
        "DATABASE_UNAVAILABLE", (503,),
        "The database does not answer right now; nothing is lost.",
        _AGAIN,
        retryable=True,
    ),
    ProblemType(
        "TEMPORAL_UNAVAILABLE", (503,),
        "Temporal does not answer right now; nothing is lost.",
        _AGAIN,
        retryable=True,
    ),
    ProblemType(
        "WORKER_UNAVAILABLE", (503,),
        "No worker took the act up in time.",
        "Send the same request with the same key again: it is done once, and answered.",
        retryable=True,
    ),
    ProblemType(
        "PROVIDER_UNAVAILABLE", (503,),
        "The payment provider does not answer right now; nothing was charged twice.",
        _AGAIN,
        retryable=True,
    ),
    ProblemType(
        "PREVIOUS_ATTEMPT_CLOSING", (503,),
        "The earlier attempt of this payment line is just ending.",
        _AGAIN,
        retryable=True,
    ),
    ProblemType(
        "OVERLOADED", (503,),
        "The process has as much to do as it can; nothing was begun.",
        _AGAIN,
        retryable=True,
    ),
    ProblemType(
        "SECRETS_KEYS_MISSING", (503,),
        "This process has no key to store a secret under, so it stores none.",
        "Let its operator set SECRETS_KEYS, then send the same request again.",
        retryable=True,
    ),
    ProblemType(
        "NOT_READY", (503,),
        "Something a purchase needs is not there; `down` names it.",
        "Look at what is named; `coursaga doctor` tells more.",
        retryable=True,
    ),
]  # fmt: skip
# Doors say some refusals of what was asked for, where the saga says them of what was paid.
_ALSO = {
    "UNKNOWN_ITEM": (422,),
    "COURSE_UNAVAILABLE": (422,),
    "METADATA_INCOMPLETE": (422,),
}

PROBLEM_TYPES: dict[str, ProblemType] = {row.code: row for row in _OF_DOORS} | {
    row.code: ProblemType(
        row.code, (row.status, *_ALSO.get(row.code, ())), row.operator, row.next_action, None if row.heals else False
    )
    for row in REFUSALS.values()
}


_LATER = {
    True: "The same request may succeed later.",
    False: "The same request will not succeed later.",
    None: "Whether the same request may succeed later, the problem itself says: `retryable`.",
}


def page(row: ProblemType) -> str:
    """What `type` of such a problem leads to, as HTML."""
    statuses = ", ".join(f"{status} {title_of(status)}" for status in row.statuses)
    texts = (statuses, row.meaning, row.next_action, _LATER[row.retryable])
    body = f"<h1>{row.code}</h1>" + "".join(f"<p>{escape(text)}</p>" for text in texts)
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{row.code}</title>{body}</html>\n'
