"""Planned faults, so that tests can have the provider fail at a named call. In memory: a restart forgets them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Literal

from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr
from starlette.types import Receive, Scope, Send

Answer = tuple[int, dict[str, Any]]
_PAGE = "<!DOCTYPE html><html><head><title>404 Not Found</title></head><body><h1>Not Found</h1></body></html>"
_BROKEN: Answer = (500, {"code": "internal_error", "message": "broken as planned"})


class Fault(BaseModel):
    """One planned fault: it strikes the `nth` call of this operation (and payment), or the first `times` calls (1).

    refuse, 429, 500_before and timeout_before do nothing; 500_after, timeout_after and reset do the work and lose the
    answer; slow does it late; foreign answers are somebody else's and do nothing either. None is saved under the
    caller's key: the same call again gets the ledger's answer.
    `seconds`: how long slow (1) and timeouts (30) take, and what 429 asks to wait (1).
    """

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    operation: Literal["create", "create_intent", "get", "refund", "find_refund", "cancel", "confirm"]
    payment_id: str | None = Field(default=None, alias="paymentId")
    nth: int | None = Field(default=None, ge=1)
    times: int = Field(default=1, ge=1)
    action: Literal[
        "refuse", "429", "500_before", "500_after", "timeout_before", "timeout_after", "reset", "slow",
        "foreign_404", "foreign_json", "foreign_200", "foreign_payment",
    ]  # fmt: skip
    seconds: float | None = Field(default=None, ge=0, le=600)
    _calls: int = PrivateAttr(default=0)

    def strikes(self, operation: str, payment_id: str) -> bool:
        """Count a call if it is one of this fault's; return whether this fault strikes it."""
        if operation != self.operation or self.payment_id not in (None, payment_id):
            return False
        self._calls += 1
        return self._calls == self.nth if self.nth else self._calls <= self.times


class Faults:
    """The plan in force. Each call counts for every fault of the plan that it matches; the first that strikes wins."""

    def __init__(self) -> None:
        self._plan: list[Fault] = []

    def add(self, plan: list[Fault]) -> int:
        """Add faults to the plan, with counts from zero; return how many it has now."""
        self._plan.extend(plan)
        return len(self._plan)

    def clear(self) -> int:
        """Forget the plan; return 0, the faults it has now."""
        self._plan.clear()
        return 0

    async def around(self, operation: str, payment_id: str, work: Callable[[], Answer]) -> Response:
        """Do the work and return its answer, or spoil it as planned."""
        struck = [fault for fault in self._plan if fault.strikes(operation, payment_id)]
        return await _spoil(struck[0], work) if struck else _answer(work())


async def _spoil(fault: Fault, work: Callable[[], Answer]) -> Response:
    name, _, when = fault.action.partition("_")
    if name == "foreign":
        return _foreign(when)
    if when == "after" or name == "reset":
        work()
    if name in ("timeout", "slow"):
        usual = 1 if name == "slow" else 30
        await asyncio.sleep(usual if fault.seconds is None else fault.seconds)
    match name:
        case "refuse":
            return _answer((422, {"code": "refused_by_plan", "message": "refused as planned"}))
        case "429":
            wait = 1 if fault.seconds is None else fault.seconds
            return JSONResponse({"code": "rate_limited"}, 429, {"Retry-After": f"{wait:.0f}"})
        case "slow":
            return _answer(work())
        case "reset":
            return _Cut()
        case _:
            return _answer(_BROKEN)


def _foreign(what: str) -> Response:
    """Return what somebody else at this address answers: a load balancer, a wrong path, another service."""
    match what:
        case "404":
            return HTMLResponse(_PAGE, 404)
        case "json":
            return JSONResponse({"detail": "Not Found"}, 404)
        case "200":
            return JSONResponse({"status": "ok"})
        case _:
            line = {"line": 1, "amountMinor": 1, "refundedMinor": 0}
            whose = {"id": "pay-of-somebody-else", "studentId": "somebody-else", "status": "failed"}
            return JSONResponse({**whose, "amountMinor": 1, "currency": "USD", "lines": [line]})


def _answer(answer: Answer) -> JSONResponse:
    return JSONResponse(answer[1], answer[0])


class _Cut(Response):
    """An answer that promises a body and stops in the middle: the server then drops the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{", "more_body": True})
