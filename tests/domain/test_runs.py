"""Every status of the server's enum has its row, and every row says what helps."""

from __future__ import annotations

from temporalio.api.enums.v1 import WorkflowExecutionStatus

from domain.refusals import REFUSALS, Fate
from domain.runs import BY_HAND, FORGOTTEN, RUN_KINDS, Helps, kind_of


def test_every_status_of_the_server_has_a_row_under_its_own_name() -> None:
    known = {
        number: name.removeprefix("WORKFLOW_EXECUTION_STATUS_") for name, number in WorkflowExecutionStatus.items()
    }
    assert {kind.number: kind.status for kind in RUN_KINDS.values()} == known


def test_a_status_of_a_newer_server_calls_for_an_engineer_and_is_never_started_over() -> None:
    assert (kind_of(99).code, kind_of(99).helps, kind_of(99).open) == ("UNKNOWN_RUN_STATE", Helps.ENGINEER, True)


def test_who_needs_somebody_has_a_code_of_the_table_and_something_that_helps() -> None:
    for kind in (*RUN_KINDS.values(), FORGOTTEN, kind_of(99)):
        assert (kind.code is None) == (kind.helps is Helps.NOTHING_NEEDED)
        assert kind.open or kind.helps is Helps.START_AGAIN
    assert {code for code, row in REFUSALS.items() if row.fate is Fate.HAND} == BY_HAND
