"""The stand-in provider as the process it is: started, killed, started again on the same ledger and port."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2

from gateways.payments import HttpPaymentProvider, ProviderLine, ProviderPayment


class ProviderProcess:
    """One provider on one ledger file. Keeps its port over restarts, as a real one keeps its address."""

    def __init__(self, folder: Path) -> None:
        self.db = folder / "ledger.db"
        self.port_file = folder / "port"
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait for its one line."""
        command = [sys.executable, "-m", "gateways.fake_provider", "--db", str(self.db), "--port", str(self.port)]
        command += ["--port-file", str(self.port_file)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        assert said.startswith("listening on http://127.0.0.1:"), said
        self.port = int(self.port_file.read_text())

    def kill(self) -> None:
        """kill -9."""
        self._end("kill")

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        return self._end("terminate")

    def client(self, timeout: float = 10) -> HttpPaymentProvider:
        return HttpPaymentProvider(self.url, timeout)

    def plan(self, *faults: dict[str, Any]) -> None:
        httpx2.post(f"{self.url}/_faults", json=list(faults), trust_env=False).raise_for_status()

    def forget_plan(self) -> None:
        httpx2.delete(f"{self.url}/_faults", trust_env=False).raise_for_status()

    def ledger(self, operation: str | None = None) -> list[dict[str, Any]]:
        answer = httpx2.get(f"{self.url}/_ledger", trust_env=False).raise_for_status()
        return [row for row in answer.json() if operation in (None, row["operation"])]

    def post(self, path: str, body: object = None, key: str | None = None) -> httpx2.Response:
        headers = {"Idempotency-Key": key} if key is not None else {}
        return httpx2.post(f"{self.url}{path}", json=body, headers=headers, trust_env=False)

    def _end(self, how: str) -> int:
        process, self._process = self._process, None  # first of all: threads may end it together
        if process is None:
            return 0
        with process:
            getattr(process, how)()
            return process.wait(timeout=30)


def a_payment(payment_id: str = "pay-1", *, status: str = "succeeded", amounts: tuple[int, ...] = (5000, 300)):
    """A payment with a line per amount."""
    lines = tuple(ProviderLine(number, amount) for number, amount in enumerate(amounts, 1))
    return ProviderPayment(payment_id, "student-1", status, sum(amounts), "USD", lines)
