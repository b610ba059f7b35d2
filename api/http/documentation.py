"""Serve `/docs`, the API to be read and tried, and `/problems`, the meaning of each problem.

`/docs` has files of our own and needs no other server; `/problems` is served in production too.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from typing import Any

import fastapi_offline
from fastapi import FastAPI, Response
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi_rfc9457 import PROBLEM_MEDIA_TYPE
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse

from api.http.problem_table import PROBLEM_TYPES
from api.http.problem_types import PATH, page

PAGES_OF_PROBLEMS = tuple(f"{PATH}/{code}" for code in PROBLEM_TYPES)
PAGE, SCRIPT, STYLE = "/docs", "/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css"
_KINDS = {SCRIPT: "text/javascript", STYLE: "text/css"}
# What is answered before an operation is reached.
_OF_ALL = {
    "408": "The body did not come in time.",
    "413": "The body is too large.",
}
_REQUIRED = ["type", "title", "status", "code", "retryable"]
_PROBLEM: dict[str, Any] = {
    "title": "ProblemDetail",
    "description": "A problem (RFC 9457); `type` is where `code` is explained, `retryable` whether the same request may "
    "succeed later.",
    "type": "object",
    "properties": {
        "type": {"type": "string", "format": "uri"}, "title": {"type": "string"}, "status": {"type": "integer"},
        "detail": {"type": "string"}, "instance": {"type": "string"}, "code": {"type": "string"},
        "retryable": {"type": "boolean"},
    },
}  # fmt: skip


def documented(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Return the new `app.openapi`: the framework's document, with what is answered before an operation is reached."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = made()
            _describe_problems(document["components"]["schemas"])
            for operation in (each for path in document["paths"].values() for each in path.values()):
                _complete(operation)
        return made()

    return openapi


def _describe_problems(schemas: dict[str, Any]) -> None:
    schemas["ProblemDetail"] = _PROBLEM
    for schema in schemas.values():
        if {"type", "title", "status"} <= schema.get("properties", {}).keys():
            schema["properties"]["type"] = _PROBLEM["properties"]["type"]  # by code, not by kind of problem
            schema["required"] = _REQUIRED


def _complete(operation: dict[str, Any]) -> None:
    answers = operation["responses"]
    for answer in answers.values():
        shape = answer.get("content", {}).get(PROBLEM_MEDIA_TYPE, {}).get("schema", {})
        if "oneOf" in shape:  # by their form alone, several may fit
            shape["anyOf"] = shape.pop("oneOf")
    content = {PROBLEM_MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetail"}}}
    for status, words in _OF_ALL.items():
        answers.setdefault(status, {"description": words, "content": content})
    if "requestBody" in operation:
        answers.setdefault("415", {"description": "The body is not sent as JSON.", "content": content})


def add_documentation(app: FastAPI) -> None:
    """Add the page, its script and its style; all of them are public and hold no data."""

    async def page(_: Request) -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url=str(app.openapi_url), title=app.title, swagger_js_url=SCRIPT, swagger_css_url=STYLE,
            swagger_favicon_url="data:,",
        )  # fmt: skip

    async def part(request: Request) -> Response:
        name = request.url.path.rpartition("/")[2]
        content = files(fastapi_offline).joinpath("static", name).read_bytes()
        return Response(content, media_type=_KINDS[request.url.path], headers={"Cache-Control": "max-age=86400"})

    app.add_route(PAGE, page, include_in_schema=False)
    for path in _KINDS:
        app.add_route(path, part, include_in_schema=False)


def add_pages_of_problems(app: FastAPI) -> None:
    """Add the pages that `type` of a problem leads to; public, and without data."""

    async def problem(request: Request) -> HTMLResponse:
        row = PROBLEM_TYPES.get(request.path_params["code"])
        if row is None:
            raise HTTPException(404)
        return HTMLResponse(page(row))

    app.add_route(f"{PATH}/{{code}}", problem, include_in_schema=False)
