"""Every setting, from the environment only. `.env.example` lists them all; a test keeps the two equal."""

from __future__ import annotations

import json
import re
from datetime import date, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import (
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from runtime.errors import CannotRun
from runtime.secrets_keys import HOW_TO_MAKE, keys_in

DEV_ISSUER = "coursaga-development"  # of the tokens `coursaga token` makes; no real issuer may be called so
_WELL_KNOWN = ("postgres", "password", "secret", "changeme", "change-me", "admin", "root", "test", "12345678", "123456")
_HOME = Path(".coursaga")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class SettingsError(CannotRun):
    """A setting is missing or wrong; the message names each one, its variable and why."""


def _seconds(value: object) -> object:
    """Reads 90, "90s", "15m", "72h", "3d"; leaves every other form to pydantic."""
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", value.strip().lower())):
        return timedelta(seconds=float(match[1]) * _UNITS[match[2] or "s"])
    return value


def duration(text: str) -> timedelta | None:
    """Reads a duration as the settings do; None when it is none."""
    read = _seconds(text)
    return read if isinstance(read, timedelta) else None


Duration = Annotated[timedelta, BeforeValidator(_seconds), Field(ge=timedelta(0))]
Port = Annotated[int, Field(ge=0, le=65535)]  # 0: pick a free one


class Settings(BaseSettings):
    """The settings of one process, frozen. An empty variable counts as not set.

    Production refuses whatever exists for development: the embedded servers, the stand-in provider, a fixed day,
    development tokens, blank secrets. Each is a fault of its own field, so that one list names them all.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, validate_default=True)

    coursaga_env: Literal["development", "production"] = "development"
    coursaga_home: Path = _HOME
    coursaga_today: date | None = None

    database_url: SecretStr | None = None
    temporal_address: str | None = None
    temporal_namespace: str = "default"
    temporal_ui_url: str | None = None
    task_queue: str = "purchases"
    provider_url: str | None = None
    secrets_keys: SecretStr | None = None

    auth_issuer: str | None = None
    auth_audience: str = Field(default="coursaga", min_length=1)
    auth_jwks: str | None = None
    auth_leeway: Duration = Field(default=timedelta(seconds=30), le=timedelta(minutes=5))
    dev_auth: bool | None = None
    coursaga_token: SecretStr | None = None
    kafka_bootstrap_servers: str | None = None
    kafka_options: SecretStr | None = None
    kafka_topic_in: str = "payments"
    kafka_topic_out: str = "purchases"
    kafka_topic_dead: str = "payments.dead-letters"
    kafka_group: str = "coursaga"
    webhook_private_addresses: bool = False

    api_host: str = "127.0.0.1"
    api_port: Port = 8000
    api_url: str | None = None
    api_public_url: str | None = None
    api_docs: bool | None = None
    api_work_at_once: int = Field(default=3, ge=1, le=1000)
    rate_limit_student: str = "300/minute"
    rate_limit_staff: str = "3000/minute"
    rate_limit_service: str = "12000/minute"
    postgres_port: Port = 0
    temporal_port: Port = 0
    temporal_ui_port: Port = 8233
    provider_port: Port = 0
    postgres_bin: Path | None = None

    workers: int = Field(default=1, ge=0, le=64)
    worker_versioning: bool | None = None
    activity_slots: int = Field(default=10, ge=1, le=200)
    worker_metrics_address: str | None = None
    heartbeat_folder: Path | None = None
    auto_approve_allocations: bool = True
    gate_deadline: Duration = timedelta(hours=72)
    repair_deadline: Duration | None = None
    payment_pending_deadline: Duration = timedelta(hours=24)
    attention_escalate_after: Duration = timedelta(hours=24)
    slot_hold: Duration = Field(default=timedelta(minutes=10), ge=timedelta(seconds=1), le=timedelta(hours=1))
    keep_for: Duration = Field(default=timedelta(days=90), ge=timedelta(days=7))
    two_person_limit: int = Field(default=0, ge=0)
    bulk_acts_per_second: float = Field(default=10, gt=0, le=1000)

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["auto", "json", "console"] = "auto"

    @model_validator(mode="before")
    @classmethod
    def _production_unless_said(cls, said: dict[str, Any]) -> dict[str, Any]:
        """Somebody's database elsewhere is no development: whoever forgot to say so is refused what development allows."""
        url = said.get("database_url")
        text = url.get_secret_value() if isinstance(url, SecretStr) else url
        elsewhere = isinstance(text, str) and text.startswith("postgres") and not _on_this_machine(text)
        if elsewhere and not said.get("coursaga_env"):
            return {**said, "coursaga_env": "production"}
        return said

    @field_validator("coursaga_home")
    @classmethod
    def _of_the_clone(cls, value: Path) -> Path:
        """The default is the clone's, from whatever folder of it a command is called."""
        if value != _HOME:
            return value
        here = Path.cwd()
        return next((each / value for each in (here, *here.parents) if _is_home(each)), here / value)

    @field_validator("coursaga_home", "postgres_bin", "heartbeat_folder")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @field_validator("database_url", "temporal_address", "provider_url", "auth_issuer", "auth_jwks")
    @classmethod
    def _given_in_production(cls, value: Any, info: ValidationInfo) -> Any:
        if _in_production(info) and not (value.strip() if isinstance(value, str) else value):
            raise ValueError("must be set in production: what stands in for it is for development")
        return value

    @field_validator("provider_url")
    @classmethod
    def _encrypted_in_production(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value and _in_production(info) and (not value.startswith("https://") or not _host_of(value)):
            raise ValueError("must be an https:// URL in production: money is talked about there")
        return value

    @field_validator("gate_deadline", "repair_deadline", "payment_pending_deadline", "attention_escalate_after")
    @classmethod
    def _some_time_in_production(cls, value: timedelta | None, info: ValidationInfo) -> timedelta | None:
        if value is not None and not value and _in_production(info):
            raise ValueError("must not be 0 in production: every purchase would be given up at once")
        return value

    @field_validator("coursaga_today", "dev_auth", "webhook_private_addresses")
    @classmethod
    def _absent_in_production(cls, value: Any, info: ValidationInfo) -> Any:
        if _in_production(info) and value:
            raise ValueError("must not be set in production, it is for development")
        return value

    @field_validator("database_url")
    @classmethod
    def _psycopg(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None:
            return None
        found = re.fullmatch(r"postgres(?:ql)?(?:\+psycopg)?://(.+)", value.get_secret_value())
        if found is None:
            raise ValueError("must look like postgresql+psycopg://user:password@host:port/database")
        if _in_production(info) and (fault := _fault_of_database(f"postgresql://{found[1]}")):
            raise ValueError(fault)
        return SecretStr(f"postgresql+psycopg://{found[1]}")

    @field_validator("secrets_keys")
    @classmethod
    def _keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            keys_in(value.get_secret_value())
        return value

    @field_validator("rate_limit_student", "rate_limit_staff", "rate_limit_service")
    @classmethod
    def _so_many_a_while(cls, value: str) -> str:
        if re.fullmatch(r"[1-9]\d{0,8}/(?:[1-9]\d{0,3} )?(?:second|minute|hour|day)", value) is None:
            raise ValueError("must look like 300/minute or 50/10 second")
        return value

    @field_validator("auth_issuer")
    @classmethod
    def _not_the_one_of_development(cls, value: str | None) -> str | None:
        if value == DEV_ISSUER:
            raise ValueError("is the issuer of development tokens")
        return value

    @field_validator("auth_jwks")
    @classmethod
    def _public_keys(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None:
            if not info.data.get("auth_issuer"):
                raise ValueError("needs AUTH_ISSUER: whose keys these are")
            from runtime.jwks import signing_keys  # here, so that commands do not load cryptography for nothing

            signing_keys(value)
        return value

    @field_validator("api_public_url")
    @classmethod
    def _address(cls, value: str | None) -> str | None:
        if value is not None and not (value.startswith(("http://", "https://")) and _host_of(value)):
            raise ValueError("must look like https://api.example.com")
        return value and value.rstrip("/")

    @property
    def public_url(self) -> str:
        """Where others reach the API: API_PUBLIC_URL, else where it listens."""
        host = f"[{self.api_host}]" if ":" in self.api_host else self.api_host
        return self.api_public_url or f"http://{host}:{self.api_port}"

    @property
    def accepts_dev_tokens(self) -> bool:
        """Whether tokens of `coursaga token` are accepted: in development, unless DEV_AUTH=false."""
        return self.coursaga_env != "production" and self.dev_auth is not False

    @property
    def shows_docs(self) -> bool:
        """Whether the API tells its documentation: API_DOCS, else in development only."""
        return self.coursaga_env != "production" if self.api_docs is None else self.api_docs

    @field_validator("kafka_options")
    @classmethod
    def _json_object(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not isinstance(_parsed(value), dict):
            raise ValueError('must be a JSON object, as {"security.protocol": "SASL_SSL"}')
        return value

    def with_values(self, **values: object) -> Settings:
        """A copy with other values, validated like the environment's."""
        return Settings.model_validate({**self.model_dump(), **values})

    @property
    def kafka_servers(self) -> str:
        """Where Kafka is. Raises SettingsError when there is none."""
        if self.kafka_bootstrap_servers is None:
            raise SettingsError("KAFKA_BOOTSTRAP_SERVERS is not set: there is no Kafka to talk to")
        return self.kafka_bootstrap_servers

    @property
    def kafka_extras(self) -> dict[str, Any]:
        """KAFKA_OPTIONS as an object; may hold secrets."""
        return _parsed(self.kafka_options) if self.kafka_options else {}

    @property
    def sealing_keys(self) -> list[str]:
        """SECRETS_KEYS, the first of which seals; none in development, if none is set.

        Raises SettingsError in production: what stores or uses secrets does not run without.
        """
        if self.secrets_keys is not None:
            return keys_in(self.secrets_keys.get_secret_value())
        if self.coursaga_env == "production":
            raise SettingsError(
                "SECRETS_KEYS: must be set in production: secrets of webhook targets are stored encrypted with it. "
                f"Make one with {HOW_TO_MAKE} and give the same to the API and to every relay"
            )
        return []

    def environment(self) -> dict[str, str]:
        """The variables that make another process read these same settings. Holds secrets."""
        return {name.upper(): _text(value) for name, value in self.model_dump().items() if value is not None}


def load_settings() -> Settings:
    """Reads the environment; raises SettingsError with one readable line per wrong setting."""
    try:
        return Settings()
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, e['loc'])).upper() or 'settings'}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        ]
        raise SettingsError("\n".join(lines)) from None


def _in_production(info: ValidationInfo) -> bool:
    return info.data.get("coursaga_env") == "production"


def _is_home(folder: Path) -> bool:
    return (folder / _HOME).is_dir() or all((folder / name).exists() for name in ("worker.py", "docker-compose.yml"))


def _on_this_machine(url: str) -> bool:
    """By loopback or by a socket file."""
    host = _host_of(url)
    if host in ("", "localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _fault_of_database(url: str) -> str | None:
    """What production refuses of it."""
    parts = urlsplit(url)
    password = unquote(parts.password or "")
    if not password:
        return "has no password or a blank one, which production refuses"
    if password.lower() in {*_WELL_KNOWN, unquote(parts.username or "").lower(), parts.path.strip("/").lower()}:
        return "has a password that everybody knows, which production refuses"
    if dict(parse_qsl(parts.query)).get("sslmode") in ("disable", "allow") and not _on_this_machine(url):
        return "must not talk to another machine without TLS in production: leave sslmode out, or ask for more"
    return None


def _parsed(value: SecretStr) -> Any:
    try:
        return json.loads(value.get_secret_value())
    except ValueError:
        return None


def _text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, timedelta):
        return f"{value.total_seconds():f}s"  # never 1e+06
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
