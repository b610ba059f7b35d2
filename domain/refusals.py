"""THE TABLE of refusals: code, fate, what a student reads, what an operator reads, what to do next.

The workflow's policies, problem+json, the console and the runbook all read this table (spec section 6). The rows that
refuse a message, never the purchase, are in `domain/message_refusals.py`.
"""

from __future__ import annotations

from domain.message_refusals import OF_MESSAGES
from domain.refusal_types import Fate, Refusal, Refused

__all__ = ["PAGING", "REFUSALS", "Fate", "Refusal", "Refused"]

_ROWS = [
    Refusal(
        "PAYMENT_NOT_FOUND", Fate.END,
        "We could not find this payment; no money was taken.",
        "The payment provider does not know this payment.",
        "Check the payment id with checkout; start the purchase again once the payment exists.",
        status=404,
    ),
    Refusal(
        "PAYMENT_NOT_SUCCEEDED", Fate.END,
        "Your payment did not go through, so nothing was bought.",
        "The payment failed at the provider or was already given back; no money is held.",
        "Nothing to do. If the student pays again under the same payment, start the purchase again.",
    ),
    Refusal(
        "PAYMENT_OWNER_MISMATCH", Fate.END,
        "This payment belongs to somebody else.",
        "The payment belongs to another student; this purchase was never refunded to this one.",
        "Find out which door sent it; start it for the student who paid.",
        status=404,
    ),
    Refusal(
        "PAYMENT_PENDING", Fate.WAIT,
        "Your payment is still being confirmed.",
        "The payment is still pending at the provider; it is asked again by a timer.",
        "Nothing to do; it ends by itself as PAYMENT_PENDING_TOO_LONG after the deadline.",
    ),
    Refusal(
        "PAYMENT_PENDING_TOO_LONG", Fate.END,
        "Your payment was never confirmed, so it was cancelled.",
        "The payment stayed pending past its deadline and was cancelled at the provider.",
        "Nothing to do; the student may buy again.",
    ),
    Refusal(
        "COURSE_UNAVAILABLE", Fate.END,
        "This course can no longer be bought; your money is on its way back.",
        "The course closed or sold out after the payment; the line was refunded.",
        "Nothing to do; offer the student another course.",
    ),
    Refusal(
        "CONFLICT_OTHER_OWNER", Fate.END,
        "This purchase belongs to somebody else.",
        "The same payment line is already recorded for another student.",
        "Compare the two purchases with the payment; correct the one that is wrong.",
    ),
    Refusal(
        "ALREADY_MADE_WHOLE", Fate.END,
        "This purchase was already cancelled and made good.",
        "A step came after its own undo; the purchase had been rolled back before.",
        "Nothing to do; start a new purchase if the student still wants the course.",
    ),
    Refusal(
        "CANCELLED", Fate.END,
        "This purchase was cancelled; what you paid was given back.",
        "An operator cancelled the purchase; everything done was undone.",
        "Nothing to do.",
    ),
    Refusal(
        "UNKNOWN_ITEM", Fate.PARK,
        "We are checking what you bought; your money is safe.",
        "The payment names an item the catalogue does not have.",
        "Add the item to the catalogue and retry, amend the item, or cancel (which refunds).",
    ),
    Refusal(
        "METADATA_INCOMPLETE", Fate.PARK,
        "We need a few more details about your lessons; your money is safe.",
        "The start date, time slot or another detail of the lessons is missing or malformed.",
        "Ask the student for the missing detail and amend it, or cancel (which refunds).",
    ),
    Refusal(
        "DUPLICATE_PAYMENT_SUSPECTED", Fate.PARK,
        "You seem to have paid twice; we are checking, and your money is safe.",
        "The same student bought the same course and tier within ten minutes by another payment, or has come by it while it was being given without one.",
        'Cancel to give this payment back, or amend {"treatAs": "renewal"} to keep both.',
    ),
    Refusal(
        "COINS_INSUFFICIENT", Fate.PARK,
        "Your coin balance is too low for this purchase.",
        "The coins of this line are more than the student's balance.",
        "Top up the student's coins; the purchase goes on by itself.",
        heals=True,
    ),
    Refusal(
        "STUDENT_PROFILE_MISSING", Fate.PARK,
        "Please complete your profile so that we can find your trainer.",
        "The student has no profile, so there is no place and no time zone to plan lessons with.",
        "Ask the student to complete the profile; the purchase goes on by itself.",
        heals=True,
    ),
    Refusal(
        "GPS_INVALID", Fate.PARK,
        "Please correct the location in your profile so that we can find your trainer.",
        "The student's coordinates are missing or no real place.",
        "Ask the student to set the location again; the purchase goes on by itself.",
        heals=True,
    ),
    Refusal(
        "NO_TRAINER_AVAILABLE", Fate.PARK,
        "You are enrolled; we are finding your trainer.",
        "No trainer of this course is free for every lesson of the plan and near enough.",
        "Add a trainer or open availability; the purchase is tried again by itself, or retry it now.",
        heals=True,
    ),
    Refusal(
        "SCHEDULE_CONFLICT", Fate.PARK,
        "You already have a lesson at one of these times.",
        "The student already has a lesson at a time of this plan.",
        "Agree another time with the student and amend it, or move the other lesson and retry.",
    ),
    Refusal(
        "AWAITING_APPROVAL", Fate.PARK,
        "Your trainer is being confirmed.",
        "The allocation is proposed and waits for an admin.",
        "Approve the allocation, or cancel (which refunds).",
    ),
    Refusal(
        "ALLOCATION_NOT_APPROVED", Fate.PARK,
        "Your trainer is being confirmed.",
        "Lessons were asked for, but the allocation is not approved.",
        "Approve the allocation, then retry.",
    ),
    Refusal(
        "SESSION_COUNT_MISSING", Fate.PARK,
        "We are preparing your lessons.",
        "The allocation does not say how many lessons to create.",
        "Amend the session count, then retry.",
    ),
    Refusal(
        "SESSIONS_PARTIAL", Fate.PARK,
        "Some of your lessons are ready; the rest will follow.",
        "Some lessons of the plan could not be created.",
        "Read which numbers are missing and why, mend it, then create the sessions again.",
    ),
    Refusal(
        "SESSIONS_FAILED", Fate.PARK,
        "We are preparing your lessons.",
        "No lesson of the plan could be created.",
        "Read why, mend it, then create the sessions again.",
    ),
    Refusal(
        "CARDS_FAILED", Fate.PARK,
        "We are preparing your test cards.",
        "The number of test cards is not what it must be.",
        "Look at the cards of this purchase, mend them, then retry.",
    ),
    Refusal(
        "STEP_TROUBLE", Fate.PARK,
        "Something is slow on our side; your purchase goes on by itself.",
        "A step keeps failing for a technical reason (a timeout, a lost connection, an error of a service).",
        "Nothing: it is retried by itself. If it lasts, look at the named service, then retry now.",
        heals=True, status=503,
    ),
    Refusal(
        "REFUND_FAILED", Fate.PARK,
        "Your refund is taking longer than usual; we are on it.",
        "The provider refused the refund.",
        "Look at the payment in the provider's dashboard, mend what it names, then retry now.",
        heals=True,
    ),
    Refusal(
        "REFUND_UNKNOWN", Fate.PARK,
        "Your refund is taking longer than usual; we are on it.",
        "It is not known whether the money went back, or the provider no longer knows what was paid; it is asked again by itself.",
        "Nothing: it is looked up again by itself. If it lasts, look in the provider's dashboard.",
        heals=True,
    ),
    Refusal(
        "COMPENSATION_STUCK", Fate.PARK,
        "We are still tidying up after your cancelled purchase.",
        "An undo keeps failing; the others went on.",
        "Look at the named undo and the service it needs, then retry now.",
        heals=True,
    ),
    Refusal(
        "PAUSED_BY_HAND", Fate.HAND,
        "Your purchase has been put on hold; nothing is lost.",
        "Somebody paused its run in Temporal: nothing happens by itself, and no act is taken up.",
        "Unpause it in Temporal UI, or with `temporal workflow unpause`; it goes on where it stood.",
    ),
    Refusal(
        "TERMINATED_BY_HAND", Fate.HAND,
        "Your purchase has been interrupted; nothing is lost, and we are on it.",
        "Its run was terminated, or timed out, in Temporal before the purchase had ended; nothing was undone.",
        "Start it again with `coursaga purchases start`: what was done is not done twice. To undo it, cancel it then.",
    ),
    Refusal(
        "UNKNOWN_RUN_STATE", Fate.HAND,
        "We are looking at your purchase; nothing is lost.",
        "What Temporal says of its run does not fit the record, or cannot be read by this version.",
        "If its run is closed or gone, start it again with `coursaga purchases start`; else call an engineer.",
    ),
]  # fmt: skip

REFUSALS: dict[str, Refusal] = {row.code: row for row in (*_ROWS, *OF_MESSAGES)}

# Undos that are stuck: somebody is called at any hour (spec section 3).
PAGING = ("REFUND_FAILED", "REFUND_UNKNOWN", "COMPENSATION_STUCK")
