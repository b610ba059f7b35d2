"""The caller of a request, as the code below HTTP sees them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from domain.roles import Role

Reach = Literal["own", "any", "none"]
OWN: Final = "own"
ANY: Final = "any"
NONE: Final = "none"


@dataclass(frozen=True)
class Caller:
    """Who calls. `until`: when the token expires (Unix seconds). `reach`: what the policy allows the role here."""

    subject: str
    role: Role | None
    until: float = 0.0
    reach: Reach = NONE

    @property
    def own(self) -> str | None:
        """Return the only student whose rows may be reached; None when everybody's may."""
        return None if self.reach == ANY else self.subject
