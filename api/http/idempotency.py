"""The `Idempotency-Key` header: it makes sending a request again safe."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Depends, Header

from application.errors import BadRequest

_KEY = re.compile(r"[\x20-\x7e]{8,255}")
_ABOUT = "Makes sending the same request again safe: 8 to 255 visible characters, quoted or bare."
_SHAPE = "must be 8 to 255 visible ASCII characters, quoted or bare."

_Given = Annotated[str | None, Header(alias="Idempotency-Key", description=_ABOUT, examples=['"cart-4711-try-1"'])]


def _maybe(given: _Given = None) -> str | None:
    if given is None:
        return None
    key = given.strip()
    if len(key) >= 2 and key.startswith('"') and key.endswith('"'):
        key = key[1:-1]
    if _KEY.fullmatch(key) is None or not key.strip():
        raise BadRequest(code="IDEMPOTENCY_KEY_INVALID", detail=f"The Idempotency-Key {_SHAPE}")
    return key


def _required(key: Annotated[str | None, Depends(_maybe)]) -> str:
    if key is None:
        raise BadRequest(code="IDEMPOTENCY_KEY_MISSING", detail=f"Send an Idempotency-Key: it {_SHAPE}")
    return key


MaybeKey = Annotated[str | None, Depends(_maybe)]
RequiredKey = Annotated[str, Depends(_required)]
