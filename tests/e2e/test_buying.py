"""A student buys: cart, look ahead, checkout, the card confirmed at the provider, lessons, and a cart without what was
bought; on a real stack from a fresh database (mission rows 2, 18, 91, 92)."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import httpx2

from runtime.state import find
from tests.e2e.stack import up
from tests.e2e.test_attention import ALWAYS, HOME

SAID: dict[str, Any] = {
    "startDate": "2026-12-01", "timeSlot": "18:00", "scheduleType": "weekly", "purchaseTier": 10, "note": "a gift",
}  # fmt: skip


COURSES = (("course-piano", 5000, "sessions"), ("course-ebook", 900, "ownership"), ("course-chess", 70, "sessions"))
MARKET: dict[str, Any] = {
    "version": 1, "students": [], "subjects": [], "bundles": [], "carts": [], "payments": [],
    "courses": [
        {"id": id, "title": id, "priceMinor": price, "currency": "USD", "fulfilment": fulfilment, "open": True}
        for id, price, fulfilment in COURSES
    ],
    "trainers": [
        {"id": "pianist", "name": "Pianist", "courses": ["course-piano"], "radiusKm": 50, "availability": ALWAYS, **HOME}
    ],
}  # fmt: skip


def test_a_student_fills_a_cart_pays_and_has_lessons(tmp_path: Path) -> None:
    with up(tmp_path) as stack:
        file = tmp_path / "market.json"
        file.write_text(json.dumps(MARKET))
        stack.run("import", str(file))
        running = find(tmp_path)
        assert running is not None
        with (
            stack.client("student", "student-new") as me,
            stack.client("service", "shop") as service,
            httpx2.Client(base_url=running.provider_url, trust_env=False) as provider,
        ):
            for item_type, item_id in (("course", "course-piano"), ("course", "course-ebook")):
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
            later = me.post("/api/v1/cart/items", json={"itemType": "course", "itemId": "course-chess"}).json()["id"]

            payment = bought["paymentId"]
            provider.post(f"/payments/{payment}/confirm").raise_for_status()
            started = service.post("/api/v1/purchases", json={"paymentId": payment}).raise_for_status()
            assert started.status_code == 202
            until = time.monotonic() + 60
            for line in started.json()["lines"]:
                while (seen := me.get(f"/api/v1/purchases/{line['id']}").json())["ending"] != "completed":
                    assert time.monotonic() < until, seen

            lessons = me.get(f"/api/v1/purchases/{started.json()['lines'][0]['id']}").json()
            assert (lessons["sessions"]["count"], lessons["sessions"]["firstLocal"]) == (10, "2026-12-01T18:00")
            assert [each["id"] for each in me.get("/api/v1/cart").json()["items"]] == [later]
            assert len([row for row in provider.get("/_ledger").json() if row["operation"] == "create_intent"]) == 1
