"""The rows of the table of refusals that refuse a message and leave the purchase as it is."""

from __future__ import annotations

from domain.refusal_types import Fate, Refusal

OF_MESSAGES = [
    Refusal(
        "WRONG_STAGE", Fate.MESSAGE,
        "This cannot be done now.",
        "The purchase is not at a point where this act makes sense.",
        "Read the purchase's stage and choose an act that fits it.",
    ),
    Refusal(
        "KEY_REUSED", Fate.MESSAGE,
        "This was not done: its key came with another request before.",
        "The key names another request, or another act: it was used before, for something else.",
        "Send it under a new key, or send the first request again to hear what came of it.",
    ),
    Refusal(
        "LESSON_NOT_FOUND", Fate.MESSAGE,
        "There is no such lesson.",
        "The purchase has no lesson of this number that is still on.",
        "List the lessons of the purchase and choose one of them.",
        status=404,
    ),
    Refusal(
        "LESSON_BEGUN", Fate.MESSAGE,
        "This lesson has already begun.",
        "A lesson that has begun is never changed.",
        "Choose a lesson that is still to come.",
    ),
    Refusal(
        "TRAINER_NOT_FREE", Fate.MESSAGE,
        "The trainer is not free then.",
        "The trainer cannot give these lessons: another lesson, a blocked day, other hours, too far, or another course.",
        "Choose another time or another trainer; the detail says what is in the way.",
    ),
    Refusal(
        "CONTENT_MISSING", Fate.MESSAGE,
        "This test is not ready yet.",
        "The subject has no document to make questions from.",
        "Upload the subject's document, then start the test again.",
    ),
    Refusal(
        "ATTEMPTS_EXHAUSTED", Fate.MESSAGE,
        "You have used all attempts of this test.",
        "The test card has no attempt left.",
        "Nothing to do.",
    ),
]  # fmt: skip
