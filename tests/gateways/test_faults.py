"""Planned faults: each is seen by our client as it would be of a real provider, and does what its name says."""

from __future__ import annotations

from uuid import uuid4

import pytest

from gateways.payments import HttpPaymentProvider, ProviderRefused, ProviderTrouble
from tests.gateways.process import ProviderProcess, a_payment

HAPPENED = {
    "429": False,
    "500_before": False,
    "500_after": True,
    "timeout_before": False,
    "timeout_after": True,
    "reset": True,
    "foreign_404": False,
    "foreign_json": False,
    "foreign_200": False,
    "foreign_payment": False,
}


@pytest.fixture
def payment_id(client: HttpPaymentProvider) -> str:
    payment_id = f"pay-{uuid4().hex}"
    client.create(a_payment(payment_id))
    return payment_id


def refunded(client: HttpPaymentProvider, payment_id: str) -> int:
    payment = client.get(payment_id)
    assert payment is not None
    return payment.lines[0].refunded_minor


@pytest.mark.parametrize(("action", "happened"), HAPPENED.items())
def test_a_fault_is_trouble_and_the_retry_refunds_exactly_once(
    provider_process: ProviderProcess, client: HttpPaymentProvider, payment_id: str, action: str, happened: bool
):
    provider_process.plan({"operation": "refund", "payment_id": payment_id, "action": action, "seconds": 1})
    with pytest.raises(ProviderTrouble):
        client.refund(f"refund:{payment_id}:1", payment_id, 1, 5000)
    assert refunded(client, payment_id) == (5000 if happened else 0)
    client.refund(f"refund:{payment_id}:1", payment_id, 1, 5000)
    assert refunded(client, payment_id) == 5000
    assert len([row for row in provider_process.ledger("refund") if row["paymentId"] == payment_id]) == 1


@pytest.mark.parametrize("action", ["foreign_404", "foreign_json", "foreign_200", "foreign_payment"])
def test_what_somebody_else_answers_at_the_providers_address_is_trouble(
    provider_process: ProviderProcess, client: HttpPaymentProvider, payment_id: str, action: str
):
    provider_process.plan(*({"operation": name, "action": action} for name in ("get", "cancel", "find_refund")))
    for call in (client.get, client.cancel, lambda payment_id: client.find_refund("r", payment_id)):
        with pytest.raises(ProviderTrouble):
            call(payment_id)
    assert client.get(payment_id) == a_payment(payment_id)


def test_a_planned_refusal_is_a_refusal_once(
    provider_process: ProviderProcess, client: HttpPaymentProvider, payment_id: str
):
    provider_process.plan({"operation": "refund", "action": "refuse"})
    with pytest.raises(ProviderRefused) as refused:
        client.refund(f"refund:{payment_id}:1", payment_id, 1, 5000)
    assert refused.value.code == "refused_by_plan"
    assert refunded(client, payment_id) == 0
    client.refund(f"refund:{payment_id}:1", payment_id, 1, 5000)


def test_a_429_says_how_long_to_wait(provider_process: ProviderProcess, client: HttpPaymentProvider, payment_id: str):
    provider_process.plan({"operation": "get", "action": "429", "seconds": 7})
    with pytest.raises(ProviderTrouble) as trouble:
        client.get(payment_id)
    assert trouble.value.retry_after == 7


def test_a_slow_answer_comes(provider_process: ProviderProcess, client: HttpPaymentProvider, payment_id: str):
    provider_process.plan({"operation": "get", "action": "slow", "seconds": 0.1})
    assert client.get(payment_id) == a_payment(payment_id)


def test_strikes_the_nth_call_of_one_payment_only(
    provider_process: ProviderProcess, client: HttpPaymentProvider, payment_id: str
):
    provider_process.plan({"operation": "get", "payment_id": payment_id, "nth": 2, "action": "500_before"})
    client.get(payment_id)
    client.get("pay-other")
    with pytest.raises(ProviderTrouble):
        client.get(payment_id)
    client.get(payment_id)


def test_strikes_as_many_times_as_planned(
    provider_process: ProviderProcess, client: HttpPaymentProvider, payment_id: str
):
    provider_process.plan({"operation": "cancel", "times": 2, "action": "500_after"})
    for _ in range(2):
        with pytest.raises(ProviderTrouble):
            client.cancel(payment_id)
    client.cancel(payment_id)


def test_a_forgotten_plan_strikes_no_more(
    provider_process: ProviderProcess, client: HttpPaymentProvider, payment_id: str
):
    provider_process.plan({"operation": "get", "times": 9, "action": "reset"})
    with pytest.raises(ProviderTrouble):
        client.get(payment_id)
    provider_process.forget_plan()
    client.get(payment_id)


def test_a_plan_with_an_unknown_action_is_refused(provider_process: ProviderProcess):
    assert provider_process.post("/_faults", [{"operation": "get", "action": "explode"}]).status_code == 422
