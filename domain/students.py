"""Define which ids students may have, the same at every door (spec section 11)."""

from __future__ import annotations

import re

# 1 to 128 printable ASCII characters, verbatim. Blanks only inside: at an end nobody sees them, and some readers drop them.
STUDENT_ID = r"^[!-~]([ -~]{0,126}[!-~])?$"
ME = "me"  # in a path, the caller: nobody is called so

_PATTERN = re.compile(STUDENT_ID)


def is_student_id(said: str) -> bool:
    """Return whether a student may have this id."""
    return _PATTERN.fullmatch(said) is not None and said != ME
