"""SECRETS_KEYS: what is a key, how to get one, who does not run without, and the key of a development stack."""

from __future__ import annotations

import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from runtime.errors import CannotRun
from runtime.secrets_keys import HOW_TO_MAKE, KEY_FILE, key_of_home, keys_in, make_key_of_home
from runtime.settings import SettingsError, load_settings
from tests.stack import ROOT, Commands, environment
from tests.tokens import ISSUER, jwks, make_key

PRODUCTION = {
    "COURSAGA_ENV": "production", "DATABASE_URL": "postgresql://u:p@127.0.0.1:1/d", "TEMPORAL_ADDRESS": "127.0.0.1:1",
    "PROVIDER_URL": "https://provider.test", "AUTH_ISSUER": ISSUER,
}  # fmt: skip


def test_the_command_that_is_told_makes_a_key() -> None:
    made = [
        subprocess.run(shlex.split(HOW_TO_MAKE), capture_output=True, text=True, check=True).stdout for _ in range(2)
    ]
    assert keys_in(",".join(made)) == [key.strip() for key in made]
    assert len(set(made)) == 2
    for key in made:
        Fernet(key.strip())
    assert HOW_TO_MAKE in (ROOT / ".env.example").read_text()
    assert HOW_TO_MAKE in (ROOT / "docs" / "runbook.md").read_text()


@pytest.mark.parametrize(
    "wrong",
    [" ", "secret", "A" * 43 + "=", make_key()[:-2], f"{make_key()},", f"{make_key()};{make_key()}", "ä" * 44],
    ids=["blank", "no base64", "not random", "too short", "an empty second", "semicolon", "no ASCII"],
)
def test_what_is_no_key_is_refused_and_not_repeated(monkeypatch: pytest.MonkeyPatch, wrong: str) -> None:
    monkeypatch.setenv("SECRETS_KEYS", wrong)
    with pytest.raises(SettingsError, match=r"^SECRETS_KEYS: key \d of \d is not") as refused:
        load_settings()
    assert HOW_TO_MAKE in str(refused.value)
    assert wrong[:10].strip(" ,;") == "" or wrong[:10] not in str(refused.value)


def test_several_keys_are_read_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = [make_key(), make_key()]
    monkeypatch.setenv("SECRETS_KEYS", f"{keys[0]}, {keys[1]}")
    settings = load_settings()
    assert settings.sealing_keys == keys
    assert keys[0] not in repr(settings)


@pytest.mark.parametrize("process", ["api", "relay"])
def test_production_starts_nothing_that_needs_a_key_without_one(process: str, tmp_path: Path) -> None:
    done = Commands(environment(tmp_path / "home", **PRODUCTION, AUTH_JWKS=jwks())).call(process, seconds=60)
    assert done.returncode == 1, done.stderr
    assert "SECRETS_KEYS: must be set in production" in done.stderr
    assert HOW_TO_MAKE in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "home").exists()


def test_what_needs_no_key_runs_without(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**PRODUCTION, "AUTH_JWKS": jwks()}.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    with pytest.raises(SettingsError, match="SECRETS_KEYS"):
        _ = settings.sealing_keys
    monkeypatch.setenv("COURSAGA_ENV", "development")
    assert load_settings().sealing_keys == []


def test_a_stack_makes_its_key_once_for_its_owner_only(tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert key_of_home(home) is None
    assert not home.exists()
    with ThreadPoolExecutor(8) as threads:
        made = set(threads.map(lambda _: make_key_of_home(home), range(8)))
    assert made == {key_of_home(home)}
    assert (home / KEY_FILE).stat().st_mode & 0o777 == 0o600
    assert [file.name for file in home.iterdir()] == [KEY_FILE]


def test_a_spoilt_key_of_a_stack_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_text("spoilt")
    with pytest.raises(CannotRun, match="put it back"):
        make_key_of_home(tmp_path)
    assert (tmp_path / KEY_FILE).read_text() == "spoilt"
