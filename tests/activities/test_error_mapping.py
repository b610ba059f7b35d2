"""The boundary turns our refusals into Temporal's errors, and nothing else."""

from __future__ import annotations

import math
from typing import Any

import pytest
from psycopg.errors import AdminShutdown, InvalidTextRepresentation
from sqlalchemy.exc import DataError, OperationalError
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from activities.error_mapping import LONGEST_WAIT, Boundary
from domain.refusals import Refused
from gateways.payments import ProviderTrouble


class Ends(ActivityInboundInterceptor):
    """The rest of the chain: an activity that returns `answer`, or raises it."""

    def __init__(self, answer: object) -> None:
        self.answer = answer

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def through_the_boundary(answer: object) -> Any:
    call = ExecuteActivityInput(fn=lambda: None, args=[], executor=None, headers={})
    return await Boundary().intercept_activity(Ends(answer)).execute_activity(call)


async def error_of(answer: Exception) -> ApplicationError:
    with pytest.raises(ApplicationError) as error:
        await through_the_boundary(answer)
    return error.value


async def test_a_refusal_is_never_retried_and_pages_nobody() -> None:
    error = await error_of(Refused("UNKNOWN_ITEM", "the catalogue has no course x"))
    assert (error.type, error.message, error.non_retryable) == ("UNKNOWN_ITEM", "the catalogue has no course x", True)
    assert error.category is ApplicationErrorCategory.BENIGN


@pytest.mark.parametrize(("facts", "details"), [({}, ()), ({"missing": 2, "why": "x"}, ({"missing": 2, "why": "x"},))])
async def test_the_facts_of_a_refusal_are_the_details_of_the_error(
    facts: dict[str, int | str], details: tuple[object, ...]
) -> None:
    assert (await error_of(Refused("SESSIONS_PARTIAL", "two are missing", **facts))).details == details


async def test_an_answer_passes() -> None:
    assert await through_the_boundary("done") == "done"


@pytest.mark.parametrize("bug", [KeyError("555-1234"), ValueError("no number: 555-1234"), TypeError("555-1234")])
async def test_a_bug_is_told_by_its_kind_without_the_value_it_stumbled_over(bug: Exception) -> None:
    error = await error_of(bug)
    assert (error.type, error.non_retryable) == (type(bug).__name__, False)
    assert error.message == f"{type(bug).__name__}: the worker's log says more"
    assert error.__cause__ is None


async def test_the_database_quotes_no_value() -> None:
    orig = InvalidTextRepresentation('invalid input syntax for type integer: "555-1234"')
    error = await error_of(DataError("SELECT 1", {}, orig))
    assert (error.type, error.message) == (
        "InvalidTextRepresentation",
        "the database: a value is not of the type it is stored as",
    )


@pytest.mark.parametrize("trouble", [RuntimeError("a bug"), ProviderTrouble("timed out")])
async def test_trouble_passes_as_it_is_and_is_retried(trouble: Exception) -> None:
    with pytest.raises(type(trouble)) as raised:
        await through_the_boundary(trouble)
    assert raised.value is trouble


@pytest.mark.parametrize(
    ("asked", "waited"), [(2.0, 2.0), *((much, LONGEST_WAIT.total_seconds()) for much in (3600.0, 1e300, math.inf))]
)
async def test_a_provider_may_ask_for_a_pause_but_quick_tries_stay_quick(asked: float, waited: float) -> None:
    error = await error_of(ProviderTrouble("busy", retry_after=asked))
    assert not error.non_retryable
    assert error.next_retry_delay
    assert error.next_retry_delay.total_seconds() == waited


async def test_database_trouble_is_told_without_the_statement_or_its_values() -> None:
    cause = AdminShutdown("shutting down\nDETAIL: Key (email)=(a@example.test)")
    error = await error_of(OperationalError("SELECT :email", {"email": "a@example.test"}, cause))
    assert (error.type, error.message, error.non_retryable) == ("AdminShutdown", "the database: shutting down", False)
    assert error.__cause__ is None
