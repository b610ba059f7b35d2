"""The stand-in provider, as a process over HTTP: its rules, its keys, its memory."""

from __future__ import annotations

import ast
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import httpx2
import pytest

import gateways.fake_provider
from gateways.payments import HttpPaymentProvider, ProviderRefused, ProviderTrouble
from tests.gateways.process import ProviderProcess, a_payment


def made(process: ProviderProcess, **about: object) -> str:
    """A new payment of its own id at the provider."""
    payment_id = f"pay-{uuid4().hex}"
    with process.client() as client:
        assert client.create(a_payment(payment_id, **about))  # pyright: ignore[reportArgumentType]
    return payment_id


def test_imports_none_of_our_code():
    ours = {"activities", "api", "cli", "db", "domain", "gateways", "runtime", "workflows", "worker"}
    for file in Path(gateways.fake_provider.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                assert not ours & {name.name.split(".")[0] for name in node.names}
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                assert (node.module or "").split(".")[0] not in ours


def test_answers_a_payment_with_its_lines_and_what_was_refunded(
    provider_process: ProviderProcess, client: HttpPaymentProvider
):
    payment_id = made(provider_process)
    client.refund(f"refund:{payment_id}:1", payment_id, 1, 2000)
    payment = client.get(payment_id)
    assert payment is not None
    assert payment.status == "partially_refunded"
    assert [(line.line, line.amount_minor, line.refunded_minor) for line in payment.lines] == [
        (1, 5000, 2000),
        (2, 300, 0),
    ]


def test_knows_no_payment_it_was_not_given(client: HttpPaymentProvider):
    assert client.get("pay-nobody") is None


def test_creates_a_payment_once_and_refuses_another_under_its_id(
    provider_process: ProviderProcess, client: HttpPaymentProvider
):
    payment_id = made(provider_process)
    client.refund(f"refund:{payment_id}:1", payment_id, 1, 5000)
    assert client.create(a_payment(payment_id)) is False  # also when it was refunded since
    with pytest.raises(ProviderRefused) as refused:
        client.create(a_payment(payment_id, amounts=(5000, 301)))
    assert (refused.value.code, refused.value.status) == ("payment_differs", 409)
    assert [row["operation"] for row in provider_process.ledger() if row["paymentId"] == payment_id] == [
        "create",
        "refund",
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"amountMinor": 1},
        {"amountMinor": "5300"},
        {"lines": []},
        {"status": "good"},
        {"currency": "usd"},
        {"id": "a/b"},
        {"id": "x" * 65},
        {"surprise": 1},
    ],
)
def test_refuses_a_payment_that_makes_no_sense(provider_process: ProviderProcess, change: dict[str, object]):
    body = {"id": f"pay-{uuid4().hex}", "studentId": "s", "status": "succeeded", "amountMinor": 5300}
    body |= {"currency": "USD", "lines": [{"line": 1, "amountMinor": 5000}, {"line": 2, "amountMinor": 300}]}
    assert provider_process.post("/payments", body | change).status_code == 422
    assert provider_process.post("/payments", body).status_code == 201


def test_gives_the_same_answer_to_the_same_key(provider_process: ProviderProcess, client: HttpPaymentProvider):
    payment_id = made(provider_process)
    first = client.refund("key:" + payment_id, payment_id, 1, 5000)
    assert client.refund("key:" + payment_id, payment_id, 1, 5000) == first
    assert len([row for row in provider_process.ledger("refund") if row["paymentId"] == payment_id]) == 1


def test_gives_a_saved_refusal_to_the_same_key_even_when_it_would_succeed_now(
    provider_process: ProviderProcess, client: HttpPaymentProvider
):
    payment_id = made(provider_process, status="pending")
    for _ in range(2):
        with pytest.raises(ProviderRefused) as refused:
            client.refund("early:" + payment_id, payment_id, 1, 5000)
        assert refused.value.code == "payment_not_succeeded"
        provider_process.post(f"/payments/{payment_id}/confirm")
    assert client.refund("late:" + payment_id, payment_id, 1, 5000).status == "succeeded"


def test_refuses_a_key_used_for_another_refund(provider_process: ProviderProcess, client: HttpPaymentProvider):
    payment_id, other = made(provider_process), made(provider_process)
    client.refund("key:" + payment_id, payment_id, 1, 100)
    for about in ((payment_id, 1, 101), (payment_id, 2, 100), (other, 1, 100)):
        with pytest.raises(ProviderRefused) as refused:
            client.refund("key:" + payment_id, *about)
        assert (refused.value.code, refused.value.status) == ("idempotency_key_reused", 400)


def test_refuses_a_refund_without_a_key(provider_process: ProviderProcess):
    payment_id = made(provider_process)
    answer = provider_process.post(f"/payments/{payment_id}/refunds", {"line": 1, "amountMinor": 1})
    assert (answer.status_code, answer.json()["code"]) == (400, "idempotency_key_missing")


