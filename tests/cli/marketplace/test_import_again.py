"""`coursaga import` of what is there already: differences, --update, carts, imports at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from cli.marketplace.command import store_marketplace
from cli.marketplace.validation import read_marketplace
from gateways.payments import ProviderLine, ProviderPayment
from runtime.settings import Settings
from tests.build import NOW, rows, run, value
from tests.cli.marketplace.marketplaces import DATA, FILES, SMALL, TABLES, everything, imported, small, told
from tests.gateways.process import ProviderProcess
from tests.roles import owner_of


def changed_small() -> dict[str, Any]:
    """SMALL with something else in every kind."""
    file = small()
    file["students"][0] |= {"name": "Anna", "coins": 6}
    file["students"][0]["profile"]["longitude"] = -0.1
    file["students"][1]["profile"] = {"timezone": "Asia/Kolkata", "latitude": 1, "longitude": 1}
    file["courses"][0]["open"] = False
    file["bundles"][0]["subjects"] = ["j1"]
    file["trainers"][0] |= {"radiusKm": 31, "maxGroupSize": None, "blockedDays": [], "courses": []}
    file["trainers"][0]["availability"].pop()
    file["carts"][0]["items"][0]["itemId"] = "c-unknown"
    file["payments"][0]["status"] = "pending"
    file["payments"][0]["lines"][0]["metadata"]["courseId"] = "c2"
    return file


FIELDS = {
    "students": {"s1.name", "s1.coins", "s1.profile"},
    "catalogue": {"course/c1.open", "bundle/b1.subjects"},
    "trainers": {"r1.radiusKm", "r1.maxGroupSize", "r1.blockedDays", "r1.courses", "r1.availability"},
    "cartItems": {"cart-1.itemId"},
    "payments": {"p1.status", "p1.lines"},
    "providerPayments": {"p1."},
}


async def test_lists_what_differs_and_leaves_it_alone(settings: Settings, engine: Engine, tmp_path: Path):
    await imported(settings, SMALL, tmp_path)
    before = everything(engine)
    result = await imported(settings, changed_small(), tmp_path)
    assert told(result) == {**FIELDS, "students": FIELDS["students"] | {"s2.profile"}}
    assert everything(engine) == before
    radius = next(one for one in result.differences if one.field == "radiusKm")
    assert (radius.stored, radius.file) == (30, 31)


async def test_update_touches_only_catalogue_trainers_and_profiles(settings: Settings, engine: Engine, tmp_path: Path):
    await imported(settings, SMALL, tmp_path)
    before = everything(engine)
    result = await imported(settings, changed_small(), tmp_path, update=True)
    assert result.updated == {
        "students": 2, "catalogue": 2, "trainers": 1, "holidays": 0, "cartItems": 0, "payments": 0
    }  # fmt: skip
    kept = {kind: FIELDS[kind] for kind in ("cartItems", "payments", "providerPayments")}
    assert told(result) == {**kept, "students": {"s1.name", "s1.coins"}}
    after = everything(engine)
    assert [name for name in TABLES if before[name] == after[name]] == [
        "holidays", "cart_items", "payments", "payment_lines"
    ]  # fmt: skip
    assert [tuple(row) for row in rows(engine, "SELECT name, longitude FROM students ORDER BY id")] == [
        ("Ann", -0.1),
        ("Bo", 1.0),
    ]
    assert value(engine, "SELECT count(*) FROM trainer_courses") == 0
    assert value(engine, "SELECT max_group_size FROM trainers") is None
    assert value(engine, "SELECT subject_id FROM bundle_subjects") == "j1"


async def test_a_profile_the_file_does_not_have_is_kept(settings: Settings, engine: Engine, tmp_path: Path):
    await imported(settings, SMALL, tmp_path)
    file = small()
    del file["students"][0]["profile"]
    assert (await imported(settings, file, tmp_path, update=True)).differences == []
    assert value(engine, "SELECT timezone FROM students WHERE id = 's1'") == "Europe/London"


async def test_a_later_file_may_name_what_an_earlier_one_brought(settings: Settings, engine: Engine, tmp_path: Path):
    await imported(settings, SMALL, tmp_path)
    later = {
        "version": 1,
        "trainers": [{**SMALL["trainers"][0], "id": "r2"}],
        "payments": [{**SMALL["payments"][0], "id": "p2"}],
    }
    result = await imported(settings, later, tmp_path)
    assert (result.inserted["trainers"], result.inserted["payments"]) == (1, 1)


async def test_does_not_put_back_into_a_cart_what_a_started_purchase_took(
    settings: Settings, engine: Engine, tmp_path: Path
):
    await imported(settings, SMALL, tmp_path)
    run(engine, "INSERT INTO purchase_starts (purchase_id, workflow_id, payment_id, line, student_id, origin, attempt,"
                " started_at) VALUES ('x', 'purchase:p1:1', 'p1', 1, 's1', 'checkout', 1, :now)", now=NOW)  # fmt: skip
    run(engine, "DELETE FROM cart_items")
    result = await imported(settings, SMALL, tmp_path)
    assert [row.id for row in rows(engine, "SELECT id FROM cart_items")] == ["keep-1"]
    assert told(result) == {"cartItems": {"cart-1."}}


async def test_another_payment_under_the_same_id_at_the_provider_is_a_difference(
    settings: Settings, provider_process: ProviderProcess, tmp_path: Path
):
    with provider_process.client() as client:
        client.create(ProviderPayment("p1", "s-other", "succeeded", 1, "USD", (ProviderLine(1, 1),)))
    result = await imported(settings, SMALL, tmp_path)
    assert (told(result), result.inserted["providerPayments"]) == ({"providerPayments": {"p1."}}, 0)


def test_many_imports_at_once_store_it_once(engine: Engine):
    market = read_marketplace((DATA / FILES[1]).read_bytes())
    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(lambda _: store_marketplace(owner_of(engine), market, update=True, now=NOW), range(4)))
    assert sorted(len(one.inserted["payments"]) for one in outcomes) == [0, 0, 0, 90]
    assert [one.differences for one in outcomes] == [[]] * 4
