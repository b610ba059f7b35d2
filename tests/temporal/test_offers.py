"""What the current details offer to type into Temporal UI is what the messages take (rows 17, 85)."""

from __future__ import annotations

import json
from datetime import date

import pytest

from domain.next_actions import actions_for
from domain.refusals import REFUSALS, Fate
from workflows.messages import Act, Amend, AssignTrainer, Cancel, CreateSessions, SkipStep, check, data_for_ui
from workflows.steps import TABLE

TYPES: dict[str, type[Act]] = {
    "retry_now": Act,
    "approve_allocation": Act,
    "amend": Amend,
    "skip_step": SkipStep,
    "assign_trainer": AssignTrainer,
    "create_sessions": CreateSessions,
    "cancel": Cancel,
}


@pytest.mark.parametrize("code", [None, *(row.code for row in REFUSALS.values() if row.fate is Fate.PARK)])
def test_every_offer_passes_the_check_of_its_message(code: str | None) -> None:
    offered = [(step.name, act) for step in TABLE for act in actions_for(step.name, code, date(2026, 11, 21))]
    assert offered
    for stage, act in offered:
        said = TYPES[act.verb](**json.loads(data_for_ui("a-key", act.values)))
        check(act.verb, said)
        assert said.values in (act.values, act.values.get("changes"), act.values.get("overrides")), stage