@pytest.mark.parametrize(
    ("line", "amount", "code"),
    [(1, 5001, "amount_too_large"), (1, 0, "amount_too_small"), (1, -5, "amount_too_small"), (3, 1, "unknown_line")],
)
def test_never_gives_back_more_than_was_paid(
    provider_process: ProviderProcess, client: HttpPaymentProvider, line: int, amount: int, code: str
):
    payment_id = made(provider_process)
    with pytest.raises(ProviderRefused) as refused:
        client.refund(f"refund:{payment_id}", payment_id, line, amount)
    assert (refused.value.code, refused.value.status) == (code, 422)
    assert client.get(payment_id) == a_payment(payment_id)


def test_refunds_a_line_in_parts_up_to_its_amount(provider_process: ProviderProcess, client: HttpPaymentProvider):
    payment_id = made(provider_process)
    client.refund(f"a:{payment_id}", payment_id, 1, 3000)
    with pytest.raises(ProviderRefused):
        client.refund(f"b:{payment_id}", payment_id, 1, 2001)
    client.refund(f"c:{payment_id}", payment_id, 1, 2000)
    client.refund(f"d:{payment_id}", payment_id, 2, 300)
    payment = client.get(payment_id)
    assert payment is not None
    assert payment.status == "refunded"


def test_refunds_once_when_many_ask_at_once(provider_process: ProviderProcess):
    payment_id = made(provider_process)
    with provider_process.client() as client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: client.refund(f"r:{payment_id}", payment_id, 1, 5000), range(16)))
        assert len({answer.id for answer in answers}) == 1
        payment = client.get(payment_id)
    assert payment is not None
    assert payment.lines[0].refunded_minor == 5000


@pytest.mark.parametrize(("status", "after"), [("pending", "failed"), ("succeeded", "succeeded"), ("failed", "failed")])
def test_cancels_only_what_is_pending(
    provider_process: ProviderProcess, client: HttpPaymentProvider, status: str, after: str
):
    payment_id = made(provider_process, status=status)
    assert client.cancel(payment_id).status == after
    assert client.cancel(payment_id).status == after


def test_confirms_only_what_is_pending(provider_process: ProviderProcess):
    pending, failed = made(provider_process, status="pending"), made(provider_process, status="failed")
    for _ in range(2):
        assert provider_process.post(f"/payments/{pending}/confirm").json()["status"] == "succeeded"
    assert provider_process.post(f"/payments/{failed}/confirm").status_code == 422
    assert len([row for row in provider_process.ledger("confirm") if row["paymentId"] == pending]) == 1


def test_cancelling_or_refunding_an_unknown_payment_is_refused(client: HttpPaymentProvider):
    for call in (lambda: client.cancel("pay-nobody"), lambda: client.refund("r:nobody", "pay-nobody", 1, 1)):
        with pytest.raises(ProviderRefused) as refused:
            call()
        assert (refused.value.code, refused.value.status) == ("payment_not_found", 404)


def test_remembers_everything_after_kill_9(own_process: ProviderProcess):
    made(own_process, status="pending")
    payment_id = made(own_process)
    with own_process.client() as client:
        first = client.refund("key-1", payment_id, 1, 5000)
        with pytest.raises(ProviderRefused):
            client.refund("key-2", payment_id, 1, 1)
        before, ledger = client.get(payment_id), own_process.ledger()
        own_process.kill()
        with pytest.raises(ProviderTrouble):
            client.get(payment_id)

        own_process.start()
        assert client.get(payment_id) == before
        assert client.refund("key-1", payment_id, 1, 5000) == first
        with pytest.raises(ProviderRefused) as refused:
            client.refund("key-2", payment_id, 1, 1)
        assert refused.value.code == "amount_too_large"
        assert own_process.ledger() == ledger
    assert [row["operation"] for row in ledger] == ["create", "create", "refund", "refund"]


def test_loses_nothing_it_answered_when_killed_in_the_middle_of_many_refunds(own_process: ProviderProcess):
    payment_id = made(own_process, amounts=(1,) * 60)
    answered: list[int] = []
    with own_process.client() as client, ThreadPoolExecutor(4) as pool:

        def refund(line: int) -> None:
            client.refund(f"refund:{line}", payment_id, line, 1)
            answered.append(line)
            if len(answered) >= 20:
                own_process.kill()

        lines = [pool.submit(refund, line) for line in range(1, 61)]
        ends = [one.exception() for one in lines]  # all of them: it starts again once the last thread has let go of it
        assert any(isinstance(end, ProviderTrouble) for end in ends)

        own_process.start()
        payment = client.get(payment_id)
        assert payment is not None
        assert set(answered) <= {line.line for line in payment.lines if line.refunded_minor == 1}
        for line in range(1, 61):
            client.refund(f"refund:{line}", payment_id, line, 1)
    assert len(own_process.ledger("refund")) == 60


