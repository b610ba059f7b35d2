"""Who may call what: one row per operation, and nothing is allowed without a row (mission rows 12, 58, 67).

An operation's id is the name of its function. `own`: rows of the caller's own subject, others are 404 as if not there;
`any`: everybody's; `none`: 403. A new operation needs a row, or the application does not start.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from api.http.documentation import PAGE, PAGES_OF_PROBLEMS, SCRIPT, STYLE
from application.caller import ANY, NONE, OWN, Reach
from domain.roles import Role

Row = Mapping[Role, Reach] | Literal["public"]

PUBLIC: Final = "public"


def _row(student: Reach, support: Reach, admin: Reach, service: Reach) -> Row:
    return {"student": student, "support": support, "admin": admin, "service": service}


POLICY: dict[str, Row] = {
    "healthz": PUBLIC,
    "readyz": PUBLIC,
    "metrics": PUBLIC,
    "linked_calendar": PUBLIC,  # the link is the key
    #                                  student support admin service
    "start_purchases": _row(NONE, NONE, ANY, ANY),
    "take_free_item": _row(OWN, NONE, NONE, NONE),
    "auto_assign": _row(NONE, NONE, ANY, ANY),
    "take_event": _row(NONE, NONE, ANY, ANY),
    "show_purchase": _row(OWN, ANY, ANY, NONE),
    "watch_purchase": _row(OWN, ANY, ANY, NONE),
    "list_purchases": _row(NONE, ANY, ANY, NONE),
    "list_unstarted": _row(NONE, ANY, ANY, NONE),
    "case_file": _row(NONE, ANY, ANY, NONE),
    "show_matching": _row(NONE, ANY, ANY, NONE),
    "list_acts": _row(NONE, ANY, ANY, NONE),
    "retry_now": _row(NONE, NONE, ANY, NONE),
    "amend": _row(NONE, NONE, ANY, NONE),
    "skip_step": _row(NONE, NONE, ANY, NONE),
    "assign_trainer": _row(NONE, NONE, ANY, NONE),
    "approve_allocation": _row(NONE, NONE, ANY, NONE),
    "create_sessions": _row(NONE, NONE, ANY, NONE),
    "cancel": _row(NONE, NONE, ANY, NONE),
    "settle_refund": _row(NONE, NONE, ANY, NONE),
    "withdraw": _row(NONE, NONE, ANY, NONE),
    "extend": _row(NONE, NONE, ANY, NONE),
    "list_lessons": _row(OWN, ANY, ANY, NONE),
    "reschedule_lesson": _row(NONE, NONE, ANY, NONE),
    "substitute_trainer": _row(NONE, NONE, ANY, NONE),
    "transfer_lessons": _row(NONE, NONE, ANY, NONE),
    "student_calendar": _row(OWN, ANY, ANY, NONE),
    "trainer_calendar": _row(NONE, ANY, ANY, NONE),
    "link_student_calendar": _row(OWN, NONE, ANY, NONE),
    "unlink_student_calendar": _row(OWN, NONE, ANY, NONE),
    "link_trainer_calendar": _row(NONE, NONE, ANY, NONE),
    "unlink_trainer_calendar": _row(NONE, NONE, ANY, NONE),
    "unknown_verb": _row(NONE, NONE, ANY, NONE),
    "bulk": _row(NONE, NONE, ANY, NONE),
    "list_dead_letters": _row(NONE, ANY, ANY, NONE),
    "show_dead_letter": _row(NONE, ANY, ANY, NONE),
    "fix_dead_letter": _row(NONE, NONE, ANY, NONE),
    "replay_dead_letter": _row(NONE, NONE, ANY, NONE),
    "replay_dead_letters": _row(NONE, NONE, ANY, NONE),
    "show_backlog": _row(NONE, ANY, ANY, NONE),
    "list_webhooks": _row(NONE, ANY, ANY, NONE),
    "add_webhook": _row(NONE, NONE, ANY, NONE),
    "remove_webhook": _row(NONE, NONE, ANY, NONE),
    "wake": _row(NONE, NONE, ANY, NONE),
    "write_trainer": _row(NONE, NONE, ANY, NONE),
    "write_profile": _row(OWN, NONE, ANY, ANY),
    "show_coins": _row(OWN, ANY, ANY, NONE),
    "top_up": _row(NONE, NONE, ANY, ANY),
    "list_catalogue": _row(ANY, ANY, ANY, ANY),
    "show_item": _row(ANY, ANY, ANY, ANY),
    "show_cart": _row(OWN, NONE, NONE, NONE),
    "add_cart_item": _row(OWN, NONE, NONE, NONE),
    "remove_cart_item": _row(OWN, NONE, NONE, NONE),
    "clear_cart": _row(OWN, NONE, NONE, NONE),
    "checkout": _row(OWN, NONE, NONE, NONE),
    "preflight": _row(OWN, NONE, NONE, NONE),
    "available_tests": _row(OWN, NONE, NONE, NONE),
    "start_test": _row(OWN, NONE, NONE, NONE),
    "start_old_test": _row(OWN, NONE, NONE, NONE),
    "generate_test_questions": _row(OWN, NONE, NONE, NONE),
    "hold_times": _row(OWN, NONE, NONE, NONE),
    "list_holds": _row(OWN, NONE, NONE, NONE),
    "let_times_go": _row(OWN, NONE, NONE, NONE),
}


class NoPolicy(Exception):
    """The policy does not say who may call an operation; the message says what to add."""


def row_of(operation: str) -> Row:
    """Return the row of an operation. Raises NoPolicy."""
    if operation not in POLICY:
        raise NoPolicy(
            f"add a row {operation!r} to POLICY in api/http/who_may_call.py: who may call it, and whose rows they reach"
        )
    return POLICY[operation]


def operations(app: FastAPI) -> dict[str, set[str]]:
    """Return every operation with its paths, undocumented ones too. Raises NoPolicy when two share a name."""
    found: dict[str, set[str]] = {}
    functions: dict[str, object] = {}
    for route in iter_route_contexts(app.routes):
        if not isinstance(route.original_route, APIRoute):
            continue  # the documentation's own pages
        name, path = str(route.name), str(route.path)
        if functions.setdefault(name, route.endpoint) is not route.endpoint:
            raise NoPolicy(f"two operations are called {name!r}, the second at {path}: give it a name of its own")
        found.setdefault(name, set()).add(path)
    return found


def require_rows(app: FastAPI) -> None:
    """Raise NoPolicy unless every operation has a row."""
    for operation in operations(app):
        row_of(operation)


def public_paths(app: FastAPI) -> frozenset[str]:
    """Return the paths that need no token: public operations, and the documentation, which holds no data."""
    documentation = {app.openapi_url, PAGE, SCRIPT, STYLE, *PAGES_OF_PROBLEMS}
    public = {path for name, paths in operations(app).items() if row_of(name) == PUBLIC for path in paths}
    return frozenset(public | {path for path in documentation if path})
