"""`coursaga purchases ...`: start, list, show, and the operators' verbs, all through the HTTP API."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal
from urllib.parse import quote

from cyclopts import App, Parameter
from rich.progress import Progress

from cli.api_client import Api, ApiRefused, ApiUnreachable, open_api
from cli.operators.acts import ADMIN, WrongUsage, add_verbs
from cli.operators.bulk import bulk
from cli.operators.case_view import tell_case
from cli.operators.create import create
from cli.operators.matching_view import tell_matching
from cli.operators.purchase_view import tell
from cli.operators.watch import watch
from cli.output import FAILED, FINE, UNREACHABLE, Json, print_json, print_line, print_table, to_people

app = App(name="purchases", help="Start purchases, see what became of them, act on those that wait.")
add_verbs(app)
app.command(create)
app.command(watch)
app.command(bulk)

_PURCHASES = "/api/v1/purchases"
_MAX_CONCURRENCY = 16  # requests in flight


@dataclass
class Started:
    """What `start` did: `lines` counts lines, `failures` has one entry per payment that failed."""

    lines: Counter[str] = field(default_factory=Counter[str])
    failures: list[dict[str, str]] = field(default_factory=list[dict[str, str]])
    unreachable: bool = False

    def summary(self) -> dict[str, Any]:
        """Return the object that --json prints."""
        counts = {name: self.lines[name] for name in ("started", "already")}
        return {**counts, "failed": len(self.failures), "failures": self.failures}


@app.command
async def start(
    *payment: str, all_payments: Annotated[bool, Parameter(name="--all", negative=())] = False, json: Json = False
) -> int:
    """Start a purchase for every line of these payments, or of all payments that have a line not started yet.

    The workflow id of a purchase (purchase:...) in place of a payment starts that one again, if its run was closed in
    Temporal before it had an ending. Safe to repeat: what was started is left alone.
    """
    if bool(payment) == all_payments:
        raise WrongUsage("say which payment to start, or --all")
    async with open_api(patient=True) as api:
        ids: Iterable[str] = [i async for i in _unstarted(api)] if all_payments else payment
        done = await start_payments(api, list(ids), show=not json)
    if json:
        print_json(done.summary())
    else:
        print_line(", ".join(f"{count} {name}" for name, count in done.summary().items() if name != "failures"))
        for failure in done.failures[:20]:
            print_line(f"  {failure['paymentId']}: {failure['detail']}")
    return FINE if not done.failures else UNREACHABLE if done.unreachable else FAILED


@app.command(name="list")
async def list_purchases(
    *,
    attention: Annotated[str | None, Parameter(help="`any`, or the reason they wait for")] = None,
    code: str | None = None,
    student: str | None = None,
    payment: str | None = None,
    item: str | None = None,
    stage: Annotated[str | None, Parameter(help="the step they are at")] = None,
    problems: Annotated[bool, Parameter(help="only those that the workflow's own code fails on")] = False,
    ending: Literal["completed", "refused", "attention", "running", "cancelled"] | None = None,
    json: Json = False,
) -> int:
    """List what was started and what became of it."""
    given = {
        "attention": attention, "code": code, "student": student, "payment": payment, "item": item, "stage": stage,
        "problems": "true" if problems else None, "ending": ending,
    }  # fmt: skip
    filters = {name: value for name, value in given.items() if value is not None} | {"limit": "500"}
    async with open_api(patient=True) as api:
        rows = [row async for row in api.pages(ADMIN, filters, "purchases", "nextCursor", "cursor")]
    if json:
        print_json(rows)
        return FINE
    # What fits 80 columns; --json has all of it.
    print_table(rows, {"workflowId": "purchase", "ending": "ending", "code": "code", "sessions": "lessons"})
    endings = Counter(row["ending"] for row in rows)
    print_line(f"{len(rows)} purchases: " + ", ".join(f"{count} {ending}" for ending, count in endings.most_common()))
    return FINE


@app.command
async def show(purchase: str, *, json: Json = False) -> int:
    """Show one purchase, by its id or workflow id: steps, lessons, what it waits for and what to do."""
    async with open_api() as api:
        found = await api.get(f"{_PURCHASES}/{quote(purchase, safe='')}")
    if json:
        print_json(found)
    else:
        tell(found)
    return FINE


@app.command
async def case(purchase: str, *, json: Json = False) -> int:
    """Tell why a purchase stands where it stands, what happened, and what can be done."""
    async with open_api() as api:
        found = await api.get(f"{ADMIN}/{quote(purchase, safe='')}/case")
    if json:
        print_json(found)
    else:
        tell_case(found)
    return FINE


@app.command
async def matching(
    purchase: str,
    *,
    trainer: Annotated[str | None, Parameter(help="tell of this trainer alone")] = None,
    json: Json = False,
) -> int:
    """Tell why a purchase has this trainer, or none, and why not each other one."""
    query = f"?trainer={quote(trainer, safe='')}" if trainer else ""
    async with open_api() as api:
        found = await api.get(f"{ADMIN}/{quote(purchase, safe='')}/matching{query}")
    if json:
        print_json(found)
    else:
        tell_matching(found)
    return FINE


async def start_payments(api: Api, payment_ids: list[str], *, show: bool = False) -> Started:
    """Start each payment (or purchase) through the API, some at a time; go on with the rest when one fails."""
    done = Started()
    gate = asyncio.Semaphore(_MAX_CONCURRENCY)
    console = to_people()
    with Progress(console=console, disable=not (show and console.is_terminal)) as progress:
        bar = progress.add_task("starting", total=len(payment_ids))

        async def one(payment_id: str) -> None:
            async with gate:
                await _start_one(api, payment_id, done)
            progress.advance(bar)

        await asyncio.gather(*(one(payment_id) for payment_id in payment_ids))
    return done


async def _start_one(api: Api, payment_id: str, done: Started) -> None:
    try:
        what = "purchaseId" if payment_id.startswith("purchase:") else "paymentId"
        _, answer = await api.post(_PURCHASES, {what: payment_id})
    except (ApiRefused, ApiUnreachable) as err:
        code = err.code if isinstance(err, ApiRefused) else "API_UNREACHABLE"
        done.failures.append({"paymentId": payment_id, "code": code, "detail": str(err)})
        done.unreachable = done.unreachable or err.exit_code == UNREACHABLE
    else:
        done.lines.update("started" if line["state"] == "started" else "already" for line in answer["lines"])


def _unstarted(api: Api) -> Any:
    return api.pages("/api/v1/admin/payments/unstarted", {"limit": "500"}, "paymentIds", "nextAfter", "after")
