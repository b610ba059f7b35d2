"""Check that the data of PostgreSQL, Temporal and the stand-in provider belong together: all of them, or none.

A part alone would be dangerous: workflows without their rows, or rows whose workflows are gone, or charges nobody
remembers. Each part carries the same random id; once the servers have all been up, none may be missing any more.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path

from runtime.errors import CannotRun
from runtime.files import open_folder

_REMEDY = "put it back, or start afresh with `coursaga down --wipe`"


class DataMismatch(CannotRun):
    """The parts do not belong together; the message names what is missing or foreign, and what to do."""


class DataGuard:
    """Guards the embedded parts of one home.

    `parts` maps a name to the file or folder that exists once the part has data.
    """

    def __init__(self, home: Path, parts: Mapping[str, Path]) -> None:
        self._settled = home / "together"
        self._parts = dict(parts)

    def claim(self) -> None:
        """Mark the parts as belonging together the first time; check that they do ever after. Raises DataMismatch."""
        ids = {name: self._id(name) for name in self._parts}
        with_data = {name for name, data in self._parts.items() if data.exists()}
        absent = [name for name, found in ids.items() if found is None]
        if len(set(ids.values()) - {None}) > 1:
            raise DataMismatch(f"the data of {' and '.join(ids)} is of different stacks: {_REMEDY}")
        if self._settled.exists():
            absent = [name for name in self._parts if name in absent or name not in with_data]
        elif not with_data:
            return self._mark(absent, next((found for found in ids.values() if found), secrets.token_hex(8)))
        if absent:
            there = [name for name in self._parts if name not in absent] or ["nothing"]
            raise DataMismatch(
                f"the data of {' and '.join(absent)} is missing while that of {' and '.join(there)} is there, "
                f"and they belong together: {_REMEDY}"
            )
        return None

    def settle(self) -> None:
        """Note that all parts have been up: from now on each must have its data."""
        self._settled.touch()

    def _mark(self, names: list[str], stack_id: str) -> None:
        for name in names:
            file = self._mark_of(name)
            open_folder(file.parent)
            file.write_text(stack_id)

    def _id(self, name: str) -> str | None:
        file = self._mark_of(name)
        return (file.read_text().strip() or None) if file.exists() else None

    def _mark_of(self, name: str) -> Path:
        return self._parts[name].parent / "stack-id"
