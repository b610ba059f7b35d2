"""Development tokens, signed with a key pair of this COURSAGA_HOME. Never in production.

The private key is made by the API that accepts its tokens, and is readable by its owner only. `coursaga down
--wipe` deletes it.
"""

from __future__ import annotations

import json
import time
from datetime import timedelta
from pathlib import Path

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

from domain.roles import Role
from runtime.errors import CannotRun, ServerUnreachable
from runtime.files import make_secret_once
from runtime.jwks import DEV_KID
from runtime.settings import DEV_ISSUER, Settings

KEY_FILE = "dev-key.json"
COMMANDS_TTL = timedelta(hours=1)  # of the tokens that commands sign for themselves


class NoDevAuth(CannotRun):
    """Development tokens are switched off here, as they always are in production."""


class NoKeyYet(ServerUnreachable):
    """No stack has run on this home, so there is nobody to accept a token of it; the message names the home."""


def dev_key(home: Path) -> RSAKey:
    """Load this home's key pair, creating it if absent. Safe when several processes start at once. Raises CannotRun."""
    file = home / KEY_FILE
    make_secret_once(file, lambda: json.dumps(RSAKey.generate_key(2048).as_dict(private=True)))
    try:
        return RSAKey.import_key(json.loads(file.read_text()))
    except (OSError, ValueError, TypeError, JoseError) as error:
        raise CannotRun(f"{file} is no key of ours ({type(error).__name__}): delete it, another is made") from None


def dev_token(settings: Settings, role: Role, subject: str, ttl: timedelta) -> str:
    """Return a token of this home, valid for `ttl` from now.

    Raises NoDevAuth, and NoKeyYet: only the API makes a key.
    """
    if not settings.accepts_dev_tokens:
        raise NoDevAuth("development tokens are not accepted here (COURSAGA_ENV=production or DEV_AUTH=false)")
    home = settings.coursaga_home
    if not (home / KEY_FILE).exists():
        raise NoKeyYet(
            f"no stack has run in {home}: start one with `coursaga up`, or set COURSAGA_HOME to where it runs"
        )
    key, now = dev_key(home), int(time.time())
    times = {"iat": now, "exp": now + int(ttl.total_seconds())}
    claims = {"iss": DEV_ISSUER, "aud": settings.auth_audience, "sub": subject, "role": role, **times}
    return jwt.encode({"alg": "RS256", "typ": "at+jwt", "kid": kid_of(key)}, claims, key, algorithms=["RS256"])


def kid_of(key: RSAKey) -> str:
    """Return the id of a key, made from its content, so that another home's key is unknown and not wrong."""
    return DEV_KID + key.thumbprint()


class DevTokens:
    """Returns a bearer token whenever it is called, and signs a new one before the last one gets old."""

    def __init__(self, settings: Settings, role: Role, subject: str) -> None:
        self._settings, self._subject = settings, subject
        self._role: Role = role
        self._token, self._renew_at = "", 0.0

    def __call__(self) -> str:
        if time.monotonic() >= self._renew_at:
            self._token = dev_token(self._settings, self._role, self._subject, COMMANDS_TTL)
            self._renew_at = time.monotonic() + COMMANDS_TTL.total_seconds() / 2
        return self._token
