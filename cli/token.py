"""`coursaga token`: print a bearer token for development, signed with the key of COURSAGA_HOME."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from cyclopts import Parameter

from cli.operators.acts import WrongUsage
from cli.output import FINE, Json, print_json, print_line
from domain.roles import Role
from domain.students import is_student_id
from runtime.dev_auth import dev_token
from runtime.setting_types import duration
from runtime.settings import load_settings

_LONGEST = timedelta(days=30)


def token(
    *,
    role: Role,
    subject: Annotated[str, Parameter(help="who it stands for; of a student the student's id")],
    ttl: Annotated[str, Parameter(help="how long it is good for: 90s, 15m, 8h, 3d")] = "1h",
    json: Json = False,
) -> int:
    """Print a token for the API of this COURSAGA_HOME, alone on its line. Refused in production."""
    good_for = duration(ttl)
    if good_for is None or not timedelta(0) < good_for <= _LONGEST:
        raise WrongUsage(f"--ttl {ttl}: say 90s, 15m, 8h or 3d, up to 30d")
    if role == "student" and not is_student_id(subject):
        raise WrongUsage("--subject: a student's id is 1 to 128 printable ASCII characters, and not `me`")
    made = dev_token(load_settings(), role, subject, good_for)
    if json:
        ends = (datetime.now(UTC) + good_for).isoformat(timespec="seconds")
        print_json({"token": made, "role": role, "subject": subject, "expiresAt": ends})
    else:
        print_line(made)
    return FINE
