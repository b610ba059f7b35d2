"""Rules for the settings in production, and when a process counts as production."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings

from runtime.urls import host_of, on_this_machine

_WELL_KNOWN = ("postgres", "password", "secret", "changeme", "change-me", "admin", "root", "test", "12345678", "123456")


class ProductionRules(BaseSettings):
    """COURSAGA_ENV, which is read before all other settings, and its rules for them.

    Production refuses whatever exists for development: the embedded servers, the stand-in provider, a fixed day,
    development tokens, blank secrets. Each is a fault of its own field, so that one list names them all.
    """

    coursaga_env: Literal["development", "production"] = "development"

    @model_validator(mode="before")
    @classmethod
    def _production_unless_said(cls, said: dict[str, Any]) -> dict[str, Any]:
        """Set production if COURSAGA_ENV is not set and the database is on another machine: then it is not
        development."""
        url = said.get("database_url")
        text = url.get_secret_value() if isinstance(url, SecretStr) else url
        elsewhere = isinstance(text, str) and text.startswith("postgres") and not on_this_machine(text)
        if elsewhere and not said.get("coursaga_env"):
            return {**said, "coursaga_env": "production"}
        return said

    @field_validator("database_url", "temporal_address", "provider_url", "auth_issuer", "auth_jwks", check_fields=False)
    @classmethod
    def _given_in_production(cls, value: Any, info: ValidationInfo) -> Any:
        if in_production(info) and not (value.strip() if isinstance(value, str) else value):
            raise ValueError("must be set in production: what stands in for it is for development")
        return value

    @field_validator("provider_url", check_fields=False)
    @classmethod
    def _encrypted_in_production(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value and in_production(info) and (not value.startswith("https://") or not host_of(value)):
            raise ValueError("must be an https:// URL in production: money is talked about there")
        return value

    @field_validator(
        "gate_deadline", "repair_deadline", "payment_pending_deadline", "attention_escalate_after", check_fields=False
    )
    @classmethod
    def _some_time_in_production(cls, value: timedelta | None, info: ValidationInfo) -> timedelta | None:
        if value is not None and not value and in_production(info):
            raise ValueError("must not be 0 in production: every purchase would be given up at once")
        return value

    @field_validator("coursaga_today", "dev_auth", "webhook_private_addresses", check_fields=False)
    @classmethod
    def _absent_in_production(cls, value: Any, info: ValidationInfo) -> Any:
        if in_production(info) and value:
            raise ValueError("must not be set in production, it is for development")
        return value


def in_production(info: ValidationInfo) -> bool:
    """Return whether the settings being checked are those of production."""
    return info.data.get("coursaga_env") == "production"


def fault_of_database(url: str) -> str | None:
    """Return why production refuses this database URL, or None when it does not."""
    parts = urlsplit(url)
    password = unquote(parts.password or "")
    if not password:
        return "has no password or a blank one, which production refuses"
    if password.lower() in {*_WELL_KNOWN, unquote(parts.username or "").lower(), parts.path.strip("/").lower()}:
        return "has a password that everybody knows, which production refuses"
    if dict(parse_qsl(parts.query)).get("sslmode") in ("disable", "allow") and not on_this_machine(url):
        return "must not talk to another machine without TLS in production: leave sslmode out, or ask for more"
    return None
