"""A student buys: cart, look ahead, checkout, the card confirmed at the provider, lessons, and a cart without what was
bought; on a real stack (mission rows 2, 18, 91, 92)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.world import HOME, World, course, market, teachers
from tests.waiting import in_time

SAID: dict[str, Any] = {
    "startDate": "2026-12-01", "timeSlot": "18:00", "scheduleType": "weekly", "purchaseTier": 10, "note": "a gift",
}  # fmt: skip


@pytest.fixture(scope="module")
def world(stack_of_all: World) -> World:
    sold = [
        course("bought-sonata"),
        course("bought-ebook", priceMinor=900, fulfilment="ownership"),
        course("bought-later", priceMinor=70),
    ]
    stack_of_all.load(market([], sold, teachers("bought-sonata", 1)))
    return stack_of_all


def test_a_student_fills_a_cart_pays_and_has_lessons(world: World) -> None:
    provider, stack = world.provider, world.stack
    with stack.client("student", "student-new") as me, stack.client("service", "shop") as service:
        for item_type, item_id in (("course", "bought-sonata"), ("course", "bought-ebook")):
            offered = me.get(f"/api/v1/catalogue/{item_type}/{item_id}").raise_for_status().json()
            said = {"itemType": item_type, "itemId": offered["id"], "metadata": SAID}
            me.post("/api/v1/cart/items", json=said).raise_for_status()
        (piano, _) = me.get("/api/v1/checkout/preflight").raise_for_status().json()["lines"]
        assert [each["code"] for each in piano["warnings"]] == ["STUDENT_PROFILE_MISSING"]
        me.put("/api/v1/students/student-new/profile", json=HOME).raise_for_status()
        (piano, _) = me.get("/api/v1/checkout/preflight").raise_for_status().json()["lines"]
        assert piano["warnings"] == []

        key = {"Idempotency-Key": '"click-on-purchase"'}
        bought = me.post("/api/v1/checkout", json={}, headers=key).raise_for_status().json()
        assert me.post("/api/purchases", json={}, headers=key).raise_for_status().json() == bought
        assert (bought["amountMinor"], bought["status"]) == (5900, "pending")
        later = me.post("/api/v1/cart/items", json={"itemType": "course", "itemId": "bought-later"}).json()["id"]

        payment = bought["paymentId"]
        provider.post(f"/payments/{payment}/confirm").raise_for_status()
        started = service.post("/api/v1/purchases", json={"paymentId": payment}).raise_for_status()
        assert started.status_code == 202
        for line in started.json()["lines"]:
            path = f"/api/v1/purchases/{line['id']}"
            in_time(lambda path=path: me.get(path).json(), lambda seen: seen["ending"] == "completed")

        lessons = me.get(f"/api/v1/purchases/{started.json()['lines'][0]['id']}").json()
        assert (lessons["sessions"]["count"], lessons["sessions"]["firstLocal"]) == (10, "2026-12-01T18:00")
        assert [each["id"] for each in me.get("/api/v1/cart").json()["items"]] == [later]
        asked = [row for row in provider.get("/_ledger").json() if row["operation"] == "create_intent"]
        assert [row["paymentId"] for row in asked] == [payment]
