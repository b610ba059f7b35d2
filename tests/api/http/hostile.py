"""Tokens made to be taken for good ones, each by one trick. Whoever accepts one of them is open."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from functools import cache
from typing import Any

from joserfc import jwe, jws
from joserfc.jwk import OctKey, RSAKey

from tests.tokens import KID, claims, jwks, key, token

HEADER: dict[str, Any] = {"alg": "RS256", "typ": "at+jwt", "kid": KID}
NOW = int(time.time())


@cache
def stranger() -> RSAKey:
    """Somebody else's key."""
    return RSAKey.generate_key(2048)


def b64(content: bytes | dict[str, Any] | str) -> str:
    """Base64url of bytes, of text, or of a JSON object."""
    if isinstance(content, dict):
        content = json.dumps(content)
    return base64.urlsafe_b64encode(content.encode() if isinstance(content, str) else content).rstrip(b"=").decode()


def signed(header: dict[str, Any] | str, payload: dict[str, Any] | str, by: RSAKey | None = None) -> str:
    """Header and payload exactly as given, under a signature that fits."""
    return resigned(f"{b64(header)}.{b64(payload)}", by)


def resigned(text: str, by: RSAKey | None = None) -> str:
    """Any two segments under a signature that fits."""
    signature = jws.JWSRegistry.algorithms["RS256"].sign(text.encode(), by or key())
    return f"{text}.{b64(signature)}"


def with_header(by: RSAKey | None = None, **more: Any) -> Callable[[], str]:
    """A good token but for its header; None leaves a parameter out."""
    header = {name: said for name, said in {**HEADER, **more}.items() if said is not None}
    return lambda: signed(header, claims("admin", "eve"), by)


def with_claims(**more: Any) -> Callable[[], str]:
    """A good token but for its claims; None leaves a claim out."""
    return lambda: token("admin", "eve", **more)


def with_role(role: Any) -> Callable[[], str]:
    return lambda: signed(HEADER, {**claims("admin", "eve"), "role": role})


def with_payload(text: str) -> Callable[[], str]:
    """Any text under a good signature."""
    return lambda: signed(HEADER, text)


def good(role: str = "admin") -> str:
    return token(role, "eve")


def unsigned(alg: Any, signature: str = "") -> Callable[[], str]:
    return lambda: f"{b64({**HEADER, 'alg': alg})}.{b64(claims('admin', 'eve'))}.{signature}"


def hmac_with(secret: Callable[[], bytes], name: str = "HS256") -> Callable[[], str]:
    """The public key taken for the secret of a symmetric algorithm."""

    def make() -> str:
        text = f"{b64({**HEADER, 'alg': name})}.{b64(claims('admin', 'eve'))}"
        return f"{text}.{b64(hmac.digest(secret(), text.encode(), hashlib.sha256))}"

    return make


def part(number: int, change: Callable[[str], str], role: str = "admin") -> Callable[[], str]:
    """A good token with one of its segments changed."""

    def make() -> str:
        parts = good(role).split(".")
        parts[number] = change(parts[number])
        return ".".join(parts)

    return make


def promoted(payload: str) -> str:
    content = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return b64({**content, "role": "admin", "sub": "root"})


def twice(name: str, value: Any) -> Callable[[], str]:
    """A claim said twice, the second time otherwise, well signed."""
    text = json.dumps(claims("student", "eve"))
    return with_payload(f"{text[:-1]}, {json.dumps(name)}: {json.dumps(value)}}}")


