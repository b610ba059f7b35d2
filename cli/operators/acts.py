"""The operators' verbs on the command line.

Each sends one API request: who, why, and a key that makes it happen once.
"""

from __future__ import annotations

import json as json_text
from typing import Annotated, Any, Literal
from urllib.parse import quote
from uuid import uuid4

from cyclopts import App, Parameter

from cli.api_client import open_api
from cli.output import FINE, USAGE, Json, print_json, print_line, print_table
from runtime.errors import CannotRun

ADMIN = "/api/v1/admin/purchases"

Reason = Annotated[str, Parameter(help="Why; it is kept with the act.")]
Key = Annotated[str | None, Parameter(help="Makes the act happen once: the same key again tells the first answer.")]
Actor = Annotated[str | None, Parameter(help="Who acts; you, by default.")]
Refund = Literal["full", "undelivered", "none"]


class WrongUsage(CannotRun):
    """The arguments do not go together."""

    exit_code = USAGE


async def retry_now(
    purchase: str, *, reason: Reason, request_key: Key = None, actor: Actor = None, json: Json = False
) -> int:
    """Try the parked step again now, instead of at its next time."""
    return await act(purchase, "retry_now", reason, request_key, actor, json)


async def amend(
    purchase: str,
    *,
    changes: Annotated[list[str], Parameter(name="--set", negative=(), help="key=value, as often as needed")],
    reason: Reason,
    request_key: Key = None,
    actor: Actor = None,
    json: Json = False,
) -> int:
    """Change what was bought or how, then try again: --set startDate=2026-12-01 --set sessionCount=12.

    A value is read as JSON where it is JSON (a number, true), else as text.
    """
    return await act(purchase, "amend", reason, request_key, actor, json, changes=changes_of(changes))


async def skip_step(
    purchase: str,
    *,
    step: Annotated[str, Parameter(help="the step it is parked at")],
    reason: Reason,
    request_key: Key = None,
    actor: Actor = None,
    json: Json = False,
) -> int:
    """Go on without the step it is parked at; skipping assign_trainer skips approval and lessons, too."""
    return await act(purchase, "skip_step", reason, request_key, actor, json, step=step.replace("-", "_"))


async def assign_trainer(
    purchase: str,
    *,
    trainer: Annotated[str, Parameter(help="who is to give all the lessons")],
    reason: Reason,
    request_key: Key = None,
    actor: Actor = None,
    json: Json = False,
) -> int:
    """Give all the lessons to this trainer, who must be free for every one of them."""
    return await act(purchase, "assign_trainer", reason, request_key, actor, json, trainerId=trainer)


async def approve(
    purchase: str, *, reason: Reason, request_key: Key = None, actor: Actor = None, json: Json = False
) -> int:
    """Say yes to the proposed trainer; the lessons follow at once."""
    return await act(purchase, "approve_allocation", reason, request_key, actor, json)


async def create_sessions(
    purchase: str,
    *,
    count: int | None = None,
    start_date: str | None = None,
    time_slot: str | None = None,
    reason: Reason,
    request_key: Key = None,
    actor: Actor = None,
    json: Json = False,
) -> int:
    """Create the missing lessons now, with another count or schedule if given."""
    given = {"count": count, "startDate": start_date, "timeSlot": time_slot}
    overrides = {name: value for name, value in given.items() if value is not None}
    return await act(purchase, "create_sessions", reason, request_key, actor, json, overrides=overrides)


async def cancel(
    purchase: str,
    *,
    refund: Refund = "full",
    reason: Reason,
    request_key: Key = None,
    actor: Actor = None,
    json: Json = False,
) -> int:
    """Undo everything the purchase did and give the money back: full, undelivered (lessons not given) or none."""
    return await act(purchase, "cancel", reason, request_key, actor, json, refund=refund)


async def settle_refund(
    purchase: str,
    *,
    proof: Annotated[str, Parameter(help="how the money was given back, such as the bank's reference")],
    reason: Reason,
    request_key: Key = None,
    actor: Actor = None,
    json: Json = False,
) -> int:
    """End a rollback whose refund is stuck, because the money was given back outside the provider. Two people.

    Another person sends the same with the same --request-key.
    """
    return await act(purchase, "settle_refund", reason, request_key, actor, json, proof=proof)


async def withdraw(
    purchase: str,
    *,
    request_key: Annotated[str, Parameter(help="the key of the act that waits for a second person")],
    reason: Reason,
    actor: Actor = None,
    json: Json = False,
) -> int:
    """Take back an act that waits for a second person."""
    return await act(purchase, "withdraw", reason, request_key, actor, json)


async def extend(
    purchase: str,
    *,
    until: Annotated[str, Parameter(help="the new last day, YYYY-MM-DD")],
    reason: Reason,
    request_key: Key = None,
    actor: Actor = None,
    json: Json = False,
) -> int:
    """Give access until a later day, before its end or after."""
    return await act(purchase, "extend", reason, request_key, actor, json, expiryDate=until)


async def acts(purchase: str, *, json: Json = False) -> int:
    """List what operators did to a purchase, and why."""
    async with open_api() as api:
        found = await api.get(f"{ADMIN}/{quote(purchase, safe='')}/acts")
    if json:
        print_json(found["acts"])
    else:
        heads = {"actedAt": "at (UTC)", "actor": "who", "secondActor": "and", "verb": "did", "reason": "why"}
        print_table(found["acts"], heads | {"outcome": "outcome"})
    return FINE


def add_verbs(app: App) -> None:
    """Add the verbs to `app` as commands."""
    for verb in (
        retry_now,
        amend,
        skip_step,
        assign_trainer,
        approve,
        create_sessions,
        cancel,
        settle_refund,
        withdraw,
        extend,
        acts,
    ):
        app.command(verb, name=verb.__name__.replace("_", "-"))


def signed(reason: str, key: str | None) -> dict[str, Any]:
    """Return the reason and request key that every act is sent with; the key is made up if none is given."""
    return {"reason": reason, "requestKey": key or f"cli-{uuid4()}"}


async def act(
    purchase: str, verb: str, reason: str, key: str | None, actor: str | None, as_json: bool, **values: Any
) -> int:
    """Send the act to the API and print the outcome; return the exit code. `verb` is the last part of the path."""
    body = signed(reason, key) | values
    async with open_api(actor) as api:
        _, answer = await api.post(f"{ADMIN}/{quote(purchase, safe='')}/{verb}", body)
    if as_json:
        print_json(answer)
    elif answer["done"]:
        print_line(f"{answer['workflowId']}: {answer['outcome']}")
    elif answer["outcome"]:
        key = body["requestKey"]
        print_line(f"{answer['workflowId']}: waits for a second person, who sends the same with --request-key {key}")
    else:
        again = f"ask again with --request-key {body['requestKey']}"
        print_line(
            f"{answer['workflowId']}: accepted, still under way; {again}, or look with `coursaga purchases show`"
        )
    return FINE


def changes_of(said: list[str]) -> dict[str, Any]:
    """Parse `--set key=value` pairs; a value is JSON where it is JSON, else text. Raises WrongUsage."""
    changes: dict[str, Any] = {}
    for pair in said:
        name, equals, text = pair.partition("=")
        if not (name and equals):
            raise WrongUsage(f"--set {pair}: say key=value")
        changes[name] = _value(text)
    return changes


def _value(text: str) -> Any:
    try:
        return json_text.loads(text)
    except ValueError:
        return text
