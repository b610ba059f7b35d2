"""Let a process without a port show that it lives: each of its loops touches a file of its own each time round."""

from __future__ import annotations

from pathlib import Path

from runtime.files import open_folder

SECONDS = 10.0  # between beats of a loop that has nothing to do


def beat(folder: Path | None, name: str) -> None:
    """Touch the file of this loop, which docker-compose.yml looks at; without a folder do nothing."""
    if folder is not None:
        open_folder(folder)
        (folder / name).touch()
