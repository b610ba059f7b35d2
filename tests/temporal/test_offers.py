"""What the current details offer to type into Temporal UI is what the messages take (rows 17, 85)."""

from __future__ import annotations

import json

import pytest
from temporalio.exceptions import ApplicationError

from domain.acts import SAMPLE
from domain.next_actions import actions_for
from domain.refusals import REFUSALS, Fate
from tests.samples import filled
from workflows.messages import (
    Act,
    Amend,
    AssignTrainer,
    Cancel,
    CreateSessions,
    SettleRefund,
    SkipStep,
    check,
    data_for_ui,
)
from workflows.steps import TABLE

TYPES: dict[str, type[Act]] = {
    "retry_now": Act,
    "approve_allocation": Act,
    "amend": Amend,
    "skip_step": SkipStep,
    "assign_trainer": AssignTrainer,
    "create_sessions": CreateSessions,
    "cancel": Cancel,
    "settle_refund": SettleRefund,
}


OFFERED = [None, *(row.code for row in REFUSALS.values() if row.fate is Fate.PARK)]


@pytest.mark.parametrize("code", OFFERED)
def test_every_offer_passes_the_check_of_its_message_once_it_is_filled_in(code: str | None) -> None:
    offered = [(step.name, act) for step in TABLE for act in actions_for(step.name, code)]
    assert offered
    for stage, act in offered:
        said = TYPES[act.verb](**filled(json.loads(data_for_ui("a-key", act.values))))
        check(act.verb, said)
        values = filled(act.values)
        assert said.values in (values, values.get("changes"), values.get("overrides")), stage


@pytest.mark.parametrize("code", OFFERED)
def test_an_offer_sent_as_it_stands_is_refused_and_names_each_sample(code: str | None) -> None:
    for act in [act for step in TABLE for act in actions_for(step.name, code)]:
        with pytest.raises(ApplicationError) as refused:
            check(act.verb, TYPES[act.verb](**json.loads(data_for_ui("a-key", act.values))))
        assert refused.value.type == "INVALID_ACT"
        assert "actor" in refused.value.message
        assert "reason" in refused.value.message
        given = act.values.get("changes") or act.values.get("overrides") or act.values
        for name in [name for name, value in given.items() if value in SAMPLE.values()]:
            assert f"{name}: this is only the sample" in refused.value.message
