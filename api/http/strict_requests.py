"""Refuse a name said twice, text that cannot be stored, and a parameter nobody reads.

Two readers of such a request could understand it differently. It is refused before anything is done.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel

from application.event_schema import each_key_once
from application.storable_json import require_storable

_STRICT = "/api/v1/"  # older paths take what older callers send
_OWN_WORDS = "/api/v1/events"  # which reads its bytes itself, and says what is wrong in words of its own


async def well_said(request: Request) -> None:
    """Raise RequestValidationError for such a request; for the whole app, once the caller is permitted."""
    faults = _unknown_parameters(request) if request.url.path.startswith(_STRICT) else []
    if "json" in request.headers.get("content-type", "application/json") and request.url.path != _OWN_WORDS:
        faults += _faults_of(await request.body())
    if faults:
        raise RequestValidationError(faults)


def _unknown_parameters(request: Request) -> list[dict[str, Any]]:
    if not request.query_params:
        return []
    known = set(_names(request.scope["route"].dependant))
    return [
        {"type": "extra_forbidden", "loc": ("query", name), "msg": "is not known here"}
        for name in dict.fromkeys(request.query_params)
        if name not in known
    ]


def _names(dependant: Dependant) -> Iterator[str]:
    """Yield the query parameters that an operation or something it depends on reads."""
    for field in dependant.query_params:
        shape = field.field_info.annotation
        if isinstance(shape, type) and issubclass(shape, BaseModel):
            yield from (each.alias or name for name, each in shape.model_fields.items())
        else:
            yield field.alias
    for each in dependant.dependencies:
        yield from _names(each)


def _faults_of(body: bytes) -> list[dict[str, Any]]:
    """Return the faults of a readable body; any other is refused anyway."""
    if not body:
        return []
    try:
        said = json.loads(body, object_pairs_hook=each_key_once)
        require_storable(said)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        return []
    except ValueError as fault:
        return [{"type": "value_error", "loc": ("body",), "msg": str(fault)}]
    return []
