"""The development key of a home, and the keys of AUTH_JWKS: what is taken and what is refused."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from runtime.dev_auth import DevTokens, NoDevAuth, dev_key, dev_token, kid_of
from runtime.errors import CannotRun
from runtime.jwks import signing_keys
from runtime.settings import DEV_ISSUER, Settings, SettingsError, load_settings
from tests.tokens import ISSUER, KID, jwks, key

KEY: dict[str, Any] = json.loads(jwks())["keys"][0]
HOUR = timedelta(hours=1)


def at(home: Path, **more: Any) -> Settings:
    return Settings.model_validate({"coursaga_home": home, **more})


def test_one_key_is_made_by_any_number_at_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"
    with ThreadPoolExecutor(8) as pool:
        found = {kid_of(made) for made in pool.map(dev_key, [home] * 8)}
    assert found == {kid_of(dev_key(home))}
    assert [file.name for file in home.iterdir()] == ["dev-key.json"]
    assert stat.S_IMODE((home / "dev-key.json").stat().st_mode) == 0o600


def test_a_key_that_is_none_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "dev-key.json").write_text("{}")
    with pytest.raises(CannotRun, match="delete it"):
        dev_key(tmp_path)


@pytest.mark.parametrize("switched", [{"dev_auth": False}, {"coursaga_env": "production"}])
def test_no_token_is_made_and_no_key_where_none_is_accepted(tmp_path: Path, switched: dict[str, Any]) -> None:
    servers = {"database_url": "postgresql://u:p@h/d", "temporal_address": "t:1", "provider_url": "https://p"}
    settings = at(tmp_path, **switched, **servers, auth_issuer=ISSUER, auth_jwks=jwks())
    with pytest.raises(NoDevAuth):
        dev_token(settings, "admin", "ann", HOUR)
    assert list(tmp_path.iterdir()) == []


def test_commands_sign_once_and_again_only_when_it_gets_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dev_key(tmp_path)
    tokens = DevTokens(at(tmp_path), "admin", "ann")
    first = tokens()
    (tmp_path / "dev-key.json").unlink()
    assert tokens() == first
    dev_key(tmp_path)  # another one
    monkeypatch.setattr("runtime.dev_auth.time.monotonic", lambda: float("inf"))
    assert tokens() != first


@pytest.mark.parametrize("as_file", [False, True], ids=["json", "file"])
def test_takes_the_keys_for_our_signatures_out_of_a_set(as_file: bool, tmp_path: Path) -> None:
    others = [{**KEY, "kid": "enc", "use": "enc"}, {**KEY, "kid": "ps", "alg": "PS256"}, {"kty": "EC", "kid": "ec"}]
    given = json.dumps({"keys": [KEY, *others, {**KEY, "kid": "next"}]})
    if as_file:
        (tmp_path / "jwks.json").write_text(given)
        given = str(tmp_path / "jwks.json")
    found = signing_keys(given)
    assert sorted(found) == ["next", KID]
    assert found[KID].thumbprint() == key().thumbprint()
    assert not found[KID].is_private


def one(**more: Any) -> str:
    """A set of one key, with these parameters instead; None leaves one out."""
    return json.dumps({"keys": [{name: said for name, said in {**KEY, **more}.items() if said is not None}]})


WRONG = {
    "no JSON": ("{", "JWK Set"), "no keys": ("{}", "JWK Set"), "keys a number": ('{"keys": 1}', "JWK Set"),
    "keys text": ('{"keys": ["a"]}', "JWK Set"), "no such file": ("/nowhere/at/all", "No such file"),
    "a folder": ("/", "directory"), "empty": ('{"keys": []}', "no RSA key"), "to encrypt": (one(use="enc"), "no RSA key"),
    "a private key": (json.dumps({"keys": [key().as_dict(private=True)]}), "secret"),
    "a shared secret": (one(kty="oct", k="c2VjcmV0"), "secret"), "no kid": (one(kid=None), "kid"),
    "a blank kid": (one(kid=""), "kid"), "a kid of development": (one(kid="dev-1"), "dev-"),
    "a kid twice": (json.dumps({"keys": [KEY, KEY]}), "two keys"), "half a key": (one(n=KEY["n"][:170]), "2048 bits"),
    "zeros before half a key": (one(n="A" * 400 + KEY["n"][:168]), "2048 bits"), "no modulus": (one(n=None), "no RSA"),
    "no base64": (one(n="!" * 400), "2048 bits"), "no exponent": (one(e=""), "no RSA"),
    "an exponent of 1": (one(e="AQ"), "no RSA"), "an even exponent": (one(e="Ag"), "no RSA"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_set_of_keys_that_cannot_be_is_refused(name: str) -> None:
    given, says = WRONG[name]
    with pytest.raises(ValueError, match=says):
        signing_keys(given)


def test_the_settings_refuse_keys_without_issuer_and_the_issuer_of_development(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AUTH_JWKS", jwks())
    with pytest.raises(SettingsError, match="AUTH_JWKS: needs AUTH_ISSUER"):
        load_settings()
    monkeypatch.setenv("AUTH_ISSUER", DEV_ISSUER)
    with pytest.raises(SettingsError, match="AUTH_ISSUER: is the issuer of development"):
        load_settings()
    monkeypatch.setenv("AUTH_ISSUER", ISSUER)
    monkeypatch.setenv("AUTH_LEEWAY", "6m")
    with pytest.raises(SettingsError, match="AUTH_LEEWAY"):
        load_settings()


def test_a_blank_password_is_refused_in_production_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://coursaga:@db/coursaga")
    monkeypatch.setenv("COURSAGA_ENV", "development")
    assert load_settings().database_url
    monkeypatch.setenv("COURSAGA_ENV", "production")
    with pytest.raises(SettingsError, match="DATABASE_URL: has no password or a blank one"):
        load_settings()
