"""Make files and folders of COURSAGA_HOME: folders others can pass through, secrets only their owner reads."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp


def open_folder(folder: Path) -> None:
    """Create a folder and its missing parents so that other accounts can pass; existing ones stay as they are."""
    for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        missing.mkdir(exist_ok=True)
        missing.chmod(0o755)


def write_secret(file: Path, text: str) -> None:
    """Write a file that only its owner can read, from its first moment on; readers see the old or the new text."""
    draft_secret(file, text).replace(file)


def make_secret_once(file: Path, make: Callable[[], str]) -> None:
    """Write a secret if there is no file yet; of any number who do so at once, only one succeeds."""
    if file.exists():
        return
    open_folder(file.parent)
    draft = draft_secret(file, make())
    with suppress(FileExistsError):  # somebody was faster
        os.link(draft, file)
    draft.unlink()


def draft_secret(file: Path, text: str) -> Path:
    """Write the text beside `file`, under a name that no other thread or process uses; return the new file."""
    number, draft = mkstemp(dir=file.parent, prefix=f".{file.name}.")  # readable by its owner only
    with os.fdopen(number, "w") as opened:
        opened.write(text)
    return Path(draft)
