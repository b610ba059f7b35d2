"""Detect a second payment for one thing that looks like a mistake (mission row 61, DUPLICATE_PAYMENT_SUSPECTED)."""

from __future__ import annotations

from datetime import datetime, timedelta

DUPLICATE_WINDOW = timedelta(minutes=10)


def looks_double(paid_at: datetime, count: int, older_paid_at: datetime, older_count: int) -> bool:
    """Return whether two payments for one item are suspect: as many lessons, at most DUPLICATE_WINDOW apart."""
    return count == older_count and abs(paid_at - older_paid_at) <= DUPLICATE_WINDOW
