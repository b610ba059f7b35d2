"""A problem of the API: a row of the table in `api/http/problem_table.py`, its title, its address and its page."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from http import HTTPStatus

PATH = "/problems"  # of the API; `{PATH}/{code}` tells of one
ALWAYS_RETRYABLE = (408, 429, 503)  # statuses
_NEWER_PHRASES = {413: "Content Too Large", 422: "Unprocessable Content"}  # of RFC 9110; Python 3.11 has older ones

_LATER = {
    True: "The same request may succeed later.",
    False: "The same request will not succeed later.",
    None: "Whether the same request may succeed later, the problem itself says: `retryable`.",
}
SEND_AGAIN = "Send the same request again after Retry-After."  # what most that pass by themselves ask for


def title_of(status: int) -> str:
    """Return the title of every problem of this status."""
    return _NEWER_PHRASES.get(status) or HTTPStatus(status).phrase


def type_uri(api: str, code: str) -> str:
    """Return the absolute address that tells of this code, below `api`."""
    return f"{api}{PATH}/{code}"


@dataclass(frozen=True)
class ProblemType:
    """`statuses`: its HTTP statuses. `retryable`: the same request may succeed later; None: it depends."""

    code: str
    statuses: tuple[int, ...]
    meaning: str
    next_action: str
    retryable: bool | None = False


def page(row: ProblemType) -> str:
    """Return the page that `type` of such a problem leads to, as HTML."""
    statuses = ", ".join(f"{status} {title_of(status)}" for status in row.statuses)
    texts = (statuses, row.meaning, row.next_action, _LATER[row.retryable])
    body = f"<h1>{row.code}</h1>" + "".join(f"<p>{escape(text)}</p>" for text in texts)
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{row.code}</title>{body}</html>\n'
