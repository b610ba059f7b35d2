"""Who a command is to the API: a token it was given, or one of the stack's own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from sqlalchemy import Engine

from cli.api_client import ApiRefused, open_api
from cli.identity import NoToken
from cli.operators import acts, purchases
from runtime.dev_auth import dev_key
from tests.api.conftest import fresh
from tests.build import pay, student
from tests.cli.operators.test_purchases import at, serving
from tests.gateways.in_memory import FakeProvider
from tests.stack import Commands, environment
from tests.tokens import token

__all__ = ["at", "serving"]


def run(home: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return Commands(environment(home, **settings)).call(*words)


def test_prints_the_token_alone(tmp_path: Path) -> None:
    dev_key(tmp_path)
    done = run(tmp_path, "token", "--role", "support", "--subject", "ann")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(".") == 2
    assert len(done.stdout.split()) == 1


def test_prints_an_object_with_json(tmp_path: Path) -> None:
    dev_key(tmp_path)
    done = run(tmp_path, "token", "--role", "student", "--subject", "student-1", "--ttl", "8h", "--json")
    said = json.loads(done.stdout)
    assert (said["role"], said["subject"], sorted(said)) == (
        "student", "student-1", ["expiresAt", "role", "subject", "token"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "settings", "code"),
    [
        (("--role", "root", "--subject", "ann"), {}, 2), (("--role", "admin"), {}, 2),
        (("--role", "admin", "--subject", "ann", "--ttl", "soon"), {}, 2),
        (("--role", "admin", "--subject", "ann", "--ttl", "31d"), {}, 2),
        (("--role", "admin", "--subject", "ann"), {"COURSAGA_ENV": "production"}, 1),
        (("--role", "admin", "--subject", "ann"), {"DEV_AUTH": "false"}, 1),
    ],
    ids=str,
)  # fmt: skip
def test_makes_no_token_and_no_key_otherwise(
    tmp_path: Path, words: tuple[str, ...], settings: Mapping[str, str], code: int
) -> None:
    done = run(tmp_path, "token", *words, **settings)
    assert (done.returncode, "ey" in done.stdout) == (code, False)
    assert not (tmp_path / "dev-key.json").exists()


@pytest.mark.parametrize("process", ["api", "worker"])
def test_production_starts_no_process_on_unsafe_settings_and_names_each(process: str, tmp_path: Path) -> None:
    unsafe = {"COURSAGA_TODAY": "2026-11-21", "DEV_AUTH": "true", "DATABASE_URL": "postgresql://coursaga:@db/coursaga"}
    done = run(tmp_path, process, COURSAGA_ENV="production", AUTH_JWKS="/nowhere", **unsafe)
    assert done.returncode != 0
    named = [line.split(":")[0] for line in done.stderr.splitlines()]
    assert named == [
        "COURSAGA_TODAY", "DATABASE_URL", "TEMPORAL_ADDRESS", "PROVIDER_URL", "AUTH_ISSUER", "AUTH_JWKS", "DEV_AUTH",
    ]  # fmt: skip
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("serving")
async def test_a_given_token_says_who_acts(
    engine: Engine, fake_provider: FakeProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    student(engine)
    payment = pay(engine, fake_provider, fresh())
    monkeypatch.setenv("COURSAGA_TOKEN", token("student", "student-1"))
    with pytest.raises(ApiRefused, match="FORBIDDEN") as refused:
        await purchases.list_purchases()
    assert refused.value.exit_code == 1
    monkeypatch.setenv("COURSAGA_TOKEN", token("service", "checkout"))
    assert await purchases.start(payment) == 0
    with pytest.raises(NoToken, match="--actor"):
        await acts.cancel(f"purchase:{payment}:1", reason="r", actor="bob")
    monkeypatch.setenv("COURSAGA_TOKEN", "no-token")
    with pytest.raises(ApiRefused, match=r"UNAUTHENTICATED.*COURSAGA_TOKEN") as unknown:
        await purchases.list_purchases()
    assert unknown.value.exit_code == 1


@pytest.mark.usefixtures("serving")
async def test_an_api_that_is_not_this_stacks_wants_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    open_api()
    monkeypatch.setenv("API_URL", "http://api.elsewhere.test")
    with pytest.raises(NoToken, match=r"COURSAGA_TOKEN.*--token") as foreign:
        open_api()
    assert foreign.value.exit_code == 2
    monkeypatch.setenv("COURSAGA_TOKEN", "mine")
    open_api()


def test_the_token_may_stand_anywhere_on_the_command_line(tmp_path: Path) -> None:
    elsewhere = {"API_URL": "http://127.0.0.1:1"}
    show = ("purchases", "show", "purchase:pay-1:1")
    assert run(tmp_path, *show, **elsewhere).returncode == 2  # no token
    for words in (("--token", "t", *show), (*show, "--token=t")):
        assert run(tmp_path, *words, **elsewhere).returncode == 3  # nobody there
