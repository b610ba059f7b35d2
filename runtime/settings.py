"""Every setting, from the environment only. `.env.example` lists them all; a test keeps the two equal."""

from __future__ import annotations

import re
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from runtime.errors import CannotRun

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class SettingsError(CannotRun):
    """A setting is missing or wrong; the message names each one, its variable and why."""


def _seconds(value: object) -> object:
    """Reads 90, "90s", "15m", "72h", "3d"; leaves every other form to pydantic."""
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", value.strip().lower())):
        return timedelta(seconds=float(match[1]) * _UNITS[match[2] or "s"])
    return value


Duration = Annotated[timedelta, BeforeValidator(_seconds), Field(ge=timedelta(0))]
Port = Annotated[int, Field(ge=0, le=65535)]  # 0: pick a free one


class Settings(BaseSettings):
    """The settings of one process, frozen. An empty variable counts as not set.

    Production refuses whatever exists for development: the embedded servers, the stand-in provider, a fixed day.
    """

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, validate_default=True)

    coursaga_env: Literal["development", "production"] = "development"
    coursaga_home: Path = Path(".coursaga")
    coursaga_today: date | None = None

    database_url: SecretStr | None = None
    temporal_address: str | None = None
    temporal_namespace: str = "default"
    temporal_ui_url: str | None = None
    task_queue: str = "purchases"
    provider_url: str | None = None

    api_host: str = "127.0.0.1"
    api_port: Port = 8000
    api_url: str | None = None
    postgres_port: Port = 0
    temporal_port: Port = 0
    temporal_ui_port: Port = 8233
    provider_port: Port = 0
    postgres_bin: Path | None = None

    workers: int = Field(default=1, ge=0, le=64)
    activity_slots: int = Field(default=10, ge=1, le=200)
    worker_metrics_address: str | None = None
    auto_approve_allocations: bool = True
    gate_deadline: Duration = timedelta(hours=72)
    repair_deadline: Duration | None = None
    payment_pending_deadline: Duration = timedelta(hours=24)
    attention_escalate_after: Duration = timedelta(hours=24)
    two_person_limit: int = Field(default=0, ge=0)
    bulk_acts_per_second: float = Field(default=10, gt=0, le=1000)

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["auto", "json", "console"] = "auto"

    @field_validator("coursaga_home", "postgres_bin")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        return None if value is None else value.expanduser().absolute()

    @field_validator("database_url")
    @classmethod
    def _psycopg(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        found = re.fullmatch(r"postgres(?:ql)?(?:\+psycopg)?://(.+)", value.get_secret_value())
        if found is None:
            raise ValueError("must look like postgresql+psycopg://user:password@host:port/database")
        return SecretStr(f"postgresql+psycopg://{found[1]}")

    @model_validator(mode="after")
    def _fit_for_production(self) -> Self:
        if self.coursaga_env != "production":
            return self
        servers = {
            "DATABASE_URL": self.database_url,
            "TEMPORAL_ADDRESS": self.temporal_address,
            "PROVIDER_URL": self.provider_url,
        }
        refused = [f"{name} must be set, embedded servers are for development" for name, v in servers.items() if not v]
        if self.coursaga_today is not None:
            refused.append("COURSAGA_TODAY must not be set")
        if refused:
            raise ValueError("production: " + "; ".join(refused))
        return self

    def with_values(self, **values: object) -> Settings:
        """A copy with other values, validated like the environment's."""
        return Settings.model_validate({**self.model_dump(), **values})

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


def _text(value: Any) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}s"
    if isinstance(value, bool):
        return str(value).lower()
    return str(value)
