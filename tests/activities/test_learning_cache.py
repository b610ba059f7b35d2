"""invalidate_learning_cache makes every cached page of one student stale."""

from __future__ import annotations

from sqlalchemy import Engine

from activities.learning_cache import LearningActivities
from tests import build
from tests.activities.counting import round_trips


def test_each_call_makes_a_newer_version_for_that_student_only(engine: Engine) -> None:
    learning = LearningActivities(engine)
    mine, other = build.purchase(engine), build.purchase(engine, "pay-2", student_id="student-2")
    learning.invalidate_learning_cache(mine)
    learning.invalidate_learning_cache(other)
    with round_trips(engine) as sent:
        learning.invalidate_learning_cache(mine)
    assert build.rows(engine, "SELECT student_id, version FROM learning_versions ORDER BY 1") == [
        ("student-1", 2),
        ("student-2", 1),
    ]
    assert len(sent) == 1
