"""Every operation of the API as a request that would be let in, and what the database holds before and after."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from sqlalchemy import Engine, text

from api.app import create_app
from runtime.settings import Settings
from tests.roles import owner_of

_TABLES = text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")


@dataclass(frozen=True)
class Operation:
    """One operation: `method` in capitals, `path` as documented, with names in braces."""

    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def operations(app: FastAPI) -> list[Operation]:
    """All of them, those that are left out of the documentation too."""
    routes = [route for route in iter_route_contexts(app.routes) if isinstance(route.original_route, APIRoute)]
    return [Operation(method, str(route.path)) for route in routes for method in sorted(route.methods or ())]


@cache
def document() -> dict[str, Any]:
    """The OpenAPI document of the API; to be read, not changed."""
    return create_app(Settings()).openapi()


def good_request(operation: Operation, ids: dict[str, str]) -> dict[str, Any]:
    """What httpx2 sends: ids filled into the path, the documented example as the body."""
    url = operation.path
    for name, value in ids.items():
        url = url.replace(f"{{{name}}}", value)
    body = _example(operation)
    if body is not None and "paymentId" in body:
        body = {**body, "paymentId": ids["payment"]}
    return {"method": operation.method, "url": url, **({} if body is None else {"json": body})}


def stored(engine: Engine) -> str:
    """A fingerprint of every row of every table."""
    with owner_of(engine).connect() as connection:
        tables = connection.execute(_TABLES).scalars().all()
        every = " UNION ALL ".join(
            f"SELECT '{name}' AS table_name, md5(string_agg(t::text, chr(10) ORDER BY t::text)) FROM {name} t"  # noqa: S608 -- names of tables
            for name in tables
        )
        every += " ORDER BY 1"  # PostgreSQL may look at several tables side by side
        return hashlib.sha256(repr(connection.execute(text(every)).all()).encode()).hexdigest()


def _example(operation: Operation) -> dict[str, Any] | None:
    head, _, last = operation.path.rpartition("/")
    paths = document()["paths"]
    told = paths.get(operation.path) or paths.get(f"{head}/{last.replace('-', '_')}", {})
    body = told.get(operation.method.lower(), {}).get("requestBody")
    if body is None:
        return None
    name = body["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    return document()["components"]["schemas"][name]["examples"][0]
