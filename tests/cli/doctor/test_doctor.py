"""What doctor says of the database."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from cli.doctor import database
from cli.doctor.check import FINE, WRONG, Check
from db.grants import API, RELAY
from db.sealing import Seal
from domain.schedule import zone_named
from runtime.settings import Settings
from tests.build import run, student, trainer
from tests.roles import as_role
from tests.tokens import make_key


def zones(database_url: str) -> Check:
    return {check.name: check for check in looked_at(API, database_url)}["time zones"]


def looked_at(role: str, database_url: str) -> list[Check]:
    """All that doctor says of the database to whoever asks as this role."""
    settings = Settings(database_url=SecretStr(as_role(role, database_url)))
    return [*database.postgres(settings), *database.lessons(settings)]


def test_zones_are_fine_where_both_agree(database_url: str, engine: Engine) -> None:
    assert zones(database_url).state == FINE
    for name in ("Europe/London", "Asia/Kathmandu", "Africa/Casablanca"):
        student(engine, f"student of {name}")
        run(engine, "UPDATE students SET timezone = :name WHERE id = :id", name=name, id=f"student of {name}")
    trainer(engine)
    assert zones(database_url).says.startswith("PostgreSQL agrees on 3 zones")


def test_zones_that_differ_are_named(database_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """As when the government of one has changed its clocks, and one of us has not heard of it."""
    student(engine)
    student(engine, "student-2")
    run(engine, "UPDATE students SET timezone = 'Mars/Olympus' WHERE id = 'student-2'")

    def elsewhere(name: str) -> ZoneInfo:
        return ZoneInfo("Europe/Paris") if name == "Europe/London" else zone_named(name)

    monkeypatch.setattr(database, "zone_named", elsewhere)
    found = zones(database_url)
    assert (found.state, "update the database server" in found.remedy) == (WRONG, True)
    for said in ("Europe/London (from ", "'Mars/Olympus' (not known to both)"):
        assert said in found.says


def test_secrets_that_are_not_sealed_with_the_first_key_are_counted(database_url: str, engine: Engine) -> None:
    old, new = make_key(), make_key()

    def secrets(keys: str | None) -> Check:
        given = None if keys is None else SecretStr(keys)
        found = database.postgres(Settings(database_url=SecretStr(database_url), secrets_keys=given))
        return {check.name: check for check in found}["secrets"]

    assert secrets(new).says.startswith("0 stored")
    for name, column, kept in (("a", "secret", "whsec_plain"), ("b", "sealed_secret", Seal([old]).close("whsec_b"))):
        add = f"INSERT INTO webhook_targets (id, url, {column}, created_at) VALUES (:name, :name, :kept, now())"  # noqa: S608
        run(engine, add, name=name, kept=kept)
    assert secrets(new).says == "1 of 2 are opened by no key of SECRETS_KEYS"
    assert secrets(f"{new},{old}").says == "1 of 2 are not sealed, 1 with an older key"
    assert {secrets(new).state, secrets(f"{new},{old}").state} == {WRONG}
    run(engine, "DELETE FROM webhook_targets WHERE id = 'a'")
    assert secrets(old).state == secrets(f"{old},{new}").state == FINE
    assert secrets(None).says == "1 stored, 0 of them not sealed; SECRETS_KEYS is not set here"


def test_the_role_of_the_api_may_see_all_of_it_and_another_is_told_so(database_url: str) -> None:
    assert {check.name: check.state for check in looked_at(API, database_url)} == dict.fromkeys(
        ("postgresql", "schema", "outbox", "secrets", "time zones", "loads", "lessons"), FINE
    )
    [told] = looked_at(RELAY, database_url)
    assert told.state == WRONG
    assert "permission denied" in told.says
    assert "role of the API" in told.remedy


def test_a_load_that_is_not_what_the_slots_say_is_named(database_url: str, engine: Engine) -> None:
    trainer(engine, "t-fine")
    trainer(engine, "t-wrong")
    run(engine, "UPDATE trainers SET load = 7 WHERE id = 't-wrong'")
    found = {check.name: check for check in looked_at(API, database_url)}["loads"]
    assert (found.state, found.says) == (WRONG, "1 trainers hold more or less than is kept with them: t-wrong")
