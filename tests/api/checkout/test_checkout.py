"""`POST /api/v1/checkout`: one payment per key, priced by the catalogue, known here before it is known at the provider
(mission rows 2, 5, 13, 19, 92, C12)."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import pytest
from sqlalchemy import Engine

from db.checkouts import update_payment_status
from db.engine import make_async_engine
from db.grants import API
from gateways.payments import ProviderRefused, ProviderTrouble
from runtime.settings import Settings
from tests.api.conftest import booted, is_problem, until
from tests.api.http.callers import stored
from tests.build import cart_item, item, rows, run, student, trainer, value
from tests.gateways.in_memory import FakeProvider
from tests.roles import as_role
from tests.subjects import CARDS, bundle, subject
from tests.tokens import bearer

ME, OTHER = bearer("student", "student-1"), bearer("student", "student-2")
TROUBLE = ProviderTrouble("the payment provider did not answer")
SAID = {"startDate": "2026-12-01", "classTime": "18:00", "purchaseTier": 10, "scheduleType": "daily", "sticker": "cat"}


async def checkout(
    api: httpx2.AsyncClient, key: str | None = "checkout-1", *, path: str = "/api/v1/checkout",
    headers: dict[str, str] = ME, **body: Any,
) -> httpx2.Response:  # fmt: skip
    keyed = {} if key is None else {"Idempotency-Key": key}
    return await api.post(path, json=body, headers={**headers, **keyed})


@pytest.fixture
def cart(engine: Engine) -> list[str]:
    """A course with lessons, a course that is only owned, a subject and a bundle, in this order; 1000 in all."""
    student(engine, coins=301)
    item(engine, price_minor=500)
    item(engine, "course-ebook", fulfilment="ownership", price_minor=167)
    subject(engine, "physics", price_minor=333)
    bundle(engine, "school", ("physics", "biology"), price_minor=0)
    things = [("course", "course-piano"), ("course", "course-ebook"), ("subject", "physics"), ("bundle", "school")]
    for number, (item_type, item_id) in enumerate(things, start=1):
        cart_item(engine, f"cart-{number}", item_type=item_type, item_id=item_id)
    run(engine, "UPDATE cart_items SET metadata = CAST(:said AS jsonb) WHERE id = 'cart-1'",
        said='{"startDate": "2026-12-01", "classTime": "18:00", "purchaseTier": 10, "scheduleType": "daily", "sticker": "cat"}')  # fmt: skip
    return [f"cart-{number}" for number in range(1, 5)]


@pytest.mark.usefixtures("cart")
async def test_a_mixed_cart_becomes_one_payment_with_a_line_for_each_thing(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    answer = await checkout(api, '"quoted-key"', coins=100)
    assert answer.status_code == 201, answer.text
    said = answer.json()
    payment = said["paymentId"]
    assert (said["status"], said["amountMinor"], said["coins"], said["currency"]) == ("pending", 900, 100, "USD")
    assert said["clientSecret"] == fake_provider.intents[f"checkout:{payment}"].client_secret
    assert [(line["cartItemId"], line["amountMinor"], line["coins"]) for line in said["lines"]] == [
        ("cart-1", 450, 50), ("cart-2", 150, 17), ("cart-3", 300, 33), ("cart-4", 0, 0),
    ]  # fmt: skip
    assert rows(engine, "SELECT id, student_id, status, amount_minor, currency FROM payments") == [
        (payment, "student-1", "pending", 900, "USD")
    ]
    kept = rows(engine, "SELECT line, item_type, item_id, amount_minor, coins, metadata FROM payment_lines ORDER BY 1")
    assert kept == [
        (1, "course", "course-piano", 450, 50, {**SAID, "processingItemId": "cart-1", "courseId": "course-piano"}),
        (2, "course", "course-ebook", 150, 17, {"processingItemId": "cart-2", "courseId": "course-ebook"}),
        (3, "subject", "physics", 300, 33, {"processingItemId": "cart-3"}),
        (4, "bundle", "school", 0, 0, {"processingItemId": "cart-4"}),
    ]
    at_provider = fake_provider.payments[payment]
    assert (at_provider.status, at_provider.student_id, at_provider.amount_minor) == ("pending", "student-1", 900)
    assert [line.amount_minor for line in at_provider.lines] == [450, 150, 300, 0]
    assert value(engine, "SELECT count(*) FROM cart_items") == 4, "bought things leave when their purchase is done"


@pytest.mark.usefixtures("cart")
async def test_twenty_at_once_with_one_key_make_one_payment(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    answers = await asyncio.gather(*(checkout(api) for _ in range(20)))
    good = [answer for answer in answers if answer.status_code == 201]
    assert good
    for busy in (answer for answer in answers if answer.status_code != 201):
        assert is_problem(busy, 409, "REQUEST_IN_FLIGHT")["retryable"] is True
        assert int(busy.headers["retry-after"]) > 0
    good += [await checkout(api) for _ in range(2)]
    assert len({answer.text for answer in good}) == 1
    assert value(engine, "SELECT count(*) FROM payments") == 1
    assert value(engine, "SELECT count(*) FROM payment_lines") == 4
    assert list(fake_provider.payments) == [good[0].json()["paymentId"]]


@pytest.mark.usefixtures("cart")
async def test_a_key_is_of_one_request_of_one_student(api: httpx2.AsyncClient, engine: Engine) -> None:
    first = await checkout(api, coins=5)
    is_problem(await checkout(api, coins=6), 409, "KEY_REUSED")
    cart_item(engine, "cart-9", student_id=student(engine, "student-2"))
    theirs = await checkout(api, headers=OTHER)
    assert theirs.json()["paymentId"] != first.json()["paymentId"]
    run(engine, "DELETE FROM cart_items")
    run(engine, "UPDATE catalogue_items SET price_minor = 7, open = false")
    again = await checkout(api, '"checkout-1"', coins=5)
    assert (again.status_code, again.text) == (201, first.text), "the first answer, whatever has changed since"
    assert rows(engine, "SELECT count(*) FROM payments") == [(2,)]


@pytest.mark.parametrize("path", ["/api/v1/checkout", "/api/purchases", "/api/purchase"])
@pytest.mark.usefixtures("cart")
async def test_old_paths_do_the_same_and_all_want_a_key(path: str, api: httpx2.AsyncClient, engine: Engine) -> None:
    before = stored(engine)
    is_problem(await checkout(api, None, path=path), 400, "IDEMPOTENCY_KEY_MISSING")
    for key in ("short", '"short"', "x" * 256, " " * 9, "tab\there-1"):
        is_problem(await checkout(api, key, path=path), 400, "IDEMPOTENCY_KEY_INVALID")
    assert stored(engine) == before
    first = await checkout(api)
    assert (await checkout(api, path=path)).text == first.text
    assert (await checkout(api, "x" * 255, path=path)).status_code == 201


INJECTED: list[dict[str, Any]] = [
    {"price": 1}, {"amountMinor": 1}, {"status": "succeeded"}, {"role": "admin"}, {"studentId": "student-2"},
    {"lines": []}, {"coins": -1}, {"coins": "1"}, {"coins": 1.0}, {"coins": True}, {"discount": 5},
]  # fmt: skip


@pytest.mark.parametrize("more", INJECTED)
@pytest.mark.usefixtures("cart")
async def test_nobody_says_a_price_a_status_or_whose_it_is(
    more: dict[str, Any], api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    before = stored(engine)
    is_problem(await checkout(api, **more), 422, "INVALID_REQUEST")
    assert stored(engine) == before
    assert fake_provider.calls == []


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ("DELETE FROM cart_items", 409, "CART_EMPTY"),
        ("UPDATE catalogue_items SET open = false WHERE id = 'physics'", 409, "COURSE_UNAVAILABLE"),
        ("UPDATE cart_items SET item_id = 'gone' WHERE id = 'cart-3'", 422, "UNKNOWN_ITEM"),
        ("UPDATE catalogue_items SET currency = 'GBP' WHERE id = 'physics'", 409, "MIXED_CURRENCIES"),
        ("UPDATE catalogue_items SET price_minor = 0", 409, "NOTHING_TO_PAY"),
        ("UPDATE coin_balances SET coins = 99", 409, "COINS_INSUFFICIENT"),
    ],
)
@pytest.mark.usefixtures("cart")
async def test_a_cart_that_cannot_be_paid_leaves_nothing_behind_and_its_key_free(
    change: str, status: int, code: str, api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    run(engine, change)
    before = stored(engine)
    assert is_problem(await checkout(api, coins=100), status, code)["retryable"] is False
    assert stored(engine) == before
    assert fake_provider.calls == []
    run(engine, "UPDATE catalogue_items SET open = true, currency = 'USD', price_minor = 500")
    run(engine, "UPDATE coin_balances SET coins = 301")
    run(engine, "DELETE FROM cart_items")
    cart_item(engine, "cart-1")
    assert (await checkout(api, coins=100)).status_code == 201


@pytest.mark.usefixtures("cart")
async def test_coins_that_pay_for_all_of_it_leave_nothing_to_confirm(api: httpx2.AsyncClient, engine: Engine) -> None:
    run(engine, "UPDATE coin_balances SET coins = 5000")
    said = (await checkout(api, coins=5000)).json()
    assert (said["status"], said["amountMinor"], said["coins"]) == ("succeeded", 0, 1000)
    assert value(engine, "SELECT status FROM payments") == "succeeded"


@pytest.mark.usefixtures("cart")
async def test_an_answer_that_was_lost_is_asked_for_again_and_is_no_second_payment(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    fake_provider.lose_the_answer(TROUBLE, "create_intent")
    answer = await checkout(api)
    assert answer.status_code == 201
    assert fake_provider.calls == ["create_intent", "create_intent"]
    assert list(fake_provider.payments) == [answer.json()["paymentId"]]
    assert value(engine, "SELECT count(*) FROM payments") == 1


class Silent(FakeProvider):
    """Never answers, but the first call does what it was asked to."""

    def create_intent(self, key: str, payment: Any) -> Any:
        super().create_intent(key, payment)
        raise TROUBLE


@pytest.mark.usefixtures("cart")
async def test_a_silent_provider_is_503_and_the_same_request_goes_on_where_it_stopped(
    api: httpx2.AsyncClient, settings: Settings, engine: Engine, fake_provider: FakeProvider
) -> None:
    silent = Silent()
    async with booted(settings, silent) as cut_off:
        body = is_problem(await checkout(cut_off), 503, "PROVIDER_UNAVAILABLE")
        assert body["retryable"] is True
    (payment,) = silent.payments
    assert rows(engine, "SELECT id, status FROM payments") == [(payment, "pending")], "known here before it was there"
    fake_provider.payments, fake_provider.intents = silent.payments, silent.intents
    assert (await checkout(api)).json()["paymentId"] == payment
    assert list(silent.payments) == [payment]


@pytest.mark.usefixtures("cart")
async def test_a_key_is_kept_for_three_days_and_its_payment_for_good(api: httpx2.AsyncClient, engine: Engine) -> None:
    first = await checkout(api)
    run(engine, "UPDATE idempotency_keys SET created_at = now() - interval '71 hours'")
    assert (await checkout(api)).text == first.text
    run(engine, "UPDATE idempotency_keys SET created_at = now() - interval '73 hours'")
    assert (await checkout(api)).json()["paymentId"] != first.json()["paymentId"]
    assert value(engine, "SELECT count(*) FROM idempotency_keys") == 1
    assert value(engine, "SELECT count(*) FROM payments") == 2


@pytest.mark.usefixtures("cart")
async def test_a_request_that_died_holds_its_key_for_a_while_and_then_lets_go(
    api: httpx2.AsyncClient, engine: Engine
) -> None:
    first = await checkout(api)
    run(engine, "UPDATE idempotency_keys SET answer = NULL, taken_until = now() + interval '1 hour'")
    is_problem(await checkout(api), 409, "REQUEST_IN_FLIGHT")
    run(engine, "UPDATE idempotency_keys SET taken_until = now()")
    assert (await checkout(api)).text == first.text


@pytest.mark.usefixtures("cart")
async def test_a_provider_that_says_no_is_told_as_it_is(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    fake_provider.fail("create_intent", ProviderRefused("no_way", "never"))
    is_problem(await checkout(api), 409, "PAYMENT_REFUSED")
    assert rows(engine, "SELECT status FROM payments") == [("pending",)]
    assert (await checkout(api)).status_code == 201


async def test_without_a_provider_there_is_no_checkout(settings: Settings) -> None:
    async with booted(settings) as alone:
        is_problem(await checkout(alone), 503, "PROVIDER_UNAVAILABLE")


@pytest.mark.usefixtures("cart", "worker")
async def test_what_was_paid_becomes_lessons_and_cards_and_leaves_the_cart_alone_with_the_rest(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    trainer(engine)
    payment = (await checkout(api)).json()["paymentId"]
    cart_item(engine, "cart-later")
    fake_provider.set_status(payment, "succeeded")
    started = await api.post("/api/v1/purchases", json={"paymentId": payment})
    assert started.status_code == 202, started.text
    for line in started.json()["lines"]:
        await until(api, line["id"], "completed")
    assert rows(engine, "SELECT id FROM cart_items") == [("cart-later",)]
    assert value(engine, "SELECT status FROM payments") == "succeeded"
    assert value(engine, "SELECT count(*) FROM sessions") == 10
    assert value(engine, CARDS) == 50 + 2 * 50


@pytest.mark.usefixtures("cart")
async def test_the_row_follows_the_provider_once_and_never_backwards(
    api: httpx2.AsyncClient, engine: Engine, fake_provider: FakeProvider
) -> None:
    run(engine, "DELETE FROM cart_items WHERE id <> 'cart-3'")
    payment = (await checkout(api)).json()["paymentId"]
    status = "SELECT status || xmin FROM payments"
    before = value(engine, status)
    fake_provider.fail("get", TROUBLE)
    for _ in range(2):
        await api.post("/api/v1/purchases", json={"paymentId": payment})
    assert value(engine, status) == before
    fake_provider.set_status(payment, "succeeded")
    answers = await asyncio.gather(
        *(api.post("/api/v1/purchases", json={"paymentId": payment}) for _ in range(5)), return_exceptions=False
    )
    assert {answer.status_code for answer in answers} <= {200, 202}
    once = value(engine, status)
    assert once.startswith("succeeded")
    fake_provider.set_status(payment, "failed")
    await api.post("/api/v1/purchases", json={"paymentId": payment})
    assert value(engine, status) == once


@pytest.mark.usefixtures("cart")
async def test_two_that_heard_different_things_of_a_payment_make_one_change(
    api: httpx2.AsyncClient, engine: Engine, database_url: str
) -> None:
    payment = (await checkout(api)).json()["paymentId"]
    own = make_async_engine(as_role(API, database_url), pool_size=2)
    changed = [await update_payment_status(own, payment, status) for status in ("succeeded", "succeeded", "failed")]
    await own.dispose()
    assert changed == [True, False, False]
    assert value(engine, "SELECT status FROM payments") == "succeeded"
