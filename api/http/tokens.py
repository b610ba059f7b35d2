"""Tell whom a bearer token names (mission row 12): a JWT of RS256, type `at+jwt`, by a trusted key, for us, in time.

Whatever is wrong with it is the same `TokenRefused`: callers are not told what to try next.
"""

from __future__ import annotations

import base64
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from joserfc.jwt import JWTClaimsRegistry

from domain.roles import ROLES, Role
from domain.students import is_student_id

_MAX_LENGTH = 8192  # characters
_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
# A token brings neither its own key nor rules of its own.
_REFUSED_HEADERS = frozenset({"crit", "jwk", "jku", "x5u", "x5c", "zip", "b64"})
_MAX_SUBJECT = 128  # characters, as an `actor` always had
_OURS = frozenset({"system", "Temporal UI"})  # what the audit calls what nobody in particular did


class TokenRefused(Exception):
    """The token is not accepted."""


@dataclass(frozen=True)
class Trusted:
    """A public key, and the only issuer whose tokens it may sign."""

    key: RSAKey
    issuer: str


class Named(NamedTuple):
    """Whom a token names, and `until` when it is accepted (seconds since 1970)."""

    subject: str
    role: Role
    until: float


class Tokens:
    """Reads tokens. `trusted` is the allow-list by `kid`; `leeway`: seconds by which clocks may differ."""

    def __init__(
        self, trusted: Mapping[str, Trusted], audience: str, leeway: float, now: Callable[[], float] = time.time
    ) -> None:
        self._trusted, self._audience, self._leeway, self._now = dict(trusted), audience, int(leeway), now

    def named(self, token: str) -> Named:
        """Return whom the token names. Raises TokenRefused."""
        try:
            return self._read(token)
        except (JoseError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as err:
            raise TokenRefused from err

    def _read(self, token: str) -> Named:
        if len(token) > _MAX_LENGTH or not _SHAPE.fullmatch(token):
            raise TokenRefused
        header, payload, _ = (_bytes_of(part) for part in token.split("."))
        said = _object(header)
        if said["alg"] != "RS256" or said["typ"] != "at+jwt" or not _REFUSED_HEADERS.isdisjoint(said):
            raise TokenRefused
        trusted = self._trusted[said["kid"]]
        jws.deserialize_compact(token, trusted.key, algorithms=["RS256"])
        claims = _object(payload)
        self._rules(trusted).validate(claims)
        if claims["aud"] != self._audience:  # the library also accepts a list that holds it
            raise TokenRefused
        subject, role = _subject(claims["sub"]), _role(claims["role"])
        if role == "student" and not is_student_id(subject):
            raise TokenRefused
        return Named(subject, role, claims["exp"] + self._leeway)

    def _rules(self, trusted: Trusted) -> JWTClaimsRegistry:
        return JWTClaimsRegistry(
            now=lambda: int(self._now()),
            leeway=self._leeway,
            iss={"essential": True, "value": trusted.issuer},
            aud={"essential": True, "value": self._audience},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
            role={"essential": True},
        )


def _bytes_of(part: str) -> bytes:
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def _object(content: bytes) -> dict[str, Any]:
    """Return a JSON object. Raises TokenRefused for a name said twice: two readers could differ."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(made := dict(pairs)) < len(pairs):
            raise TokenRefused
        return made

    found = json.loads(content.decode(), object_pairs_hook=once)
    if not isinstance(found, dict):
        raise TokenRefused
    return cast("dict[str, Any]", found)


def _subject(said: object) -> str:
    if not isinstance(said, str) or not 0 < len(said) <= _MAX_SUBJECT or not said.isprintable() or said in _OURS:
        raise TokenRefused
    if said != said.strip():
        raise TokenRefused
    return said


def _role(said: object) -> Role:
    for role in ROLES:
        if said == role:
            return role
    raise TokenRefused
