"""`coursaga dlq ...` and `coursaga webhooks ...` as typed, and what `consume` and `relay` say when they cannot run."""

from __future__ import annotations

import hashlib
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from cli.api_client import ApiRefused
from cli.operators import dead_letters, webhooks
from cli.operators.acts import WrongUsage
from tests.api.conftest import fresh
from tests.build import item, pay, run, student, value
from tests.cli.operators.test_purchases import at, printed, serving
from tests.events.told import event, raw

__all__ = ["at", "serving"]


async def typed(group: Any, line: str) -> int:
    """What the command line after `coursaga dlq` or `coursaga webhooks` exits with."""
    command, bound, _ = group.app.parse_args(shlex.split(line), exit_on_error=False, print_error=False)
    return await command(*bound.args, **bound.kwargs)


def dead(engine: Engine, payload: bytes, code: str = "PAYMENT_NOT_FOUND") -> int:
    """A dead letter; its id."""
    run(
        engine,
        "INSERT INTO dead_letters (digest, topic, topic_partition, topic_offset, payload, code, detail, tries, arrived_at)"
        " VALUES (:digest, 'payments', 0, 0, :payload, :code, 'nobody knows it', 3, now())",
        digest=hashlib.sha256(payload).hexdigest(), payload=payload, code=code,
    )  # fmt: skip
    return value(engine, "SELECT max(id) FROM dead_letters")


@pytest.mark.usefixtures("serving")
async def test_lists_shows_fixes_and_replays(
    engine: Engine, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    student(engine)
    item(engine)
    payments = [pay(engine, None, fresh()) for _ in range(3)]
    good = [dead(engine, raw(event(payment))) for payment in payments]
    bad = dead(engine, b"no JSON", "EVENT_NOT_JSON")
    assert await typed(dead_letters, "list --json") == 0
    assert [row["id"] for row in printed(capsys)] == [*good, bad]
    assert await typed(dead_letters, "list --code EVENT_NOT_JSON") == 0
    assert "1 dead letters" in capsys.readouterr().out
    assert await typed(dead_letters, f"replay {good[0]} --reason late") == 0
    assert await typed(dead_letters, f"replay {good[0]}-{good[1]} --reason late --json") == 0
    assert printed(capsys)["replayed"] == 1, "the first is done already"
    assert await typed(dead_letters, "replay --all --reason late --request-key all") == 1
    told = capsys.readouterr().out
    assert f"of 2: 1 replayed, 1 refused again\n  {bad}: EVENT_NOT_JSON" in told
    mended = tmp_path / "event.json"
    mended.write_bytes(raw(event(payments[0])))
    assert await typed(dead_letters, f"fix {bad} --payload {mended} --reason typo") == 0
    assert await typed(dead_letters, f"replay {bad} --reason typo --actor ann") == 0
    assert f"{bad}: duplicate" in capsys.readouterr().out
    assert await typed(dead_letters, f"show {bad}") == 0
    told = capsys.readouterr().out
    assert "came:  no JSON" in told
    assert "fixed: {" in told
    assert await typed(dead_letters, f"show {bad} --json") == 0
    assert printed(capsys)["acts"][-1]["actor"] == "ann"
    assert value(engine, "SELECT count(*) FROM purchase_starts") == 3


@pytest.mark.usefixtures("serving")
async def test_says_what_is_wrong(tmp_path: Path) -> None:
    for line in ("replay --reason x", "replay 1 --all --reason x", "replay x --reason x", "replay 1- --reason x"):
        with pytest.raises(WrongUsage):
            await typed(dead_letters, line)
    (tmp_path / "event.json").write_text("{")
    with pytest.raises(WrongUsage, match=r"event\.json"):
        await typed(dead_letters, f"fix 1 --payload {tmp_path / 'event.json'} --reason x")
    with pytest.raises(ApiRefused, match="DEAD_LETTER_NOT_FOUND"):
        await typed(dead_letters, "show 1")


@pytest.mark.usefixtures("serving")
async def test_webhook_targets(capsys: pytest.CaptureFixture[str]) -> None:
    assert await typed(webhooks, "add https://93.184.215.14/hook --event PURCHASE_CREATED --json") == 0
    made = printed(capsys)
    assert await typed(webhooks, "list --json") == 0
    assert [target["eventTypes"] for target in printed(capsys)] == [["PURCHASE_CREATED"]]
    assert await typed(webhooks, f"remove {made['id']}") == 0
    with pytest.raises(ApiRefused, match="TARGET_REFUSED"):
        await typed(webhooks, "add https://127.0.0.1/hook")


def test_a_consumer_without_kafka_says_so(tmp_path: Path) -> None:
    coursaga = Path(sys.executable).with_name("coursaga")
    done = subprocess.run(
        [coursaga, "consume"],
        env={"COURSAGA_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "KAFKA_BOOTSTRAP_SERVERS" in done.stderr
    assert "Traceback" not in done.stderr
