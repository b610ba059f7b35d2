"""How a process without a port shows that it lives: each of its loops touches a file of its own as it goes round."""

from __future__ import annotations

from pathlib import Path

from runtime.files import open_folder

SECONDS = 10.0  # between beats of a loop that has nothing to do


def beat(folder: Path | None, name: str) -> None:
    """The loop of this name has come round; without a folder nobody asks. What looks: docker-compose.yml."""
    if folder is not None:
        open_folder(folder)
        (folder / name).touch()
