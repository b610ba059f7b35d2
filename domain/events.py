"""Build the envelope of an event for other systems; it is the same however often and by whichever way it is sent."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from domain.ids import event_id_of


def envelope(key: str, kind: str, occurred_at: datetime, data: Mapping[str, Any]) -> bytes:
    """Return the event as JSON `{id, type, occurredAt, key, data}` (spec section 7), the same bytes each time."""
    moment = occurred_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    said = {"id": event_id_of(key), "type": kind, "occurredAt": moment, "key": key, "data": data}
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()
