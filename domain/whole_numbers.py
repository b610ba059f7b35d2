"""Whole numbers of JSON: to Python `true` is 1, to whoever wrote it it is not."""

from __future__ import annotations

from typing import TypeGuard


def is_whole(value: object) -> TypeGuard[int]:
    """Whether it is a JSON integer; true, 20.0 and "20" are none."""
    return isinstance(value, int) and not isinstance(value, bool)
