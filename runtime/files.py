"""Files and folders of COURSAGA_HOME: made so that other accounts can pass, secrets so that only their owner reads."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import mkstemp


def open_folder(folder: Path) -> None:
    """Makes a folder and its missing parents passable for other accounts; existing ones stay as they are."""
    for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        missing.mkdir(exist_ok=True)
        missing.chmod(0o755)


def write_secret(file: Path, text: str) -> None:
    """Writes a file that only its owner can read, from its first moment on; readers see the old or the new one."""
    draft_secret(file, text).replace(file)


def make_secret_once(file: Path, make: Callable[[], str]) -> None:
    """Writes a secret where there is no file yet; of any number who do so at once, one does."""
    if file.exists():
        return
    open_folder(file.parent)
    draft = draft_secret(file, make())
    with suppress(FileExistsError):  # somebody was faster
        os.link(draft, file)
    draft.unlink()


def draft_secret(file: Path, text: str) -> Path:
    """Writes it beside `file`, under a name of its own that no other thread or process uses."""
    number, draft = mkstemp(dir=file.parent, prefix=f".{file.name}.")  # readable by its owner only
    with os.fdopen(number, "w") as opened:
        opened.write(text)
    return Path(draft)
