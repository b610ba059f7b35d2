"""All settings, read from the environment only. `.env.example` lists them all; a test keeps the two equal."""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from runtime.errors import CannotRun
from runtime.production_rules import ProductionRules, fault_of_database, in_production
from runtime.secrets_keys import HOW_TO_MAKE, keys_in
from runtime.setting_types import Duration, Port, Rate, SecretKeys, SecretObject, WebAddress, object_in

DEV_ISSUER = "coursaga-development"  # of the tokens `coursaga token` makes; no real issuer may be called so
_HOME = Path(".coursaga")


class SettingsError(CannotRun):
    """Settings are missing or wrong; the message names each variable and why."""


class Settings(ProductionRules):
    """The settings of one process, frozen. An empty variable counts as not set.

    COURSAGA_ENV, and what production refuses, come from `ProductionRules`.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, validate_default=True)

    coursaga_home: Path = _HOME
    coursaga_today: date | None = None

    database_url: SecretStr | None = None
    temporal_address: str | None = None
    temporal_namespace: str = "default"
    temporal_ui_url: str | None = None
    task_queue: str = "purchases"
    provider_url: str | None = None
    secrets_keys: SecretKeys | None = None

    auth_issuer: str | None = None
    auth_audience: str = Field(default="coursaga", min_length=1)
    auth_jwks: str | None = None
    auth_leeway: Duration = Field(default=timedelta(seconds=30), le=timedelta(minutes=5))
    dev_auth: bool | None = None
    coursaga_token: SecretStr | None = None
    kafka_bootstrap_servers: str | None = None
    kafka_options: SecretObject | None = None
    kafka_topic_in: str = "payments"
    kafka_topic_out: str = "purchases"
    kafka_topic_dead: str = "payments.dead-letters"
    kafka_group: str = "coursaga"
    webhook_private_addresses: bool = False

    api_host: str = "127.0.0.1"
    api_port: Port = 8000
    api_url: str | None = None
    api_public_url: WebAddress | None = None
    api_docs: bool | None = None
    api_work_at_once: int = Field(default=3, ge=1, le=1000)
    rate_limit_student: Rate = "300/minute"
    rate_limit_staff: Rate = "3000/minute"
    rate_limit_service: Rate = "12000/minute"
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
    lanes: Literal["local", "regular"] = "local"
    workflow_sandbox: bool = False
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

    @field_validator("coursaga_home")
    @classmethod
    def _of_the_clone(cls, value: Path) -> Path:
        """Resolve the default to the home of the clone, from whatever folder of it a command is called."""
        if value != _HOME:
            return value
        here = Path.cwd()
        return next((each / value for each in (here, *here.parents) if _is_home(each)), here / value)

    @field_validator("coursaga_home", "postgres_bin", "heartbeat_folder")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @field_validator("database_url")
    @classmethod
    def _psycopg(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is None:
            return None
        found = re.fullmatch(r"postgres(?:ql)?(?:\+psycopg)?://(.+)", value.get_secret_value())
        if found is None:
            raise ValueError("must look like postgresql+psycopg://user:password@host:port/database")
        if in_production(info) and (fault := fault_of_database(f"postgresql://{found[1]}")):
            raise ValueError(fault)
        return SecretStr(f"postgresql+psycopg://{found[1]}")

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

    @property
    def public_url(self) -> str:
        """The URL at which others reach the API: API_PUBLIC_URL, else the address it listens on."""
        host = f"[{self.api_host}]" if ":" in self.api_host else self.api_host
        return self.api_public_url or f"http://{host}:{self.api_port}"

    @property
    def accepts_dev_tokens(self) -> bool:
        """Whether tokens of `coursaga token` are accepted: in development, unless DEV_AUTH=false."""
        return self.coursaga_env != "production" and self.dev_auth is not False

    @property
    def shows_docs(self) -> bool:
        """Whether the API serves its documentation: API_DOCS, else in development only."""
        return self.coursaga_env != "production" if self.api_docs is None else self.api_docs

    def with_values(self, **values: object) -> Settings:
        """Return a copy with other values, validated like the environment's."""
        return Settings.model_validate({**self.model_dump(), **values})

    @property
    def kafka_servers(self) -> str:
        """The addresses of Kafka's servers. Raises SettingsError when none is set."""
        if self.kafka_bootstrap_servers is None:
            raise SettingsError("KAFKA_BOOTSTRAP_SERVERS is not set: there is no Kafka to talk to")
        return self.kafka_bootstrap_servers

    @property
    def kafka_extras(self) -> dict[str, Any]:
        """KAFKA_OPTIONS as an object; may hold secrets."""
        return object_in(self.kafka_options) if self.kafka_options else {}

    @property
    def sealing_keys(self) -> list[str]:
        """The keys of SECRETS_KEYS, the first of which seals; in development an empty list if none is set.

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
        """Return the variables that make another process read these same settings. They hold secrets."""
        return {name.upper(): _text(value) for name, value in self.model_dump().items() if value is not None}


def load_settings() -> Settings:
    """Read the environment; raise SettingsError with one readable line per wrong setting."""
    try:
        return Settings()
    except ValidationError as error:
        lines = [
            f"{'.'.join(map(str, e['loc'])).upper() or 'settings'}: {e['msg'].removeprefix('Value error, ')}"
            for e in error.errors()
        ]
        raise SettingsError("\n".join(lines)) from None


def _is_home(folder: Path) -> bool:
    return (folder / _HOME).is_dir() or all((folder / name).exists() for name in ("worker.py", "docker-compose.yml"))


def _text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, timedelta):
        return f"{value.total_seconds():f}s"  # never 1e+06
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
