"""What crosses Temporal, read so that nothing a stranger sends can stop a workflow.

Signals of Temporal UI and the CLI may carry anything. What cannot be read becomes a value, and the handler, which takes
any number of values, notes it; with the SDK's own converter the signal would be dropped and nobody would know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.converter import DataConverter, DefaultPayloadConverter


@dataclass(frozen=True)
class Unreadable:
    """Stands for an input that is not what its encoding says, or of an encoding nobody knows."""


class TolerantPayloadConverter(DefaultPayloadConverter):
    """The default one, but an input of no particular type that cannot be read is `Unreadable`.

    One that is to be of a type still raises: an Update is refused then, and leaves nothing in the history.
    """

    def from_payloads(self, payloads: Sequence[Payload], type_hints: list[type] | None = None) -> list[Any]:
        """One value per payload. Raises for what is to be of a type and is not."""
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
