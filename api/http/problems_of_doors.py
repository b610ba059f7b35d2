"""Rows of the table of problems that belong to one door: of a cart, a purchase, an event."""

from __future__ import annotations

from api.http.problem_types import SEND_AGAIN, ProblemType

OF_DOORS = [
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
        "INVALID_ACT", (422,),
        "The act says something that cannot be, or not of this step.",
        "Correct what the detail names.",
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
        "PREVIOUS_ATTEMPT_CLOSING", (503,),
        "The earlier attempt of this payment line is just ending.",
        SEND_AGAIN,
        retryable=True,
    ),
    ProblemType(
        "SECRETS_KEYS_MISSING", (503,),
        "This process has no key to store a secret under, so it stores none.",
        "Let its operator set SECRETS_KEYS, then send the same request again.",
        retryable=True,
    ),
]  # fmt: skip
