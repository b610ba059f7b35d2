"""Seal secrets at rest, with a key that the database does not hold (Fernet: encrypted and authenticated)."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet


class SecretUnreadable(Exception):
    """No key of this process opens the secret; the message begins with the name of the reason."""

    def __init__(self) -> None:
        super().__init__("SECRET_UNREADABLE: no key of SECRETS_KEYS opens this target's secret")


class NoKey(Exception):
    """This process has no key to seal with."""


class Seal:
    """Seals with the first of `keys` and opens with any, so that keys can be rotated. Without keys it does neither."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._fernets = [Fernet(key) for key in keys]

    def close(self, secret: str) -> str:
        """Return the secret encrypted, as it may be stored. Raises NoKey."""
        if not self._fernets:
            raise NoKey
        return self._fernets[0].encrypt(secret.encode()).decode()

    def open(self, sealed: str) -> str:
        """Return the secret in plain text. Raises SecretUnreadable."""
        if not self._fernets:
            raise SecretUnreadable
        try:
            return MultiFernet(self._fernets).decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise SecretUnreadable from None

    def is_newest(self, sealed: str) -> bool:
        """Return whether the first key sealed it."""
        try:
            self._fernets[0].decrypt(sealed.encode())
        except (InvalidToken, LookupError):
            return False
        return True
