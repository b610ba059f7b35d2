"""`coursaga dlq ...`: list, show, mend and replay dead letters, all through the HTTP API."""

from __future__ import annotations

import json as json_text
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter
from rich.progress import Progress

from cli.api_client import Api, open_api
from cli.operators.acts import Actor, Key, Reason, WrongUsage, signed
from cli.output import FAILED, FINE, Json, print_json, print_line, print_table, to_people

app = App(name="dlq", help="Messages that could not be taken: see them, mend them, bring them in again.")

_LETTERS = "/api/v1/admin/dead-letters"


@app.command(name="list")
async def list_letters(
    *,
    state: Literal["waiting", "replayed", "all"] = "waiting",
    code: Annotated[str | None, Parameter(help="why they were refused")] = None,
    json: Json = False,
) -> int:
    """List dead letters: those that wait for somebody, unless asked for others."""
    asked = {"state": state, "limit": "500"} | ({"code": code} if code else {})
    async with open_api(patient=True) as api:
        rows = [row async for row in api.pages(_LETTERS, asked, "deadLetters", "nextAfter", "after")]
    if json:
        print_json(rows)
    else:
        print_table(rows, {"id": "id", "code": "code", "detail": "why", "arrivedAt": "came at (UTC)"})
        print_line(f"{len(rows)} dead letters")
    return FINE


@app.command
async def show(letter: int, *, json: Json = False) -> int:
    """Show one: the message as it came, why it was refused, what was done about it."""
    async with open_api() as api:
        found = await api.get(f"{_LETTERS}/{letter}")
    if json:
        print_json(found)
        return FINE
    print_line(f"{found['code']}: {found['detail']}")
    print_line(f"{found['topic']}/{found['partition']}/{found['offset']}, tried {found['tries']} times")
    if found["topicSays"]:
        print_line(f"the topic of dead letters did not take it whole: {found['topicSays']}")
    for header in found["headers"]:
        print_line(f"header {header['name']}: {header['valueBase64']} (base64)")
    came = found["original"] if found["original"] is not None else found["originalBase64"]
    print_line(f"came:  {came if came is not None else 'no value (null)'}")
    if found["fixedPayload"] is not None:
        print_line(f"fixed: {json_text.dumps(found['fixedPayload'], ensure_ascii=False)}")
    print_table(found["acts"], {"actedAt": "at (UTC)", "actor": "who", "verb": "did", "reason": "why", "outcome": "so"})
    return FINE


@app.command
async def fix(
    letter: int,
    *,
    payload: Annotated[Path, Parameter(help="a file with the event as it should have been, as JSON")],
    reason: Reason,
    request_key: Key = None,
    actor: Actor = None,
    json: Json = False,
) -> int:
    """Mend the payload of one; it is kept beside the original, and is what a replay brings in."""
    try:
        mended = json_text.loads(payload.read_bytes())
    except (OSError, ValueError) as err:
        raise WrongUsage(f"--payload {payload}: {err}") from None
    return await _one(letter, "fix", signed(reason, request_key) | {"payload": mended}, actor, json)


@app.command
async def replay(
    letters: Annotated[str | None, Parameter(help="one id, or a range of them: 7 or 7-40")] = None,
    /,
    *,
    every: Annotated[bool, Parameter(name="--all", negative=())] = False,
    code: Annotated[str | None, Parameter(help="all that were refused with it")] = None,
    reason: Reason,
    request_key: Key = None,
    actor: Actor = None,
    json: Json = False,
) -> int:
    """Bring dead letters in again: one, a range, those of a code, or all that wait.

    What they ask for happens once however often they are replayed. Interrupted? The same --request-key goes on.
    """
    act = signed(reason, request_key)
    if sum((letters is not None, every, code is not None)) != 1:
        raise WrongUsage("say which: an id, a range, --code, or --all")
    if letters is not None and letters.isdecimal():
        return await _one(int(letters), "replay", act, actor, json)
    which = _range(letters) if letters is not None else {"code": code} if code else {"all": True}
    async with open_api(actor, patient=True) as api:
        done = await _replay_all(api, act | which)
    if json:
        print_json(done | {"requestKey": act["requestKey"]})
    else:
        print_line(f"of {done['matched']}: {done['replayed']} replayed, {done['refused']} refused again")
        for refusal in done["refusals"]:
            print_line(f"  {refusal}")
    return FAILED if done["refused"] else FINE


async def _replay_all(api: Api, body: dict[str, Any]) -> dict[str, Any]:
    """Repeat the same request until it finds no letter it has not tried; return the counts of all rounds together."""
    console = to_people()
    total: dict[str, Any] = {"matched": 0, "replayed": 0, "refused": 0, "refusals": []}
    with Progress(console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("replaying")
        while True:
            answer = (await api.post(f"{_LETTERS}:replay", body))[1]
            for name in ("replayed", "refused", "refusals"):
                total[name] += answer[name]
            total["matched"] = total["replayed"] + total["refused"] + answer["left"]
            progress.update(bar, total=total["matched"], completed=total["matched"] - answer["left"])
            if not answer["matched"]:
                return total


async def _one(letter: int, verb: str, body: dict[str, Any], actor: str | None, as_json: bool) -> int:
    async with open_api(actor) as api:
        _, answer = await api.post(f"{_LETTERS}/{letter}/{verb}", body)
    if as_json:
        print_json(answer)
    else:
        print_line(f"{letter}: {answer['outcome']}" + (f": {answer['detail']}" if answer["detail"] else ""))
    return FINE if answer["outcome"] in ("fixed", "taken", "duplicate") else FAILED


def _range(said: str) -> dict[str, Any]:
    first, dash, last = said.partition("-")
    if not (dash and first.isdecimal() and last.isdecimal()):
        raise WrongUsage(f"{said} is no id and no range; say 7 or 7-40")
    return {"first": int(first), "last": int(last)}
