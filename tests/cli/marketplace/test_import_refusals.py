"""`coursaga import` says no: bad files, servers that are away, and the exit codes that tell."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import Engine

from cli.marketplace.command import NoSuchFile, import_marketplace, run_import, store_marketplace
from cli.marketplace.validation import BadMarketplace, read_marketplace
from db.grants import API
from runtime.errors import CannotRun, ServerUnreachable
from runtime.settings import Settings
from tests import cluster
from tests.build import NOW, value
from tests.cli.marketplace.marketplaces import SMALL, TABLES, imported, small, spoilt
from tests.gateways.process import ProviderProcess
from tests.roles import as_role

UNKNOWN_NAMES: list[tuple[str, Any, str]] = [
    ("bundles.0.subjects", ["j1", "j9"], "$.bundles[0].subjects[1]"),
    ("trainers.0.courses", ["c9"], "$.trainers[0].courses[0]"),
    ("carts.0.studentId", "s9", "$.carts[0].studentId"),
    ("payments.0.studentId", "s9", "$.payments[0].studentId"),
]
BAD_VALUES: list[tuple[str, Any, str]] = [
    ("version", 2, "$.version"),
    ("version", "1", "$.version"),
    ("version", True, "$.version"),
    ("students", {}, "$.students"),
    ("students", None, "$.students"),
    ("students.0.id", "", "$.students[0].id"),
    ("students.0.id", 7, "$.students[0].id"),
    ("students.1.id", "s1", "$.students[1].id"),
    ("students.0.name", None, "$.students[0].name"),
    ("students.0.name", "a\0b", "$.students[0].name"),
    ("students.0.name", "\ud800", "$.students[0].name"),
    ("students.0.coins", -1, "$.students[0].coins"),
    ("students.0.coins", 2**31, "$.students[0].coins"),
    ("students.0.coins", True, "$.students[0].coins"),
    ("students.0.profile.latitude", "51.5", "$.students[0].profile.latitude"),
    ("courses.0.priceMinor", -1, "$.courses[0].priceMinor"),
    ("courses.0.priceMinor", 10.5, "$.courses[0].priceMinor"),
    ("courses.0.fulfilment", "magic", "$.courses[0].fulfilment"),
    ("courses.0.open", "yes", "$.courses[0].open"),
    ("courses.0.currency", "usd", "$.courses[0].currency"),
    ("trainers.0.radiusKm", -1, "$.trainers[0].radiusKm"),
    ("trainers.0.availability.0.weekday", 0, "$.trainers[0].availability[0].weekday"),
    ("trainers.0.availability.0.from", "25:00", "$.trainers[0].availability[0].from"),
    ("trainers.0.availability.0.to", "7pm", "$.trainers[0].availability[0].to"),
    ("trainers.0.availability.1.to", "06:00", "$.trainers[0].availability[1]"),
    ("trainers.0.blockedDays", ["2027-02-30"], "$.trainers[0].blockedDays[0]"),
    ("holidays", [20261225], "$.holidays[0]"),
    ("payments.0.createdAt", "0001-01-01T00:00:00+14:00", "$.payments[0].createdAt"),
    ("payments.0.createdAt", "9999-12-31T23:59:59-14:00", "$.payments[0].createdAt"),
    ("carts.0.items.1.id", "cart-1", "$.carts[0].items[1].id"),
    ("carts.0.items.0.itemType", "pony", "$.carts[0].items[0].itemType"),
    ("payments.0.id", "p/1", "$.payments[0].id"),
    ("payments.0.id", "p" * 65, "$.payments[0].id"),
    ("payments.0.id", "p1\n", "$.payments[0].id"),
    ("payments.0.status", "paid", "$.payments[0].status"),
    ("payments.0.amountMinor", 151, "$.payments[0].amountMinor"),
    ("payments.0.amountMinor", -1, "$.payments[0].amountMinor"),
    ("payments.0.createdAt", "yesterday", "$.payments[0].createdAt"),
    ("payments.0.lines", [], "$.payments[0].lines"),
    ("payments.0.lines.1.line", 1, "$.payments[0].lines[1].line"),
    ("payments.0.lines.0.line", 0, "$.payments[0].lines[0].line"),
    ("payments.0.lines.0.metadata", "none", "$.payments[0].lines[0].metadata"),
    ("payments.0.lines.0.metadata", {"x": ["\0"]}, "$.payments[0].lines[0].metadata.x[0]"),
    ("payments.0.lines.0.metadata", {"\0": 1}, "$.payments[0].lines[0].metadata.\\x00"),
]


@pytest.mark.parametrize(("path", "bad", "place"), BAD_VALUES)
def test_refuses_a_bad_value_and_names_its_place(path: str, bad: Any, place: str):
    with pytest.raises(BadMarketplace) as refused:
        read_marketplace(json.dumps(spoilt(path, bad)).encode())
    assert [fault.path for fault in refused.value.faults] == [place]


@pytest.mark.parametrize(("path", "unknown", "place"), UNKNOWN_NAMES)
def test_refuses_a_name_that_neither_the_file_nor_the_database_has(engine: Engine, path: str, unknown: Any, place: str):
    with pytest.raises(BadMarketplace) as refused:
        store_marketplace(engine, read_marketplace(json.dumps(spoilt(path, unknown)).encode()), update=True, now=NOW)
    assert [fault.path for fault in refused.value.faults] == [place]
    assert sum(value(engine, f"SELECT count(*) FROM {name}") for name in TABLES) == 0  # noqa: S608


async def test_a_bad_file_leaves_database_and_provider_as_they_were(
    settings: Settings, engine: Engine, provider_process: ProviderProcess, tmp_path: Path
):
    for file in (spoilt("payments.0.status", "paid"), spoilt("payments.0.studentId", "s9")):
        with pytest.raises(BadMarketplace):
            await imported(settings, file, tmp_path)
    assert sum(value(engine, f"SELECT count(*) FROM {name}") for name in TABLES) == 0  # noqa: S608
    assert provider_process.ledger() == []


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b'"version"', b"\xff\xfe", b'{"version": 1, "students": NaN}', b"[" * 100_000,
     b'{"version":1,"x":' + b"[" * 950 + b"]" * 950 + b"}", b'{"version": 1e999}', b"1" * 5000],
)  # fmt: skip
def test_refuses_what_is_no_marketplace_file(content: bytes):
    with pytest.raises(BadMarketplace):
        read_marketplace(content)


def test_tells_all_faults_at_once():
    file = small()
    file["students"][0]["coins"], file["courses"][0]["open"], file["payments"][0]["lines"][1]["line"] = -1, 1, "2"
    with pytest.raises(BadMarketplace) as refused:
        read_marketplace(json.dumps(file).encode())
    assert [fault.path for fault in refused.value.faults] == [
        "$.students[0].coins", "$.courses[0].open", "$.payments[0].lines[1].line"
    ]  # fmt: skip


def test_accepts_a_file_that_starts_with_a_byte_order_mark():
    assert read_marketplace(b"\xef\xbb\xbf" + json.dumps(SMALL).encode()).version == 1


async def test_a_provider_that_is_down_leaves_the_rest_stored_and_a_second_import_finishes(
    settings: Settings, engine: Engine, provider_process: ProviderProcess, tmp_path: Path
):
    woken: list[int] = []

    async def wake() -> None:
        woken.append(value(engine, "SELECT count(*) FROM trainers"))

    provider_process.kill()
    with pytest.raises(ServerUnreachable, match="safe to import again"):
        await imported(settings, SMALL, tmp_path, wake=wake)
    assert woken == [1]
    provider_process.start()
    result = await imported(settings, SMALL, tmp_path, wake=wake)
    assert (result.inserted["payments"], result.inserted["providerPayments"], woken) == (0, 1, [1, 1])


async def test_a_database_without_tables_is_told_what_to_do(postgres: str, settings: Settings, tmp_path: Path):
    with cluster.empty_database(postgres) as url, pytest.raises(CannotRun, match="coursaga migrate"):
        await imported(settings.with_values(database_url=SecretStr(url)), SMALL, tmp_path)


async def test_a_role_that_may_not_import_is_told_who_may(database_url: str, settings: Settings, tmp_path: Path):
    process = settings.with_values(database_url=SecretStr(as_role(API, database_url)))
    with pytest.raises(CannotRun, match=r"coursaga_api may not import .* that of the owner"):
        await imported(process, SMALL, tmp_path)


async def test_a_file_that_is_not_there_is_a_usage_error(settings: Settings, tmp_path: Path):
    with pytest.raises(NoSuchFile) as missing:
        await run_import(tmp_path / "none.json", settings)
    assert missing.value.exit_code == 2


def command(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """`coursaga import ...` as its own process."""
    env = {**os.environ, "COURSAGA_HOME": str(folder / "home"), **environment}
    line = [sys.executable, "-m", "cli.main", "import", *arguments]
    return subprocess.run(line, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_the_command_prints_one_json_object_and_its_exit_code_tells_what_happened(
    database_url: str, provider_process: ProviderProcess, tmp_path: Path
):
    file, bad = tmp_path / "file.json", tmp_path / "bad.json"
    file.write_text(json.dumps(SMALL))
    bad.write_text(json.dumps(spoilt("trainers.0.radiusKm", "far")))
    servers = {"DATABASE_URL": database_url, "PROVIDER_URL": provider_process.url}

    fine = command(tmp_path, str(file), "--json", **servers)
    assert fine.returncode == 0, fine.stderr
    assert json.loads(fine.stdout)["inserted"]["students"] == 2
    assert set(json.loads(fine.stdout)) == {"inserted", "updated", "differences", "warnings"}

    refused = command(tmp_path, str(bad), "--json", **servers)
    assert refused.returncode == 1
    assert [fault["path"] for fault in json.loads(refused.stdout)["faults"]] == ["$.trainers[0].radiusKm"]

    assert command(tmp_path, str(tmp_path / "none.json"), **servers).returncode == 2
    assert command(tmp_path, str(file)).returncode == 3  # no stack runs, none is named


async def test_a_database_that_is_away_is_unreachable(settings: Settings, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    away = SecretStr(f"postgresql://x:y@127.0.0.1:{port}/z")
    with pytest.raises(ServerUnreachable):
        await imported(settings.with_values(database_url=away), SMALL, tmp_path)


async def test_a_person_reads_what_was_done_and_what_is_wrong(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    for name, setting in settings.environment().items():
        monkeypatch.setenv(name, setting)
    monkeypatch.setenv("COURSAGA_HOME", str(tmp_path / "home"))
    file = tmp_path / "file.json"
    file.write_text(json.dumps(spoilt("students.0.nick", "[bold]x")))
    await import_marketplace(file)
    said = capsys.readouterr().out
    assert "providerPayments" in said
    assert "$.students[].nick: unknown key" in said

    file.write_text(json.dumps(spoilt("trainers.0.radiusKm", "far")))
    with pytest.raises(SystemExit) as failed:
        await import_marketplace(file)
    assert failed.value.code == 1
    assert "$.trainers[0].radiusKm" in capsys.readouterr().err
