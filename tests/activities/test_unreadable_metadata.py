"""Mission row 23: the payment's metadata cannot be read. A purchase an event started goes on after three tries."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from temporalio.common import RetryPolicy
from temporalio.testing import ActivityEnvironment

from activities.payment import MetadataUnreadable, PaymentActivities
from db.grants import WORKER
from domain.purchase import PurchaseOrder
from tests import build
from tests.build import LESSONS
from tests.gateways.in_memory import FakeProvider
from workflows.policies import LOCAL, REGULAR


@pytest.fixture
def payments(engine: Engine, fake_provider: FakeProvider, clock: Callable[[], datetime]) -> PaymentActivities:
    build.student(engine)
    build.pay(engine, fake_provider, metadata={"startDate": "2026-12-24"})
    return PaymentActivities(engine, fake_provider, clock)


@pytest.fixture
def no_object(engine: Engine, payments: PaymentActivities) -> None:
    """As one of the older systems wrote it: JSON in a string."""
    build.run(engine, "UPDATE payment_lines SET metadata = to_jsonb(metadata::text)")


@pytest.fixture
def not_ours_to_read(engine: Engine) -> None:
    """The column alone cannot be read; everything else can."""
    build.run(engine, f"REVOKE SELECT ON payment_lines FROM {WORKER}")  # noqa: S608 -- a name of our own
    build.run(engine, f"GRANT SELECT (payment_id, line, item_type, item_id, amount_minor) ON payment_lines TO {WORKER}")


# The quick tries as Temporal counts them: local?, the how-many-eth, of how many.
TRIES = {
    REGULAR: [(False, 1, 3), (False, 2, 3), (False, 3, 3)],
    LOCAL: [(True, 1, 2), (True, 2, 2), (False, 1, 1)],
}


def confirm(payments: PaymentActivities, order: PurchaseOrder, local: bool, attempt: int, of: int) -> None:
    environment = ActivityEnvironment()
    environment.info = dataclasses.replace(
        ActivityEnvironment.default_info(),
        attempt=attempt,
        is_local=local,
        retry_policy=RetryPolicy(maximum_attempts=of),
    )
    environment.run(payments.confirm_payment, order)


@pytest.mark.parametrize("lane", TRIES)
@pytest.mark.parametrize("cause", ["no_object", "not_ours_to_read"])
def test_the_third_try_uses_the_events_metadata_and_says_so(
    cause: str, lane: str, request: pytest.FixtureRequest, engine: Engine, payments: PaymentActivities
) -> None:
    order = build.start(engine, origin="event", event_metadata=LESSONS)
    request.getfixturevalue(cause)
    *vain, last = TRIES[lane]
    for each in vain:
        with pytest.raises((MetadataUnreadable, DBAPIError)):
            confirm(payments, order, *each)
    confirm(payments, order, *last)
    settled = build.value(engine, "SELECT result FROM purchase_steps WHERE step = 'confirm_payment'")
    assert settled["metadataSource"] == "event"
    assert settled["fields"]["startDate"] == LESSONS["startDate"]
    assert set(settled["sources"].values()) == {"event"}
    assert any("could not be read" in warning for warning in settled["warnings"])


@pytest.mark.usefixtures("no_object")
@pytest.mark.parametrize(("origin", "said"), [("checkout", LESSONS), ("event", None)])
def test_any_other_purchase_waits(
    engine: Engine, payments: PaymentActivities, origin: str, said: dict[str, Any] | None
) -> None:
    order = build.start(engine, origin=origin, event_metadata=said)
    with pytest.raises(MetadataUnreadable):
        confirm(payments, order, *TRIES[REGULAR][-1])


def test_what_can_be_read_is_used_and_nothing_is_marked(engine: Engine, payments: PaymentActivities) -> None:
    confirm(payments, build.start(engine, origin="event", event_metadata=LESSONS), *TRIES[REGULAR][0])
    settled = build.value(engine, "SELECT result FROM purchase_steps WHERE step = 'confirm_payment'")
    assert settled["fields"]["startDate"] == "2026-12-24"
    assert "metadataSource" not in settled
