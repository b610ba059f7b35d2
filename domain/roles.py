"""Who may call: the roles a token can name (mission row 12)."""

from __future__ import annotations

from typing import Literal, get_args

Role = Literal["student", "support", "admin", "service"]
ROLES: tuple[Role, ...] = get_args(Role)
