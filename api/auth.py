"""The seam for identity.

Authentication comes with a later issue: a JWT with one of the roles student, support, admin, service. Until then
anybody who reaches the API may act, and an act's `actor` is what its body says. Routes take the actor from here only,
so that the change to tokens is one of this file (an `actor` in the body is then refused).
"""

from __future__ import annotations

UNNAMED = "unknown"


def actor_of(said: str | None) -> str:
    """Who acts. `said` is the body's `actor`; nobody said means `unknown`, which the audit trail shows as such."""
    return said or UNNAMED
