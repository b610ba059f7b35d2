"""The product's worker in a process of its own, which also does what a test has planned for it in a folder.

A plan is a file `{workflow id}.{activity}.{nth}.{what}`; it strikes at the nth call that this process sees, once:
kill_before, kill_after (SIGKILL to itself, before the activity or between its end and its report), hold_before and
hold_after (waits until the file `...held` it was renamed to is gone), tell (is renamed when the activity is over). `refuse` (the code is in the file) strikes at
every call while it is there. `kill_at_sql` counts its own deaths: the process dies after the first statement of the
activity, its successor after the second, and so on until the activity gets through.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from datetime import timedelta
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event
from temporalio import activity
from temporalio.client import Client
from temporalio.plugin import SimplePlugin
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor, WorkerConfig

from db.engine import make_engine
from domain.refusals import Refused
from gateways.payments import HttpPaymentProvider
from runtime.logs import set_up_logs
from runtime.settings import Settings, load_settings
from runtime.temporal import connect
from tests.waiting import eventually
from worker import make_worker

PROVIDER_SECONDS = 3.0


def plan_file(folder: Path, workflow_id: str, name: str, nth: int, what: str) -> Path:
    """Where this plan stands in the folder."""
    return folder / f"{workflow_id}.{name}.{nth}.{what}"


def serve(environment: dict[str, str], folder: str) -> None:
    """Serve until killed; the entry of the process."""
    os.environ.update(environment)
    log = os.open(Path(folder) / "workers.log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    settings = load_settings()
    set_up_logs("ERROR", "json")
    asyncio.run(_serve(settings, Path(folder)))


async def _serve(settings: Settings, folder: Path) -> None:
    parent = parent_process()
    if parent is not None:  # the test run may be killed too
        asyncio.get_running_loop().add_reader(parent.sentinel, os._exit, 1)
    assert settings.database_url is not None
    assert settings.provider_url is not None
    client = await connect(settings)
    config = client.config()
    config["plugins"] = [Planned(folder)]
    engine = make_engine(
        settings.database_url.get_secret_value(), pool_size=settings.activity_slots, statement_timeout_ms=60_000
    )
    _die_at_statements(engine, folder)
    with HttpPaymentProvider(settings.provider_url, timeout=PROVIDER_SECONDS) as provider:
        async with make_worker(Client(**config), settings, engine, provider):
            await asyncio.Event().wait()


class Planned(SimplePlugin):
    """Puts the planned faults closest to the activities, inside all of the product's own interceptors."""

    def __init__(self, folder: Path) -> None:
        # The SDK's signature names callables without their arguments.
        super().__init__("planned-faults", interceptors=[_Faults(folder)])  # pyright: ignore[reportUnknownMemberType]

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        """A dead worker's cached workflows are given to another one after 1 s, not 10."""
        config["sticky_queue_schedule_to_start_timeout"] = timedelta(seconds=1)
        return super().configure_worker(config)


class _Faults(Interceptor):
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = Counter[tuple[str, str]]()

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _Call(next, self)


class _Call(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, faults: _Faults) -> None:
        super().__init__(next)
        self._faults = faults

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        about = (activity.info().workflow_id or "", activity.info().activity_type)
        self._faults.calls[about] += 1
        nth = self._faults.calls[about]

        def file(what: str, at: int = nth) -> Path:
            return plan_file(self._faults.folder, *about, at, what)

        await _strike(file("kill_before"), file("hold_before"))
        if file("refuse", 1).exists():
            raise Refused(file("refuse", 1).read_text(), "planned by a test")
        try:
            result = await super().execute_activity(input)
        finally:
            _taken(file("tell"))
        await _strike(file("kill_after"), file("hold_after"))
        return result


async def _strike(kill: Path, hold: Path) -> None:
    if _taken(kill):
        _die()
    if held := _taken(hold):
        await eventually(lambda: not held.exists())


def _taken(plan: Path) -> Path | None:
    """The plan under its new name, so that it strikes once; None if there is no such plan."""
    return plan.rename(f"{plan}.held") if plan.exists() else None


def _die_at_statements(engine: Engine, folder: Path) -> None:
    """Counts the statements of each call; the threads of this process run one call each at a time."""
    seen = Counter[bytes]()

    def executed(*_: Any) -> None:
        about = activity.info()
        file = plan_file(folder, about.workflow_id or "", about.activity_type, 1, "kill_at_sql")
        if not file.exists():
            return
        seen[about.task_token] += 1
        if seen[about.task_token] > int(file.read_text()):
            file.write_text(str(seen[about.task_token]))
            _die()

    event.listen(engine, "after_cursor_execute", executed)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
