"""The types of settings' values, each with the error message for a value of another form."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from runtime.secrets_keys import keys_in
from runtime.urls import host_of

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _seconds(value: object) -> object:
    """Return the duration in 90, "90s", "15m", "72h", "3d" given as text; leave every other form to pydantic."""
    if isinstance(value, str) and (match := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", value.strip().lower())):
        return timedelta(seconds=float(match[1]) * _UNITS[match[2] or "s"])
    return value


def duration(text: str) -> timedelta | None:
    """Parse a duration as the settings do; return None when it is none."""
    read = _seconds(text)
    return read if isinstance(read, timedelta) else None


def object_in(value: SecretStr) -> Any:
    """Parse the value as JSON; return None when it is not JSON."""
    try:
        return json.loads(value.get_secret_value())
    except ValueError:
        return None


def _object(value: SecretStr) -> SecretStr:
    if not isinstance(object_in(value), dict):
        raise ValueError('must be a JSON object, as {"security.protocol": "SASL_SSL"}')
    return value


def _keys(value: SecretStr) -> SecretStr:
    keys_in(value.get_secret_value())
    return value


def _rate(value: str) -> str:
    if re.fullmatch(r"[1-9]\d{0,8}/(?:[1-9]\d{0,3} )?(?:second|minute|hour|day)", value) is None:
        raise ValueError("must look like 300/minute or 50/10 second")
    return value


def _address(value: str) -> str:
    if not (value.startswith(("http://", "https://")) and host_of(value)):
        raise ValueError("must look like https://api.example.com")
    return value.rstrip("/")


Duration = Annotated[timedelta, BeforeValidator(_seconds), Field(ge=timedelta(0))]
Port = Annotated[int, Field(ge=0, le=65535)]  # 0: pick a free one
Rate = Annotated[str, AfterValidator(_rate)]
WebAddress = Annotated[str, AfterValidator(_address)]
SecretKeys = Annotated[SecretStr, AfterValidator(_keys)]
SecretObject = Annotated[SecretStr, AfterValidator(_object)]  # JSON
