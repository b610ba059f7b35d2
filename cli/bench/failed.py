"""What the bench raises when there is nothing to measure."""

from __future__ import annotations

from runtime.errors import CannotRun


class BenchFailed(CannotRun):
    """Something did not happen as it must, so there is nothing to measure; the message says what happened instead."""
