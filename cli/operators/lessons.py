"""`coursaga lessons ...`: show the lessons of a purchase one by one, and change them."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from cyclopts import App, Parameter

from cli.api_client import open_api
from cli.operators.acts import Actor, Key, Reason, act
from cli.output import FINE, Json, print_json, print_table

app = App(name="lessons", help="See lessons one by one, give them another time or another trainer.")

Trainer = Annotated[str, Parameter(help="who is to give them")]


@app.command(name="list")
async def list_lessons(purchase: str, *, json: Json = False) -> int:
    """List the lessons of a purchase in the order of their times; times are the student's wall time."""
    async with open_api() as api:
        found = await api.get(f"/api/v1/purchases/{quote(purchase, safe='')}/lessons")
    if json:
        print_json(found["lessons"])
    else:
        heads = {"number": "lesson", "local": "at", "timezone": "in", "minutes": "min", "trainerId": "trainer"}
        print_table(found["lessons"], heads | {"status": "status", "clock": "clock", "closed": "closed"})
    return FINE


@app.command
async def reschedule(
    purchase: str,
    number: int,
    *,
    date: Annotated[str, Parameter(help="YYYY-MM-DD")],
    time_slot: Annotated[str, Parameter(help="HH:MM, the student's wall time")],
    minutes: int | None = None,
    reason: Reason,
    request_key: Key = None,
    actor: Actor = None,
    json: Json = False,
) -> int:
    """Give a lesson that has not begun another time; its trainer and the student must be free then."""
    asked = {"date": date, "timeSlot": time_slot} | ({} if minutes is None else {"minutes": minutes})
    return await act(purchase, f"lessons/{number}/reschedule", reason, request_key, actor, json, **asked)


@app.command
async def substitute(
    purchase: str,
    number: int,
    *,
    trainer: Trainer,
    rest: Annotated[bool, Parameter(help="also all lessons after it", negative=())] = False,
    reason: Reason,
    request_key: Key = None,
    actor: Actor = None,
    json: Json = False,
) -> int:
    """Give a lesson to another trainer, at the same time; with --rest also all lessons after it."""
    asked = {"trainerId": trainer, "rest": rest}
    return await act(purchase, f"lessons/{number}/substitute", reason, request_key, actor, json, **asked)


@app.command
async def transfer(
    purchase: str,
    *,
    trainer: Trainer,
    reason: Reason,
    request_key: Key = None,
    actor: Actor = None,
    json: Json = False,
) -> int:
    """Give all lessons that are still to come to another trainer, for good."""
    return await act(purchase, "lessons/transfer", reason, request_key, actor, json, trainerId=trainer)
