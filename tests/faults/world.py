"""A real world for faults: PostgreSQL with our triggers, the stand-in provider's process, Temporal, worker processes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from multiprocessing.process import BaseProcess
from pathlib import Path
from secrets import token_hex

from sqlalchemy import Engine
from temporalio.client import Client

from tests.faults.worker_with_faults import serve
from tests.gateways.process import ProviderProcess
from tests.waiting import eventually

TODAY = "2026-11-21"
# Workers are forked off a process that has imported everything: some 0.2 s each instead of 2.
_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["__main__", "tests.faults.worker_with_faults"])


@dataclass
class WorkerProcess:
    """One worker; killed like a machine that loses its power, never asked."""

    process: BaseProcess

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.process.kill()
        self.process.join()

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.is_alive()

    async def died(self) -> None:
        """Waits until it has killed itself, as planned."""
        await eventually(lambda: not self.alive)
        assert self.process.exitcode == -9, f"the worker ended with {self.process.exitcode}"


@dataclass
class World:
    """What every purchase of a test module shares. `folder`: where plans for workers stand."""

    engine: Engine
    database_url: str
    provider: ProviderProcess
    temporal: Client
    folder: Path
    names: Iterator[str] = field(default_factory=lambda: map(f"{token_hex(3)}-{{:03}}".format, count(1)))
    _workers: list[tuple[str, WorkerProcess]] = field(default_factory=list[tuple[str, WorkerProcess]])

    def worker(self, queue: str, slots: int = 2) -> WorkerProcess:
        """A new worker process on this task queue."""
        environment = {
            "DATABASE_URL": self.database_url,
            "PROVIDER_URL": self.provider.url,
            "TEMPORAL_ADDRESS": self.temporal.service_client.config.target_host,
            "TASK_QUEUE": queue,
            "ACTIVITY_SLOTS": str(slots),
            "COURSAGA_TODAY": TODAY,
            "AUTO_APPROVE_ALLOCATIONS": "false",
            "WORKFLOW_SANDBOX": "true",
        }
        process = _forks.Process(target=serve, args=(environment, str(self.folder)), daemon=True)
        process.start()
        worker = WorkerProcess(process)
        self._workers.append((queue, worker))
        return worker

    def workers_said(self) -> str:
        """The end of what the workers logged."""
        log = self.folder / "workers.log"
        return log.read_text(errors="replace")[-3000:] if log.exists() else "nothing"

    def end_workers(self, queue: str) -> None:
        """Kills those of one task queue: each holds connections, of which the database has not many."""
        for its_queue, worker in self._workers:
            if its_queue == queue:
                with suppress(ValueError):
                    worker.kill()

    def close(self) -> None:
        """Kills all workers."""
        for queue in {queue for queue, _ in self._workers}:
            self.end_workers(queue)
