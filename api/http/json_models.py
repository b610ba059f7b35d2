"""The base of JSON models: camelCase outside, snake_case inside; bodies are strict and refuse unknown keys."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Answer(BaseModel):
    """What the API answers with."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Body(BaseModel):
    """What the API is sent. Strict: a number is no text and `false` is no 0; an unknown key is refused."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", strict=True)


def wall(moment: datetime | None) -> str | None:
    """Return a wall time as `YYYY-MM-DDTHH:MM`."""
    return moment.strftime("%Y-%m-%dT%H:%M") if moment else None