def other_spelling(signature: str) -> str:
    """Other characters of base64 that stand for the same bytes."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return signature[:-1] + alphabet[alphabet.index(signature[-1]) ^ 1]


def encrypted() -> str:
    header = {"alg": "dir", "enc": "A128CBC-HS256", "typ": "at+jwt", "kid": KID}
    return jwe.encrypt_compact(header, good(), OctKey.import_key(b"0" * 32))


def _public_pem() -> bytes:
    return key().as_pem(private=False)


def _own_jwk() -> Any:
    return stranger().as_dict(private=False)


HOSTILE: dict[str, Callable[[], str]] = {
    "alg none": unsigned("none"),
    "alg NoNe": unsigned("NoNe"),
    "alg none, a signature": unsigned("none", "AAAA"),
    "alg none, the good signature": lambda: f"{b64({**HEADER, 'alg': 'none'})}." + ".".join(good().split(".")[1:]),
    "alg absent": with_header(alg=None),
    "alg a list": with_header(alg=["RS256"]),
    "alg rs256": with_header(alg="rs256"),
    "alg RS512 over an RS256 signature": with_header(alg="RS512"),
    "alg PS256 over an RS256 signature": with_header(alg="PS256"),
    "HS256 with the public key as PEM": hmac_with(_public_pem),
    "HS256 with the public key as JWKS": hmac_with(lambda: jwks().encode()),
    "HS256 with the modulus": hmac_with(lambda: str(key().as_dict(private=False)["n"]).encode()),
    "HS256 with nothing": hmac_with(lambda: b""),
    "hs256": hmac_with(_public_pem, "hs256"),
    "another's key under our kid": with_header(stranger()),
    "embedded jwk": with_header(stranger(), jwk=_own_jwk()),
    "embedded jwk, our own": with_header(jwk=key().as_dict(private=False)),
    "embedded jwk, no kid": with_header(stranger(), jwk=_own_jwk(), kid=None),
    "jku": with_header(stranger(), jku="https://evil.test/jwks.json"),
    "jku, our key": with_header(jku="https://issuer.test/jwks.json"),
    "x5u": with_header(x5u="https://evil.test/cert.pem"),
    "x5c": with_header(x5c=["MIIB"]),
    "crit unknown": with_header(crit=["exp-in-the-moon"], **{"exp-in-the-moon": True}),
    "crit empty": with_header(crit=[]),
    "crit b64": with_header(crit=["b64"], b64=False),
    "zip": with_header(zip="DEF"),
    "typ JWT": with_header(typ="JWT"),
    "typ absent": with_header(typ=None),
    "typ id token": with_header(typ="id+jwt"),
    "typ AT+JWT": with_header(typ="AT+JWT"),
    "typ a list": with_header(typ=["at+jwt"]),
    "kid absent": with_header(kid=None),
    "kid unknown": with_header(kid="test-2"),
    "kid empty": with_header(kid=""),
    "kid path": with_header(kid="../../../../dev/null"),
    "kid file": with_header(kid="/etc/passwd"),
    "kid SQL": with_header(kid="x' OR '1'='1"),
    "kid NUL": with_header(kid=f"{KID}\0"),
    "kid a list": with_header(kid=[KID]),
    "kid an object": with_header(kid={"kid": KID}),
    "kid of development": with_header(kid="dev-" + key().thumbprint()),
    "kid twice": lambda: signed(json.dumps(HEADER)[:-1] + f', "kid": "{KID}"}}', claims("admin", "eve")),
    "alg twice": lambda: signed('{"alg": "none", ' + json.dumps(HEADER)[1:], claims("admin", "eve")),
    "header an array": lambda: signed(json.dumps([HEADER]), claims("admin", "eve")),
    "header no JSON": lambda: signed("alg=RS256", claims("admin", "eve")),
    "header nested deep": lambda: signed("[" * 3000, claims("admin", "eve")),
    "payload tampered": part(1, promoted, "student"),
    "payload of another token": part(1, lambda _: b64(claims("admin", "root")), "student"),
    "payload empty": part(1, lambda _: ""),
    "payload null": with_payload("null"),
    "payload an array": with_payload(json.dumps([claims("admin", "eve")])),
    "payload text": with_payload('"admin"'),
    "payload no JSON": with_payload("role=admin"),
    "payload no text": lambda: resigned(f"{b64(HEADER)}.{b64(bytes([0xFF, 0xFE]))}"),
    "payload nested deep": with_payload('{"a":' * 1000),
    "payload a token": lambda: signed({**HEADER, "cty": "JWT"}, good()),
    "payload with NaN": with_payload(json.dumps({**claims("admin", "eve"), "exp": float("nan")})),
    "payload with Infinity": with_payload(json.dumps({**claims("admin", "eve"), "exp": float("inf")})),
    "signature empty": part(2, lambda _: ""),
    "signature tampered": part(2, lambda text: ("B" if text[0] == "A" else "A") + text[1:]),
    "signature cut": part(2, lambda text: text[:-4]),
    "signature longer": part(2, lambda text: text + "AAAA"),
    "signature reversed": part(2, lambda text: text[::-1]),
    "signature of another token": part(2, lambda _: token("student", "ann").split(".")[2]),
    "signature spelt otherwise": part(2, other_spelling),
    "signature padded": part(2, lambda text: text + "=="),
    "signature with a blank": part(2, lambda text: text[:9] + " " + text[9:]),
    "signed by a stranger": lambda: signed(HEADER, claims("admin", "eve"), stranger()),
    "iat in the future": with_claims(iat=NOW + 3000),
    "iat absent": with_claims(iat=None),
    "iat text": with_claims(iat=str(NOW)),
    "iat true": with_claims(iat=True),
    "nbf in the future": with_claims(nbf=NOW + 3000),
    "nbf text": with_claims(nbf="now"),
    "exp absent": with_claims(exp=None),
    "exp past": with_claims(exp=NOW - 3600),
    "exp zero": with_claims(exp=0),
    "exp text": with_claims(exp=str(NOW + 3600)),
    "exp a list": with_claims(exp=[NOW + 3600]),
    "exp null": with_payload(json.dumps({**claims("admin", "eve"), "exp": None})),
    "sub absent": with_claims(sub=None),
    "sub empty": with_claims(sub=""),
    "sub blank": with_claims(sub="  "),
    "sub with blanks around": with_claims(sub=" ann"),
    "sub a number": with_claims(sub=7),
    "sub a list": with_claims(sub=["ann"]),
    "sub with a NUL": with_claims(sub="ann\0"),
    "sub with a newline": with_claims(sub="ann\nroot"),
    "sub half a character": with_payload(json.dumps({**claims("admin", "eve"), "sub": "\ud800"})),
    "sub of 129 characters": with_claims(sub="a" * 129),
    "sub of the system itself": with_claims(sub="system"),
    "iss absent": with_claims(iss=None),
    "iss another": with_claims(iss="https://evil.test"),
    "iss of development": with_claims(iss="coursaga-development"),
    "iss a list": with_claims(iss=["https://issuer.test"]),
    "iss with a slash more": with_claims(iss="https://issuer.test/"),
    "aud absent": with_claims(aud=None),
    "aud another": with_claims(aud="another-api"),
    "aud a list that holds ours": with_claims(aud=["coursaga", "another-api"]),
    "aud a list of ours only": with_claims(aud=["coursaga"]),
    "aud empty": with_claims(aud=""),
    "aud COURSAGA": with_claims(aud="COURSAGA"),
    "role absent": with_payload(json.dumps({k: v for k, v in claims("admin", "eve").items() if k != "role"})),
    "role unknown": with_role("root"),
    "role ADMIN": with_role("ADMIN"),
    "role a list": with_role(["admin"]),
    "role an object": with_role({"admin": True}),
    "role true": with_role(True),
    "role two in one": with_role("student admin"),
    "role twice": twice("role", "admin"),
    "sub twice": twice("sub", "root"),
    "aud twice": twice("aud", "coursaga"),
    "exp twice": twice("exp", NOW + 9999),
    "not a token": lambda: "not-a-token",
    "nothing": lambda: "",
    "dots": lambda: "..",
    "two segments": lambda: ".".join(good().split(".")[:2]),
    "four segments": lambda: good() + ".AAAA",
    "a JSON serialization": lambda: json.dumps(dict(zip(("protected", "payload", "signature"), good().split("."), strict=True))),
    "an encrypted token": encrypted,
    "two tokens": lambda: f"{good()} {good()}",
    "two tokens, a comma": lambda: f"{good()},{good()}",
    "100 kB": lambda: signed(HEADER, {**claims("admin", "eve"), "more": "a" * 75_000}),
    "100 kB of nothing": lambda: "A" * 100_000,
    "just over the limit": lambda: signed(HEADER, {**claims("admin", "eve"), "more": "a" * 6000}),
    "base64 of the other alphabet": lambda: good().replace("-", "+").replace("_", "/") + "+",
}  # fmt: skip
