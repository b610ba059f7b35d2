"""The peer DBOS, as the process it is: what is refused is undone in reverse, told, and not tried again."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Engine, make_url

from domain.purchase import PurchaseOrder
from runtime.settings import Settings
from tests import build
from tests.build import rows, value
from tests.gateways.process import ProviderProcess


class Runner:
    """The peer's process, spoken to as the bench does."""

    def __init__(self, settings: Settings) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "cli.bench.runner", "dbos"], env={**os.environ, **settings.environment()}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        assert self.heard() == {"ready": True}

    def heard(self) -> dict[str, Any]:
        assert self._process.stdout
        return json.loads(self._process.stdout.readline())

    def buy(self, order: PurchaseOrder) -> dict[str, Any]:
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"orders": [asdict(order)], "atOnce": 1}) + "\n")
        self._process.stdin.flush()
        return self.heard()

    def end(self) -> int:
        """Its exit code, once nobody asks any more."""
        with self._process as process:
            assert process.stdin
            process.stdin.close()
            return process.wait(timeout=30)


@pytest.fixture
def runner(settings: Settings, database_url: str, tmp_path: Path) -> Iterator[Runner]:
    made = Runner(settings.with_values(coursaga_home=tmp_path))
    yield made
    assert made.end() == 0
    url = make_url(database_url).set(drivername="postgresql")
    with psycopg.connect(url.render_as_string(hide_password=False), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{url.database}_dbos" WITH (FORCE)'.encode())


def bought(engine: Engine, provider: ProviderProcess, **item: Any) -> PurchaseOrder:
    """A paid piano course that nobody teaches."""
    build.student(engine, "student-1")
    build.item(engine, **item)
    build.pay(engine)
    payment = {
        "id": "pay-1", "studentId": "student-1", "status": "succeeded", "amountMinor": 50000, "currency": "USD",
        "lines": [{"line": 1, "amountMinor": 50000, "refundedMinor": 0}],
    }  # fmt: skip
    provider.post("/payments", payment).raise_for_status()
    return build.start(engine)


def test_what_a_gate_refuses_is_made_whole(engine: Engine, provider_process: ProviderProcess, runner: Runner):
    order = bought(engine, provider_process, is_open=False)
    said = runner.buy(order)
    assert said["steps"] == ["confirm_payment", "create_purchase", "void_purchase", "refund_payment", "announce"]
    (row,) = rows(engine, "SELECT ending, code FROM purchase_starts")
    assert tuple(row) == ("refused", "COURSE_UNAVAILABLE")
    assert value(engine, "SELECT count(*) FROM refunds WHERE status = 'succeeded'") == 1
    assert len(provider_process.ledger("refund")) == 1


def test_a_later_step_is_undone_too_in_reverse(engine: Engine, provider_process: ProviderProcess, runner: Runner):
    said = runner.buy(bought(engine, provider_process))
    done, undone = said["steps"][: said["steps"].index("release_trainer")], said["steps"][-5:]
    assert done[-1] == "assign_trainer"
    assert undone == ["release_trainer", "unenroll", "void_purchase", "refund_payment", "announce"]
    assert value(engine, "SELECT code FROM purchase_starts") == "NO_TRAINER_AVAILABLE"
    assert value(engine, "SELECT count(*) FROM enrollments WHERE ended_at IS NULL") == 0