def test_stops_cleanly_even_while_an_answer_hangs(own_process: ProviderProcess):
    own_process.plan({"operation": "get", "action": "timeout_before", "seconds": 600})
    with own_process.client(timeout=0.2) as client, pytest.raises(ProviderTrouble):
        client.get("pay-1")
    assert own_process.stop() in (0, -15)


def test_says_that_it_is_well(provider_process: ProviderProcess):
    assert httpx2.get(f"{provider_process.url}/healthz", trust_env=False).json() == {"status": "ok"}


def test_an_intent_is_one_payment_per_key_and_is_confirmed_once(
    provider_process: ProviderProcess, client: HttpPaymentProvider
):
    payment = a_payment(f"pay-{uuid4().hex}", status="pending")
    with ThreadPoolExecutor(5) as threads:
        intents = list(threads.map(lambda _: client.create_intent(f"checkout:{payment.id}", payment), range(5)))
    assert len(set(intents)) == 1
    assert intents[0].status == "pending"
    assert payment.id in intents[0].client_secret
    assert len([row for row in provider_process.ledger("create_intent") if row["paymentId"] == payment.id]) == 1
    provider_process.post(f"/payments/{payment.id}/confirm").raise_for_status()
    known = client.get(payment.id)
    assert known is not None
    assert known.status == "succeeded"
    assert client.create_intent(f"checkout:{payment.id}", payment) == intents[0], "the first answer, for ever"


def test_an_intent_is_refused_for_another_payment_and_without_a_key(
    provider_process: ProviderProcess, client: HttpPaymentProvider
):
    payment = a_payment(f"pay-{uuid4().hex}", status="pending")
    client.create_intent(payment.id, payment)
    other = a_payment(payment.id, status="pending", amounts=(1, 2))
    for key, code in ((payment.id, "idempotency_key_reused"), ("another key", "payment_differs")):
        with pytest.raises(ProviderRefused) as refused:
            client.create_intent(key, other)
        assert refused.value.code == code
    with pytest.raises(ProviderRefused) as refused:
        client.create_intent("paid already", a_payment(f"pay-{uuid4().hex}"))
    assert refused.value.code == "not_pending"
    assert provider_process.post("/payment_intents", {}).status_code == 422
    body = {"id": "p", "studentId": "s", "status": "pending", "amountMinor": 1, "currency": "USD"}
    body |= {"lines": [{"line": 1, "amountMinor": 1}]}
    assert provider_process.post("/payment_intents", body).json()["code"] == "idempotency_key_missing"


def test_an_intent_of_nothing_has_succeeded_at_once(client: HttpPaymentProvider):
    payment = a_payment(f"pay-{uuid4().hex}", status="pending", amounts=(0, 0))
    assert client.create_intent(payment.id, payment).status == "succeeded"


def test_an_intent_whose_answer_was_lost_is_told_under_its_key(
    provider_process: ProviderProcess, client: HttpPaymentProvider
):
    payment = a_payment(f"pay-{uuid4().hex}", status="pending")
    provider_process.plan({"operation": "create_intent", "paymentId": payment.id, "action": "500_after"})
    with pytest.raises(ProviderTrouble):
        client.create_intent(payment.id, payment)
    assert client.create_intent(payment.id, payment).payment_id == payment.id
    assert len([row for row in provider_process.ledger("create_intent") if row["paymentId"] == payment.id]) == 1


def test_what_was_given_back_is_found_under_its_key_and_only_there(
    provider_process: ProviderProcess, client: HttpPaymentProvider
):
    payment_id, other = made(provider_process), made(provider_process)
    refund = client.refund(f"r:{payment_id}", payment_id, 1, 100)
    with pytest.raises(ProviderRefused):
        client.refund(f"too much:{payment_id}", payment_id, 1, 5000)
    assert client.find_refund(f"r:{payment_id}", payment_id) == refund
    assert client.find_refund(f"r:{payment_id}", other) is None
    assert client.find_refund(f"too much:{payment_id}", payment_id) is None


def test_what_is_done_by_hand_goes_past_our_keys(provider_process: ProviderProcess, client: HttpPaymentProvider):
    payment_id = made(provider_process)
    by_hand = f"/_by_hand/{payment_id}"
    first, second = (provider_process.post(f"{by_hand}/refunds", {"line": 1, "amountMinor": 7}).json() for _ in "12")
    assert first["id"] != second["id"]
    payment = client.get(payment_id)
    assert payment is not None
    assert (payment.status, payment.lines[0].refunded_minor) == ("partially_refunded", 14)
    assert provider_process.post(f"{by_hand}/refunds", {"line": 1, "amountMinor": 5000}).status_code == 422
    assert provider_process.post(f"{by_hand}/status", {"status": "failed"}).json()["status"] == "failed"
    httpx2.delete(f"{provider_process.url}{by_hand}", trust_env=False).raise_for_status()
    assert client.get(payment_id) is None
    done = [row["operation"] for row in provider_process.ledger() if row["paymentId"] == payment_id]
    assert done == ["create", *["refund_by_hand"] * 3, "status_by_hand", "forget_by_hand"]
