"""`coursaga purchases bulk`: send one verb to all parked purchases of a filter; counted first, sent with --apply."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

from cyclopts import Parameter
from rich.progress import Progress

from cli.api_client import Api, open_api
from cli.operators.acts import ADMIN, Actor, Key, Reason, WrongUsage, changes_of, signed
from cli.output import FAILED, FINE, Json, print_json, print_line, to_people

_COUNTS = ("done", "skipped", "failed", "pending")
_IDLE_ROUNDS = 5  # rounds in which nothing moves before the rest is left to another time


async def bulk(
    verb: str,
    *,
    code: Annotated[str | None, Parameter(help="the reason they are parked for")] = None,
    attention: Annotated[str | None, Parameter(help="`any`, or the reason")] = None,
    stage: str | None = None,
    student: str | None = None,
    payment: str | None = None,
    item: str | None = None,
    values: Annotated[
        list[str] | None, Parameter(name="--set", negative=(), help="what the verb takes, name=value")
    ] = None,
    limit: int = 1000,
    reason: Reason,
    request_key: Key = None,
    actor: Actor = None,
    apply: Annotated[bool, Parameter(negative=(), help="Do it; without, they are only counted.")] = False,
    json: Json = False,
) -> int:
    """Count the parked purchases a verb would be sent to; with --apply send it, one audit row each.

    Interrupted? The same --request-key again goes on with what is left: what it did before, it does not do or count again.
    """
    given = {"attention": attention, "code": code, "stage": stage, "student": student, "payment": payment, "item": item}
    wanted = {name: value for name, value in given.items() if value is not None}
    if not wanted:
        raise WrongUsage("say which purchases: --code, --stage, --student, --payment, --item, or --attention any")
    body: dict[str, Any] = {
        "verb": verb,
        "filter": wanted,
        "values": changes_of(values or []),
        "limit": limit,
        "dryRun": not apply,
    }
    body |= signed(reason, request_key)
    async with open_api(actor, patient=True) as api:
        answer = await _send(api, body) if apply else (await api.post(f"{ADMIN}:bulk", body))[1]
    if json:
        print_json(answer | {"requestKey": body["requestKey"]})
    else:
        _tell(verb, answer, body["requestKey"])
    undone = answer["failed"] or (apply and (answer["left"] or answer["newKeyNeeded"]))
    return FAILED if undone else FINE


async def _send(api: Api, body: dict[str, Any]) -> dict[str, Any]:
    """Repeat the same request until nothing is left, or nothing moves any more.

    Return the counts of all rounds together.
    """
    console = to_people()
    with Progress(console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task(body["verb"])
        total: dict[str, Any] = {}
        still = 0
        while True:
            answer = (await api.post(f"{ADMIN}:bulk", body))[1]
            done = total.get("done", 0) + answer["done"]
            total = {**answer, "matched": total.get("matched", answer["matched"]), "done": done}
            progress.update(bar, total=total["matched"], completed=done)
            still = 0 if answer["done"] else still + 1
            if answer["awaitingSecondPerson"] or not answer["left"] or still >= _IDLE_ROUNDS:
                return total
            await asyncio.sleep(0.2)


def _tell(verb: str, answer: dict[str, Any], key: str) -> None:
    if answer["dryRun"]:
        print_line(f"{answer['matched']} purchases would be sent {verb}; do it with --apply. Some of them:")
        for workflow_id in answer["sample"]:
            print_line(f"  {workflow_id}")
        return
    if answer["awaitingSecondPerson"]:
        print_line(
            f"{answer['matched']} purchases, nothing sent yet: together they give back more than one person may. "
            f"Somebody else sends the same with --request-key {key}"
        )
        return
    print_line(f"of {answer['matched']}: " + ", ".join(f"{answer[name]} {name}" for name in _COUNTS))
    for failure in answer["failures"]:
        print_line(f"  {failure}")
    if answer["held"]:
        print_line(f"{answer['held']} wait for a second person: somebody else sends the same with --request-key {key}")
    if answer["left"] or answer["pending"] > answer["held"] or answer["failed"]:
        print_line(f"go on with --request-key {key}")
