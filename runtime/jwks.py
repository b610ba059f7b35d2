"""Read AUTH_JWKS: the public keys whose tokens are accepted, as a JWK Set in JSON or in a file (RFC 7517)."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, cast

from joserfc.errors import JoseError
from joserfc.jwk import RSAKey

DEV_KID = "dev-"  # how the key ids of development begin; no other key may be named so
_LEAST_BITS = 2048


def signing_keys(given: str) -> dict[str, RSAKey]:
    """Return the RSA keys for signatures by their `kid`; there are several while keys are rotated.

    Keys for another use (encryption, another algorithm) are left out, as providers publish them in the same set.
    Raises ValueError saying what is wrong: no JSON, a secret in it, a weak key, a `kid` missing, doubled or
    reserved, no key left.
    """
    keys: dict[str, RSAKey] = {}
    for entry in _entries(given):
        if "d" in entry or entry.get("kty") == "oct":
            raise ValueError("holds a secret; only public keys belong here")
        if entry.get("kty") != "RSA" or entry.get("use", "sig") != "sig" or entry.get("alg", "RS256") != "RS256":
            continue
        kid = entry.get("kid")
        if not isinstance(kid, str) or not kid or kid.startswith(DEV_KID):
            raise ValueError(f"every key needs a kid, and none may begin with {DEV_KID}")
        if kid in keys:
            raise ValueError(f"two keys are called {kid}")
        keys[kid] = _public(entry, kid)
    if not keys:
        raise ValueError("has no RSA key for RS256 signatures")
    return keys


def _entries(given: str) -> list[dict[str, Any]]:
    text = given if given.lstrip().startswith("{") else _content(given)
    try:
        found = json.loads(text)["keys"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise ValueError('must be a JWK Set, {"keys": [...]}, or a file that holds one') from None
    if not isinstance(found, list) or not all(isinstance(entry, dict) for entry in cast("list[Any]", found)):
        raise ValueError('must be a JWK Set, {"keys": [...]}, or a file that holds one')
    return cast("list[dict[str, Any]]", found)


def _content(file: str) -> str:
    try:
        return Path(file).expanduser().read_text()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "no text"
        raise ValueError(f"cannot be read as a file: {why}") from None


def _public(entry: dict[str, Any], kid: str) -> RSAKey:
    try:
        modulus = str(entry["n"])
        bits = int.from_bytes(base64.urlsafe_b64decode(modulus + "==")).bit_length()
        exponent = int.from_bytes(base64.urlsafe_b64decode(str(entry["e"]) + "=="))
        if exponent < 3 or exponent % 2 == 0:
            raise ValueError
        good = bits >= _LEAST_BITS
        key = RSAKey.import_key({"kty": "RSA", "n": modulus, "e": str(entry["e"])}) if good else None
    except (JoseError, LookupError, TypeError, ValueError):
        raise ValueError(f"key {kid} is no RSA public key") from None
    if key is None:
        raise ValueError(f"key {kid} is shorter than {_LEAST_BITS} bits")
    return key
