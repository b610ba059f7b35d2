"""Consumers and relays as processes that can be killed: forked off one that has imported everything."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import consumer
import relay
from application.publish_outbox import ToKafka
from db.outbox import OutboxRow

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload(["__main__", "tests.faults.worker_with_faults", "tests.events.processes"])


class Killable:
    """A process of ours with a log of its own."""

    def __init__(self, target: Any, log: Path, environment: Mapping[str, str], *more: str) -> None:
        self.log = log
        self._process: BaseProcess = _forks.Process(
            target=target, args=(dict(environment), str(log), *more), daemon=True
        )
        self._process.start()

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self._process.kill()
        self._process.join()

    def stop(self) -> int | None:
        """SIGTERM; its exit code."""
        self._process.terminate()
        self._process.join(30)
        return self._process.exitcode

    def ended(self) -> int | None:
        """Waits until it has ended by itself; its exit code."""
        self._process.join(60)
        return self._process.exitcode

    def said(self) -> list[dict[str, Any]]:
        """The lines of its log."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines if line.startswith("{")]


def consume(environment: dict[str, str], log: str) -> None:
    """`coursaga consume`."""
    _become(environment, log)
    sys.exit(consumer.main())


def relay_on(environment: dict[str, str], log: str, dies: str) -> None:
    """`coursaga relay`; it kills itself `before` it publishes for the first time, or `after`, or `never`."""
    _become(environment, log)
    publishes = ToKafka.publish

    async def publish_and_die(self: ToKafka, events: Sequence[OutboxRow]) -> set[str]:
        if dies == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        delivered = await publishes(self, events)
        if dies == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return delivered

    ToKafka.publish = publish_and_die
    sys.exit(relay.main())


def _become(environment: dict[str, str], log: str) -> None:
    os.environ.update(environment)
    to = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(to, 1)
    os.dup2(to, 2)
