"""`coursaga import`: real files into a real database and a real provider process (spec section 9)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import Engine

from cli.marketplace.command import run_import
from gateways.payments import ProviderLine, ProviderPayment
from runtime.settings import Settings
from tests.build import rows, value
from tests.cli.marketplace.marketplaces import DATA, FILES, SMALL, everything, imported, small, spoilt
from tests.gateways.process import ProviderProcess


@pytest.mark.parametrize("name", FILES)
async def test_loads_the_whole_file_and_a_second_time_changes_nothing(
    settings: Settings, engine: Engine, provider_process: ProviderProcess, name: str
):
    file = json.loads((DATA / name).read_text())
    first = await run_import(DATA / name, settings)
    assert first.inserted == {
        "students": len(file["students"]),
        "catalogue": sum(len(file[kind]) for kind in ("courses", "subjects", "bundles")),
        "trainers": len(file["trainers"]),
        "holidays": 0,
        "cartItems": sum(len(cart["items"]) for cart in file["carts"]),
        "payments": len(file["payments"]),
        "providerPayments": len(file["payments"]),
    }
    assert (first.differences, first.warnings, sum(first.updated.values())) == ([], [], 0)

    before, ledger = everything(engine), provider_process.ledger()
    for update in (False, True):
        again = await run_import(DATA / name, settings, update=update)
        assert sum(again.inserted.values()) + sum(again.updated.values()) == 0
        assert again.differences == []
    assert everything(engine) == before
    assert provider_process.ledger() == ledger


@pytest.mark.parametrize("name", FILES)
async def test_keeps_every_line_verbatim_and_tells_the_provider_its_share(
    settings: Settings, engine: Engine, provider_process: ProviderProcess, name: str
):
    file = json.loads((DATA / name).read_text())
    await run_import(DATA / name, settings)
    stored = {(row.payment_id, row.line): row for row in rows(engine, "SELECT * FROM payment_lines")}
    with provider_process.client() as client:
        for payment in file["payments"]:
            for line in payment["lines"]:
                row = stored.pop((payment["id"], line["line"]))
                assert row.metadata == line["metadata"]
                assert (row.item_type, row.item_id) == (line["itemType"], line["itemId"])
                assert (row.amount_minor, row.coins) == (line["amountMinor"], line["coins"])
            assert client.get(payment["id"]) == ProviderPayment(
                payment["id"], payment["studentId"], payment["status"], payment["amountMinor"], payment["currency"],
                tuple(ProviderLine(line["line"], line["amountMinor"]) for line in payment["lines"]),
            )  # fmt: skip
    assert stored == {}


@pytest.mark.parametrize("name", FILES)
async def test_keeps_every_profile_as_it_is(settings: Settings, engine: Engine, name: str):
    await run_import(DATA / name, settings)
    stored = {row.id: row for row in rows(engine, "SELECT * FROM students")}
    for student in json.loads((DATA / name).read_text())["students"]:
        row, profile = stored[student["id"]], student.get("profile", {})
        assert (row.name, row.email, row.coins_opening) == (student["name"], student["email"], student["coins"])
        assert (row.timezone, row.latitude, row.longitude) == tuple(
            profile.get(key) for key in ("timezone", "latitude", "longitude")
        )


async def test_the_two_files_lie_side_by_side(settings: Settings, engine: Engine):
    await run_import(DATA / FILES[0], settings)
    second = await run_import(DATA / FILES[1], settings)
    assert second.inserted["students"] == 90
    assert {difference.kind for difference in second.differences} == {"trainers"}  # same names, other places
    assert value(engine, "SELECT count(*) FROM payments") == 210


async def test_loads_what_version_1_has_beyond_the_samples(settings: Settings, engine: Engine, tmp_path: Path):
    await imported(settings, SMALL, tmp_path)
    items = rows(engine, "SELECT item_type, id, fulfilment, open FROM catalogue_items ORDER BY 1, 2")
    assert [tuple(item) for item in items] == [
        ("bundle", "b1", "test_cards", True), ("course", "c1", "sessions", True), ("subject", "j1", "test_cards", True),
        ("subject", "j2", "test_cards", True), ("test", "t1", "ownership", True),
    ]  # fmt: skip
    assert value(engine, "SELECT string_agg(subject_id, ' ' ORDER BY subject_id) FROM bundle_subjects") == "j1 j2"
    assert value(engine, "SELECT max_group_size FROM trainers") == 4
    assert value(engine, "SELECT string_agg(day::text, ' ') FROM trainer_blocked_days") == "2027-01-02"
    assert value(engine, "SELECT string_agg(day::text, ' ') FROM holidays") == "2026-12-25"
    assert value(engine, "SELECT created_at::text FROM payments") == "2026-11-01 08:00:00+00"
    assert value(engine, "SELECT ends::text FROM trainer_availability WHERE weekday = 7") == "23:59:59"
    assert value(engine, "SELECT metadata FROM payment_lines WHERE line = 2") == {}
    again = await imported(settings, SMALL, tmp_path, update=True)
    assert (sum(again.inserted.values()) + sum(again.updated.values()), again.differences) == (0, [])


async def test_tells_unknown_keys_and_zones_and_imports_all_the_same(
    settings: Settings, engine: Engine, tmp_path: Path
):
    file = small(colour="red")
    file["students"][0]["nick"] = file["students"][1]["nick"] = "x"
    file["students"][0]["profile"] |= {"timezone": "Mars/Base", "altitude": 3}
    result = await imported(settings, file, tmp_path)
    assert result.warnings == [
        "$.colour: unknown key, not stored",
        "$.students[].nick: unknown key, not stored (2 times)",
        "$.students[].profile.altitude: unknown key, not stored",
        "$.students[0].profile.timezone: unknown time zone 'Mars/Base'",
    ]
    assert value(engine, "SELECT timezone FROM students WHERE id = 's1'") == "Mars/Base"
    assert (await imported(settings, file, tmp_path)).differences == []


async def test_a_refunded_payment_has_nothing_left_to_refund(
    settings: Settings, provider_process: ProviderProcess, tmp_path: Path
):
    await imported(settings, spoilt("payments.0.status", "refunded"), tmp_path)
    with provider_process.client() as client:
        payment = client.get("p1")
    assert payment is not None
    assert [line.refunded_minor for line in payment.lines] == [100, 50]
