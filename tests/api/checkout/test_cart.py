"""The cart and the catalogue: the caller's own, priced by nobody but the catalogue (mission rows 5, 13, 18, 88, 91)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest
from sqlalchemy import Engine

from db.cart import MAX_ITEMS
from tests.api.conftest import is_problem
from tests.api.http.callers import stored
from tests.build import cart_item, item, rows, run, student, value
from tests.tokens import bearer

ME, OTHER = bearer("student", "student-1"), bearer("student", "student-2")
SAID: dict[str, Any] = {
    "courseId": "course-piano", "sessionCount": 10, "groupSize": 2, "learningMode": "online", "timeSlot": "18:00",
    "date": "2026-12-01", "preferredTimeSlot": "19:00", "preferredDate": "2026-12-02",
    "schedule": {"days": [1, 3]}, "colour of the piano": "black \U0001f3b9",
}  # fmt: skip
PIANO: dict[str, Any] = {"itemType": "course", "itemId": "course-piano", "metadata": SAID}


async def add(api: httpx2.AsyncClient, body: object = PIANO, *, headers: dict[str, str] = ME, key: str = "") -> Any:
    keyed = {"Idempotency-Key": key} if key else {}
    sent = {**headers, **keyed, "content-type": "application/json"}
    return await api.post("/api/v1/cart/items", content=json.dumps(body), headers=sent)  # escapes half a pair


async def cart(api: httpx2.AsyncClient, headers: dict[str, str] = ME) -> list[dict[str, Any]]:
    answer = await api.get("/api/v1/cart", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


async def test_keeps_what_a_client_says_of_a_course_word_for_word_with_the_price_of_the_catalogue(
    api: httpx2.AsyncClient, engine: Engine
) -> None:
    item(engine, price_minor=12345)
    added = await add(api)
    assert added.status_code == 201
    (seen,) = await cart(api)
    assert seen == {
        "id": added.json()["id"], "itemType": "course", "itemId": "course-piano", "metadata": SAID,
        "title": "course-piano", "priceMinor": 12345, "currency": "USD", "fulfilment": "sessions", "open": True,
    }  # fmt: skip
    assert value(engine, "SELECT name FROM students") == "student-1", "a student of another system's accounts is noted"


@pytest.mark.parametrize(
    ("item_type", "fulfilment", "price"),
    [
        ("course", "sessions", 1),
        ("course", "ownership", 0),
        ("subject", "test_cards", 900),
        ("bundle", "test_cards", 9),
    ],
)
async def test_takes_every_kind_of_item_twice_if_asked_twice(
    item_type: str, fulfilment: str, price: int, api: httpx2.AsyncClient, engine: Engine
) -> None:
    item(engine, "thing", item_type=item_type, fulfilment=fulfilment, price_minor=price)
    for _ in range(2):
        assert (await add(api, {"itemType": item_type, "itemId": "thing"})).status_code == 201
    assert [(line["itemType"], line["fulfilment"], line["priceMinor"]) for line in await cart(api)] == [
        (item_type, fulfilment, price)
    ] * 2


@pytest.mark.parametrize(
    "more",
    [{"priceMinor": 1}, {"price": 0}, {"status": "succeeded"}, {"role": "admin"}, {"studentId": "student-2"}]
    + [{"metadata": said} for said in ({"a": "\0"}, {"\ud800": 1}, [], "x", {"a": [[["\udfff"]]]})]
    + [{"itemType": "house"}, {"itemId": ""}, {"itemId": 7}, {"metadata": None}],
)
async def test_refuses_a_body_that_says_too_much_or_cannot_be_kept_and_stores_nothing(
    more: dict[str, Any], api: httpx2.AsyncClient, engine: Engine
) -> None:
    item(engine)
    before = stored(engine)
    is_problem(await add(api, {**PIANO, **more}), 422, "INVALID_REQUEST")
    assert stored(engine) == before


async def test_refuses_numbers_that_are_none_and_depths_that_nobody_means(
    api: httpx2.AsyncClient, engine: Engine
) -> None:
    item(engine)
    for said in ("NaN", "1e999", "-Infinity", "[" * 40 + "]" * 40, "[" * 30000 + "]" * 30000):
        body = f'{{"itemType": "course", "itemId": "course-piano", "metadata": {{"a": {said}}}}}'
        headers = {**ME, "content-type": "application/json"}
        answer = await api.post("/api/v1/cart/items", content=body, headers=headers)
        assert answer.status_code in (400, 422), answer.text
    assert value(engine, "SELECT count(*) FROM cart_items") == 0


async def test_an_item_nobody_sells_is_422_and_a_closed_one_409(api: httpx2.AsyncClient, engine: Engine) -> None:
    item(engine, is_open=False)
    before = stored(engine)
    is_problem(await add(api), 409, "COURSE_UNAVAILABLE")
    is_problem(await add(api, {**PIANO, "itemId": "course-harp"}), 422, "UNKNOWN_ITEM")
    is_problem(await add(api, {**PIANO, "itemType": "bundle"}), 422, "UNKNOWN_ITEM")
    assert stored(engine) == before


async def test_one_key_puts_an_item_in_once_however_many_ask_at_once(api: httpx2.AsyncClient, engine: Engine) -> None:
    item(engine)
    item(engine, "course-chess")
    answers = await asyncio.gather(*(add(api, key='"click-0001"') for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [201]
    assert len({answer.text for answer in answers}) == 1
    is_problem(await add(api, {**PIANO, "itemId": "course-chess"}, key="click-0001"), 409, "KEY_REUSED")
    assert (await add(api, headers=OTHER, key="click-0001")).status_code == 201, "another student's key is another key"
    is_problem(await add(api, key="short"), 400, "IDEMPOTENCY_KEY_INVALID")
    assert rows(engine, "SELECT student_id, count(*) FROM cart_items GROUP BY 1 ORDER BY 1") == [
        ("student-1", 1),
        ("student-2", 1),
    ]


async def test_a_cart_has_a_limit_that_holds_at_once_too(api: httpx2.AsyncClient, engine: Engine) -> None:
    student(engine)
    item(engine)
    for number in range(MAX_ITEMS - 3):
        cart_item(engine, f"cart-{number}")
    answers = await asyncio.gather(*(add(api) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] * 3 + [409] * 5
    is_problem(await add(api), 409, "CART_FULL")
    assert len(await cart(api)) == MAX_ITEMS


async def test_nobody_sees_or_empties_the_cart_of_another(api: httpx2.AsyncClient, engine: Engine) -> None:
    item(engine)
    mine = (await add(api)).json()["id"]
    assert await cart(api, OTHER) == []
    is_problem(await api.delete(f"/api/v1/cart/items/{mine}", headers=OTHER), 404, "CART_ITEM_NOT_FOUND")
    assert (await api.delete("/api/v1/cart", headers=OTHER)).status_code == 204
    assert [line["id"] for line in await cart(api)] == [mine]


async def test_things_are_taken_out_one_by_one_or_all(api: httpx2.AsyncClient, engine: Engine) -> None:
    item(engine)
    ids = [(await add(api)).json()["id"] for _ in range(3)]
    assert (await api.delete(f"/api/v1/cart/items/{ids[1]}", headers=ME)).status_code == 204
    is_problem(await api.delete(f"/api/v1/cart/items/{ids[1]}", headers=ME), 404, "CART_ITEM_NOT_FOUND")
    assert [line["id"] for line in await cart(api)] == [ids[0], ids[2]]
    assert (await api.delete("/api/v1/cart", headers=ME)).status_code == 204
    assert await cart(api) == []


async def test_a_cart_shows_what_the_catalogue_no_longer_sells(api: httpx2.AsyncClient, engine: Engine) -> None:
    student(engine)
    item(engine)
    cart_item(engine, "cart-1")
    cart_item(engine, "cart-2", item_id="course-gone")
    run(engine, "UPDATE catalogue_items SET open = false")
    assert [(line["open"], line["priceMinor"]) for line in await cart(api)] == [(False, 50000), (False, None)]


async def test_the_catalogue_lists_open_items_in_pages_and_shows_one(api: httpx2.AsyncClient, engine: Engine) -> None:
    for number in range(5):
        item(engine, f"course-{number}", is_open=number != 2)
    item(engine, "Bundle", item_type="bundle", fulfilment="test_cards", price_minor=7, currency="GBP")
    run(engine, "INSERT INTO bundle_subjects VALUES ('Bundle', 'physics'), ('Bundle', 'maths')")
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await api.get("/api/v1/catalogue", params={"limit": "2", **cursor}, headers=ME)).json()
        seen += [each["id"] for each in page["items"]]
        if page["nextCursor"] is None:
            break
        cursor = {"cursor": page["nextCursor"]}
    assert seen == ["Bundle", "course-0", "course-1", "course-3", "course-4"]
    bundles = (await api.get("/api/v1/catalogue?type=bundle", headers=ME)).json()["items"]
    shown = (await api.get("/api/v1/catalogue/bundle/Bundle", headers=ME)).json()
    assert bundles == [shown]
    assert shown == {
        "itemType": "bundle", "id": "Bundle", "title": "Bundle", "priceMinor": 7, "currency": "GBP",
        "fulfilment": "test_cards", "subjects": ["maths", "physics"],
    }  # fmt: skip
    is_problem(await api.get("/api/v1/catalogue/course/course-2", headers=ME), 404, "ITEM_NOT_FOUND")
    is_problem(await api.get("/api/v1/catalogue?cursor=%00", headers=ME), 422, "INVALID_REQUEST")
    is_problem(await api.get("/api/v1/catalogue?type=house", headers=ME), 422, "INVALID_REQUEST")
