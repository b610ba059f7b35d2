"""The supervisor behind `coursaga up`: starts the servers and processes of a stack in order, stops them in reverse.

    with Stack(load_settings()) as running: ...

Call it from a thread that lives as long as the stack shall (see `runtime.child_processes`), best the main one.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from urllib.error import URLError
from urllib.request import urlopen

from pydantic import SecretStr

from db.migrate import upgrade
from runtime.child_processes import Child, free_ports, listens
from runtime.embedded.data_guard import DataGuard
from runtime.embedded.parts import Parts
from runtime.embedded.postgres import EmbeddedPostgres
from runtime.embedded.release import any_open_runs, released, replay_open_runs
from runtime.embedded.sync_bridge import aside
from runtime.embedded.temporal_server import TemporalServer
from runtime.files import open_folder
from runtime.progress import Say, say_nothing
from runtime.secrets_keys import make_key_of_home
from runtime.settings import Settings
from runtime.state import Home, Running
from runtime.temporal import connect, ensure_search_attributes

_READY_SECONDS = 120.0


class Stack:
    """One stack on `settings.coursaga_home`. What the settings name as external is neither started nor stopped.

    `workers` overrides WORKERS; with 0 the stack counts as ready although nobody works.
    """

    def __init__(self, settings: Settings, *, workers: int | None = None, say: Say = say_nothing) -> None:
        self._settings = settings.with_values(worker_versioning=settings.worker_versioning is not False)
        self._workers = settings.workers if workers is None else workers
        self._say = say
        self._home = Home(settings.coursaga_home)
        self._parts = Parts(self._home.folder / "logs", say, self._write_down)
        self._ready = False

    def __enter__(self) -> Running:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> Running:
        """Start everything and wait until the API is ready; stop all again if anything fails. Raises CannotRun."""
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
        """Stop everything in reverse order. May be called twice."""
        self._parts.stop_all()
        self._home.forget()
        self._home.unlock()

    @property
    def running(self) -> Running:
        """The addresses and process ids of all servers and processes."""
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
            pids={"up": os.getpid(), **self._parts.pids},
            versioned=bool(settings.worker_versioning),
        )

    @property
    def settings(self) -> Settings:
        """The settings that the stack's processes run with: addresses and ports filled in."""
        return self._settings

    def stop_part(self, name: str) -> None:
        """Stop one part and leave it stopped: postgres, temporal, provider, api, relay, worker, worker-2, ..."""
        self._parts.stop(name)

    def start_part(self, name: str) -> None:
        """Start a stopped part again, at its old address."""
        self._parts.start(name)

    def tend(self) -> None:
        """Start each part that died again, with growing pauses; call it every now and then."""
        self._parts.tend()

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
        together = DataGuard(home, {name: data for name, (ours, data) in embedded.items() if ours})
        together.claim()
        if temporal is not None:
            self._say("starting Temporal")
            self._parts.keep(temporal, temporal.launch)
        if postgres is not None:
            self._say("starting PostgreSQL")
            self._parts.keep(postgres, postgres.start)
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
        if self._workers and self._settings.worker_versioning and aside(lambda: any_open_runs(self._settings)):
            self._say("replaying open runs")
            replay_open_runs(self._settings)
        self._say("starting worker, relay and API")
        for number in range(1, self._workers + 1):
            worker = self._child("worker" if number == 1 else f"worker-{number}", "worker")
            self._parts.keep(worker, worker.start)
        relay = self._child("relay", "relay")
        self._parts.keep(relay, relay.start)
        api = self._child("api", "api.app")
        self._parts.keep(api, api.start)
        if self._workers:
            api.wait_until(self._works_here, _READY_SECONDS)
        # Without a worker the API is never ready, by contract.
        url = self.running.api + ("/readyz" if self._workers else "/healthz")
        api.wait_until(lambda: self._good(url), _READY_SECONDS)

    def _works_here(self) -> bool:
        self._parts.check_alive()
        return released(self._settings)

    def _start_provider(self, ledger: Path) -> None:
        port = free_ports({"PROVIDER_PORT": self._settings.provider_port})["PROVIDER_PORT"]
        open_folder(ledger.parent)
        provider = self._child("provider", "gateways.fake_provider", "--db", str(ledger), "--port", str(port))
        self._parts.keep(provider, provider.start)
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

    def _write_down(self) -> None:
        self._home.write(self._parts.ends, self.running if self._ready else None)

    def _good(self, url: str) -> bool:
        self._parts.check_alive()
        with suppress(URLError, OSError), urlopen(url, timeout=5) as answer:
            return answer.status == 200
        return False
