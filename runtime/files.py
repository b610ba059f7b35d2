"""Files and folders of COURSAGA_HOME: made so that other accounts can pass, secrets so that only their owner reads."""

from __future__ import annotations

import os
from pathlib import Path


def open_folder(folder: Path) -> None:
    """Makes a folder and its missing parents passable for other accounts; existing ones stay as they are."""
    for missing in reversed([path for path in (folder, *folder.parents) if not path.exists()]):
        missing.mkdir(exist_ok=True)
        missing.chmod(0o755)


def write_secret(file: Path, text: str) -> None:
    """Writes a file that only its owner can read, from its first moment on; readers see the old or the new one."""
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(text)
    draft.replace(file)
