"""Settings: read as people write them, a wrong one is named, and production refuses what is for development."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from runtime.clock import clock
from runtime.settings import Settings, SettingsError, load_settings
from tests.tokens import ISSUER, jwks


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("72h", timedelta(hours=72)),
        ("3d", timedelta(days=3)),
        ("1.5h", timedelta(minutes=90)),
        ("20", timedelta(seconds=20)),
    ],
)
def test_durations_are_read_as_people_write_them(monkeypatch: pytest.MonkeyPatch, written: str, meant: timedelta):
    monkeypatch.setenv("GATE_DEADLINE", written)
    assert load_settings().gate_deadline == meant


@pytest.mark.parametrize("written", ["-5s", "soon", "5 weeks"])
def test_a_duration_that_is_none_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, written: str):
    monkeypatch.setenv("REPAIR_DEADLINE", written)
    with pytest.raises(SettingsError, match="REPAIR_DEADLINE"):
        load_settings()


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATABASE_URL", "")
    monkeypatch.setenv("API_PORT", "")
    settings = load_settings()
    assert settings.database_url is None
    assert settings.api_port == 8000


def test_each_wrong_setting_is_named_on_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("API_PORT", "70000")
    monkeypatch.setenv("DATABASE_URL", "mysql://somewhere")
    with pytest.raises(SettingsError) as refused:
        load_settings()
    named = [line.split(":")[0] for line in str(refused.value).splitlines()]
    assert sorted(named) == ["API_PORT", "DATABASE_URL"]


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_every_postgresql_url_means_our_driver(scheme: str):
    settings = Settings.model_validate({"database_url": f"{scheme}://u:p@localhost:1/d"})
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql+psycopg://u:p@localhost:1/d"


def test_another_process_reads_the_same_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    made = Settings.model_validate(
        {
            "coursaga_home": tmp_path,
            "coursaga_today": "2026-11-21",
            "database_url": "postgresql://u:p@127.0.0.1:1/d",
            "auto_approve_allocations": False,
            "gate_deadline": timedelta(milliseconds=1500),
            "repair_deadline": timedelta(days=400, milliseconds=250),
            "workers": 3,
        }
    )
    for name, value in made.environment().items():
        monkeypatch.setenv(name, value)
    assert load_settings() == made


def test_the_password_does_not_show_in_print(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:hunter2@localhost:1/d")
    assert "hunter2" not in repr(load_settings())


def test_production_refuses_what_exists_for_development(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COURSAGA_ENV", "production")
    monkeypatch.setenv("COURSAGA_TODAY", "2026-11-21")
    monkeypatch.setenv("DEV_AUTH", "true")
    monkeypatch.setenv("API_PORT", "many")
    with pytest.raises(SettingsError) as refused:
        load_settings()
    named = [line.split(":")[0] for line in str(refused.value).splitlines()]
    missing = ["DATABASE_URL", "TEMPORAL_ADDRESS", "PROVIDER_URL", "AUTH_ISSUER", "AUTH_JWKS"]
    assert named == ["COURSAGA_TODAY", *missing, "DEV_AUTH", "API_PORT"]  # one list, faults of any other kind included


def test_production_boots_on_servers_of_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COURSAGA_ENV", "production")
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:p@h:1/d")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "temporal:7233")
    monkeypatch.setenv("PROVIDER_URL", "https://provider.example")
    monkeypatch.setenv("AUTH_ISSUER", ISSUER)
    monkeypatch.setenv("AUTH_JWKS", jwks())
    settings = load_settings()
    assert (settings.coursaga_env, settings.accepts_dev_tokens) == ("production", False)


def test_the_home_is_the_clones_from_any_folder_of_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.delenv("COURSAGA_HOME", raising=False)
    inside = tmp_path / "clone" / "docs" / "decisions"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    assert load_settings().coursaga_home == inside / ".coursaga"  # no clone, no home yet: here
    for name in ("worker.py", "docker-compose.yml"):
        (tmp_path / "clone" / name).touch()
    assert load_settings().coursaga_home == tmp_path / "clone" / ".coursaga"
    (inside / ".coursaga").mkdir()
    assert load_settings().coursaga_home == inside / ".coursaga"  # the nearest one
    monkeypatch.setenv("COURSAGA_HOME", "elsewhere")
    assert load_settings().coursaga_home == inside / "elsewhere"


SAFE = {
    "COURSAGA_ENV": "production", "DATABASE_URL": "postgresql://u:p@h:1/d", "TEMPORAL_ADDRESS": "temporal:7233",
    "PROVIDER_URL": "https://provider.example", "AUTH_ISSUER": ISSUER,
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WEBHOOK_PRIVATE_ADDRESSES", "true"), ("PROVIDER_URL", "http://provider.example"), ("PROVIDER_URL", "https://"),
        ("PROVIDER_URL", "ftp://provider.example"), ("AUTH_ISSUER", " "), ("GATE_DEADLINE", "0"),
        ("REPAIR_DEADLINE", "0s"), ("PAYMENT_PENDING_DEADLINE", "0"), ("ATTENTION_ESCALATE_AFTER", "0m"),
        ("DATABASE_URL", "postgresql://u@h:1/d"), ("DATABASE_URL", "postgresql://u:@h:1/d"),
        ("DATABASE_URL", "postgresql://coursaga:coursaga@h:1/d"), ("DATABASE_URL", "postgresql://u:Postgres@h:1/d"),
        ("DATABASE_URL", "postgresql://u:the%2Ddb@h:1/the-db"), ("DATABASE_URL", "postgresql://u:p@h:1/d?sslmode=disable"),
        ("DATABASE_URL", "postgresql://u:p@10.0.0.5:1/d?sslmode=allow"),
    ],
)  # fmt: skip
def test_production_refuses_what_is_not_safe(monkeypatch: pytest.MonkeyPatch, name: str, value: str):
    for safe, said in ({**SAFE, "AUTH_JWKS": jwks()} | {name: value}).items():
        monkeypatch.setenv(safe, said)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert {line.split(":")[0] for line in str(refused.value).splitlines()} - {"AUTH_JWKS"} == {name}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", ""])
def test_on_this_machine_tls_is_nobodys_business(monkeypatch: pytest.MonkeyPatch, host: str):
    url = f"postgresql://u:p@{host}/d?sslmode=disable"
    for safe, said in ({**SAFE, "AUTH_JWKS": jwks()} | {"DATABASE_URL": url}).items():
        monkeypatch.setenv(safe, said)
    assert load_settings().coursaga_env == "production"


def test_a_database_elsewhere_is_production_unless_somebody_says_otherwise(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:p@db.example:5432/d")
    with pytest.raises(SettingsError, match="AUTH_ISSUER: must be set in production"):
        load_settings()
    monkeypatch.setenv("COURSAGA_ENV", "development")
    assert load_settings().accepts_dev_tokens
    monkeypatch.delenv("COURSAGA_ENV")
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:p@127.0.0.1:5432/d")
    assert load_settings().accepts_dev_tokens


def test_the_clock_stands_at_noon_of_a_fixed_day():
    tell = clock(Settings.model_validate({"coursaga_today": date(2026, 11, 21)}))
    assert tell() == datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert tell() == tell()


def test_the_clock_tells_the_time_in_utc_otherwise():
    before = datetime.now(UTC)
    assert before <= clock(Settings.model_validate({"coursaga_today": None}))() <= datetime.now(UTC)


@pytest.mark.parametrize("written", ["[]", "acks=all", "{", "1"])
def test_options_for_kafka_that_are_no_object_are_refused(monkeypatch: pytest.MonkeyPatch, written: str):
    monkeypatch.setenv("KAFKA_OPTIONS", written)
    with pytest.raises(SettingsError, match="KAFKA_OPTIONS"):
        load_settings()


def test_options_for_kafka_reach_another_process(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KAFKA_OPTIONS", '{"sasl.password": "swordfish"}')
    settings = load_settings()
    assert settings.kafka_extras == {"sasl.password": "swordfish"}
    assert "swordfish" not in repr(settings)
    assert settings.environment()["KAFKA_OPTIONS"] == '{"sasl.password": "swordfish"}'
