"""JSON that callers may fill freely and that is kept verbatim: PostgreSQL must be able to hold all of it."""

from __future__ import annotations

import math
from typing import Annotated, Any, cast

from pydantic import AfterValidator

from domain.texts import is_storable

_DEEPEST = 20  # levels; what people say of lessons has two


def require_storable(value: Any, depth: int = 0) -> None:
    """Raise ValueError ("is nested ...", "holds ...") for JSON that is too deep or holds what PostgreSQL cannot."""
    if depth > _DEEPEST:
        raise ValueError(f"is nested more than {_DEEPEST} levels deep")
    if isinstance(value, dict):
        for key, inner in cast("dict[str, Any]", value).items():
            require_storable(key)
            require_storable(inner, depth + 1)
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            require_storable(inner, depth + 1)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("holds a number that is none (NaN, Infinity)")
    elif isinstance(value, str) and not is_storable(value):
        raise ValueError("holds a character that cannot be stored (NUL, half a surrogate pair)")


def _storable(value: dict[str, Any]) -> dict[str, Any]:
    require_storable(value)
    return value


FreeObject = Annotated[dict[str, Any], AfterValidator(_storable)]
