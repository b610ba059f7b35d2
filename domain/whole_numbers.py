"""Recognise whole numbers of JSON: Python takes `true` for 1, whoever wrote it does not."""

from __future__ import annotations

from typing import TypeGuard


def is_whole(value: object) -> TypeGuard[int]:
    """Return whether it is a JSON integer; true, 20.0 and "20" are not."""
    return isinstance(value, int) and not isinstance(value, bool)
