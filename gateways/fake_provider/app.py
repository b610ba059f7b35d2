"""The provider over HTTP: payments, refunds, cancel, confirm (for tests), ledger, planned faults, and acts by hand."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Header, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from .faults import Fault, Faults
from .ledger import Ledger

Amount = Annotated[int, Field(ge=0, le=2**53)]


class _Body(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, strict=True, extra="forbid")


class _Line(_Body):
    line: Annotated[int, Field(ge=1)]
    amount_minor: Amount
    refunded_minor: Amount = 0


class _Payment(_Body):
    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}\z")]
    student_id: str
    status: Literal["pending", "succeeded", "failed", "refunded", "partially_refunded"]
    amount_minor: Amount
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}\z")]
    lines: Annotated[list[_Line], Field(min_length=1)]

    @model_validator(mode="after")
    def _adds_up(self) -> _Payment:
        if sum(line.amount_minor for line in self.lines) != self.amount_minor:
            raise ValueError("the lines do not add up to the amount")
        if len({line.line for line in self.lines}) != len(self.lines):
            raise ValueError("two lines have one number")
        if any(line.refunded_minor > line.amount_minor for line in self.lines):
            raise ValueError("more refunded than paid")
        return self


class _Refund(_Body):
    line: int
    amount_minor: int


class _Status(_Body):
    status: Literal["pending", "succeeded", "failed", "refunded", "partially_refunded"]


def _no_key() -> Response:
    """Refuse a request without a key: a key made up here would make every retry a second refund or payment."""
    return JSONResponse({"code": "idempotency_key_missing", "message": "send an Idempotency-Key"}, 400)


def make_app(db: Path) -> FastAPI:
    """Build the app on this ledger file. Handlers run one at a time on the event loop, each write synced to disk."""
    ledger, faults = Ledger(db), Faults()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncGenerator[None]:
        yield
        ledger.close()

    app = FastAPI(title="Stand-in payment provider", lifespan=lifespan)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> Response:
        said = "; ".join(str(one["msg"]) for one in error.errors())
        return JSONResponse({"code": "invalid_request", "message": said}, 422)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    for router in (_payments(ledger, faults), _by_hand(ledger), _of_tests(ledger, faults)):
        app.include_router(router)
    return app


def _payments(ledger: Ledger, faults: Faults) -> APIRouter:
    """Return the routes that a provider offers to a shop."""
    router = APIRouter()

    @router.post("/payments")
    async def create(body: _Payment) -> Response:
        content = body.model_dump(by_alias=True)
        return await faults.around("create", body.id, lambda: ledger.create(content))

    @router.post("/payment_intents")
    async def create_intent(body: _Payment, idempotency_key: Annotated[str, Header()] = "") -> Response:
        if not idempotency_key:
            return _no_key()
        content = body.model_dump(by_alias=True)
        return await faults.around("create_intent", body.id, lambda: ledger.create_intent(idempotency_key, content))

    @router.get("/payments/{payment_id}")
    async def get(payment_id: str) -> Response:
        return await faults.around("get", payment_id, lambda: ledger.get(payment_id))

    @router.post("/payments/{payment_id}/refunds")
    async def refund(payment_id: str, body: _Refund, idempotency_key: Annotated[str, Header()] = "") -> Response:
        if not idempotency_key:
            return _no_key()
        content = body.model_dump(by_alias=True)
        return await faults.around("refund", payment_id, lambda: ledger.refund(payment_id, idempotency_key, content))

    @router.get("/payments/{payment_id}/refunds")
    async def find_refund(payment_id: str, key: str) -> Response:
        return await faults.around("find_refund", payment_id, lambda: ledger.find_refund(payment_id, key))

    @router.post("/payments/{payment_id}/{operation}")
    async def settle(payment_id: str, operation: Literal["cancel", "confirm"]) -> Response:
        return await faults.around(operation, payment_id, lambda: ledger.settle(payment_id, operation))

    return router


def _by_hand(ledger: Ledger) -> APIRouter:
    """Return the routes for what somebody does by hand at the provider, past our keys. No fault is planned for it."""
    router = APIRouter(prefix="/_by_hand/{payment_id}")

    @router.post("/refunds")
    async def give_back(payment_id: str, body: _Refund) -> Response:
        status, answer = ledger.refund_by_hand(payment_id, body.model_dump(by_alias=True))
        return JSONResponse(answer, status)

    @router.post("/status")
    async def change(payment_id: str, body: _Status) -> Response:
        status, answer = ledger.status_by_hand(payment_id, body.status)
        return JSONResponse(answer, status)

    @router.delete("")
    async def forget_payment(payment_id: str) -> dict[str, bool]:
        return {"forgotten": ledger.forget_by_hand(payment_id)}

    return router


def _of_tests(ledger: Ledger, faults: Faults) -> APIRouter:
    """Return the routes by which tests read the ledger and plan faults."""
    router = APIRouter()

    @router.get("/_ledger")
    async def operations() -> list[dict[str, Any]]:
        return ledger.operations()

    @router.post("/_faults")
    async def plan(added: list[Fault]) -> dict[str, int]:
        return {"planned": faults.add(added)}

    @router.delete("/_faults")
    async def forget() -> dict[str, int]:
        return {"planned": faults.clear()}

    return router
