"""How long a request wants to wait: its `Prefer` header (RFC 7240)."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Header

Prefer = Annotated[str, Header(description="`wait=10` waits up to that many seconds (30 at most)")]
_MAX_WAIT = 30.0


def wait_of(prefer: str, otherwise: float) -> float:
    """Return the seconds of `Prefer: wait=N`, `otherwise` if there is none that can be read (RFC 7240)."""
    found = re.search(r"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,6})\"?(?=$|[,;\s])", prefer, re.IGNORECASE)
    return min(float(found[1]), _MAX_WAIT) if found else otherwise
