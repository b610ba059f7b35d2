"""`coursaga webhooks ...`: manage the addresses to which events are sent over HTTP."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from cyclopts import App, Parameter

from cli.api_client import open_api
from cli.output import FINE, Json, print_json, print_line, print_table

app = App(name="webhooks", help="Who is told of events over HTTP.")

_TARGETS = "/api/v1/admin/webhooks"


@app.command
async def add(
    url: str,
    *,
    event: Annotated[
        list[str] | None, Parameter(negative=(), help="an event type, as often as needed; none: all")
    ] = None,
    json: Json = False,
) -> int:
    """Tell an address of events from now on; prints the secret they are signed with, once."""
    async with open_api() as api:
        _, made = await api.post(_TARGETS, {"url": url, "eventTypes": event or []})
    if json:
        print_json(made)
    else:
        print_line(f"{made['id']}: {made['url']} is told")
        print_line(f"secret, not shown again: {made['secret']}")
    return FINE


@app.command(name="list")
async def list_targets(*, json: Json = False) -> int:
    """List who is told, and how their deliveries stand."""
    async with open_api() as api:
        found = (await api.get(_TARGETS))["webhooks"]
    if json:
        print_json(found)
    else:
        heads = {"id": "id", "url": "url", "delivered": "delivered", "waiting": "waiting", "givenUp": "given up"}
        print_table(found, heads | {"lastAnswer": "last answer"})
    return FINE


@app.command
async def remove(target: str, *, json: Json = False) -> int:
    """Tell an address no more, by its id."""
    async with open_api() as api:
        removed = await api.delete(f"{_TARGETS}/{quote(target, safe='')}")
    if json:
        print_json(removed)
    else:
        print_line(f"{removed['id']} is told no more")
    return FINE
