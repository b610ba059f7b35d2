"""Read SECRETS_KEYS, which stored secrets are encrypted with, and make the key of a development home."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from runtime.errors import CannotRun
from runtime.files import make_secret_once

KEY_FILE = "secrets-key"
_SIZE = 32  # bytes
_RANDOM = 16  # different bytes in it, at least; a random key has some 30
HOW_TO_MAKE = "python3 -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())'"


def keys_in(given: str) -> list[str]:
    """Return the keys; the first one seals.

    Raises ValueError saying which is wrong and why, without showing any key.
    """
    keys = [key.strip() for key in given.split(",")]
    for number, key in enumerate(keys, start=1):
        try:
            content = base64.b64decode(key, altchars="-_", validate=True)
        except ValueError:
            content = b""
        if len(content) != _SIZE:
            raise ValueError(f"key {number} of {len(keys)} is not 32 bytes in URL-safe base64; make one: {HOW_TO_MAKE}")
        if len(set(content)) < _RANDOM:
            raise ValueError(f"key {number} of {len(keys)} is not random; make one: {HOW_TO_MAKE}")
    return keys


def key_of_home(home: Path) -> str | None:
    """Return the key that the stack of this home made, None if it has made none. Raises CannotRun when it is spoilt."""
    file = home / KEY_FILE
    try:
        return keys_in(file.read_text())[0]
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CannotRun(
            f"{file} is no key of ours ({type(error).__name__}): put it back, secrets of webhook targets are stored "
            "under it; or delete it, another is made, and those targets must be removed and added again"
        ) from None


def make_key_of_home(home: Path) -> str:
    """Return this home's key, made if there is none; only its owner can read the file. Raises CannotRun."""
    make_secret_once(home / KEY_FILE, lambda: base64.urlsafe_b64encode(os.urandom(_SIZE)).decode())
    key = key_of_home(home)
    if key is None:
        raise CannotRun(f"{home / KEY_FILE} was deleted while it was read: start again")
    return key
