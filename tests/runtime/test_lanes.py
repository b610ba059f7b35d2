"""The lane is a setting of the doors, and travels with each purchase in its rules."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from application.wiring import rules_of
from runtime.settings import Settings
from workflows.policies import LOCAL, REGULAR


def test_the_lane_is_local_unless_said_otherwise() -> None:
    assert (rules_of(Settings()).lane, rules_of(Settings()).local) == (LOCAL, True)
    regular = rules_of(Settings.model_validate({"lanes": REGULAR}))
    assert (regular.lane, regular.local, regular.quick().maximum_attempts) == (REGULAR, False, 3)


def test_quick_tries_are_three_in_all_in_both_lanes() -> None:
    local = rules_of(Settings())
    assert local.locally().maximum_attempts + local.quick(1).maximum_attempts == 3


def test_another_lane_is_refused() -> None:
    with pytest.raises(ValidationError, match="'local' or 'regular'"):
        Settings.model_validate({"lanes": "fast"})
