"""Every workflow that workers serve: `worker.py` registers them, and a new build must be able to repeat them."""

from __future__ import annotations

from typing import Any

from workflows.expiry import ExpiryWorkflow
from workflows.lesson_changes import LessonChangeWorkflow, LessonSweepWorkflow
from workflows.pruning import PruneWorkflow
from workflows.purchase import PurchaseWorkflow
from workflows.slot_hold import SlotHoldWorkflow

WORKFLOWS: tuple[type[Any], ...] = (
    PurchaseWorkflow,
    ExpiryWorkflow,
    SlotHoldWorkflow,
    LessonChangeWorkflow,
    LessonSweepWorkflow,
    PruneWorkflow,
)
