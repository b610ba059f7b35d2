"""What crosses Temporal becomes the same objects as with the SDK's own converter, only sooner."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.converter import DefaultPayloadConverter

from domain.purchase import Announcement, PurchaseOrder, SessionsCreated, TrainerAssigned, Undone
from runtime.payloads import TolerantPayloadConverter
from workflows.inbox import Intent
from workflows.policies import REGULAR, Rules
from workflows.purchase import PurchaseInput
from workflows.saga_types import ContinuedState, RetryState

ORDER = PurchaseOrder("id", "purchase:pay:1", "pay", 1, "student-1")
RESUMED = ContinuedState(
    "enroll", {"enroll": RetryState(rounds=2)}, ["enroll"], [], [Intent("k", "cancel", "a", "b")], []
)
OURS, SDK = TolerantPayloadConverter(), DefaultPayloadConverter()


@pytest.mark.parametrize(
    "value",
    [
        ORDER,
        PurchaseInput(ORDER, Rules(lane=REGULAR, attempt=3)),
        PurchaseInput(ORDER, Rules(), RESUMED, amount_minor=7),
        Announcement(ORDER, "PURCHASE_REFUNDED", skipped=["enroll"]),
        TrainerAssigned("a", "t", 3, approved=True),
        SessionsCreated("partial", 1, 2, [3, 4]),
        Undone(True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_it_is_decoded_as_the_sdk_decodes_it(value: Any) -> None:
    sent = SDK.to_payloads([value])
    assert OURS.from_payloads(sent, [type(value)]) == SDK.from_payloads(sent, [type(value)]) == [value]


@pytest.mark.parametrize("data", [b"[]", b'{"purchase_id": 7}', b"{}", b"null", b"{", b'"x"'])
def test_what_does_not_fit_is_refused_as_the_sdk_does(data: bytes) -> None:
    sent = [Payload(metadata={"encoding": b"json/plain"}, data=data)]
    for converter in (OURS, SDK):
        with pytest.raises((TypeError, RuntimeError, ValueError)):
            converter.from_payloads(sent, [PurchaseOrder])


def test_fields_that_this_build_does_not_know_are_left_out() -> None:
    sent = [Payload(metadata={"encoding": b"json/plain"}, data=b'{"changed": true, "later": 1}')]
    assert OURS.from_payloads(sent, [Undone]) == [Undone(True)]
