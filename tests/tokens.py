"""Tokens for tests: an issuer with a key of its own, whose public half is the AUTH_JWKS of the API under test.

And keys for what is stored secret.
"""

from __future__ import annotations

import json
import time
from functools import cache
from typing import Any

from cryptography.fernet import Fernet
from joserfc import jwt
from joserfc.jwk import RSAKey

ISSUER, AUDIENCE, KID = "https://issuer.test", "coursaga", "test-1"


@cache
def key() -> RSAKey:
    """The issuer's key pair, one per test process."""
    return RSAKey.generate_key(2048)


@cache
def jwks() -> str:
    """What AUTH_JWKS says."""
    return json.dumps({"keys": [{**key().as_dict(private=False), "kid": KID, "use": "sig", "alg": "RS256"}]})


def make_key() -> str:
    """A new key for SECRETS_KEYS."""
    return Fernet.generate_key().decode()


@cache
def secrets_keys() -> str:
    """The SECRETS_KEYS of this test process."""
    return make_key()


def auth_settings() -> dict[str, Any]:
    """The settings of an API that accepts these tokens, and no others."""
    return {"auth_issuer": ISSUER, "auth_audience": AUDIENCE, "auth_jwks": jwks(), "dev_auth": False}


def claims(role: str, subject: str, **more: Any) -> dict[str, Any]:
    """Good claims, with `more` instead; None leaves a claim out."""
    now = int(time.time())
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "role": role, "iat": now, "exp": now + 3600}
    return {name: value for name, value in {**good, **more}.items() if value is not None}


def token(role: str = "admin", subject: str = "ann", **more: Any) -> str:
    """A good token; `more` as for `claims`."""
    header = {"alg": "RS256", "typ": "at+jwt", "kid": KID}
    return jwt.encode(header, claims(role, subject, **more), key(), algorithms=["RS256"])


def bearer(role: str = "admin", subject: str = "ann", **more: Any) -> dict[str, str]:
    """The header of a request by this caller: `api.get(path, headers=bearer("student", "student-1"))`."""
    return {"Authorization": f"Bearer {token(role, subject, **more)}"}
