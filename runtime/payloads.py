"""Decode what crosses Temporal so that nothing a stranger sends can stop a workflow.

Signals of Temporal UI and the CLI may carry anything. What cannot be read becomes a value, and the handler,
which takes any number of values, notes it; with the SDK's own converter the signal would be dropped and nobody
would know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from itertools import zip_longest
from typing import Any, cast, get_type_hints

from temporalio.api.common.v1 import Payload
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultPayloadConverter,
    JSONPlainPayloadConverter,
    JSONTypeConverter,
    value_to_type,
)


@dataclass(frozen=True)
class Unreadable:
    """The value in place of an input that cannot be decoded, or whose encoding is unknown."""


class _Dataclasses(JSONTypeConverter):
    """Makes dataclasses as the SDK does; it reads the types of their fields anew each time, which is a tenth of a step."""

    def to_typed_value(self, hint: type, value: Any) -> Any:
        """Return the instance that this object describes. Raises TypeError for what does not fit."""
        if not (isinstance(value, dict) and is_dataclass(hint)):
            return JSONTypeConverter.Unhandled
        said = cast("dict[str, Any]", value)
        types = _types_of(hint)
        return hint(**{name: value_to_type(types[name], said[name], [self]) for name in types if name in said})


@cache
def _types_of(made: type) -> dict[str, Any]:
    types = get_type_hints(made)
    return {field.name: types[field.name] for field in fields(made) if field.init}


class TolerantPayloadConverter(DefaultPayloadConverter):
    """The SDK's default converter, except that an input without a type hint that cannot be decoded becomes
    `Unreadable`.

    An input with a type hint still raises: an Update is then refused, and leaves nothing in the history.
    """

    def __init__(self) -> None:
        plain = JSONPlainPayloadConverter(custom_type_converters=[_Dataclasses()])
        others = DefaultPayloadConverter.default_encoding_payload_converters
        CompositePayloadConverter.__init__(self, *(each for each in others if each.encoding != plain.encoding), plain)

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        """Return one value per payload. Raises if a payload with a type hint cannot be decoded to that type."""
        hinted = zip_longest(payloads, type_hints or (), fillvalue=None)
        return [self._value(payload, hint) for payload, hint in hinted if payload is not None]

    def _value(self, payload: Payload, hint: type | None) -> Any:
        try:
            [value] = super().from_payloads([payload], [hint] if hint else None)
        except Exception:
            if hint not in (None, Any):
                raise
            return Unreadable()
        return value


DATA_CONVERTER = DataConverter(payload_converter_class=TolerantPayloadConverter)
