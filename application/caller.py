"""Who asks, for what is asked below HTTP."""

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
    """Who calls, by a token that is good `until` then. `reach`: what the policy gives the role in the operation called."""

    subject: str
    role: Role | None
    until: float = 0.0
    reach: Reach = NONE

    @property
    def own(self) -> str | None:
        """The student whose rows alone may be reached; None: everybody's."""
        return None if self.reach == ANY else self.subject
