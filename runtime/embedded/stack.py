"""The supervisor behind `coursaga up`: every server and process of one stack, in order, and back again.

    with Stack(load_settings()) as running: ...

Call it from a thread that lives as long as the stack shall (see `runtime.child_processes`), best the main one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Protocol
from urllib.error import URLError
from urllib.request import urlopen

from pydantic import SecretStr
from temporalio.service import RPCError

from db.migrate import upgrade
from gateways.task_queue import UNVERSIONED
from runtime.build import build_id
from runtime.child_processes import Child, StartFailed, free_ports, listens, tail
from runtime.embedded.data_guard import Together
from runtime.embedded.postgres import EmbeddedPostgres
from runtime.embedded.sync_bridge import aside
from runtime.embedded.temporal_server import TemporalServer
from runtime.files import open_folder
from runtime.progress import Say, say_nothing
from runtime.secrets_keys import make_key_of_home
from runtime.settings import Settings
from runtime.state import Home, Running, attached, find
from runtime.temporal import RPC, connect, ensure_search_attributes
from runtime.versions import NotReleased, Released, make_current, open_runs

__all__ = ["Part", "Running", "Stack", "attached", "find"]

_READY_SECONDS = 120.0
_SETTLED_SECONDS = 60.0  # a child that lived this long starts again at once when it dies
_LONGEST_PAUSE = 30.0


class Part(Protocol):
    """A server or process of the stack."""

    @property
    def name(self) -> str: ...
    @property
    def ends_with(self) -> signal.Signals: ...
    @property
    def alive(self) -> bool: ...
    @property
    def pid(self) -> int | None: ...
    def start(self) -> object: ...
    def stop(self) -> None: ...


class Stack:
    """One stack on `settings.coursaga_home`. What the settings name as external is neither started nor stopped.

    `workers` overrides WORKERS; with 0 the stack counts as ready although nobody works.
    """

    def __init__(self, settings: Settings, *, workers: int | None = None, say: Say = say_nothing) -> None:
        self._settings = settings.with_values(worker_versioning=settings.worker_versioning is not False)
        self._workers = settings.workers if workers is None else workers
        self._say = say
        self._home = Home(settings.coursaga_home)
        self._parts: dict[str, Part] = {}
        self._wanted: set[str] = set()
        self._pauses: dict[str, tuple[float, float]] = {}  # name -> (seconds to wait, not before)
        self._ready = False

    def __enter__(self) -> Running:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> Running:
        """Starts everything and waits until the API is ready; stops all again if anything fails. Raises CannotRun."""
        self._home.lock()
        try:
            self._home.end_leftovers()
            self._start_servers()
            self._start_processes()
            self._ready = True
            self._write_down()
            return self.running
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stops everything in reverse order. Fine to call twice."""
        self._wanted.clear()
        for name, part in reversed(list(self._parts.items())):
            self._say(f"stopping {name}")
            part.stop()
        self._parts.clear()
        self._home.forget()
        self._home.unlock()

    @property
    def running(self) -> Running:
        """Where everything is."""
        settings = self._settings
        host = "127.0.0.1" if settings.api_host in ("0.0.0.0", "::") else settings.api_host
        api = f"http://{host}:{settings.api_port}"
        return Running(
            pid=os.getpid(),
            api=api,
            docs=f"{api}/docs",
            console=None,
            temporal_ui=settings.temporal_ui_url,
            temporal_address=settings.temporal_address or "",
            database_url=settings.database_url.get_secret_value() if settings.database_url else "",
            provider_url=settings.provider_url or "",
            pids={"up": os.getpid(), **{name: part.pid for name, part in self._parts.items() if part.pid is not None}},
            versioned=bool(settings.worker_versioning),
        )

    @property
    def settings(self) -> Settings:
        """The settings its processes run with: addresses and ports filled in."""
        return self._settings

    def stop_part(self, name: str) -> None:
        """Stops one part and leaves it stopped: postgres, temporal, provider, api, worker, worker-2, ..."""
        self._wanted.discard(name)
        self._parts[name].stop()

    def start_part(self, name: str) -> None:
        """Starts a stopped part again, at its old address."""
        self._wanted.add(name)
        self._parts[name].start()
        self._write_down()

    def tend(self) -> None:
        """Starts again what died, with growing pauses; call it every now and then."""
        for name in [name for name in self._parts if name in self._wanted and not self._parts[name].alive]:
            pause, not_before = self._pauses.get(name, (0.0, 0.0))
            now = time.monotonic()
            if now < not_before:
                continue
            settled = now - not_before > _SETTLED_SECONDS
            pause = 0.5 if settled else min(pause * 2, _LONGEST_PAUSE)
            self._pauses[name] = (pause, now + pause)
            self._say(f"{name} died, starting it again")
            try:
                self.start_part(name)
            except StartFailed as failed:
                self._say(str(failed))

    def _start_servers(self) -> None:
        settings, home = self._settings, self._home.folder
        temporal = None if settings.temporal_address else self._temporal()
        postgres = None if settings.database_url else self._postgres()
        ledger = home / "provider" / "ledger.db"
        embedded = {
            "postgres": (postgres is not None, home / "postgres" / "data"),
            "temporal": (temporal is not None, home / "temporal" / "temporal.db"),
            "provider": (settings.provider_url is None, ledger),
        }
        together = Together(home, {name: data for name, (ours, data) in embedded.items() if ours})
        together.claim()
        if temporal is not None:
            self._say("starting Temporal")
            self._keep(temporal, temporal.launch)
        if postgres is not None:
            self._say("starting PostgreSQL")
            self._keep(postgres, postgres.start)
            self._settings = self._settings.with_values(database_url=SecretStr(postgres.url))
        if temporal is not None:
            temporal.wait()
            self._settings = self._settings.with_values(temporal_address=temporal.address, temporal_ui_url=temporal.ui)
        if not settings.provider_url:
            self._start_provider(ledger)
        aside(self._prepare_temporal)
        self._say("migrating the database")
        upgrade(self.running.database_url)
        together.settle()

    def _start_processes(self) -> None:
        if self._settings.secrets_keys is None and self._settings.coursaga_env != "production":
            self._settings = self._settings.with_values(secrets_keys=make_key_of_home(self._home.folder))
        port = free_ports({"API_PORT": self._settings.api_port})["API_PORT"]
        self._settings = self._settings.with_values(api_port=port)
        if self._workers and self._settings.worker_versioning and aside(self._any_open_runs):
            self._replay()
        self._say("starting worker, relay and API")
        for number in range(1, self._workers + 1):
            worker = self._child("worker" if number == 1 else f"worker-{number}", "worker")
            self._keep(worker, worker.start)
        relay = self._child("relay", "relay")
        self._keep(relay, relay.start)
        api = self._child("api", "api.app")
        self._keep(api, api.start)
        if self._workers:
            api.wait_until(self._released, _READY_SECONDS)
        # Without a worker the API is never ready, by contract.
        url = self.running.api + ("/readyz" if self._workers else "/healthz")
        api.wait_until(lambda: self._good(url), _READY_SECONDS)

    def _replay(self) -> None:
        """In a process of its own: what a replay that failed leaves in its threads must not stay in this one."""
        self._say("replaying open runs")
        command = [sys.executable, "-m", "cli.main", "release", "--check"]
        environment = {**os.environ, **self._settings.environment()}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise StartFailed(
                f"no worker was started: this code may not go on with the runs that are open\n{done.stdout}{done.stderr}"
                "To give them up, start afresh with `coursaga down --wipe`"
            )

    async def _any_open_runs(self) -> bool:
        client = await connect(self._settings)
        return (await client.count_workflows(open_runs(self._settings.task_queue), rpc_timeout=RPC)).count > 0

    def _released(self) -> bool:
        """Whether the work goes to this stack's workers; sees to it."""
        self._check_alive()
        try:
            aside(self._release)
        except (NotReleased, RPCError):
            return False
        return True

    async def _release(self) -> Released:
        build = build_id() if self._settings.worker_versioning else UNVERSIONED
        return await make_current(await connect(self._settings), self._settings.task_queue, build, seconds=2)

    def _start_provider(self, ledger: Path) -> None:
        port = free_ports({"PROVIDER_PORT": self._settings.provider_port})["PROVIDER_PORT"]
        open_folder(ledger.parent)
        provider = self._child("provider", "gateways.fake_provider", "--db", str(ledger), "--port", str(port))
        self._keep(provider, provider.start)
        provider.wait_until(lambda: listens(port), _READY_SECONDS)
        self._settings = self._settings.with_values(provider_url=f"http://127.0.0.1:{port}")

    async def _prepare_temporal(self) -> None:
        await ensure_search_attributes(await connect(self._settings))

    def _postgres(self) -> EmbeddedPostgres:
        port = free_ports({"POSTGRES_PORT": self._settings.postgres_port})["POSTGRES_PORT"]
        return EmbeddedPostgres(self._home.folder, port, binaries=self._settings.postgres_bin)

    def _temporal(self) -> TemporalServer:
        settings = self._settings
        return TemporalServer(
            self._home.folder,
            settings.temporal_port,
            settings.temporal_ui_port,
            namespace=settings.temporal_namespace,
        )

    def _child(self, name: str, *module: str) -> Child:
        environment = {**os.environ, **self._settings.environment()}
        log = self._home.folder / "logs" / f"{name}.log"
        # A worker lets its running activities finish, 30 s at most.
        return Child(name, [sys.executable, "-m", *module], log, env=environment, patience=60)

    def _keep(self, part: Part, start: Callable[[], object]) -> None:
        self._parts[part.name] = part
        self._wanted.add(part.name)
        start()
        self._write_down()

    def _write_down(self) -> None:
        children = {name: (part.pid, part.ends_with) for name, part in self._parts.items() if part.pid is not None}
        self._home.write(children, self.running if self._ready else None)

    def _check_alive(self) -> None:
        for name in self._wanted:
            if not self._parts[name].alive:
                raise StartFailed(f"{name} stopped while starting\n{tail(self._home.folder / 'logs' / f'{name}.log')}")

    def _good(self, url: str) -> bool:
        self._check_alive()
        with suppress(URLError, OSError), urlopen(url, timeout=5) as answer:
            return answer.status == 200
        return False
