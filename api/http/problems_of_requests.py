"""Rows of the table of problems that any request may be answered with."""

from __future__ import annotations

from api.http.problem_types import SEND_AGAIN, ProblemType

OF_REQUESTS = [
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
        "NOT_FOUND", (404,),
        "The API has no such path.",
        "Look the path up in the documentation.",
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
        SEND_AGAIN,
        retryable=True,
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
        "INVALID_CURSOR", (422,),
        "The cursor is none that a list of this kind has given.",
        "Start the list again without a cursor.",
    ),
    ProblemType(
        "TOO_MANY_REQUESTS", (429,),
        "The caller asks more often than one may.",
        SEND_AGAIN,
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
        SEND_AGAIN,
        retryable=True,
    ),
    ProblemType(
        "TEMPORAL_UNAVAILABLE", (503,),
        "Temporal does not answer right now; nothing is lost.",
        SEND_AGAIN,
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
        SEND_AGAIN,
        retryable=True,
    ),
    ProblemType(
        "OVERLOADED", (503,),
        "The process has as much to do as it can; nothing was begun.",
        SEND_AGAIN,
        retryable=True,
    ),
    ProblemType(
        "NOT_READY", (503,),
        "Something a purchase needs is not there; `down` names it.",
        "Look at what is named; `coursaga doctor` tells more.",
        retryable=True,
    ),
]  # fmt: skip
