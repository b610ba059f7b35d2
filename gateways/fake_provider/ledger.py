"""The provider's data in SQLite: every change is on disk before it is answered, so it survives kill -9."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

Json = dict[str, Any]
Answer = tuple[int, Json]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS payments (id TEXT PRIMARY KEY, created TEXT NOT NULL, state TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS answers (
  key TEXT PRIMARY KEY, request TEXT NOT NULL, status INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS operations (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, at TEXT NOT NULL, operation TEXT NOT NULL, payment_id TEXT NOT NULL,
  key TEXT, request TEXT NOT NULL, status INTEGER NOT NULL, code TEXT);
"""


def _no(status: int, code: str, message: str) -> Answer:
    return status, {"code": code, "message": message}


def _text(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


class Ledger:
    """All payments, their refunds, and every operation in order. One process, one connection, one write at a time."""

    def __init__(self, file: Path) -> None:
        self._db = sqlite3.connect(file, isolation_level=None, timeout=10)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def create(self, body: Json) -> Answer:
        """Create a payment: 201 with it; 200 if it was created before with the same body; 409 if with another."""
        with self._transaction():
            known = self._db.execute("SELECT created FROM payments WHERE id = ?", (body["id"],)).fetchone()
            if known is None:
                self._db.execute("INSERT INTO payments VALUES (?, ?, ?)", (body["id"], _text(body), _text(body)))
                self._note("create", body["id"], body, (201, {}))
                return 201, body
            if known[0] != _text(body):
                return _no(409, "payment_differs", "there is another payment under this id")
            return self.get(body["id"])

    def create_intent(self, key: str, body: Json) -> Answer:
        """Create a payment for the student to confirm, once per key: 201 with its secret; 409 if the id is taken."""
        return self._keyed(key, _text({"intent": body}), lambda: self._intent(key, body))

    def get(self, payment_id: str) -> Answer:
        """Return 200 with the payment, its lines and what was refunded of each, or 404."""
        row = self._db.execute("SELECT state FROM payments WHERE id = ?", (payment_id,)).fetchone()
        return (200, json.loads(row[0])) if row else _no(404, "payment_not_found", "there is no such payment")

    def refund(self, payment_id: str, key: str, body: Json) -> Answer:
        """Give back part of a line, once per key; the first answer to a key is saved, a refusal too."""
        request = _text({"payment": payment_id, **body})
        return self._keyed(key, request, lambda: self._given_back(key, payment_id, body))

    def find_refund(self, payment_id: str, key: str) -> Answer:
        """Return 200 with what was given back under this key, or 404."""
        kept = self._db.execute("SELECT request, body FROM answers WHERE key = ? AND status = 200", (key,)).fetchone()
        if kept is None or json.loads(kept[0]).get("payment") != payment_id:
            return _no(404, "refund_not_found", "nothing was given back under this key")
        return 200, json.loads(kept[1])

    def refund_by_hand(self, payment_id: str, body: Json) -> Answer:
        """Give back part of a line without any key: each call is a refund of its own."""
        with self._transaction():
            answer = self._give_back(payment_id, body["line"], body["amountMinor"])
            self._note("refund_by_hand", payment_id, body, answer)
            return answer

    def status_by_hand(self, payment_id: str, status: str) -> Answer:
        """Give the payment this status, whatever it had; the amounts stay. Returns 200 with it, or 404."""
        with self._transaction():
            found, payment = self.get(payment_id)
            if found == 200:
                payment["status"] = status
                self._save(payment)
                self._note("status_by_hand", payment_id, {"status": status}, (found, {}))
            return found, payment

    def forget_by_hand(self, payment_id: str) -> bool:
        """Forget the payment; return False if it was unknown before."""
        with self._transaction():
            gone = self._db.execute("DELETE FROM payments WHERE id = ?", (payment_id,)).rowcount == 1
            if gone:
                self._note("forget_by_hand", payment_id, {}, (200, {}))
            return gone

    def settle(self, payment_id: str, operation: str) -> Answer:
        """`cancel`: pending becomes failed, all else stays. `confirm`: pending becomes succeeded, failed is refused."""
        with self._transaction():
            status, payment = self.get(payment_id)
            if operation == "confirm" and payment.get("status") == "failed":
                return _no(422, "payment_failed", "a failed payment cannot succeed")
            if payment.get("status") == "pending":
                payment["status"] = {"cancel": "failed", "confirm": "succeeded"}[operation]
                self._save(payment)
                self._note(operation, payment_id, {}, (status, {}))
            return status, payment

    def operations(self) -> list[Json]:
        """Return what was done or refused for good, in order; without repeated answers, reads and planned faults."""
        names = ("seq", "at", "operation", "paymentId", "key", "request", "status", "code")
        rows = self._db.execute("SELECT * FROM operations ORDER BY seq").fetchall()
        return [{**dict(zip(names, row, strict=True)), "request": json.loads(row[5])} for row in rows]

    def _keyed(self, key: str, request: str, work: Callable[[], Answer]) -> Answer:
        with self._transaction():
            saved = self._db.execute("SELECT request, status, body FROM answers WHERE key = ?", (key,)).fetchone()
            if saved is not None and saved[0] != request:
                return _no(400, "idempotency_key_reused", "this key was used for something else")
            if saved is not None:
                return saved[1], json.loads(saved[2])
            answer = work()
            self._db.execute("INSERT INTO answers VALUES (?, ?, ?, ?)", (key, request, answer[0], _text(answer[1])))
            return answer

    def _intent(self, key: str, body: Json) -> Answer:
        if self.get(body["id"])[0] == 200:
            return _no(409, "payment_differs", "there is another payment under this id")
        if body["status"] != "pending" or any(line["refundedMinor"] for line in body["lines"]):
            return _no(422, "not_pending", "a payment begins pending, with nothing given back")
        state = {**body, "status": "pending" if body["amountMinor"] else "succeeded"}
        self._db.execute("INSERT INTO payments VALUES (?, ?, ?)", (body["id"], _text(body), _text(state)))
        self._note("create_intent", body["id"], body, (201, {}), key)
        secret = f"{body['id']}_secret_{uuid4().hex}"
        return 201, {"paymentId": body["id"], "status": state["status"], "clientSecret": secret}

    def _given_back(self, key: str, payment_id: str, body: Json) -> Answer:
        answer = self._give_back(payment_id, body["line"], body["amountMinor"])
        self._note("refund", payment_id, body, answer, key)
        return answer

    def _give_back(self, payment_id: str, number: int, amount: int) -> Answer:
        status, payment = self.get(payment_id)
        if status != 200:
            return status, payment
        if payment["status"] in ("pending", "failed"):
            return _no(422, "payment_not_succeeded", f"the payment is {payment['status']}")
        line = next((line for line in payment["lines"] if line["line"] == number), None)
        if line is None:
            return _no(422, "unknown_line", "the payment has no such line")
        if amount < 1:
            return _no(422, "amount_too_small", "a refund gives something back")
        if line["refundedMinor"] + amount > line["amountMinor"]:
            return _no(422, "amount_too_large", "that is more than is left of the line")
        line["refundedMinor"] += amount
        whole = all(line["refundedMinor"] == line["amountMinor"] for line in payment["lines"])
        payment["status"] = "refunded" if whole else "partially_refunded"
        self._save(payment)
        refund = {"id": f"re_{uuid4().hex}", "paymentId": payment_id, "line": number, "amountMinor": amount}
        return 200, {**refund, "currency": payment["currency"], "status": "succeeded"}

    def _save(self, payment: Json) -> None:
        self._db.execute("UPDATE payments SET state = ? WHERE id = ?", (_text(payment), payment["id"]))

    def _note(self, operation: str, payment_id: str, request: Json, answer: Answer, key: str | None = None) -> None:
        row = (datetime.now(UTC).isoformat(), operation, payment_id, key, _text(request), answer[0])
        self._db.execute(
            "INSERT INTO operations (at, operation, payment_id, key, request, status, code) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*row, answer[1].get("code")),
        )

    @contextmanager
    def _transaction(self) -> Generator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")
