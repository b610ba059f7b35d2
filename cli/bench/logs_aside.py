"""Keep the logs of what runs in the bench's own process out of its output."""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from runtime.logs import set_up_logs


@contextmanager
def logs_to(file: Path) -> Generator[None]:
    """Write logs to this file as a worker does, so that they cost the same."""
    with file.open("a") as log:
        set_up_logs("INFO", "json", log)
        try:
            yield
        finally:
            logging.getLogger().handlers.clear()
