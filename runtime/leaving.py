"""End the process."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def leave(code: int) -> NoReturn:
    """End this process with this exit code, at once; 1 in place of 0 if the output cannot be flushed.

    After a connection that failed, a thread of Temporal's SDK may still be giving back what it holds while the
    interpreter is taken down; one time in ten the process then ended by a signal, and not with its code.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # whoever read it is gone
            code = code or 1
    os._exit(code)
